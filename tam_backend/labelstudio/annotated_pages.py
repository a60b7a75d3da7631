"""The frames of an annotated video: of all tasks that it was cut into, opened one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from tam_backend.labelstudio.annotated import AnnotatedVideo, Part
from tam_backend.labelstudio.config import MediaKind
from tam_backend.labelstudio.video_clock import VideoClock
from tam_backend.types import VideoSource, timeline_of
from tam_backend.video.joined import JoinedFrames, Piece

OpenMedia = Callable[[Any, int], VideoSource]
"""(media value of a task, Label Studio's id of it) -> the video; see `MediaFetcher.open_media`."""


@dataclass(frozen=True, eq=False)
class AnnotatedPages:
    """A video's frames.

    Args:
        frames: their pixels.
        clock: of a <Video>: the editor's frames -> the file's.
    """

    frames: JoinedFrames
    clock: VideoClock | None = None

    @property
    def size_hw(self) -> tuple[int, int]:
        """Their (height, width), read from the frames themselves."""
        return self.frames.size_hw()

    def indices(self, parts: Sequence[Part]) -> list[int]:
        """Return the frames of the parts that are labelled; of a <Video>, all of its file."""
        if self.clock is not None:
            return list(range(self.clock.length))
        return [part.first + index for part in parts if part.is_labelled for index in range(part.length)]


@contextmanager
def opened_pages(video: AnnotatedVideo, open_media: OpenMedia) -> Iterator[AnnotatedPages]:
    """Open a video's frames for the length of a `with` block.

    Raises:
        MediaError: a <Video> cannot be opened; a list of frames is not opened before one of them is asked for.
    """
    if video.media.kind is not MediaKind.VIDEO:
        pieces = [Piece(part.length, partial(open_media, part.value, part.task)) for part in video.parts if part.length]
        pages = AnnotatedPages(JoinedFrames(pieces))
    else:
        # The tasks of a chain show the same file.
        opened = open_media(video.parts[0].value, video.parts[0].task)
        clock = VideoClock(video.frame_rate, opened.fps, len(opened), timeline_of(opened))
        pages = AnnotatedPages(JoinedFrames([Piece(len(opened), lambda: opened)]), clock)
    try:
        yield pages
    finally:
        pages.frames.close()
