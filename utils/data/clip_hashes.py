"""Perceptual hashes of frames and of motion, computed once and cached next to frames.npy."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from utils.base.files import written_beside
from utils.base.progress import progress
from utils.data.clips import ClipDataset
from utils.data.views import window_frames

VERSION = 1  # incremented when equal clips get other hashes
FRAMES = 16  # hashed frames per clip, evenly spaced
SIDE = 32  # pixels of the grey image that is hashed
FREQUENCIES = 16  # per axis
BITS = FREQUENCIES**2 - 1  # without the mean
LEAST_TEXTURE = 4.0  # standard deviation in grey levels; a flatter frame, as black or in a fade, has no hash
LEAST_MOTION = 1.0  # standard deviation of the difference of two frames


@dataclass(frozen=True)
class ClipHashes:
    """Hashes of N clips; a row of zeros is an image with too little texture to be compared.

    frames: int8 `(N, T, 255)`, the low frequencies of grey frames without the mean, normalised to length 1, so that
    they do not depend on brightness and contrast. motion: int8 `(N, T - 1, 255)`, the same of |frame k+1 - frame k|.
    """

    frames: np.ndarray
    motion: np.ndarray


def hashes_of_all(dataset: ClipDataset) -> ClipHashes:
    """Return the hashes of all rows of a data set, with and without labels; each file has its own cache."""
    parts = [hashes_of(part) for part in (dataset, *dataset.unlabelled)]
    return ClipHashes(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("frames", "motion")))


def hashes_of(dataset: ClipDataset) -> ClipHashes:
    """Return the hashes of a data set from the cache, or compute and cache them.

    The cache of NAME.npy is NAME_hashes.npz, 8 KB per clip. Hashes of other arrays are recomputed.
    """
    frames = dataset.frames.path
    path = frames.with_name(f"{frames.stem}_hashes.npz")
    about = dataset.fingerprint() | {"version": VERSION}
    key = json.dumps(about, sort_keys=True)
    cached = _read(path, key)
    if cached is not None and len(cached.frames) == len(cached.motion) == len(dataset):
        return cached
    print(f"hashing {len(dataset)} clips to find near-duplicates", flush=True)
    hashes = compute_hashes(dataset)
    try:
        with written_beside(path) as temporary:
            np.savez(temporary, key=np.array(key), frames=hashes.frames, motion=hashes.motion)
    except OSError as error:
        print(f"note: the hashes could not be cached: {path}: {error.strerror}", file=sys.stderr)
    return hashes


def _read(path: Path, key: str) -> ClipHashes | None:
    """Return the cached hashes, or None if they are missing, of other arrays or unreadable."""
    if not path.is_file():  # opening a pipe would block
        return None
    try:
        with np.load(path, allow_pickle=False) as cached:
            return ClipHashes(cached["frames"], cached["motion"]) if str(cached["key"]) == key else None
    except Exception:  # a damaged archive, header or value raises many types
        return None


def compute_hashes(dataset: ClipDataset) -> ClipHashes:
    """Compute the hashes of all clips, one clip at a time."""
    length = min(dataset.frames.shape[1], FRAMES)
    wanted = window_frames(dataset.frames.shape[1], length)
    hashes = ClipHashes(
        np.zeros((len(dataset), length, BITS), np.int8), np.zeros((len(dataset), length - 1, BITS), np.int8)
    )
    with progress(len(dataset), unit="clips") as advance:
        for row in range(len(dataset)):
            images = small_grey(dataset.frames.read(row, wanted))
            hashes.frames[row] = hash_images(images, least=LEAST_TEXTURE)
            hashes.motion[row] = hash_images(np.abs(np.diff(images, axis=0)), least=LEAST_MOTION)
            advance()
    return hashes


def small_grey(clip: np.ndarray) -> np.ndarray:
    """Return frames uint8 `(T, H, W, 3)` as grey images float32 `(T, 32, 32)`, 0..255."""
    shrinks = min(clip.shape[1:3]) >= SIDE
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) for frame in clip]
    return np.stack([cv2.resize(frame, (SIDE, SIDE), interpolation=interpolation) for frame in grey])


def hash_images(images: np.ndarray, *, least: float) -> np.ndarray:
    """Return the hashes int8 `(T, 255)` of images `(T, 32, 32)`, zeros where the standard deviation is below `least`.

    As in the usual perceptual hash, these are low frequencies of the discrete cosine transform. Magnitudes are kept,
    not only signs, so that a common background can be removed later; the square root gives small ones more levels.
    """
    orders, places = np.arange(FREQUENCIES)[:, None], np.arange(SIDE)[None] + 0.5
    cosines = np.cos(np.pi * orders * places / SIDE) * np.where(orders, np.sqrt(2 / SIDE), np.sqrt(1 / SIDE))
    coefficients = (cosines @ images @ cosines.T).reshape(len(images), FREQUENCIES**2)[:, 1:]
    length = np.linalg.norm(coefficients, axis=1, keepdims=True)
    unit = np.divide(coefficients, length, out=np.zeros_like(coefficients), where=length >= least * SIDE)
    return np.rint(127 * np.sign(unit) * np.sqrt(np.abs(unit))).astype(np.int8)


def unpacked(hashes: np.ndarray) -> np.ndarray:
    """Return the frequencies of int8 hashes: float32 vectors of length 1 or 0."""
    values = hashes.astype(np.float32) / 127
    return values * np.abs(values)


def mirror_signs() -> np.ndarray:
    """Return the factors, float32 `(255,)`, that turn a hash into that of the horizontally flipped image.

    A flip changes the sign of every odd horizontal frequency.
    """
    horizontal = np.arange(FREQUENCIES**2)[1:] % FREQUENCIES
    return np.where(horizontal % 2, -1, 1).astype(np.float32)
