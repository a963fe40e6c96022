"""Near-duplicates among clips, found by hashes of frames and of motion, also in data sets with a common background.

Where all clips show the same scene, thresholds on plain hash distances give false alarms. Therefore hashes are
whitened: the mean of the data set is subtracted, and directions of large variance get less weight. A distance is small
only in relation to the distances of the same clip to other clips.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from utils.base.progress import progress
from utils.data.clip_hashes import BITS, ClipHashes, mirror_signs, unpacked

# Thresholds of distances relative to the reference of a clip, see `relative`; tuned with benchmarks/leaks.py.
NEAR_FRAMES = 0.45
NEAR_MOTION = 0.75
NEAR_WITHOUT_MOTION = 0.3  # of frames, for clips with little motion
REFERENCE_QUANTILE = 0.1
REFERENCE_RANK = 3  # smallest rank of the reference, from 0
REGULARISATION = 0.1  # added to the variances when whitening, relative to their mean
BLOCK = 64  # clips per block


@dataclass(frozen=True)
class NearDuplicates:
    """Pairs of near-duplicates, nearest first.

    pairs: int64 `(n, 2)`, a row of `test` and a row of `seen`. distances: float32 `(n,)`, relative distances of the
    frames, 0 (equal) to 0.45. unjudged: int64, the test rows with too little texture to be compared.
    """

    pairs: np.ndarray
    distances: np.ndarray
    unjudged: np.ndarray


def find_near_duplicates(hashes: ClipHashes, test: np.ndarray, seen: np.ndarray) -> NearDuplicates:
    """Find the pairs of a clip in `test` and a clip in `seen`, both row numbers, with the same frames and motion.

    Copies are also found if they are flipped horizontally, trimmed, re-encoded or changed in brightness. Each frame is
    compared with all frames of the other clip, and the distance is the median over its best matches. A clip is never
    paired with itself. Needs a few MB of memory in addition to the hashes.
    """
    by_frames, by_motion = Whitening.of(hashes.frames), Whitening.of(hashes.motion)
    unjudged = test[~has_content(hashes.frames[test])]
    judged = np.setdiff1d(test, unjudged)
    moves = has_content(hashes.motion)
    pairs, distances = [], []
    for block, near in _blocks(judged, hashes.frames, seen, by_frames):
        close = near < NEAR_FRAMES
        close &= block[:, None] != seen[None]
        candidates = np.flatnonzero(close.any(axis=1))
        if not len(candidates):
            continue
        moved = relative(by_motion.distances(hashes.motion, block[candidates], seen), block[candidates], seen)
        test_moves, seen_moves = np.meshgrid(moves[block[candidates]], moves[seen], indexing="ij")
        same_motion = np.where(test_moves, moved < NEAR_MOTION, near[candidates] < NEAR_WITHOUT_MOTION)
        found = np.argwhere(close[candidates] & same_motion & (test_moves == seen_moves))
        rows = candidates[found[:, 0]]
        pairs.append(np.stack([block[rows], seen[found[:, 1]]], axis=1))
        distances.append(near[rows, found[:, 1]])
    if not pairs:
        return NearDuplicates(np.zeros((0, 2), np.int64), np.zeros(0, np.float32), unjudged)
    pairs, distances = np.concatenate(pairs), np.concatenate(distances)
    order = np.lexsort((pairs[:, 1], pairs[:, 0], distances))
    return NearDuplicates(pairs[order], distances[order], unjudged)


def _blocks(test, packed, seen, whitening) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield blocks of test rows with their relative distances to all `seen` rows."""
    with progress(len(test), unit="test clips compared") as advance:
        for start in range(0, len(test), BLOCK):
            block = test[start : start + BLOCK]
            yield block, relative(whitening.distances(packed, block, seen), block, seen)
            for _ in block:
                advance()


def relative(distances: np.ndarray, test: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return distances `(a, b)` divided by the reference of each test clip, its typical distance to near neighbours.

    The reference is the 10 % quantile of a clip's distances, but at least the fourth smallest distance, so that a few
    copies in `seen` do not change it.
    """
    if not len(seen):
        return distances
    others = np.where(test[:, None] == seen[None], np.inf, distances)
    rank = min(max(int(REFERENCE_QUANTILE * len(seen)), REFERENCE_RANK), len(seen) - 1)
    reference = np.partition(others, rank, axis=1)[:, rank]
    return distances / np.maximum(reference, 1e-6)[:, None]


def has_content(packed: np.ndarray) -> np.ndarray:
    """Return whether at least half of the images of each clip `(N, T, 255)` have a hash: bool `(N,)`."""
    return 2 * packed.any(axis=2).sum(axis=1) >= max(packed.shape[1], 1)


@dataclass(frozen=True)
class Whitening:
    """A whitening transform of hashes: their mean `(255,)`, and the matrix `(255, 255)` that equalises variances."""

    mean: np.ndarray
    matrix: np.ndarray

    @classmethod
    def of(cls, packed: np.ndarray) -> "Whitening":
        """Estimate the transform from the hashes `(N, T, 255)` of all clips and of the flipped clips."""
        count, total, products = 0, np.zeros(BITS), np.zeros((BITS, BITS))
        for start in range(0, len(packed), BLOCK):
            values = unpacked(packed[start : start + BLOCK]).reshape(-1, BITS)
            values = values[values.any(axis=1)].astype(np.float64)
            count += len(values)
            total += values.sum(axis=0)
            products += values.T @ values
        signs, count = mirror_signs(), max(count, 1)
        mean = (total + signs * total) / (2 * count)
        products = (products + np.outer(signs, signs) * products) / (2 * count)
        variances, directions = np.linalg.eigh(products - np.outer(mean, mean))
        scale = np.maximum(variances, 0) + REGULARISATION * max(variances.mean(), 1e-12)
        return cls(mean.astype(np.float32), (directions / np.sqrt(scale)).astype(np.float32))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Whiten frequencies `(..., 255)` and normalise them to length 1; images without a hash stay zero."""
        white = (values - self.mean) @ self.matrix
        length = np.linalg.norm(white, axis=-1, keepdims=True)
        return white / np.maximum(length, 1e-6) * values.any(axis=-1, keepdims=True)

    def distances(self, packed: np.ndarray, test: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """Return distances float32 `(len(test), len(seen))`: 0 for equal clips, about 0.5 for unrelated clips."""
        values = unpacked(packed[test])
        both = self(np.concatenate([values, values * mirror_signs()]))  # (2 a, T, 255)
        found = np.empty((len(test), len(seen)), np.float32)
        for start in range(0, len(seen), BLOCK):
            others = self(unpacked(packed[seen[start : start + BLOCK]]))  # (b, T, 255)
            found[:, start : start + BLOCK] = np.maximum(1 - _similarity(both, others), 0) / 2
        return found


def _similarity(both: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the similarity of clips, given with their flipped copies `(2 a, T, D)`, to clips `(b, T, D)`.

    The result is float32 `(a, b)`, -1 to 1: the median over a clip's frames of the cosine similarity to the best match
    in the other clip. The higher median of the two clips counts, because a trimmed clip has all its frames in the other
    one. The maximum over original and flipped copy is taken last, because a clip is flipped as a whole.
    """
    images, length, bits = both.shape
    if not length:  # clips of one frame have no motion
        return np.zeros((images // 2, len(others)), np.float32)
    by_time = [clips.transpose(1, 0, 2).reshape(-1, bits) for clips in (both, others)]
    cosines = (by_time[0] @ by_time[1].T).reshape(length, images, length, len(others))
    one_way = _median(cosines.max(axis=2).transpose(1, 2, 0))  # over the frames of `both`
    other_way = _median(cosines.max(axis=0).transpose(0, 2, 1))
    return np.maximum(one_way, other_way).reshape(2, images // 2, len(others)).max(axis=0)


def _median(values: np.ndarray) -> np.ndarray:
    """Return the upper median over the last axis, several times faster than np.median."""
    middle = values.shape[-1] // 2
    return np.partition(values, middle, axis=-1)[..., middle]
