"""Small synthetic videos, and copies of them with the changes that are common in data sets."""

import cv2
import numpy as np

SHAPE = (16, 40, 48)
COPIES = ("encoded", "flipped", "trimmed", "brightened", "all")


def video(seed, *, frames=48, scene=None):
    """Return uint8 `(frames, 40, 48, 3)`: blobs that move over the background `scene`, by default a different one."""
    rng = np.random.default_rng(seed)
    _, height, width = SHAPE
    backdrop = texture(rng if scene is None else np.random.default_rng(scene), height, width)
    blobs = [(rng.uniform(0, 1, 2), rng.uniform(-1, 1, 2), rng.integers(3, 8), rng.integers(0, 256, 3)) for _ in "abc"]
    images = []
    for number in range(frames):
        image = backdrop.copy()
        for start, speed, radius, colour in blobs:
            place = 0.5 + 0.5 * np.sin(2 * np.pi * (start + speed * number / frames))
            centre = tuple(round(part) for part in (place * (width, height)).tolist())
            cv2.circle(image, centre, int(radius), [int(part) for part in colour], -1)
        images.append(image)
    return np.stack(images)


def texture(rng, height, width):
    """Return an image of smooth random patches: uint8 `(height, width, 3)`."""
    return cv2.resize(rng.integers(0, 256, (5, 6, 3), np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)


def copied(frames, kind):
    """Return a modified copy of a video; `kind` is one of COPIES."""
    if kind in ("trimmed", "all"):
        frames = frames[7:-5]
    if kind in ("flipped", "all"):
        frames = frames[:, :, ::-1]
    if kind in ("brightened", "all"):
        frames = np.clip(frames * 1.2 + 15, 0, 255).astype(np.uint8)
    if kind in ("encoded", "all"):
        frames = np.stack([jpeg(frame) for frame in frames])
    return frames


def jpeg(frame):
    """Return a frame after lossy compression."""
    return cv2.imdecode(cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], cv2.IMREAD_COLOR)


def clip_of(frames):
    """Return the 16 frames that stage 1 extracts from a video."""
    return frames[np.arange(16) * max(len(frames) // 16, 1)]


def write_arrays(folder, clips, paths):
    """Write the three arrays of stage 1; the first part of a path is the class."""
    folder.mkdir(exist_ok=True)
    np.save(folder / "frames.npy", np.stack(clips))
    np.save(folder / "labels.npy", np.unique([path.split("/")[0] for path in paths], return_inverse=True)[1])
    np.save(folder / "video_file_paths.npy", np.array(paths))
    return folder
