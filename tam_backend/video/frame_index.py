"""Which packet of a file holds frame i, and from which keyframe decoding has to start to get it.

Packets are known by their ordinal in the file, never by their time: times may be missing, negative or doubled. The
reader stamps the ordinal on every packet before decoding, and the decoder hands it on to the frame.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from tam_backend.types import Timeline
from tam_backend.video.container import OpenVideo

Identity = tuple[int | None, int | None, int]
"""(pts, byte position, size): how a packet is known again after a seek."""

# Where a packet is a frame and its pts is its place in the order, as long as the times are sound. Everything else
# (mpeg-ts cut in mid-stream, AVI without pts, VP8's invisible frames, MPEG-4's packed ones) is decoded once instead.
_CLEAN_FORMATS = frozenset({"mov", "mp4", "matroska", "webm"})
_CLEAN_CODECS = frozenset({"h264", "hevc", "vp9", "av1", "libdav1d", "mjpeg", "png", "prores", "dnxhd", "ffv1"})

# Here packets have no times but those that FFmpeg makes up, wrongly where frames are stored out of order.
_UNTIMED_FORMATS = frozenset({"avi", "h264", "hevc", "m4v", "mjpeg", "mpegvideo", "obu", "h261", "h263"})


def identity(packet: Packet[VideoStream]) -> Identity:
    """Return what stays the same of a packet however the demuxer got there."""
    return packet.pts, packet.pos, packet.size


@dataclass(frozen=True)
class Keyframe:
    """A packet that decoding can start at.

    Args:
        ordinal: its place in the file, counted in packets of the stream.
        rank: the index of its frame.
        timestamp: where to ask the demuxer to seek, in the stream's time base; None = the file cannot tell.
        identity: how to know it again, or None if another keyframe looks the same.
    """

    ordinal: int
    rank: int
    timestamp: int | None
    identity: Identity | None


@dataclass(frozen=True, eq=False)
class FrameIndex:
    """The frames of a file in the order in which a plain decode gives them.

    Args:
        ordinals: (frames,) int64: frame index -> ordinal of its packet.
        keyframes: by rank; the first is the start of the file.
        counted: True where a packet's ordinal does not tell its frame; frames are then counted from the start.
        timeline: when the frames are shown; None where the file does not tell of each.
    """

    ordinals: NDArray[np.int64]
    keyframes: tuple[Keyframe, ...]
    counted: bool = False
    timeline: Timeline | None = None

    def __len__(self) -> int:
        return len(self.ordinals)

    @cached_property
    def rank_of(self) -> dict[int, int]:
        """Ordinal of a packet -> index of its frame."""
        return {int(ordinal): rank for rank, ordinal in enumerate(self.ordinals)}

    @cached_property
    def known(self) -> dict[Identity, Keyframe]:
        """Keyframes by identity."""
        return {keyframe.identity: keyframe for keyframe in self.keyframes if keyframe.identity is not None}

    @cached_property
    def _keyframe_ranks(self) -> NDArray[np.int64]:
        return np.array([keyframe.rank for keyframe in self.keyframes], dtype=np.int64)

    def keyframe_position(self, frame: int) -> int:
        """Return the place in `keyframes` of the last one from which `frame` can be decoded."""
        position = int(np.searchsorted(self._keyframe_ranks, frame, side="right")) - 1
        # A frame shown after a keyframe but stored before it does not come when decoding starts there.
        while position > 0 and self.keyframes[position].ordinal > self.ordinals[frame]:
            position -= 1
        return max(position, 0)


def build_index(path: Path) -> FrameIndex:
    """Index a video file: by reading its packets where their times can be relied on, else by decoding it once."""
    with OpenVideo(path) as video:
        packets = [_PacketRow.of(packet) for packet in video.packets()]
        index = _index_by_times(packets) if _is_clean(video, packets) else None
        timed = not _UNTIMED_FORMATS.intersection(video.format_name.split(","))
        tick_s, delay_s = float(video.stream.time_base or 0) if timed else 0.0, video.delay_s
    if index is None:
        with OpenVideo(path) as video:
            index = _index_by_decoding(video, packets)
    return replace(index, timeline=_timeline(index, packets, tick_s, delay_s))


def _timeline(index: FrameIndex, packets: list[_PacketRow], tick_s: float, delay_s: float) -> Timeline | None:
    rows = [] if index.counted else [packets[ordinal] for ordinal in index.ordinals.tolist()]
    ticks = [row.pts for row in rows if row.pts is not None]
    if not rows or len(ticks) < len(rows) or tick_s <= 0:
        return None
    # Not below 0: nothing is shown there. Damaged files have times that go back.
    starts_s = np.maximum.accumulate(np.maximum(np.array(ticks, np.float64) * tick_s + delay_s, 0.0))
    usual = float(np.median(np.diff(ticks))) if len(ticks) > 1 else 0.0
    return Timeline(starts_s, float(starts_s[-1]) + tick_s * (rows[-1].duration or max(usual, 0.0)))


@dataclass(frozen=True, slots=True)
class _PacketRow:
    pts: int | None
    dts: int | None
    identity: Identity
    keyframe: bool
    discard: bool
    corrupt: bool
    duration: int | None

    @classmethod
    def of(cls, packet: Packet[VideoStream]) -> _PacketRow:
        return cls(
            packet.pts,
            packet.dts,
            identity(packet),
            packet.is_keyframe,
            packet.is_discard,
            packet.is_corrupt,
            packet.duration,
        )

    @property
    def timestamp(self) -> int | None:
        # MP4 seeks by dts, Matroska by pts; too early only costs packets that are read and dropped.
        times = [time for time in (self.pts, self.dts) if time is not None]
        return min(times) if times else None


def _is_clean(video: OpenVideo, packets: list[_PacketRow]) -> bool:
    if video.broken or not packets or not packets[0].keyframe:
        return False
    if not _CLEAN_FORMATS.intersection(video.format_name.split(",")):
        return False
    if video.stream.codec_context.name not in _CLEAN_CODECS:
        return False
    # A file cut short after its header promises more than it holds.
    if video.stream.frames and video.stream.frames != len(packets):
        return False
    times = [packet.pts for packet in packets if packet.pts is not None]
    if len(set(times)) != len(packets) or any(packet.corrupt for packet in packets):
        return False
    # Frames shown before the first keyframe refer to a picture that was cut away.
    return min(times) == packets[0].pts


def _index_by_times(packets: list[_PacketRow]) -> FrameIndex:
    shown = [(packet.pts, ordinal) for ordinal, packet in enumerate(packets) if not packet.discard]
    return _index(packets, [ordinal for _, ordinal in sorted(shown, key=lambda pair: (pair[0] or 0, pair[1]))])


def _index_by_decoding(video: OpenVideo, packets: list[_PacketRow]) -> FrameIndex:
    stamps: list[int | None] = []
    for ordinal, packet in enumerate(video.packets()):
        packet.pts = ordinal
        stamps.extend(frame.pts for frame in video.decode(packet))
    stamps.extend(frame.pts for frame in video.decode(None))
    ordinals = [stamp for stamp in stamps if stamp is not None]
    if len(ordinals) < len(stamps) or len(set(ordinals)) < len(ordinals):
        return FrameIndex(np.arange(len(stamps)), (_START,), counted=True)
    return _index(packets, ordinals)


_START = Keyframe(ordinal=0, rank=0, timestamp=None, identity=None)


def _index(packets: list[_PacketRow], ordinals: Iterable[int]) -> FrameIndex:
    order = np.fromiter(ordinals, dtype=np.int64)
    seen: dict[Identity, int] = {}
    for packet in packets:
        if packet.keyframe:
            seen[packet.identity] = seen.get(packet.identity, 0) + 1
    keyframes = [
        Keyframe(ordinal, rank, row.timestamp, row.identity if seen[row.identity] == 1 else None)
        for rank, ordinal in enumerate(order.tolist())
        if ordinal > 0 and (row := packets[ordinal]).keyframe
    ]
    return FrameIndex(order, (_START, *keyframes))
