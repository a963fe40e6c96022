"""Near-duplicates among clips, found by hashes of frames and of motion, also in data sets with a common background.

Where all clips show the same scene, thresholds on plain hash distances give false alarms. Therefore hashes are
whitened: the mean of the data set is subtracted, and directions of large variance get less weight. A distance is small
only in relation to the distances of the same clip to other clips.

Clips are compared frame by frame only if the means of their whitened frames are similar, and up to MEMBERS x PROBES
seen clips all means are compared. Of more, each test clip searches the groups around the PROBES nearest of some random
clips, so that the time grows in proportion to the number of clips. Then some distant near-duplicates are missed.
"""

from collections.abc import Callable, Iterator
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
SAMPLE = 1024  # seen clips that give the reference
SIMILAR_MEANS = 0.45  # smallest cosine of the means; 0.57 in the near-duplicates of UCF101, UCF11 and Weizmann
MEMBERS = 1024  # seen clips per group, on average
PROBES = 64  # groups that are searched for each test clip
PAIRS = 4096  # compared at once


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
    paired with itself. Needs 2 KB per clip in addition to the hashes.
    """
    unjudged = test[~has_content(hashes.frames[test])]
    judged, moves = np.setdiff1d(test, unjudged), has_content(hashes.motion)
    sample = seen
    if len(seen) > SAMPLE:
        sample = np.sort(np.random.default_rng(0).choice(seen, SAMPLE, replace=False))
    by_frames, by_motion = (Comparison.of(packed, sample) for packed in (hashes.frames, hashes.motion))
    pairs, distances = [np.zeros((0, 2), np.int64)], [np.zeros(0, np.float32)]
    with progress(len(judged), unit="test clips compared") as advance:
        for candidates in _candidates(by_frames.whitening, hashes.frames, judged, seen, advance):
            near = by_frames.relative_distances(candidates)
            candidates, near = candidates[near < NEAR_FRAMES], near[near < NEAR_FRAMES]
            test_moves, seen_moves = moves[candidates.T]
            same_motion = near < NEAR_WITHOUT_MOTION
            if test_moves.any():
                moved = by_motion.relative_distances(candidates)
                same_motion = np.where(test_moves, moved < NEAR_MOTION, same_motion)
            found = same_motion & (test_moves == seen_moves)
            pairs.append(candidates[found])
            distances.append(near[found])
    pairs, distances = np.concatenate(pairs), np.concatenate(distances)
    order = np.lexsort((pairs[:, 1], pairs[:, 0], distances))
    return NearDuplicates(pairs[order], distances[order], unjudged)


def _candidates(
    whitening: "Whitening", packed: np.ndarray, test: np.ndarray, seen: np.ndarray, advance: Callable[[], None]
) -> Iterator[np.ndarray]:
    """Yield pairs of a test and a seen row with similar means, int64 `(n, 2)`, sorted; call `advance` per test clip."""
    means = whitening.means(packed, seen)
    count = -(-len(seen) // MEMBERS)
    centres = means[np.random.default_rng(0).choice(len(seen), count, replace=False)]
    nearest = np.concatenate([np.zeros(0, np.int64), *(_nearest(part, centres, 1)[:, 0] for part in _parts(means))])
    members = np.split(np.argsort(nearest, kind="stable"), np.cumsum(np.bincount(nearest, minlength=count))[:-1])
    for block in _parts(test):
        found = [np.zeros((0, 2), np.int64)]
        for signs in (1, mirror_signs()) if len(seen) else ():
            own = whitening.means(packed, block, signs)
            probed = _nearest(own, centres, PROBES)
            for group in np.unique(probed):
                rows = np.flatnonzero((probed == group).any(axis=1))
                similar = np.argwhere(own[rows] @ means[members[group]].T > SIMILAR_MEANS)
                found.append(np.stack([block[rows[similar[:, 0]]], seen[members[group][similar[:, 1]]]], axis=1))
        pairs = np.unique(np.concatenate(found), axis=0)
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        yield from (pairs[start : start + PAIRS] for start in range(0, len(pairs), PAIRS))
        for _ in block:
            advance()


def _parts(rows: np.ndarray) -> Iterator[np.ndarray]:
    return (rows[start : start + MEMBERS] for start in range(0, len(rows), MEMBERS))


def _nearest(means: np.ndarray, centres: np.ndarray, count: int) -> np.ndarray:
    """Return the numbers of the centres with the largest cosines, at most `count`: int64 `(n, count)`."""
    if count >= len(centres):
        return np.broadcast_to(np.arange(len(centres)), (len(means), len(centres)))
    return np.argpartition(means @ -centres.T, count - 1, axis=1)[:, :count]


def references(distances: np.ndarray, test: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return the typical distance of each test clip to near neighbours, from its distances `(a, b)` to seen clips.

    It is the 10 % quantile of a clip's distances, but at least the fourth smallest distance, so that a few copies in
    `seen` do not change it.
    """
    others = np.where(test[:, None] == seen[None], np.inf, distances)
    rank = min(max(int(REFERENCE_QUANTILE * len(seen)), REFERENCE_RANK), len(seen) - 1)
    return np.maximum(np.partition(others, rank, axis=1)[:, rank], 1e-6)


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

    def means(self, packed: np.ndarray, rows: np.ndarray, signs: np.ndarray | int = 1) -> np.ndarray:
        """Return the mean directions of the whitened images of clips, after factors: float32 `(len(rows), 255)`."""
        found = np.empty((len(rows), BITS), np.float32)
        for start in range(0, len(rows), BLOCK):
            total = self(unpacked(packed[rows[start : start + BLOCK]]) * signs).sum(axis=1)
            found[start : start + BLOCK] = total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-6)
        return found


@dataclass(frozen=True)
class Comparison:
    """Compares clips by one kind of hash. sample: seen rows that give the references, and their whitened images."""

    packed: np.ndarray
    whitening: Whitening
    sample: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(cls, packed: np.ndarray, sample: np.ndarray) -> "Comparison":
        whitening = Whitening.of(packed)
        return cls(packed, whitening, (sample, whitening(unpacked(packed[sample]))))

    def relative_distances(self, pairs: np.ndarray) -> np.ndarray:
        """Return the distances of pairs sorted by test row, relative to the references of test clips: float32 `(n,)`.

        Absolute distances are 0 for equal clips, about 0.5 for unrelated ones.
        """
        tests, starts = np.unique(pairs[:, 0], return_index=True)
        seen, places = np.unique(pairs[:, 1], return_inverse=True)
        others, (sample, sample_images) = self.whitening(unpacked(self.packed[seen])), self.sample
        found = [np.zeros(0, np.float32)]
        for test, part in zip(tests, np.split(places, starts[1:])):
            values = unpacked(self.packed[test])
            both = self.whitening(np.stack([values, values * mirror_signs()]))  # (2, T, 255)
            to_sample, to_others = (
                np.maximum(1 - _similarity(both, images), 0) / 2 for images in (sample_images, others[part])
            )
            found.append((to_others / references(to_sample, np.array([test]), sample)[:, None])[0])
        return np.concatenate(found)


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
