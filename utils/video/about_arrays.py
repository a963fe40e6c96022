"""What the files of an extraction state about its clips: the time that they span, how their frames were shrunk."""

import json
from collections.abc import Collection
from pathlib import Path

import numpy as np

from utils.video.extraction_state import LOG, RECORD

FRAME_RATES = (1.0, 1000.0)  # headers with other rates are wrong


def clip_seconds(folder: Path, paths: Collection[str], stored_frames: int) -> dict | None:
    """Return quartiles of the time in seconds that the clips of `paths` span, from the log of stage 1 in `folder`.

    A clip of T = `stored_frames` frames from a video of n frames has every (n // T)-th frame, so it spans T (n // T)
    frames. The result has the keys "median", "lower_quartile", "upper_quartile" and "clips", the number of clips whose
    video states a plausible frame rate. None without a log, or if it says nothing about these clips.
    """
    wanted, spans = set(paths), {}
    try:
        lines = (folder / LOG).read_bytes().splitlines()
    except OSError:
        return None
    for line in lines:
        try:
            outcome = json.loads(line)
            path, frames, rate = outcome["path"], int(outcome["frame_count"]), float(outcome["frame_rate"])
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            continue  # a line of another program
        if path in wanted and FRAME_RATES[0] <= rate <= FRAME_RATES[1] and 0 < frames < 2**31:
            spans[path] = min(max(frames // stored_frames, 1) * stored_frames, frames) / rate
    if not spans:
        return None
    lower, median, upper = np.quantile(list(spans.values()), [0.25, 0.5, 0.75])
    return {
        "median": float(median),
        "lower_quartile": float(lower),
        "upper_quartile": float(upper),
        "clips": len(spans),
    }


def shrinking_of(folder: Path) -> str:
    """Return how frames were shrunk for the arrays in `folder`, see `stored_frame`; "bilinear" if stage 1 did not."""
    try:
        shrinking = json.loads((folder / RECORD).read_bytes())["settings"]["shrinking"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return "bilinear"
    return "area" if shrinking == "area" else "bilinear"
