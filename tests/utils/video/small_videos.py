"""Small videos, extractions of them, and an extraction that is killed."""

import fcntl
import json
import multiprocessing
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import xxhash

from tests.scripts import PROJECT
from utils.video.video import read_clip_and_info

SMALL = {"sequence_length": 4, "frame_height": 20, "frame_width": 24, "workers": 2, "video_timeout": 600}
ONE_WORKER = SMALL | {"workers": 1}


def write_video(path, frame_count, level=0):
    """Write a video of 48x36 pixels whose frame k has the grey level `level` + 4k."""
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (48, 36))
    for k in range(frame_count):
        writer.write(np.full((36, 48, 3), level + 4 * k, np.uint8))
    writer.release()


def claim_frames(path, claimed):
    """Overwrite the frame counts in the two headers of an AVI file."""
    data = bytearray(path.read_bytes())
    main, stream = data.index(b"avih"), data.index(b"strh")
    struct.pack_into("<I", data, main + 8 + 16, claimed)
    struct.pack_into("<I", data, stream + 8 + 32, claimed)
    path.write_bytes(data)
    return path


def write_classes(folder, count):
    """Write `count` videos in two classes to a folder, one of them too short for four frames; return the folder."""
    digits = len(str(count - 1))
    for k in range(count):
        write_video(folder / "ab"[k % 2] / f"{k:0{digits}}.avi", 3 if k == 2 else 8, level=200 // count * k)
    return folder


def read_first_half(path, shape):
    """Kill the main process at the first video of class b, once four videos of class a are logged."""
    if "/b/" in path:
        log = Path(os.environ["EXTRACTION_LOG"])
        while log.read_text().count("\n") < 4:  # results are logged while later videos are read
            time.sleep(0.01)
        os.kill(multiprocessing.parent_process().pid, signal.SIGKILL)
    return read_clip_and_info(path, shape)


def kill_at_class_b(videos, output):
    """Run an extraction in a process that is killed at the first video of class b."""
    code = (
        "from tests.utils.video.small_videos import ONE_WORKER, read_first_half\n"
        "from utils.video.extract import extract\n"
        f"if __name__ == '__main__': extract({str(videos)!r}, {str(output)!r}, reader=read_first_half, **ONE_WORKER)"
    )
    environment = os.environ | {
        "PYTHONPATH": str(PROJECT),
        "EXTRACTION_LOG": str(output / ".extraction" / "extraction_log.jsonl"),
    }
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, env=environment, stderr=subprocess.PIPE, text=True, timeout=120
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    with open(output / ".extraction" / "frames.npy", "rb") as frames:
        fcntl.flock(frames, fcntl.LOCK_EX)  # waits until its workers have ended


def remembered_hash(output):
    """Return the hash that the extraction has left, after checking that it belongs to frames.npy and is correct."""
    found, status = json.loads((output / "frames.npy.hash.json").read_text()), (output / "frames.npy").stat()
    assert [found[name] for name in ("size", "mtime_ns", "inode")] == [
        status.st_size,
        status.st_mtime_ns,
        status.st_ino,
    ]
    rows = b"".join(xxhash.xxh3_128_digest(row.tobytes()) for row in np.load(output / "frames.npy"))
    assert found["digest"] == xxhash.xxh3_128_hexdigest(rows)
    return found["digest"]
