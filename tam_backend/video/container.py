"""One open video file, packet by packet: the only place that talks to PyAV's demuxer and decoder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import av
import av.error
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from tam_backend.errors import MediaForbiddenError, MediaNotFoundError, UnreadableMediaError
from tam_backend.video.limits import MAX_PIXELS, check_pixel_count

# Playlists (hls, concat, dash, sdp ...) are left out on purpose: they make FFmpeg open other files and addresses.
_DEMUXERS = (
    "mov,mp4,matroska,webm,mpegts,mpeg,mpegvideo,mpeg2video,avi,gif,flv,ogg,asf,h264,hevc,m4v,h261,h263,ivf,obu,"
    "mjpeg,mjpeg_2000,y4m,yuv4mpegpipe,mxf,mxf_opatom,nut,rm,dv,apng,vc1,"
    "png_pipe,jpeg_pipe,bmp_pipe,webp_pipe,tiff_pipe,webp,mp3,wav,flac,aac"
)

# FFmpeg's own choice is one more than there are cores. More than four make each seek slower, as every thread holds a
# frame back, without making common sizes faster.
_MAX_DECODER_THREADS = 4


class OpenVideo:
    """The best video stream of a file, opened for reading from its start.

    Args:
        path: an existing file.

    Raises:
        MediaNotFoundError, MediaForbiddenError: the file is not there, or may not be read.
        UnreadableMediaError: FFmpeg knows no such format, or there is no video in it.
        MediaTooLargeError: the frames are larger than `MAX_PIXELS`.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._container = _open(path)
        try:
            self.stream = _best_stream(self._container, self.name)
            context = self.stream.codec_context
            check_pixel_count(self.name, context.width, context.height)
            context.thread_type = "AUTO"
            context.thread_count = min((os.cpu_count() or 1) + 1, _MAX_DECODER_THREADS)
            context.options = {"max_pixels": str(MAX_PIXELS)}
        except BaseException:
            self._container.close()
            raise
        self.broken = False

    @property
    def delay_s(self) -> float:
        """What players add to all times: a file that starts below 0 is shown from 0 on, one that starts later is not.

        That is what Chromium does (its FFmpegDemuxer), after the HTML standard's "offsets into the media resource".
        """
        start = self._container.start_time
        return max(-start / av.time_base, 0.0) if start is not None else 0.0

    @property
    def format_name(self) -> str:
        """FFmpeg's name of the container format."""
        return str(self._container.format.name)

    def packets(self) -> Iterator[Packet[VideoStream]]:
        """Yield the stream's packets in file order; stop at the end or at damage, which sets `broken`.

        Empty packets are left out: they mean "same picture again" in AVI, but "no more input" to a decoder.
        """
        try:
            for packet in self._container.demux(self.stream):
                if packet.size:
                    yield packet
        except (av.error.FFmpegError, OSError):
            self.broken = True

    def decode(self, packet: Packet[VideoStream] | None) -> list[VideoFrame]:
        """Decode one packet, or None to get what the decoder still holds. Damaged packets give no frames."""
        try:
            return list(self.stream.codec_context.decode(packet))
        except (av.error.FFmpegError, EOFError, OSError):
            return []

    def seek(self, timestamp: int) -> bool:
        """Go to the keyframe at or before `timestamp` (in the stream's time base); tell whether FFmpeg could."""
        try:
            self._container.seek(timestamp, stream=self.stream, backward=True)
        except (av.error.FFmpegError, OSError):
            return False
        return True

    def close(self) -> None:
        """Close the file; calling it twice is harmless."""
        self._container.close()

    def __enter__(self) -> OpenVideo:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _open(path: Path) -> InputContainer:
    # "file:" keeps a name such as "concat:a|b" from being taken for an address.
    try:
        return av.open(
            f"file:{path.absolute()}",
            mode="r",
            metadata_errors="replace",
            options={"protocol_whitelist": "file", "format_whitelist": _DEMUXERS},
        )
    except FileNotFoundError as error:
        raise MediaNotFoundError(f"{path} does not exist.", "Check the path.") from error
    except PermissionError as error:
        raise MediaForbiddenError(f"{path} may not be read.", "Check the file's permissions.") from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise UnreadableMediaError(
            f"{path.name} is no video that can be read.",
            "Check that it plays; an interrupted download or recording may need repair.",
        ) from error


def _best_stream(container: InputContainer, name: str) -> VideoStream:
    stream = container.streams.best("video")
    # The cover picture of a song is a video stream to FFmpeg.
    if not isinstance(stream, VideoStream) or stream.disposition & Disposition.attached_pic:
        raise UnreadableMediaError(f"{name} has no video in it.", "Give a file with a video stream.")
    if stream.codec_context is None:
        raise UnreadableMediaError(
            f"The video in {name} is of a kind that this FFmpeg cannot decode.", "Convert it to H.264."
        )
    return stream
