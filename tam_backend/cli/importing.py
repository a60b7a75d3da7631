"""`import`: videos, projects with videos, and datasets become tasks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from tam_backend.cli.choices import ArrivalName, BoxesName, MaskFormat, ReadableFormatName
from tam_backend.cli.command_line import app
from tam_backend.cli.common import ApiKey, Url, console, label_studio, say_error, say_note, settings_with
from tam_backend.errors import InvalidInputError, printable
from tam_backend.importer import DEFAULT_MAX_FRAMES
from tam_backend.settings import Settings

if TYPE_CHECKING:
    from tam_backend.dataset_importer import DatasetArrival
    from tam_backend.importer import FrameSelection, ImportedVideo
    from tam_backend.labelstudio.client import LabelStudioClient
    from tam_backend.video.fetch import MediaFetcher
    from tam_backend.video.library import VideoLibrary

_IMPORT_TIMEOUT_S = 3600.0  # of one download


@app.command("import")
def import_(  # noqa: PLR0917 - typer makes options of them, whatever their order
    videos: Annotated[
        list[str] | None,
        typer.Argument(metavar="VIDEO...", help="Video files, image folders, addresses on the web; or datasets."),
    ] = None,
    project: Annotated[int | None, typer.Option(help="Label Studio's project: the number in its address.")] = None,
    fps: Annotated[float | None, typer.Option(help="So many frames per second of the video; default all.")] = None,
    stride: Annotated[int, typer.Option(help="Every STRIDE-th frame.")] = 1,
    max_frames: Annotated[
        int, typer.Option(help="Frames per task; a longer video becomes a chain of tasks. 0 = one task, however long.")
    ] = DEFAULT_MAX_FRAMES,
    config: Annotated[
        bool, typer.Option("--config", help="Print our labeling config; with --project, install it there.")
    ] = False,
    label: Annotated[list[str] | None, typer.Option(help="A label of that config; may be given several times.")] = None,
    masks: Annotated[MaskFormat, typer.Option(help="How that config stores masks.")] = MaskFormat.BRUSH,
    new_objects: Annotated[
        bool, typer.Option("--new-objects", help="That config has labels and relations that say which object is which.")
    ] = False,
    video_boxes: Annotated[bool, typer.Option("--video-boxes", help="That config also shows the video.")] = False,
    transcode: Annotated[
        bool, typer.Option("--transcode", help="Of videos that browsers cannot play, import a copy in H.264.")
    ] = False,
    from_project: Annotated[
        int | None,
        typer.Option(help="Make pages of this project's <Video> tasks; without --project in a new project."),
    ] = None,
    form: Annotated[
        ReadableFormatName | None,
        typer.Option("--format", help="VIDEO is a dataset of this format: its masks come too."),
    ] = None,
    arrival: Annotated[
        ArrivalName, typer.Option("--as", help="A dataset's masks: to be corrected, or the ground truth.")
    ] = ArrivalName.PREDICTIONS,
    boxes: Annotated[
        BoxesName, typer.Option(help="A dataset's boxes without a mask: regions, prompts for Propagate, or none.")
    ] = BoxesName.REGIONS,
    class_: Annotated[
        list[str] | None,
        typer.Option("--class", metavar="CLASS=LABEL", help="The label of a dataset's class; CLASS= leaves it out."),
    ] = None,
    backend_url: Annotated[
        str | None, typer.Option(help="How browsers reach this backend; default TAM_PUBLIC_URL, or localhost:9090.")
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Make tasks of videos, of a project's <Video> tasks, or of datasets with their masks. Or give our config."""
    from tam_backend.dataset_importer import DatasetArrival, label_map
    from tam_backend.importer import FrameSelection, import_videos
    from tam_backend.labelstudio.recommended_config import recommended_config
    from tam_backend.video.library import VideoLibrary

    if not videos and not config and from_project is None:
        raise InvalidInputError("There is nothing to import.", "Name a video, or ask for the config: --config.")
    settings = settings_with({"label_studio_url": url, "label_studio_api_key": api_key, "public_url": backend_url})
    selection = FrameSelection(fps=fps, stride=stride, max_frames=max_frames)
    transcode_to = settings.data_dir / "transcoded" if transcode else None
    config_of = partial(
        recommended_config, masks=masks.value, propagate_label=settings.propagate_label, new_objects=new_objects
    )
    if from_project is not None:
        make = partial(_project_for_frames, config_of=config_of, labels=label, video_boxes=video_boxes)
        alone = not videos and form is None and not config
        _project_arrives(from_project, project, make, settings, selection, transcode_to, alone=alone)
        return
    xml = config_of(label or ["Object"], video=video_boxes)
    if config and project is None:
        print(xml)
    if project is None:
        if videos:
            raise InvalidInputError("The videos have no project to go to.", "Say which one: --project NUMBER.")
        return
    client = label_studio(settings)
    if config:
        client.set_label_config(project, xml)
        console.print(f"Project {project} has our labeling config now.")
    if not videos:
        return
    library = VideoLibrary.of(settings)
    if form is not None:
        chosen = fps is not None or stride != 1 or transcode
        wanted = DatasetArrival(
            project,
            form.value,
            arrival.value,
            label_map(class_ or ()),
            max_frames,
            boxes.value,
            settings.polygon_tolerance_px,
        )
        _datasets_arrive(videos, wanted, settings, library, client, chosen=chosen)
        return
    with console.status("Importing ...") as status:
        report = import_videos(
            videos,
            project,
            library=library,
            client=client,
            base_url=settings.own_url,
            selection=selection,
            download=partial(_downloaded, settings, client),
            transcode_to=transcode_to,
            on_progress=lambda source, doing: status.update(escape(printable(f"{Path(source).name}: {doing} ..."))),
        )
    if report.imported:
        client.install_webhook(project, settings.events_url, library.webhook_secret)
    for done in report.imported:
        _say_imported(done)
    for failed in report.failed:
        say_error(f"{failed.path}: {failed.error.message}", failed.error.remedy)
    if report.failed:
        sys.exit(2)


def _datasets_arrive(
    paths: Sequence[str],
    wanted: DatasetArrival,
    settings: Settings,
    library: VideoLibrary,
    client: LabelStudioClient,
    *,
    chosen: bool,
) -> None:
    """Import datasets; `chosen`: whether the command line says which frames."""
    if chosen:
        raise InvalidInputError("All frames of a dataset become pages.", "Leave out --fps, --stride and --transcode.")
    arrived = [_dataset_arrives(Path(each), wanted, settings, library, client) for each in paths]
    if not all(arrived):
        sys.exit(2)


def _dataset_arrives(
    path: Path, wanted: DatasetArrival, settings: Settings, library: VideoLibrary, client: LabelStudioClient
) -> bool:
    """Import a dataset, and say what became of it; return whether all of it arrived."""
    from tam_backend.dataset_importer import import_dataset
    from tam_backend.dataset_in.readers import read_dataset

    with console.status("Importing ...") as status:
        report = import_dataset(
            read_dataset(path, wanted.form),
            wanted,
            library=library,
            client=client,
            base_url=settings.own_url,
            frames_folder=settings.data_dir / "dataset-frames",
            on_progress=lambda video, doing: status.update(escape(printable(f"{video}: {doing} ..."))),
        )
    if report.imported:
        client.install_webhook(wanted.project, settings.events_url, library.webhook_secret)
    for done in report.imported:
        tasks = ", ".join(map(str, done.task_ids))
        counts = f"{done.pages} frames, {done.objects} objects, {done.masks} masks"
        counts += f", {done.boxes} boxes" if done.boxes else ""
        line = f"{done.name}: {counts}, task {tasks}{'' if done.is_new else ' (made earlier)'}"
        console.print(printable(line), highlight=False, markup=False, soft_wrap=True)
    for sentence in report.left_out:
        say_note(f"Left out: {sentence}")
    for failed in report.failed:
        say_error(f"{failed.path}: {failed.error.message}", failed.error.remedy)
    return not report.failed


def _project_arrives(
    source: int,
    project: int | None,
    make: Callable[[LabelStudioClient, int], int],
    settings: Settings,
    selection: FrameSelection,
    transcode_to: Path | None,
    *,
    alone: bool,
) -> None:
    """Import the videos of a project, and say what became of them.

    Args:
        source: the project with the videos.
        project: the one that their frames go to; None: what `make` makes for the source.
        make: see `_project_for_frames`.
        settings: of the environment and the command line.
        selection: which frames.
        transcode_to: see `import_videos`.
        alone: whether the command line asks for nothing else.
    """
    from tam_backend.project_importer import import_project
    from tam_backend.video.library import VideoLibrary

    if not alone:
        raise InvalidInputError(
            "--from-project brings the videos of a project, and nothing else.",
            "Leave out VIDEO, --format and --config.",
        )
    client = label_studio(settings)
    target = make(client, source) if project is None else project
    library = VideoLibrary.of(settings)
    fetcher = _patient_fetcher(settings, client)
    with console.status("Importing ...") as status:
        report = import_project(
            source,
            target,
            library=library,
            client=client,
            base_url=settings.own_url,
            selection=selection,
            bring=lambda value, task: fetcher.bring(value, settings.data_dir / "imported", task_id=task),
            transcode_to=transcode_to,
            on_progress=lambda video, doing: status.update(escape(printable(f"{video}: {doing} ..."))),
        )
    if report.imported or report.earlier:
        client.install_webhook(target, settings.events_url, library.webhook_secret)
    for done in report.imported:
        boxes = f", {done.boxes} tracks of boxes" if done.boxes else ""
        _say_imported(done.video, f"Task {done.task} of project {source}, ", boxes)
    for sentence in report.left_out:
        say_note(f"Left out: {sentence}")
    for failed in report.failed:
        say_error(f"{failed.path} of project {source}: {failed.error.message}", failed.error.remedy)
    earlier = f"; {report.earlier} were there already" if report.earlier else ""
    console.print(f"Project {target} has {len(report.imported)} more videos{earlier}.", highlight=False)
    if report.failed:
        sys.exit(2)


def _project_for_frames(
    client: LabelStudioClient,
    source: int,
    *,
    config_of: Callable[..., str],
    labels: Sequence[str] | None,
    video_boxes: bool,
) -> int:
    """Return the project that the frames of another one's videos go to where nobody named one; make it if need be.

    Its config has the labels of that one's boxes, unless others are named, and boxes if that one has.
    """
    from tam_backend.labelstudio.carried_boxes import video_labels
    from tam_backend.project_importer import config_with_videos, frames_title

    title = frames_title(source)
    found = client.projects_called(title)
    if found:
        return found[0]
    has = config_with_videos(client, source)
    boxes = video_boxes or any(has.box_output(media) for media in has.media)
    project = client.create_project(title, config_of(labels or video_labels(has) or ["Object"], video=boxes))
    console.print(f'Project {project}, "{title}", was made, with our labeling config.', highlight=False)
    return project


def _say_imported(done: ImportedVideo, before: str = "", after: str = "") -> None:
    tasks = ", ".join(map(str, done.task_ids))
    line = f"{before}{done.record.name}: {done.pages} of {done.record.frames} frames, task {tasks}{after}"
    console.print(printable(line), highlight=False, markup=False, soft_wrap=True)
    for note in done.notes:
        say_note(note)


def _downloaded(settings: Settings, client: LabelStudioClient, address: str) -> Path:
    """Download a video, under the rules for the media of tasks."""
    return _patient_fetcher(settings, client).download(address, settings.data_dir / "imported")


def _patient_fetcher(settings: Settings, client: LabelStudioClient) -> MediaFetcher:
    """Return what gets videos here; nobody waits for them in a browser."""
    from tam_backend.video.fetch import MediaFetcher

    patient = settings.model_copy(update={"media_timeout_s": max(settings.media_timeout_s, _IMPORT_TIMEOUT_S)})
    return MediaFetcher(patient, authorization=client.authorization)
