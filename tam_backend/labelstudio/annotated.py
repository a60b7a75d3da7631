"""Reads the annotations of a project out of Label Studio, a video at a time: what `tam-backend export` writes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any

from tam_backend.errors import LabelStudioRefusedError, PayloadError, RegionError
from tam_backend.export.dataset import safe_name
from tam_backend.labelstudio.chained import Chain, Link, chains, read_link
from tam_backend.labelstudio.client import LabelStudioClient
from tam_backend.labelstudio.config import ControlKind, LabelingConfig, Media, MediaKind
from tam_backend.labelstudio.edits import needs_parent
from tam_backend.labelstudio.identity import Identity
from tam_backend.labelstudio.light_regions import LightRegion, light_regions, moved
from tam_backend.labelstudio.submitted import Choice, Holder, chosen
from tam_backend.labelstudio.video_names import video_name

_NO_PAGE = "A region lies on a page that its task does not have."


@dataclass(frozen=True, eq=False)
class Part:
    """What a task shows of a video.

    Args:
        task: Label Studio's id.
        value: the address or the list of addresses.
        first: the first of its frames in the video, from 0.
        length: how many; 0 of a <Video>, whose file tells.
        is_labelled: it has what is exported; the frames of other tasks are unknown, not empty.
    """

    task: int
    value: Any
    first: int
    length: int
    is_labelled: bool


@dataclass(frozen=True, eq=False)
class AnnotatedVideo:
    """A video as one annotator, or the model, labelled it: the tasks that it was cut into joined.

    Args:
        name: unique in the project.
        media: its tag.
        parts: in the order of the frames.
        regions: in the order of drawing, on the video's frames.
        frame_rate: of a <Video>: the editor's.
        same: pairs of ids of regions that people said to show one object.
    """

    name: str
    media: Media
    parts: tuple[Part, ...]
    regions: tuple[LightRegion, ...]
    frame_rate: float
    same: tuple[tuple[str, str], ...] = ()


@dataclass(eq=False)
class ChainRead:
    """What was read of one chain.

    Args:
        videos: one for each media and annotator.
        left_out: a sentence on everything that could not be read.
        unlabelled: its tasks in which there is nothing of what was asked for.
        damaged: what is wrong with regions -> how often.
        stamp: of `ProjectReader.stamp`.
    """

    videos: list[AnnotatedVideo] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    unlabelled: tuple[int, ...] = ()
    damaged: Counter[str] = field(default_factory=Counter)
    stamp: str = ""


class ProjectReader:
    """One project of Label Studio.

    Args:
        client: Label Studio.
        project: its id.
        config: the labeling config.
        choice: which annotations.
    """

    def __init__(self, client: LabelStudioClient, project: int, config: LabelingConfig, choice: Choice) -> None:
        self._client = client
        self._project = project
        self._config = config
        self._choice = choice

    def chains(self, tasks: Sequence[int] = ()) -> list[Chain]:
        """Return all videos' tasks, or those of the chains that some tasks are in.

        Raises:
            LabelStudioError: as the client says.
        """
        if not tasks:
            return list(chains(read_link(task, data) for task, data in self._client.tasks_data(self._project)))
        links: dict[int, Link] = {}
        waiting = list(tasks)
        while waiting:
            task = waiting.pop()
            if task in links:
                continue
            try:
                links[task] = read_link(task, self._client.task_data(str(self._project), task))
            except LabelStudioRefusedError:
                if task in tasks:
                    raise
                continue  # a neighbour that was deleted; the chain says so
            waiting += links[task].neighbours
        return list(chains(links.values()))

    def stamp(self, chain: Chain) -> str:
        """Return a text that changes when what is exported of a chain changes; keeps nothing."""
        return "; ".join(_stamp(task, data, holders) for task, data, holders in self._tasks(chain, []))

    def read(self, chain: Chain) -> ChainRead:
        """Read one chain; one task's results at a time are held in full."""
        made = ChainRead()
        if chain.missing:
            parts = first_few(chain.missing)
            made.left_out.append(f"The video of task {chain.tasks[0]} lacks the parts {parts}: their tasks are gone.")
        layers: dict[int | None, dict[str, list[LightRegion]]] = {}
        labelled: dict[int | None, set[int]] = {}
        same: dict[int | None, list[tuple[str, str]]] = {}
        shown: list[tuple[int, Mapping[str, Any]]] = []
        ends: Counter[str] = Counter()
        stamps: list[str] = []
        for task, data, holders in self._tasks(chain, made.left_out):
            shown.append((task, data))
            stamps.append(_stamp(task, data, holders))
            for holder in holders:
                try:
                    regions, identity = self._regions(holder, made.damaged)
                except PayloadError as error:
                    made.left_out.append(f"The {holder.stamp} of task {task} is left out: {error.message}")
                    continue
                labelled.setdefault(holder.annotator, set()).add(task)
                by_media = layers.setdefault(holder.annotator, {})
                same.setdefault(holder.annotator, []).extend(identity.same)
                lengths = {media.name: _length(media, data) for media in self._config.media}
                for region in regions:
                    name = region.control.to_name
                    if region.kind is not ControlKind.VIDEO_BOX and region.frame >= lengths[name]:
                        made.damaged[_NO_PAGE] += 1
                        continue
                    by_media.setdefault(name, []).append(moved(region, ends[name]))
            for media in self._config.media:
                ends[media.name] += _length(media, data)
        made.stamp = "; ".join(stamps)
        made.unlabelled = tuple(task for task, _ in shown if not any(task in tasks for tasks in labelled.values()))
        for annotator, by_media in layers.items():
            made.videos += self._videos(shown, labelled[annotator], annotator, by_media, tuple(same[annotator]))
        return made

    def _tasks(self, chain: Chain, left_out: list[str]) -> Iterator[tuple[int, Mapping[str, Any], list[Holder]]]:
        for task in chain.tasks:
            try:
                data = self._client.task_data(str(self._project), task)
                annotations = [] if self._choice.taken == "predictions" else self._client.annotations(task)
                wanted = self._choice.taken != "annotations" or any(map(needs_parent, annotations))
                predictions = self._client.predictions(task) if wanted else []
            except LabelStudioRefusedError as error:  # deleted since it was listed
                left_out.append(f"Task {task} is left out: {error.message}")
                continue
            yield task, data, chosen(annotations, predictions, self._choice)

    def _regions(self, holder: Holder, damaged: Counter[str]) -> tuple[Sequence[LightRegion], Identity]:
        faults: list[RegionError] = []
        regions, identity = light_regions(holder.results, self._config, faults)
        damaged.update(f"{fault.message} {fault.remedy}" for fault in faults)
        if holder.is_prediction:
            regions = tuple(replace(each, origin="prediction") for each in regions)  # other models say nothing of it
        return regions, identity

    def _videos(
        self,
        shown: Sequence[tuple[int, Mapping[str, Any]]],
        labelled: set[int],
        annotator: int | None,
        by_media: Mapping[str, list[LightRegion]],
        same: tuple[tuple[str, str], ...],
    ) -> Iterator[AnnotatedVideo]:
        by_whom = f"-annotator{annotator}" if annotator is not None else ""
        name = video_name(*shown[0], self._config)
        pages = [media for media in self._config.media if media.kind is not MediaKind.VIDEO]
        for media in self._config.media:
            regions = tuple(by_media.get(media.name, ()))
            is_first = media in pages[:1] or not pages
            if not regions and not is_first:
                continue
            parts: list[Part] = []
            for task, data in shown:
                first = parts[-1].first + parts[-1].length if parts else 0
                value = media.value(data)
                if value:
                    parts.append(Part(task, value, first, _length(media, data), task in labelled))
            if parts:
                of_media = "" if is_first else f"-{safe_name(media.name)}"
                rate = media.frame_rate_for(shown[0][1])
                yield AnnotatedVideo(f"{name}{by_whom}{of_media}", media, tuple(parts), regions, rate, same)


def first_few(numbers: Sequence[int]) -> str:
    """Name numbers, five at most."""
    return ", ".join(map(str, numbers[:5])) + (" .." if numbers[5:] else "")


def _stamp(task: int, data: Mapping[str, Any], holders: Sequence[Holder]) -> str:
    shows = sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]
    return f"task {task} {shows}: {', '.join(holder.stamp for holder in holders)}"


def _length(media: Media, data: Mapping[str, Any]) -> int:
    value = media.value(data)
    if media.kind is MediaKind.FRAMES:
        return len(value) if isinstance(value, list) else 0
    return int(media.kind is MediaKind.IMAGE and bool(value))
