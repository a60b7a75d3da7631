"""Frame-exact random access to a video file: frame i is always the i-th frame of a plain decode."""

from __future__ import annotations

import operator
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from tam_backend.errors import EmptyVideoError, UnreadableMediaError
from tam_backend.types import RgbFrame, Timeline
from tam_backend.video.base import FrameSource
from tam_backend.video.container import OpenVideo
from tam_backend.video.frame_index import FrameIndex, Keyframe, build_index, identity
from tam_backend.video.limits import check_index

CACHE_BYTES = 24 * 2**20
"""Decoded frames kept for stepping back: in yuv420p 17 at 1280 x 720, 8 at 1920 x 1080.

More is slower: with 128 MB, buffers that have left the processor's cache cost a sequential read a quarter more CPU time
(measured on 1280 x 720 H.264).
"""

# A jump this short is decoded through; restarting the decoder costs about as much.
_SHORT_JUMP = 8
# Frames that may come before their turn; more, and the frame that was due is taken for lost.
_LATE_FRAMES = 16


class VideoFile(FrameSource):
    """A video file as a `VideoSource`.

    Opening decodes one frame; the index of all frames is built when it is first needed. Reads from several threads
    wait for each other. Frames are the caller's own copies.

    Frames that a damaged file does not give up to a plain decode do not count. A frame that the file's index promises
    but the decoder cannot produce keeps its number, and reading it raises.

    Args:
        path: an existing video file.
        cache_bytes: bound of the cache of decoded frames.

    Raises:
        UnreadableMediaError: no video that can be decoded.
        EmptyVideoError: a video stream without a single frame.
        MediaTooLargeError: frames larger than `limits.MAX_PIXELS`.
    """

    def __init__(self, path: Path, *, cache_bytes: int = CACHE_BYTES) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._cache = _FrameCache(cache_bytes)
        self._reformatter = VideoReformatter()
        self._run: _Run | None = None
        self._lost: set[int] = set()
        self._closed = False
        with OpenVideo(path) as video:
            first = _first_frame(video)
            rate = video.stream.average_rate or video.stream.guessed_rate
        self._decoded_hw = (first.height, first.width)
        self._orientation = _orientation(first)
        size_hw = self._decoded_hw[::-1] if self._orientation.transpose else self._decoded_hw
        super().__init__(path.name, size_hw, float(rate) if rate else None)

    def __repr__(self) -> str:
        return f"<VideoFile {str(self._path)!r} {self._size_hw[1]}x{self._size_hw[0]}>"

    def __len__(self) -> int:
        with self._lock:
            return len(self._index)

    @property
    def timeline(self) -> Timeline | None:
        """When each frame is shown, as browsers do; None where the file does not tell of each (AVI)."""
        with self._lock:
            return self._index.timeline

    def __getitem__(self, index: int) -> RgbFrame:
        """Return frame `index` (0-based): (H, W, 3) uint8 RGB, contiguous, the caller's own.

        Raises:
            FrameOutOfRangeError: there is no such frame.
            UnreadableMediaError: the frame is damaged, or the video has been closed.
        """
        index = operator.index(index)
        with self._lock:
            if self._closed:
                raise UnreadableMediaError(f"{self.name} has been closed.", "Open it again.")
            check_index(self.name, index, len(self._index))
            return self._to_rgb(self._decoded(index))

    def close(self) -> None:
        """Give back the file handle and the cache; calling it twice is harmless."""
        with self._lock:
            self._closed = True
            self._stop()
            self._cache.clear()

    @cached_property
    def _index(self) -> FrameIndex:
        index = build_index(self._path)
        if not len(index):
            raise EmptyVideoError(f"{self.name} has no frame.", "Check the file.")
        return index

    def _decoded(self, frame: int) -> VideoFrame:
        cached = self._cache.get(frame)
        if cached is not None:
            return cached
        if frame not in self._lost:
            position = self._index.keyframe_position(frame)
            found = self._pull(frame) if self._worth_going_on(frame, position) else None
            # Damage, or a keyframe that is none, can hide a frame: then start earlier, at last from the beginning.
            for earlier in dict.fromkeys((position, max(position - 1, 0), 0)):
                if found is not None:
                    return found
                self._start(self._index.keyframes[earlier])
                found = self._pull(frame)
            if found is not None:
                return found
            self._lost.add(frame)
        raise UnreadableMediaError(
            f"Frame {frame} of {self.name} is damaged and cannot be decoded.",
            "Re-encode the video, or leave that frame out.",
        )

    def _worth_going_on(self, frame: int, keyframe_position: int) -> bool:
        if self._run is None or frame < self._run.next_rank:
            return False
        return self._index.keyframes[keyframe_position].rank - self._run.next_rank < _SHORT_JUMP

    def _start(self, keyframe: Keyframe) -> None:
        self._stop()
        self._run = _Run(self._path, self._index, keyframe)

    def _stop(self) -> None:
        if self._run is not None:
            self._run.close()
            self._run = None

    def _pull(self, frame: int) -> VideoFrame | None:
        """Decode on until `frame` comes; None if it does not."""
        run = self._run
        if run is None:
            return None
        late = 0
        for rank, decoded in run.frames:
            # A frame decoded without its references looks like any other but for this flag.
            if decoded.is_corrupt and not run.from_start:
                if rank >= frame:
                    return None
                continue
            self._cache.put(rank, decoded)
            run.next_rank = max(run.next_rank, rank + 1)
            if rank == frame:
                return decoded
            if rank > frame:
                late += 1
                if late > _LATE_FRAMES:
                    return None
        self._stop()
        return None

    def _to_rgb(self, decoded: VideoFrame) -> RgbFrame:
        height, width = self._decoded_hw
        # Streams may change their size on the way; the width and height keep every frame at the size of the first.
        rgb: Any = self._reformatter.reformat(decoded, width=width, height=height, format="rgb24").to_ndarray()
        return self._orientation.apply(rgb)


class _Run:
    """A decode in progress that began at a keyframe."""

    def __init__(self, path: Path, index: FrameIndex, keyframe: Keyframe) -> None:
        self.from_start = keyframe.ordinal == 0
        self.next_rank = self._first_rank = keyframe.rank
        self._video = OpenVideo(path)
        self._index = index
        self._path = path
        self.frames = self._decode(self._packets_from(keyframe))

    def close(self) -> None:
        self._video.close()

    def _packets_from(self, keyframe: Keyframe) -> Iterator[tuple[int, Packet[VideoStream]]]:
        if keyframe.timestamp is not None and keyframe.identity is not None and self._video.seek(keyframe.timestamp):
            numbered = self._number_after_seek(keyframe)
            first = next(numbered, None)
            if first is not None:
                yield first
                yield from numbered
                return
        if keyframe.ordinal > 0:  # the demuxer did not find it: read up to it without decoding
            self._video.close()
            self._video = OpenVideo(self._path)
        for ordinal, packet in enumerate(self._video.packets()):
            if ordinal >= keyframe.ordinal:
                yield ordinal, packet

    def _number_after_seek(self, keyframe: Keyframe) -> Iterator[tuple[int, Packet[VideoStream]]]:
        """Number packets from the first keyframe that is known; nothing if the seek went past `keyframe`."""
        ordinal: int | None = None
        for packet in self._video.packets():
            if ordinal is None:
                landed = self._index.known.get(identity(packet)) if packet.is_keyframe else None
                if landed is None:
                    continue
                if landed.ordinal > keyframe.ordinal:
                    return
                ordinal = landed.ordinal
            if ordinal >= keyframe.ordinal:
                yield ordinal, packet
            ordinal += 1

    def _decode(self, packets: Iterator[tuple[int, Packet[VideoStream]]]) -> Iterator[tuple[int, VideoFrame]]:
        """Yield (frame index, frame) in the order of decoding; frames that are not in the index are dropped."""
        for count, frame in enumerate(self._decode_all(packets)):
            rank = count if self._index.counted else self._index.rank_of.get(-1 if frame.pts is None else frame.pts, -1)
            # Leading pictures of an open GOP, shown before the keyframe, lack their references.
            if rank >= self._first_rank:
                yield rank, frame

    def _decode_all(self, packets: Iterator[tuple[int, Packet[VideoStream]]]) -> Iterator[VideoFrame]:
        for ordinal, packet in packets:
            packet.pts = ordinal
            yield from self._video.decode(packet)
        yield from self._video.decode(None)


class _FrameCache:
    """The decoded frames used last, bounded in bytes (but never fewer than one)."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._frames: OrderedDict[int, VideoFrame] = OrderedDict()

    def get(self, rank: int) -> VideoFrame | None:
        frame = self._frames.get(rank)
        if frame is not None:
            self._frames.move_to_end(rank)
        return frame

    def put(self, rank: int, frame: VideoFrame) -> None:
        replaced = self._frames.pop(rank, None)
        if replaced is not None:
            self._bytes -= _byte_size(replaced)
        self._frames[rank] = frame
        self._bytes += _byte_size(frame)
        while self._bytes > self._max_bytes and len(self._frames) > 1:
            _, dropped = self._frames.popitem(last=False)
            self._bytes -= _byte_size(dropped)

    def clear(self) -> None:
        self._frames.clear()
        self._bytes = 0


def _byte_size(frame: VideoFrame) -> int:
    return sum(plane.buffer_size for plane in frame.planes)


class _Orientation:
    """How a decoded picture is turned to be looked at: transposed or not, then mirrored along each axis or not."""

    def __init__(self, transpose: bool = False, mirror_x: bool = False, mirror_y: bool = False) -> None:
        self.transpose = transpose
        self._mirror_x = mirror_x
        self._mirror_y = mirror_y

    def apply(self, frame: RgbFrame) -> RgbFrame:
        if self.transpose:
            frame = frame.transpose(1, 0, 2)
        if self._mirror_x:
            frame = frame[:, ::-1]
        if self._mirror_y:
            frame = frame[::-1]
        return np.ascontiguousarray(frame)


def _orientation(frame: VideoFrame) -> _Orientation:
    """Read the display matrix, (x', y') = (a x + c y, b x + d y), to the nearest quarter turn."""
    matrix = cast(Mapping[str, bytes], frame.side_data).get("DISPLAYMATRIX")
    if matrix is None:
        return _Orientation()
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    if abs(a) >= abs(b):
        return _Orientation(mirror_x=a < 0, mirror_y=d < 0)
    return _Orientation(transpose=True, mirror_x=c < 0, mirror_y=b < 0)


def _first_frame(video: OpenVideo) -> VideoFrame:
    had_packets = False
    for packet in video.packets():
        had_packets = True
        for frame in video.decode(packet):
            return frame
    for frame in video.decode(None):
        return frame
    if had_packets or video.broken:
        raise UnreadableMediaError(f"No frame of {video.name} can be decoded.", "Check that it plays; re-encode it.")
    raise EmptyVideoError(f"{video.name} has no frame.", "Check the file.")
