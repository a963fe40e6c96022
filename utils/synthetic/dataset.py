"""A set of synthetic action videos on disk: real files in class folders, rendered once and reused."""

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from utils.runtime.devices import cores
from utils.runtime.errors import UserError
from utils.runtime.files import exclusive_lock, read_json, require_free_space, write_json, written_beside
from utils.runtime.interruption import between_steps
from utils.runtime.isolation import Lost, run_isolated
from utils.synthetic.actions import ACTIONS, FRAME_COUNTS, Look, render_clip

FRAME_RATE = 25.0
SETTINGS_NAME = "synthetic.json"
LOCK_NAME = ".synthetic.lock"
RENDERING = 1  # raised whenever the pictures change, so that an older set is not taken for a new one
BYTES_PER_PIXEL = 0.2  # of MPEG-4 with this noise, generously
SECONDS_A_VIDEO = 600.0  # no machine needs that long
CLIPS_PER_WORKER = 20  # below this a worker process costs more than it saves

Video = tuple[str, int, int]  # class, subject, clip


@dataclass(frozen=True)
class SyntheticSet:
    """A rendered set: its folder, class names, video paths relative to the folder, and whether it was there already."""

    folder: Path
    class_names: tuple[str, ...]
    video_paths: tuple[str, ...]
    reused: bool


def render_dataset(
    output_path: str | os.PathLike,
    *,
    classes: int = 10,
    subjects: int = 8,
    clips: int = 4,
    seed: int = 0,
    frame_height: int = 120,
    frame_width: int = 160,
    clutter: float = 1.0,
    noise: float = 5.0,
    jitter: float = 1.0,
    phase_spread: float = 0.25,
    workers: int | None = None,
    progress: Callable | None = None,
) -> SyntheticSet:
    """Renders `classes` x `subjects` x `clips` videos as `<output_path>/<Class>/v_<Class>_gNN_cNN.avi`, MPEG-4, 25 fps.

    `classes` is even, for classes come in pairs; `clips` counts those of each subject in a class; gNN is the subject,
    the same person in every class. A video depends on the seed, its class, subject and number alone, so a larger set
    holds a smaller one. `clutter`, `noise`, `jitter` and `phase_spread` set how hard the task is (Look in
    actions.py). `workers` is the number of processes, by default the number of cores; with more than one,
    the calling script needs the usual `if __name__ == "__main__"`. `progress` is progress.progress, or None for
    silence.

    The settings are written beside the class folders when all videos are there; a set with equal settings is reused.
    Raises UserError if a setting is out of its range, or the folder holds a set with other settings or other files.
    """
    look = Look(seed, frame_height, frame_width, clutter, noise, jitter, phase_spread)
    check_settings(classes=classes, subjects=subjects, clips=clips, look=look)
    folder = Path(output_path)
    settings = {"rendering": RENDERING, "classes": classes, "subjects": subjects, "clips": clips} | asdict(look)
    class_names, wanted = videos_of(classes, subjects, clips)
    with exclusive_lock(folder / LOCK_NAME, what=f"the synthetic set in {folder}"):
        missing = missing_videos(folder, settings, wanted)
        needed_bytes = len(missing) * FRAME_COUNTS[1] * frame_height * frame_width * BYTES_PER_PIXEL
        require_free_space(folder, round(needed_bytes), what=f"the synthetic set in {folder}")
        with (progress or silence)(len(wanted), done=len(wanted) - len(missing), unit="videos rendered") as advance:
            for _ in render_videos(missing, folder=folder, look=look, workers=workers):
                advance()
        write_json(folder / SETTINGS_NAME, settings)
    return SyntheticSet(folder, tuple(class_names), tuple(video_path(*video) for video in wanted), not missing)


def videos_of(classes: int, subjects: int, clips: int) -> tuple[list[str], list[Video]]:
    """The sorted class names of a set, and its videos in sorted order."""
    class_names = sorted(tuple(ACTIONS)[:classes])
    return class_names, list(itertools.product(class_names, range(1, subjects + 1), range(1, clips + 1)))


def synthetic_paths(classes: int, subjects: int, clips: int) -> list[str]:
    """The paths of the videos that `render_dataset` makes, below its `output_path`, in sorted order."""
    return [video_path(*video) for video in videos_of(classes, subjects, clips)[1]]


@contextlib.contextmanager
def silence(total: int, *, done: int = 0, unit: str) -> Iterator[Callable[[], None]]:
    yield lambda: None


def check_settings(*, classes: int, subjects: int, clips: int, look: Look) -> None:
    """Raises UserError that names the first setting out of its range."""
    if classes not in range(2, len(ACTIONS) + 1, 2):
        raise UserError(f"--classes must be an even number from 2 to {len(ACTIONS)} (they are pairs), got {classes}")
    for name, value in (("subjects", subjects), ("clips", clips)):
        if not 1 <= value <= 99:  # two digits in the files' names
            raise UserError(f"--{name} must be from 1 to 99, got {value}")
    for name in ("frame_height", "frame_width"):
        if getattr(look, name) < 32 or getattr(look, name) % 2:
            raise UserError(f"--{name} must be an even number of at least 32, got {getattr(look, name)}")
    for name in ("clutter", "noise", "jitter"):
        if not 0 <= getattr(look, name) < float("inf"):
            raise UserError(f"--{name} must be a number of at least 0, got {getattr(look, name)}")
    if not 0 <= look.seed < 2**32:
        raise UserError(f"--seed must be a whole number from 0 to {2**32 - 1}, got {look.seed}")
    if not 0 <= look.phase_spread <= 1:
        raise UserError(f"--phase_spread must be a number from 0 to 1, got {look.phase_spread}")


def video_path(action: str, subject: int, clip: int) -> str:
    """SitDown/v_SitDown_g03_c02.avi"""
    return f"{action}/v_{action}_g{subject:02d}_c{clip:02d}.avi"


def missing_videos(folder: Path, settings: dict, wanted: list[Video]) -> list[Video]:
    """The videos still to be rendered: of a complete set those that were deleted since, of an incomplete one all.

    An incomplete set may stem from a killed run with other settings, so none of its videos is trusted.
    Raises UserError if the folder is not for this set.
    """
    settings_path = folder / SETTINGS_NAME
    if settings_path.exists():
        found = read_json(settings_path)
        differing = [name for name in settings if not isinstance(found, dict) or found.get(name) != settings[name]]
        if differing:
            name = differing[0]
            raise UserError(
                f"{folder} holds a synthetic set with {name} {found.get(name) if isinstance(found, dict) else None}, "
                f"expected {settings[name]}: name another folder or remove this one"
            )
        return [video for video in wanted if not (folder / video_path(*video)).is_file()]
    for leftover in folder.glob("*/.*.partial.avi"):
        leftover.unlink()
    known = {folder / video_path(*video) for video in wanted} | {folder / LOCK_NAME}
    strange = sorted(path for path in folder.rglob("*") if path.is_file() and path not in known)
    if strange:
        raise UserError(f"{folder} must be empty or hold this synthetic set, found {strange[0].relative_to(folder)}")
    return wanted


def render_videos(videos: list[Video], *, folder: Path, look: Look, workers: int | None) -> Iterator[None]:
    """Renders the videos, over several processes where there is enough to do; yields once for each."""
    if not videos:
        return
    render = partial(render_video, folder=folder, look=look)
    workers = min(workers or cores(), max(1, len(videos) // CLIPS_PER_WORKER))
    if workers == 1:
        yield from map(render, videos)
        return
    with between_steps() as check:
        tasks = ((video,) for video in videos)
        rendered = run_isolated(
            render, tasks, workers=workers, seconds_allowed=SECONDS_A_VIDEO, initializer=one_thread, check=check
        )
        with contextlib.closing(rendered):
            for video, result in zip(videos, rendered):
                if isinstance(result, Lost):
                    raise UserError(f"{folder / video_path(*video)} could not be rendered: it {result.reason}")
                yield


def one_thread() -> None:
    cv2.setNumThreads(1)


def render_video(video: Video, *, folder: Path, look: Look) -> None:
    """Renders one video into its file, which is complete or absent. Raises UserError if OpenCV cannot write it."""
    action, subject, clip = video
    path = folder / video_path(action, subject, clip)
    with written_beside(path) as temporary:
        write_video(temporary, render_clip(action, subject=subject, clip=clip, look=look))


def write_video(path: Path, frames: np.ndarray) -> None:
    """Writes frames, uint8 (frames, height, width, 3), RGB, as MPEG-4 in .avi."""
    height, width = frames.shape[1:3]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"XVID"), FRAME_RATE, (width, height))
    if not writer.isOpened():
        raise UserError(f"OpenCV cannot write MPEG-4 video to {path}")
    try:
        for frame in frames:
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    finally:
        writer.release()
