"""`tam-backend export` without its command line: a project of Label Studio in, a dataset out.

client = LabelStudioClient("http://localhost:8080", key)
summary = export_project(client, ExportRequest(project=7, format="coco"), Path("dataset"), media.open)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tam_backend.errors import (
    InvalidInputError,
    LabelStudioError,
    LabelStudioRefusedError,
    MediaError,
)
from tam_backend.export.dataset import ClassTable, DatasetVideo
from tam_backend.export.dataset_folder import DatasetFolder, StagedVideo
from tam_backend.export.dataset_format import DatasetFormat, FrameFiles, Work
from tam_backend.export.formats import dataset_format
from tam_backend.export.splits import split_videos
from tam_backend.export.staging import publish, stage_video
from tam_backend.export.trust import Trust
from tam_backend.labelstudio.annotated import AnnotatedVideo, ProjectReader, first_few
from tam_backend.labelstudio.annotated_pages import OpenMedia, opened_pages
from tam_backend.labelstudio.chained import Chain
from tam_backend.labelstudio.client import LabelStudioClient
from tam_backend.labelstudio.config_xml import read_config
from tam_backend.labelstudio.labelled import class_names, labelled
from tam_backend.labelstudio.submitted import Choice

_CLASSES = "classes"
_GOES_ON = "What is done stays: the same command goes on from there."
_NAMED = 3


@dataclass(frozen=True)
class ExportRequest:
    """What is exported, and how.

    Args:
        project: Label Studio's id of it.
        format: one of `formats.FORMATS`.
        tasks: only these, and the tasks that their videos were cut into; empty = all.
        choice: which annotations.
        trust: which masks are good enough.
        frames: as what kind of file the frames leave; "none" = they do not.
        polygons: outlines instead of run lengths (COCO).
        split: parts of the videos for training, validation and test, see `splits.read_fractions`; empty = no split.
        seed: of the split.
        class_of: label -> its class in the dataset; "" leaves the label out.
    """

    project: int
    format: str
    tasks: tuple[int, ...] = ()
    choice: Choice = field(default_factory=Choice)
    trust: Trust = field(default_factory=Trust)
    frames: FrameFiles = "none"
    polygons: bool = False
    split: tuple[float, ...] = ()
    seed: int = 0
    class_of: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ExportSummary:
    """What became of a project.

    Args:
        videos, frames, objects, masks, boxes, ignored: how many there are in the dataset; ignored masks are doubtful.
        classes: class -> its objects.
        splits: part -> its videos; empty without a split.
        left_out: a sentence on everything that is not in the dataset, and why.
    """

    videos: int
    frames: int
    objects: int
    masks: int
    boxes: int
    ignored: int
    classes: Mapping[str, int]
    splits: Mapping[str, int]
    left_out: tuple[str, ...]

    def sentences(self) -> list[str]:
        """Say what is in the dataset."""
        counts = {"videos": self.videos, "frames": self.frames, "objects": self.objects, "masks": self.masks}
        counts |= {"boxes": self.boxes} if self.boxes else {}
        counted = ", ".join(f"{count} {what}" for what, count in counts.items())
        lines = [
            counted + (f"; {self.ignored} are marked to be ignored" if self.ignored else "") + ".",
            "Objects by class: " + ", ".join(f"{name} {count}" for name, count in self.classes.items()) + ".",
        ]
        if self.splits:
            lines.append("Videos: " + ", ".join(f"{part} {count}" for part, count in self.splits.items()) + ".")
        return lines


def class_map(named: Sequence[str]) -> dict[str, str]:
    """Read LABEL=CLASS, several of them; "LABEL=" leaves a label out.

    Raises:
        InvalidInputError: one has no "=", or no label before it.

    >>> class_map(["Dog=animal", "Ball="])
    {'Dog': 'animal', 'Ball': ''}
    """
    read = {}
    for each in named:
        label, equals, name = each.rpartition("=")
        if not equals or not label:
            raise InvalidInputError(f"--class {each!r} is not LABEL=CLASS.", "Give for instance --class Dog=animal.")
        read[label] = name
    return read


def export_project(
    client: LabelStudioClient,
    request: ExportRequest,
    out: Path,
    open_media: OpenMedia,
    on_progress: Callable[[int, int], None] = lambda done, total: None,  # noqa: ARG005 - says nothing
) -> ExportSummary:
    """Write a dataset of a project's annotations, video by video; memory does not grow with the project.

    Cut off, it is given again with the same request and folder, and goes on with what is not done or has changed.

    Args:
        client: Label Studio.
        request: what and how.
        out: the dataset's folder; it holds nothing, or an earlier export, which is replaced at the end.
        open_media: opens what tasks show; needed for the frames, for tracks of boxes, and where no mask tells a size.
        on_progress: called with the tasks that are done, and with how many there are.

    Raises:
        InvalidInputError: no such format, files of others in the folder, or nothing to export.
        BusyError: another export writes into the folder.
        LabelStudioError: Label Studio is away, or refuses the key.
        OutputError: the folder cannot be written to.
    """
    kind = dataset_format(request.format)
    try:
        about = client.get_project(request.project)
        config = read_config(str(about.get("label_config") or ""))
        reader = ProjectReader(client, request.project, config, request.choice)
        plan = {"from": client.url, "config": str(about.get("label_config")), "request": _as_json(request)}
        with DatasetFolder(out, plan) as folder:
            export = _Export(folder, kind, request, reader, open_media, class_names(config, request.class_of))
            found = reader.chains(request.tasks)
            total, done = sum(len(chain.tasks) for chain in found), 0
            for chain in found:
                on_progress(done, total)
                export.add(chain)
                done += len(chain.tasks)
            on_progress(done, total)
            return export.finish(f"project {request.project} of {client.url}")
    except LabelStudioRefusedError:
        raise
    except LabelStudioError as error:
        raise LabelStudioError(error.message, f"{error.remedy} {_GOES_ON}") from error


class _Export:
    """One export while it is made."""

    def __init__(
        self,
        folder: DatasetFolder,
        kind: DatasetFormat,
        request: ExportRequest,
        reader: ProjectReader,
        open_media: OpenMedia,
        classes: Sequence[str],
    ) -> None:
        self._folder = folder
        self._format = kind
        self._request = request
        self._reader = reader
        self._open_media = open_media
        self._made: list[StagedVideo] = []
        self._left_out: list[str] = []
        known = folder.remembered(_CLASSES)
        self._work = Work(ClassTable(known["names"] if known else classes), request.frames, request.polygons)

    def add(self, chain: Chain) -> None:
        """Make the videos of a chain, unless they are made already."""
        key = f"task-{chain.tasks[0]}"
        known = self._folder.remembered(key)
        if known is not None and known["stamp"] == self._reader.stamp(chain):
            videos = [each for name in known["videos"] if (each := self._folder.staged(name)) is not None]
            if len(videos) == len(known["videos"]):
                self._made += videos
                self._left_out += known["left_out"]
                return
        read = self._reader.read(chain)
        left_out = list(read.left_out)
        if read.unlabelled:
            left_out.append(f"Nothing to export in task {first_few(read.unlabelled)}.")
        left_out += [f"{what} ({count} times)" for what, count in read.damaged.items()]
        made = []
        for video in read.videos:
            try:
                made.append(self._stage(video, left_out))
            except (InvalidInputError, MediaError) as error:  # noqa: PERF203 - the others shall arrive
                left_out.append(f"{video.name} is left out: {error}")
        self._folder.remember(_CLASSES, {"names": self._work.classes.names})
        note = {"stamp": read.stamp, "videos": [each.name for each in made], "left_out": left_out}
        self._folder.remember(key, note)
        self._made += made
        self._left_out += left_out

    def finish(self, source: str) -> ExportSummary:
        """Put the dataset at its place."""
        if not self._made:
            why = "".join(f" {each}" for each in self._left_out[:_NAMED])
            raise InvalidInputError(
                f"There is nothing to export in project {self._request.project}.{why}",
                "Submit an annotation, or ask for predictions with --source.",
            )
        names = [each.name for each in self._made]
        split_of = split_videos(names, self._request.split, self._request.seed) if self._request.split else {}
        publish(self._folder, self._format, self._made, self._work, source, split_of)
        return self._summary(Counter(split_of.values()))

    def _stage(self, annotated: AnnotatedVideo, left_out: list[str]) -> StagedVideo:
        with opened_pages(annotated, self._open_media) as pages:
            found = labelled(annotated.regions, self._request.class_of, pages.clock, annotated.same)
            size_hw = found.size_hw or pages.size_hw
            indices = pages.indices(annotated.parts)
            trust = self._request.trust
            video = DatasetVideo(
                annotated.name,
                size_hw,
                lambda: trust.applied(found.frames(indices, size_hw)),
                found.objects,
                tuple(part.task for part in annotated.parts),
                pages.frames,
            )
            self._work.lost = Counter(found.lost)
            gone: dict[int, MediaError] = {}
            try:
                staged = stage_video(self._folder, self._format, video, self._work, gone)
            finally:
                left_out += _gone_frames(video.name, gone)
        left_out += [f"{video.name}: {count} {what}." for what, count in self._work.lost.items() if count]
        return staged

    def _summary(self, splits: Mapping[str, int]) -> ExportSummary:
        def total(what: str) -> int:
            return sum(int(each.about[what]) for each in self._made)

        classes = Counter(thing["class"] for each in self._made for thing in each.about["objects"])
        objects = sum(classes.values())
        return ExportSummary(
            videos=len(self._made),
            frames=total("frames"),
            objects=objects,
            masks=total("masks"),
            boxes=total("boxes"),
            ignored=total("ignored"),
            classes=dict(classes),
            splits=dict(splits),
            left_out=tuple(self._left_out),
        )


def _gone_frames(video: str, gone: Mapping[int, MediaError]) -> list[str]:
    """Say which frames cannot be had, in a sentence for each reason."""
    by_reason: dict[str, list[int]] = {}
    for index, error in gone.items():
        by_reason.setdefault(str(error), []).append(index)
    sentences = []
    for why, at in by_reason.items():
        named = ", ".join(map(str, at[:_NAMED])) + (" .." if at[_NAMED:] else "")
        sentences.append(f"Frames {named} of {video} ({len(at)}) are left out: {why}")
    return sentences


def _as_json(request: ExportRequest) -> dict[str, Any]:
    told = asdict(request)
    told["choice"]["annotators"] = sorted(request.choice.annotators)
    return told
