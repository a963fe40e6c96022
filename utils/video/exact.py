"""Exact reading of video files: the frames that a file holds, not those that its header states.

The packets of the video stream are read first: their number and times are those of the frames, and only groups of
pictures that hold a wanted frame are decoded. Where packets and frames may differ, everything is decoded and counted.

PyAV is imported when the first video is opened, to keep the scripts' `--help` fast.
"""

import bisect
import contextlib
import math
import os
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from utils.video.bitstream import is_uncertain, one_frame_per_packet, starts_afresh
from utils.video.containers import OPENING, VideoError, checked_file
from utils.video.decoding import LONGEST_STEP, Clock, Source
from utils.video.pictures import Pictures

KEPT_BYTES = 64 * 2**20  # of packets; larger videos are read twice instead
RATES = (0.001, 1000.0)  # frames per second that are plausible


class Video(Source):
    """An opened video file.

    count: number of its frames. rate: mean number of frames per second, from their times; 0 if unknown.
    """

    def __init__(self, path: str):
        super().__init__(path, **OPENING)
        try:
            self._scan()
        except BaseException:
            self.close()
            raise

    @property
    def note(self) -> str | None:
        """What is wrong with the file although frames were read from it, or None."""
        if self._stated - self._held > max(1, self._stated // 50):  # headers of HMDB51 state one frame too many
            return f"breaks off: {self._held} of {self._stated} frames are in the file"
        if not self._stated and self._seconds < 0.9 * self._stated_seconds - 0.5:
            return f"breaks off: {self._seconds:.1f} of {self._stated_seconds:.1f} seconds are in the file"
        if self._is_broken:
            return "breaks off: its rest cannot be read"
        return "is damaged: frames may show parts of others" if self._is_damaged else None

    def select(
        self, numbers_of: Callable[[int], Sequence[int]], render: Callable[[np.ndarray], np.ndarray]
    ) -> list[np.ndarray]:
        """Return `render(frame)` for the frames whose numbers `numbers_of(count)` names.

        `numbers_of` may raise VideoError. Frames are upright, uint8 `(height, width, 3)`, BGR.
        """
        if self._is_regular:
            numbers = numbers_of(self.count)
            found = self._decode_groups(set(numbers), render)
            if found is not None:
                return [found[number] for number in numbers]
        return self._decode_all(numbers_of, render)

    def __iter__(self) -> Iterator[tuple[float, Callable[[], np.ndarray]]]:
        """Yield the time of each frame in seconds, from 0 on, and a function that returns the frame as in `select`."""
        clock = Clock(self.rate or 25.0)
        for frame in self.frames(self._packets()):
            stamp = None if frame.pts is None else float(frame.pts * self._time_base)
            yield clock.time_of(stamp), lambda frame=frame: self.picture(frame)

    def _scan(self) -> None:
        """Read all packets: what the file holds, and where decoding can start."""
        kept, held, stamps, shown, starts, doubts = [], 0, [], 0, [], 0
        name, intra = self._context.codec.canonical_name, self._context.codec.intra_only
        for packet in self.packets():
            if intra or (packet.is_keyframe and starts_afresh(name, packet, self._context.extradata)):
                starts.append(len(stamps))
            stamps.append((packet.pts, packet.dts))
            shown += not packet.is_discard
            doubts += is_uncertain(name, packet)
            held += packet.size
            if held <= KEPT_BYTES:
                kept.append(packet)
            else:
                kept.clear()
        self._kept, self._starts, self.count = kept, starts, shown
        if not stamps:
            raise VideoError("no frame can be decoded")
        self._pts = [pts for pts, _ in stamps]
        self._is_regular = (
            not doubts
            and starts[:1] == [0]
            and len(set(self._pts)) == len(self._pts)
            and one_frame_per_packet(self._context)
        )
        self.rate = self._mean_rate(stamps)
        self._stated, self._held = self._stream.frames, len(stamps) + self._empty
        self._seconds = self.count / self.rate if self.rate else math.inf
        is_alone = len(self._container.streams) == 1  # otherwise the sound may be longer
        self._stated_seconds = (self._container.duration or 0) / 1e6 if is_alone else 0.0

    def _mean_rate(self, stamps: list[tuple[int | None, int | None]]) -> float:
        if self._is_regular:
            ticks = np.sort(self._pts)
        else:
            ticks = np.array([pts if dts is None else dts for pts, dts in stamps if (pts, dts) != (None, None)])
        steps = np.diff(ticks) * float(self._time_base)
        self._is_even = len(steps) > 0 and steps.max() < 1.5 * steps.min()  # no packet is missing
        steps = steps[(steps > 0) & (steps <= LONGEST_STEP)]
        rate = round(float(1 / steps.mean()), 6) if len(steps) else float(self._stream.average_rate or 0)
        return rate if RATES[0] <= rate <= RATES[1] else 0.0

    def _packets(self) -> Iterator:
        """Yield all packets again, for a decoder that starts afresh."""
        if not self._kept:
            self._container.close()
            self.open()
            yield from self.packets()
        else:
            self._context.flush_buffers()
            yield from self._kept

    def _decode_groups(self, wanted: set[int], render: Callable) -> dict[int, np.ndarray] | None:
        """Return the rendered frames of regular packets by number; None if a packet does not yield its frame."""
        numbers, found = {}, {}
        order = np.argsort(self._pts)
        for number in wanted:
            numbers[self._pts[order[number]]] = number
        ranges = self._ranges([int(order[number]) for number in wanted])
        first, last = ranges.pop(0)

        def decode(packet) -> None:
            for frame in self.decoded(packet):
                if frame.pts in numbers:
                    found[numbers[frame.pts]] = render(self.picture(frame))

        for number, packet in enumerate(self._packets()):
            if number < first:
                continue
            if self._is_even:  # frames that are neither wanted nor referred to are skipped
                self._context.skip_frame = "DEFAULT" if packet.pts in numbers else "NONREF"
            decode(packet)
            if number == last:
                decode(None)
                if not ranges:
                    break
                self._context.flush_buffers()
                first, last = ranges.pop(0)
        self._context.skip_frame = "DEFAULT"
        return found if len(found) == len(wanted) and not self._is_damaged else None

    def _ranges(self, packets: Sequence[int]) -> list[tuple[int, int]]:
        """Return the ranges of packets, first and last, whose decoding yields the frames of the given packets.

        A frame that is shown before the first one of its group, as in open groups, needs the group before.
        """
        ends: dict[int, int] = {}
        for packet in packets:
            group = bisect.bisect_right(self._starts, packet) - 1
            while group and self._pts[self._starts[group]] > self._pts[packet]:
                group -= 1
            ends[self._starts[group]] = max(ends.get(self._starts[group], 0), packet)
        ranges: list[tuple[int, int]] = []
        for first, last in sorted(ends.items()):
            if ranges and first <= ranges[-1][1] + 1:
                first, last = ranges[-1][0], max(last, ranges.pop()[1])
            ranges.append((first, last))
        return ranges

    def _decode_all(self, numbers_of: Callable, render: Callable) -> list[np.ndarray]:
        """Return the rendered frames from a pass over all frames, whose number becomes `count`.

        A second pass follows only if the packets suggested another number.
        """
        numbers: Sequence[int] = ()
        with contextlib.suppress(VideoError):
            numbers = numbers_of(self.count)
        found, counted = {}, None
        while counted is None or not found.keys() >= set(numbers):
            if counted == 0:
                raise VideoError("no frame can be decoded")
            missing, counted = set(numbers) - found.keys(), 0
            for counted, frame in enumerate(self.frames(self._packets()), start=1):
                if counted - 1 in missing:
                    found[counted - 1] = render(self.picture(frame))
            self.count, numbers = counted, numbers_of(counted) if counted else numbers
        return [found[number] for number in numbers]


@contextlib.contextmanager
def opened_video(path: str | os.PathLike) -> Iterator[Video | Pictures]:
    """Open a video file or a folder of numbered pictures. Raises VideoError if it is no readable video."""
    video = Pictures(os.path.abspath(path)) if os.path.isdir(path) else Video(checked_file(path))
    try:
        yield video
    finally:
        video.close()
