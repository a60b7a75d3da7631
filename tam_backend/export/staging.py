"""One video after the other into a dataset's folder, and the dataset of them: what all exports have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tam_backend.errors import EmptyVideoError, MediaError
from tam_backend.export.dataset import DatasetVideo
from tam_backend.export.dataset_folder import DatasetFolder, StagedVideo
from tam_backend.export.dataset_format import FRAMES, DatasetFormat, Whole, Work
from tam_backend.export.frame_files import write_frames
from tam_backend.export.tally import SIDECAR, Tally, write_sidecar


def stage_video(
    folder: DatasetFolder, kind: DatasetFormat, video: DatasetVideo, work: Work, gone: dict[int, MediaError]
) -> StagedVideo:
    """Write what a format says of one video, and its frames where these leave too.

    Args:
        folder, kind, video, work: see there.
        gone: takes the frames that cannot be had, and why.

    Raises:
        InvalidInputError: the format cannot hold it.
        EmptyVideoError: none of its frames is left.
        OutputError: the disk is full.
    """
    about: dict[str, Any] = {}
    with folder.video(video.name, lambda: about) as part:
        if work.frames != "none":
            (part / FRAMES).mkdir()
            gone |= write_frames(video, part / FRAMES, work.frames)
            video = _without(video, frozenset(gone))
        with Tally(video, part if kind.has_sidecar else None) as tally:
            kind.write(tally.watched, part, work)
        if not tally.frames:
            raise EmptyVideoError(f"None of the frames of {video.name} is good enough, or can be read.", "")
        about |= tally.about()
    return folder.completed(video.name)


def publish(
    folder: DatasetFolder,
    kind: DatasetFormat,
    videos: Sequence[StagedVideo],
    work: Work,
    source: str,
    split_of: Mapping[str, str] | None = None,
) -> None:
    """Make the dataset of all videos, and put it at its place.

    Args:
        folder, kind, work: see `stage_video`.
        videos: staged.
        source: where they come from, in words.
        split_of: see `Whole`.

    Raises:
        OutputError: the disk is full.
    """

    def assemble(staged: Sequence[StagedVideo], target: Path) -> None:
        kind.assemble(staged, Whole(target, split_of or {}, work, source))
        if kind.has_sidecar:
            write_sidecar(staged, target / SIDECAR)

    folder.publish(videos, assemble)


def _without(video: DatasetVideo, gone: frozenset[int]) -> DatasetVideo:
    return replace(video, frames=lambda: (frame for frame in video.frames() if frame.index not in gone))
