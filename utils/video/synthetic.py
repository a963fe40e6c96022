"""A data set of synthetic action videos: video files in class folders, rendered once and reused."""

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import cv2

from utils.base.errors import UserError
from utils.base.files import read_json, require_free_space, write_json, written_beside
from utils.base.in_order import Lost
from utils.base.interruption import between_steps
from utils.base.isolation import run_isolated
from utils.base.locks import exclusive_lock
from utils.base.machine import cores
from utils.video.actions import ACTIONS, FRAME_COUNTS, Look, render_clip

FRAME_RATE = 25.0
SETTINGS_NAME = "synthetic.json"
LOCK_NAME = ".synthetic.lock"
RENDERING = 1  # version of the pictures; a set rendered by another version is not reused
BYTES_PER_PIXEL = 0.2  # a generous estimate for MPEG-4 with the default noise
SECONDS_PER_VIDEO = 600.0  # far more than rendering takes on any machine
CLIPS_PER_WORKER = 20  # with fewer clips, starting a process takes longer than it saves

Video = tuple[str, int, int]  # class, subject, clip


@dataclass(frozen=True)
class SyntheticSet:
    """A rendered data set. `video_paths` are relative to `folder`. `reused`: no video had to be rendered."""

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
    """Render `classes` x `subjects` x `clips` videos as `<output_path>/<Class>/v_<Class>_gNN_cNN.avi`, MPEG-4, 25 fps.

    `classes` is an even number, because classes come in pairs. gNN is the subject, the same person in every class; cNN
    is one of the `clips` clips per class and subject. A video depends only on its class, subject and clip number and
    on the settings below, so that a larger set contains every smaller one. The settings from `seed` to `phase_spread`
    are those of `Look` in actions.py.

    `workers` is the number of processes, by default one per core; a script that calls this function needs the
    `if __name__ == "__main__"` guard. `progress` is utils.base.progress.progress, or None for no output.

    The settings are written to synthetic.json when all videos are complete. A set with equal settings is reused.
    Raises UserError if a setting is out of range, or if the folder holds a set with other settings or other files.
    """
    look = Look(seed, frame_height, frame_width, clutter, noise, jitter, phase_spread)
    check_settings(classes=classes, subjects=subjects, clips=clips, look=look)
    folder = Path(output_path)
    settings = {"rendering": RENDERING, "classes": classes, "subjects": subjects, "clips": clips} | asdict(look)
    wanted = videos_of(classes, subjects, clips)
    with exclusive_lock(folder / LOCK_NAME, what=f"the synthetic set in {folder}"):
        missing = missing_videos(folder, settings, wanted)
        needed_bytes = len(missing) * FRAME_COUNTS[1] * frame_height * frame_width * BYTES_PER_PIXEL
        require_free_space(folder, round(needed_bytes), what=f"the synthetic set in {folder}")
        bar = contextlib.nullcontext(lambda: None)
        if progress is not None:
            bar = progress(len(wanted), done=len(wanted) - len(missing), unit="videos rendered")
        with bar as advance:
            for _ in render_videos(missing, folder=folder, look=look, workers=workers):
                advance()
        write_json(folder / SETTINGS_NAME, settings)
    class_names = tuple(sorted({action for action, _, _ in wanted}))
    return SyntheticSet(folder, class_names, tuple(video_path(*video) for video in wanted), not missing)


def videos_of(classes: int, subjects: int, clips: int) -> list[Video]:
    """Return the videos of a set, sorted by path."""
    return list(itertools.product(sorted(tuple(ACTIONS)[:classes]), range(1, subjects + 1), range(1, clips + 1)))


def synthetic_paths(classes: int, subjects: int, clips: int) -> list[str]:
    """Return the paths of the videos that `render_dataset` writes, relative to its `output_path`, sorted."""
    return [video_path(*video) for video in videos_of(classes, subjects, clips)]


def check_settings(*, classes: int, subjects: int, clips: int, look: Look) -> None:
    """Raise UserError if a setting is out of range."""
    if classes not in range(2, len(ACTIONS) + 1, 2):
        raise UserError(f"--classes must be an even number from 2 to {len(ACTIONS)}, got {classes}")
    for name, value in (("subjects", subjects), ("clips", clips)):
        if not 1 <= value <= 99:  # file names have two digits
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
    """Return the path of a video, for example SitDown/v_SitDown_g03_c02.avi."""
    return f"{action}/v_{action}_g{subject:02d}_c{clip:02d}.avi"


def missing_videos(folder: Path, settings: dict, wanted: list[Video]) -> list[Video]:
    """Return the videos to render: those deleted from a complete set, or all videos of an incomplete one.

    The videos of an incomplete set are not reused, because an interrupted run may have had other settings.
    Raises UserError if the folder holds a set with other settings or other files.
    """
    settings_path = folder / SETTINGS_NAME
    if settings_path.exists():
        content = read_json(settings_path)
        found = content if isinstance(content, dict) else {}
        for name, value in settings.items():
            if found.get(name) != value:
                raise UserError(
                    f"{folder} holds a synthetic set with {name} {found.get(name)}, expected {value}; "
                    "choose another folder or delete this one"
                )
        return [video for video in wanted if not (folder / video_path(*video)).is_file()]
    for leftover in folder.glob("*/.*.partial.avi"):
        leftover.unlink()
    known = {folder / video_path(*video) for video in wanted} | {folder / LOCK_NAME}
    unknown = sorted(path for path in folder.rglob("*") if path.is_file() and path not in known)
    if unknown:
        raise UserError(f"{folder} must be empty or hold this synthetic set, found {unknown[0].relative_to(folder)}")
    return wanted


def render_videos(videos: list[Video], *, folder: Path, look: Look, workers: int | None) -> Iterator[None]:
    """Render the videos, in several processes if there are enough of them; yield after each video."""
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
            render, tasks, workers=workers, seconds_allowed=SECONDS_PER_VIDEO, initializer=one_thread, check=check
        )
        with contextlib.closing(rendered):
            for video, result in zip(videos, rendered):
                if isinstance(result, Lost):
                    raise UserError(f"{folder / video_path(*video)} could not be rendered: it {result.reason}")
                yield


def one_thread() -> None:
    cv2.setNumThreads(1)


def render_video(video: Video, *, folder: Path, look: Look) -> None:
    """Render a video and write it as MPEG-4, atomically. Raises UserError if OpenCV cannot write it."""
    action, subject, clip = video
    path, size = folder / video_path(*video), (look.frame_width, look.frame_height)
    frames = render_clip(action, subject=subject, clip=clip, look=look)
    with written_beside(path) as temporary:
        writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*"XVID"), FRAME_RATE, size)
        if not writer.isOpened():
            raise UserError(f"OpenCV cannot write MPEG-4 video to {path}")
        for frame in frames:
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        writer.release()
