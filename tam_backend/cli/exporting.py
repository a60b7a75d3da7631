"""`export`: what was annotated becomes a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tam_backend.cli.choices import DatasetFormatName, FrameFileKind, Source, Status
from tam_backend.cli.command_line import app
from tam_backend.cli.common import (
    ApiKey,
    Counted,
    Project,
    Url,
    label_studio,
    progress_bar,
    say,
    say_note,
    settings_with,
    told_when_stopped,
)
from tam_backend.settings import Settings

if TYPE_CHECKING:
    from tam_backend.labelstudio.annotated_pages import OpenMedia
    from tam_backend.labelstudio.client import LabelStudioClient


@app.command()
def export(  # noqa: PLR0917 - typer makes options of them, whatever their order
    project: Project,
    form: Annotated[DatasetFormatName, typer.Option("--format", help="Of the dataset; see docs/datasets.md.")],
    out: Annotated[Path, typer.Option(help="Folder of the dataset: empty, or with an earlier export.")],
    task: Annotated[
        list[int] | None, typer.Option(help="Only this task, and those its video was cut into; may be given again.")
    ] = None,
    source: Annotated[
        Source, typer.Option(help="both = predictions of tasks without annotation.")
    ] = Source.ANNOTATIONS,
    status: Annotated[Status, typer.Option(help="Which annotations.")] = Status.SUBMITTED,
    annotator: Annotated[
        list[str] | None, typer.Option(help="Only this user's: e-mail address or id; may be given again.")
    ] = None,
    every_annotator: Annotated[
        bool, typer.Option("--every-annotator", help="A video for each annotator; default ground truth, or the newest.")
    ] = False,
    frames: Annotated[FrameFileKind, typer.Option(help="Whether the frames leave too.")] = FrameFileKind.NONE,
    split: Annotated[str | None, typer.Option(metavar="0.8/0.1/0.1", help="Train, val and test: whole videos.")] = None,
    seed: Annotated[int, typer.Option(help="Of the split.")] = 0,
    min_quality: Annotated[float, typer.Option(help="0 to 1: a tracked mask of less is ignored (crowd).")] = 0.0,
    only_confirmed: Annotated[
        bool, typer.Option("--only-confirmed", help="Only frames on which a human drew, changed or clicked something.")
    ] = False,
    class_: Annotated[
        list[str] | None,
        typer.Option("--class", metavar="LABEL=CLASS", help="Rename or merge labels; LABEL= leaves it out."),
    ] = None,
    polygons: Annotated[bool, typer.Option("--polygons", help="COCO: outlines instead of run lengths.")] = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Write a dataset of a project's annotations. Given again after it was cut off, it goes on."""
    from tam_backend.export.splits import read_fractions
    from tam_backend.export.trust import Trust
    from tam_backend.exporter import ExportRequest, class_map, export_project
    from tam_backend.labelstudio.submitted import Choice, annotator_ids

    settings = settings_with({"label_studio_url": url, "label_studio_api_key": api_key})
    client = label_studio(settings)
    request = ExportRequest(
        project,
        form.value,
        tuple(task or ()),
        Choice(source.value, status.value, annotator_ids(annotator or (), client.users), every_annotator),
        Trust(min_quality, only_confirmed),
        frames.value,
        polygons,
        read_fractions(split) if split else (),
        seed,
        class_map(class_ or ()),
    )
    progress = progress_bar()
    tasks = Counted(progress, "exporting tasks")
    with (
        told_when_stopped(
            lambda: (
                f"{tasks.done} of {tasks.total} tasks are done and kept; the dataset in {out} is not whole before "
                "all are. The same command goes on from there."
            )
        ),
        progress,
    ):
        summary = export_project(client, request, out, _media(settings, client), tasks.goes_on)
    for sentence in summary.left_out:
        say_note(sentence)
    for line in summary.sentences():
        say(line)
    say(str(out))


def _media(settings: Settings, client: LabelStudioClient) -> OpenMedia:
    """Return what opens the media of tasks: files that this machine imported, without a detour over the network."""
    from tam_backend.video.fetch import MediaFetcher
    from tam_backend.video.library import VideoLibrary

    library = VideoLibrary.of(settings)
    fetcher = MediaFetcher(
        settings,
        authorization=client.authorization,
        own=library,
    )
    return lambda value, task: fetcher.open_media(value, task_id=task)
