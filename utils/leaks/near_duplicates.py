"""Near-duplicates among clips, by hashes of their frames and motion, whatever background the data set shares.

A plain distance of hashes cries wolf where all clips show one scene. So hashes are whitened first: what is common to
the data set's frames is taken out, and directions in which they all vary count less. And a distance counts as small
only in comparison with the distances of the same clip to other clips.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from utils.leaks.hashes import BITS, ClipHashes, mirror_signs, unpacked
from utils.runtime.progress import progress

NEAR_FRAMES = 0.45  # distances in units of the clip's reference; chosen by benchmarks/leaks.py
NEAR_MOTION = 0.75
NEAR_WITHOUT_MOTION = 0.3  # by frames alone, for clips that hardly move
REFERENCE_SHARE = 0.1  # the reference is the distance within which this share of the clips lies,
REFERENCE_RANK = 3  # and more than so many clips
REGULARISATION = 0.1  # of the mean variance, added to each when whitening
BLOCK = 64  # clips compared at a time


@dataclass(frozen=True)
class NearDuplicates:
    """pairs int64 (n, 2), a row of `test` and a row of `seen`, nearest first; distances float32 (n,).

    A distance is that of the frames in units of the reference, 0 (equal) to 0.45. unjudged int64: the test rows that
    have too little texture to be compared.
    """

    pairs: np.ndarray
    distances: np.ndarray
    unjudged: np.ndarray


def find_near_duplicates(hashes: ClipHashes, test: np.ndarray, seen: np.ndarray) -> NearDuplicates:
    """The pairs of a clip in `test` and one in `seen`, both row numbers, that show the same pictures and motion.

    Also where one is flipped left to right, was cut at its ends, encoded anew or has another brightness: a frame is
    compared with all frames of the other clip, and the median of the best matches counts. A clip is never paired
    with itself. Memory is a few MB beside the hashes.
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
    """Some test rows at a time, with their relative distances to all `seen`."""
    with progress(len(test), unit="test clips compared") as advance:
        for start in range(0, len(test), BLOCK):
            block = test[start : start + BLOCK]
            yield block, relative(whitening.distances(packed, block, seen), block, seen)
            for _ in block:
                advance()


def relative(distances: np.ndarray, test: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Distances (a, b) of clips in units of each test clip's reference: how near its neighbours commonly are.

    The reference is the distance of the clip whose rank is a tenth of all, though at least the fourth, so that a few
    true copies among `seen` do not move it.
    """
    if not len(seen):
        return distances
    others = np.where(test[:, None] == seen[None], np.inf, distances)
    rank = min(max(int(REFERENCE_SHARE * len(seen)), REFERENCE_RANK), len(seen) - 1)
    reference = np.partition(others, rank, axis=1)[:, rank]
    return distances / np.maximum(reference, 1e-6)[:, None]


def has_content(packed: np.ndarray) -> np.ndarray:
    """Whether at least half of the pictures of each clip (N, T, 255) have a hash; bool (N,)."""
    pictures = packed.any(axis=2)
    return 2 * pictures.sum(axis=1) >= max(pictures.shape[1], 1)


@dataclass(frozen=True)
class Whitening:
    """What the frames of a data set have in common: their mean (255,), and the matrix that evens out how they vary."""

    mean: np.ndarray
    matrix: np.ndarray

    @classmethod
    def of(cls, packed: np.ndarray) -> "Whitening":
        """From the hashes (N, T, 255) of all clips and of their mirror images."""
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
        """Frequencies (..., 255) whitened and of length 1; pictures without a hash stay zero."""
        white = (values - self.mean) @ self.matrix
        length = np.linalg.norm(white, axis=-1, keepdims=True)
        return white / np.maximum(length, 1e-6) * values.any(axis=-1, keepdims=True)

    def distances(self, packed: np.ndarray, test: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """float32 (len(test), len(seen)), 0 (equal) to 1; about 0.5 for unrelated clips."""
        values = unpacked(packed[test])
        both = self(np.concatenate([values, values * mirror_signs()]))  # (2 a, T, 255)
        found = np.empty((len(test), len(seen)), np.float32)
        for start in range(0, len(seen), BLOCK):
            others = self(unpacked(packed[seen[start : start + BLOCK]]))  # (b, T, 255)
            found[:, start : start + BLOCK] = np.maximum(1 - _likeness(both, others), 0) / 2
        return found


def _likeness(both: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How alike clips and their mirror images (2 a, T, D) are to clips (b, T, D): float32 (a, b), -1 to 1.

    Each frame has its best match in the other clip, and the median over a clip's frames counts, of that clip of the two
    where it is higher: the one that was cut has all its frames in the other. A clip is mirrored as a whole, so the
    better of both images is taken last.
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
    """The upper median over the last axis, several times as fast as np.median."""
    middle = values.shape[-1] // 2
    return np.partition(values, middle, axis=-1)[..., middle]
