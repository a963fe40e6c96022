"""Perceptual hashes of clips: of frames and of their motion, computed once and kept beside frames.npy."""

import json
import os
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from utils.data.clips import ClipDataset
from utils.data.views import window_frames
from utils.runtime.files import written_beside
from utils.runtime.progress import progress

VERSION = 1  # of what the numbers mean; raised when that changes
FRAMES = 16  # of a clip that are hashed, evenly spaced
SIDE = 32  # of the grey picture that a hash is made of
FREQUENCIES = 16  # in each direction, that of the mean left out
BITS = FREQUENCIES**2 - 1
LEAST_TEXTURE = 4.0  # standard deviation in grey levels; a flatter frame (a black one, a fade) has no hash
LEAST_MOTION = 1.0  # the same of the difference of two frames


@dataclass(frozen=True)
class ClipHashes:
    """Hashes of N clips. A row of zeros stands for a picture with too little in it to tell it from others.

    frames: int8 (N, T, 255), the low frequencies of grey frames, without the mean and divided by their length, so that
    brightness and contrast drop out. motion: int8 (N, T-1, 255), the same of |frame k+1 - frame k|.
    """

    frames: np.ndarray
    motion: np.ndarray


def hashes_of(dataset: ClipDataset) -> ClipHashes:
    """The hashes of a data set: those kept beside its frames.npy, else computed, and kept if they can be.

    They are kept as NAME_hashes.npz for NAME.npy, 8 KB a clip. A file that was made of other arrays is made anew.
    """
    path = kept_at(dataset.frames.path)
    key = json.dumps(
        dataset.fingerprint() | {"version": VERSION, "changed": os.stat(dataset.frames.path).st_mtime_ns},
        sort_keys=True,
    )
    kept = _read(path, key)
    if kept is not None:
        return kept
    print(f"hashing {len(dataset)} clips to find near-duplicates, once", flush=True)
    hashes = compute_hashes(dataset)
    try:
        with written_beside(path) as temporary:
            np.savez(temporary, key=np.array(key), frames=hashes.frames, motion=hashes.motion)
    except OSError as error:
        print(f"the hashes are not kept: {path}: {error.strerror}", file=sys.stderr)
    return hashes


def kept_at(frames_path: Path) -> Path:
    """Where the hashes of a frames.npy are kept."""
    return frames_path.with_name(f"{frames_path.stem}_hashes.npz")


def _read(path: Path, key: str) -> ClipHashes | None:
    try:
        with np.load(path, allow_pickle=False) as kept:
            if str(kept["key"]) != key:
                return None
            return ClipHashes(kept["frames"], kept["motion"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def compute_hashes(dataset: ClipDataset) -> ClipHashes:
    """The hashes of all clips, read one at a time."""
    length = min(dataset.frames.shape[1], FRAMES)
    wanted = window_frames(dataset.frames.shape[1], length)
    hashes = ClipHashes(
        np.zeros((len(dataset), length, BITS), np.int8), np.zeros((len(dataset), length - 1, BITS), np.int8)
    )
    with progress(len(dataset), unit="clips") as advance:
        for row in range(len(dataset)):
            pictures = small_grey(dataset.frames.read(row, wanted))
            hashes.frames[row] = hash_pictures(pictures, least=LEAST_TEXTURE)
            hashes.motion[row] = hash_pictures(np.abs(np.diff(pictures, axis=0)), least=LEAST_MOTION)
            advance()
    return hashes


def small_grey(clip: np.ndarray) -> np.ndarray:
    """uint8 `(T, H, W, 3)` as grey pictures float32 `(T, 32, 32)`, 0..255."""
    shrinks = min(clip.shape[1:3]) >= SIDE
    interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.float32) for frame in clip]
    return np.stack([cv2.resize(frame, (SIDE, SIDE), interpolation=interpolation) for frame in grey])


def hash_pictures(pictures: np.ndarray, *, least: float) -> np.ndarray:
    """int8 `(T, 255)` of pictures `(T, 32, 32)`; zeros where the low frequencies deviate by less than `least`.

    The discrete cosine transform's low frequencies, as in the usual perceptual hash, but with their sizes and not their
    signs alone: a data set's background can then be taken out later. A square root spreads small values over 8 bits.
    """
    orders, places = np.arange(FREQUENCIES)[:, None], np.arange(SIDE)[None] + 0.5
    cosines = np.cos(np.pi * orders * places / SIDE) * np.where(orders, np.sqrt(2 / SIDE), np.sqrt(1 / SIDE))
    coefficients = (cosines @ pictures @ cosines.T).reshape(len(pictures), FREQUENCIES**2)[:, 1:]
    size = np.linalg.norm(coefficients, axis=1, keepdims=True)
    shares = np.divide(coefficients, size, out=np.zeros_like(coefficients), where=size >= least * SIDE)
    return np.rint(127 * np.sign(shares) * np.sqrt(np.abs(shares))).astype(np.int8)


def unpacked(hashes: np.ndarray) -> np.ndarray:
    """int8 hashes as the float32 frequencies that they stand for, of length 1 or 0."""
    values = hashes.astype(np.float32) / 127
    return values * np.abs(values)


def mirror_signs() -> np.ndarray:
    """float32 (255,): a hash times this is the hash of the picture seen in a mirror.

    Left and right swap the sign of every odd horizontal frequency.
    """
    horizontal = np.arange(FREQUENCIES**2)[1:] % FREQUENCIES
    return np.where(horizontal % 2, -1, 1).astype(np.float32)
