"""The command line: thin verbs over the floors below. torch is imported by the verbs that need it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from tam_backend.errors import FrameOutOfRangeError, InvalidInputError, LabelStudioRefusedError, TamError, printable
from tam_backend.importer import DEFAULT_MAX_FRAMES
from tam_backend.settings import MAX_TRACKER_SIDE, MIN_TRACKER_SIDE, Settings, get_settings

if TYPE_CHECKING:
    from tam_backend.dataset_importer import DatasetArrival
    from tam_backend.exporter import OpenMedia
    from tam_backend.importer import FrameSelection, ImportedVideo
    from tam_backend.labelstudio.client import LabelStudioClient
    from tam_backend.labelstudio.starting_objects import StartReport
    from tam_backend.video.fetch import MediaFetcher
    from tam_backend.video.library import VideoLibrary


class MaskFormat(str, Enum):
    """The tags that hold masks in Label Studio."""

    BRUSH = "brush"
    BITMASK = "bitmask"
    POLYGON = "polygon"


class DatasetFormatName(str, Enum):
    """What datasets can be written as."""

    DAVIS = "davis"
    COCO = "coco"
    YTVIS = "ytvis"
    YOLO = "yolo"
    MOTS = "mots"
    MASKS = "masks"
    OVERLAY = "overlay"


class ReadableFormatName(str, Enum):
    """What datasets can be read as."""

    DAVIS = "davis"
    COCO = "coco"
    YTVIS = "ytvis"
    YOLO = "yolo"
    MOTS = "mots"
    MASKS = "masks"


class BoxesName(str, Enum):
    """What becomes of the boxes of a dataset that have no mask."""

    REGIONS = "regions"
    PROMPTS = "prompts"
    NONE = "none"


class ArrivalName(str, Enum):
    """As what the masks of a dataset arrive."""

    PREDICTIONS = "predictions"
    ANNOTATIONS = "annotations"


class Source(str, Enum):
    """What an export takes of a task."""

    ANNOTATIONS = "annotations"
    PREDICTIONS = "predictions"
    BOTH = "both"


class Status(str, Enum):
    """Which annotations an export takes."""

    SUBMITTED = "submitted"
    GROUND_TRUTH = "ground-truth"
    SKIPPED = "skipped"


class FrameFileKind(str, Enum):
    """As what the frames leave."""

    NONE = "none"
    JPG = "jpg"
    PNG = "png"


app = typer.Typer(
    name="tam-backend",
    help="Track Anything for Label Studio: one click becomes a mask on every frame.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
weights_app = typer.Typer(help="The weights that do not come with the package.", no_args_is_help=True)
app.add_typer(weights_app, name="weights")
_IMPORT_TIMEOUT_S = 3600.0  # of one download
# Everything for people goes to stderr; stdout is for what other programs read.
_console = Console(stderr=True)

_Profile = Annotated[str | None, typer.Option(help="Networks and weights; see `tam-backend profiles`.")]
_Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace files of the same names in --out that we did not write.")
]
_Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:1, ...")]


def main() -> None:
    """Run the command line; what a user can cause ends in a sentence, not in a traceback."""
    try:
        app()
    except TamError as error:
        _say_error(error.message, error.remedy)
        sys.exit(2)
    except OSError as error:
        _say_error(
            f"{error.filename or 'A file'}: {error.strerror or error}.", "Check the path, and who may write there."
        )
        sys.exit(2)


def _say_error(message: str, remedy: str) -> None:
    _console.print("[bold red]Error:[/]", end=" ")
    for text in filter(None, (message, remedy)):
        _console.print(printable(text), highlight=False, soft_wrap=True, markup=False)  # a path may hold [brackets]


def _say_note(note: str) -> None:
    _console.print("[bold yellow]Note:[/]", end=" ")
    _console.print(printable(note), highlight=False, soft_wrap=True, markup=False)


@app.command()
def track(  # noqa: PLR0917 - typer makes options of them, whatever their order
    source: Annotated[str, typer.Argument(metavar="INPUT", help="A video file, or a folder of images.")],
    prompts: Annotated[Path, typer.Option(help="prompts.json, or an image that is the mask of frame 0.")],
    out: Annotated[Path, typer.Option(help="Folder for masks/, result.json and overlay.mp4.")],
    profile: _Profile = None,
    device: _Device = None,
    weights_dir: Annotated[
        Path | None, typer.Option(help="Folder of the weights of profiles that need some; default TAM_WEIGHTS_DIR.")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=MIN_TRACKER_SIDE, max=MAX_TRACKER_SIDE, help="Shorter side of tracked frames, pixels; default 480."
        ),
    ] = None,
    refine: Annotated[
        bool | None,
        typer.Option(
            "--refine/--no-refine", help="Let the segmenter refine doubtful masks; default: as the profile does."
        ),
    ] = None,
    overlay: Annotated[bool, typer.Option("--overlay", help="Also write overlay.mp4.")] = False,
    overwrite: _Overwrite = False,
    frames: Annotated[str, typer.Option(metavar="A:B", help="Only frames A up to, but not including, B.")] = ":",
) -> None:
    """Track the prompted objects through a video and write one indexed PNG mask per frame."""
    from tam_backend.prompt_file import read_prompts
    from tam_backend.video import open_video

    settings = _settings_with(
        {"profile": profile, "device": device, "weights_dir": weights_dir, "tracker_side": size, "refine": refine}
    )
    start, stop = _frame_range(frames)
    with open_video(source) as video:
        wanted = read_prompts(prompts, _say_note)
        length = len(video)
        with _console.status("Loading the networks ..."):
            from tam_backend.engine import TrackAnything
            from tam_backend.tracking_run import out_folder, write_overlay
            from tam_backend.tracking_run import track as run

            folder = out_folder(out, overwrite=overwrite)
            tam = TrackAnything.load(
                settings.profile, settings.device, settings.weights_folder, settings.tracker_side, settings.refine
            )
        with _progress() as progress:
            task = progress.add_task("tracking", total=len(range(length)[start:stop]))
            report = run(tam, video, wanted, folder, start=start, stop=stop, on_frame=lambda _: progress.advance(task))
        if overlay:
            with _console.status("Writing overlay.mp4 ..."):
                labels = {prompt.object_id: prompt.label or f"object {prompt.object_id}" for prompt in wanted}
                write_overlay(video, report, labels, folder)
    for frame, reason in report.left_out.items():
        _say_note(f"Frame {frame} was left out: {reason}")
    timing, place = report.timing, printable(str(out))
    _console.print(
        f"{report.frames} frames, {len(report.tracks)} object(s) in {timing.total_s:.1f} s "
        f"(tracking {timing.track_s:.1f} s, {report.frames / max(timing.track_s, 1e-9):.1f} frames/s): {place}",
        markup=False,
    )


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to bind; 0.0.0.0 = reachable from other machines.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to bind.")] = None,
    profile: _Profile = None,
    device: _Device = None,
    log_level: Annotated[str | None, typer.Option(help="DEBUG, INFO, WARNING or ERROR.")] = None,
    workers: Annotated[
        str | None,
        typer.Option(help="1: the networks are in this process. More, or ray: in so many workers of a Ray cluster."),
    ] = None,
) -> None:
    """Serve Label Studio: the same app as `gunicorn _wsgi:app`."""
    from tam_backend.models import zoo
    from tam_backend.server.serve import serve as run

    settings = _settings_with(
        {
            "host": host,
            "port": port,
            "profile": profile,
            "device": device,
            "log_level": log_level,
            "workers": workers,
        }
    )
    # Before it says that it serves:
    zoo.require_installed(settings.profile)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    run(settings)


@app.command()
def worker(
    address: Annotated[
        str | None, typer.Option(help="The Ray cluster to join, HOST:PORT of its head; default TAM_RAY_ADDRESS.")
    ] = None,
    count: Annotated[int, typer.Option(min=1, help="So many workers on this machine.")] = 1,
    profile: _Profile = None,
    device: _Device = None,
    log_level: Annotated[str | None, typer.Option(help="DEBUG, INFO, WARNING or ERROR.")] = None,
) -> None:
    """Lend this machine's GPU, or CPUs, to backends that run with --workers ray on the same cluster and database."""
    from tam_backend.models import zoo
    from tam_backend.server.serve import configure_logging
    from tam_backend.service.parts import worker_in_this_process
    from tam_backend.workers.ray_node import work

    settings = _settings_with(
        {"ray_address": address, "profile": profile, "device": device, "log_level": log_level, "workers": "ray"}
    )
    configure_logging(settings.log_level)
    zoo.require_installed(settings.profile)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    work(settings, worker_in_this_process, count)


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
    url: Annotated[str | None, typer.Option(help="Label Studio's address; default LABEL_STUDIO_URL.")] = None,
    api_key: Annotated[str | None, typer.Option(help="Its access token; default LABEL_STUDIO_API_KEY.")] = None,
) -> None:
    """Make tasks of videos, of a project's <Video> tasks, or of datasets with their masks. Or give our config."""
    from tam_backend.dataset_importer import DatasetArrival, label_map
    from tam_backend.importer import FrameSelection, import_videos
    from tam_backend.labelstudio.recommended_config import recommended_config
    from tam_backend.video.library import VideoLibrary

    if not videos and not config and from_project is None:
        raise InvalidInputError("There is nothing to import.", "Name a video, or ask for the config: --config.")
    settings = _settings_with({"label_studio_url": url, "label_studio_api_key": api_key, "public_url": backend_url})
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
    client = _label_studio(settings)
    if config:
        client.set_label_config(project, xml)
        _console.print(f"Project {project} has our labeling config now.")
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
    with _console.status("Importing ...") as status:
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
        _say_error(f"{failed.path}: {failed.error.message}", failed.error.remedy)
    if report.failed:
        sys.exit(2)


@app.command()
def export(  # noqa: PLR0917 - typer makes options of them, whatever their order
    project: Annotated[int, typer.Option(help="Label Studio's project: the number in its address.")],
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
    url: Annotated[str | None, typer.Option(help="Label Studio's address; default LABEL_STUDIO_URL.")] = None,
    api_key: Annotated[str | None, typer.Option(help="Its access token; default LABEL_STUDIO_API_KEY.")] = None,
) -> None:
    """Write a dataset of a project's annotations. Given again after it was cut off, it goes on."""
    from tam_backend.export.splits import read_fractions
    from tam_backend.export.trust import Trust
    from tam_backend.exporter import ExportRequest, class_map, export_project
    from tam_backend.labelstudio.submitted import Choice, annotator_ids

    settings = _settings_with({"label_studio_url": url, "label_studio_api_key": api_key})
    client = _label_studio(settings)
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
    with _progress() as progress:
        bar = progress.add_task("exporting tasks", total=None)
        summary = export_project(
            client,
            request,
            out,
            _media(settings, client),
            lambda done, total: progress.update(bar, completed=done, total=total),
        )
    for sentence in summary.left_out:
        _say_note(sentence)
    for line in summary.sentences():
        _console.print(printable(line), highlight=False, soft_wrap=True, markup=False)
    _console.print(printable(str(out)), highlight=False, soft_wrap=True, markup=False)


@app.command()
def propagate(
    project: Annotated[int, typer.Option(help="Label Studio's project: the number in its address.")],
    task: Annotated[list[int] | None, typer.Option(help="Only this task; may be given again.")] = None,
    prompt_from: Annotated[
        str | None,
        typer.Option(
            metavar="predictions|TAG",
            help="Begin with a detector's predictions, or with what an ordinary tag drew; default TAM_PROMPT_FROM.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would begin with.")] = False,
    profile: _Profile = None,
    device: _Device = None,
    url: Annotated[str | None, typer.Option(help="Label Studio's address; default LABEL_STUDIO_URL.")] = None,
    api_key: Annotated[str | None, typer.Option(help="Its access token; default LABEL_STUDIO_API_KEY.")] = None,
) -> None:
    """Track a project's tasks from what is on their frames, and store the masks as predictions."""
    from tam_backend.models import zoo
    from tam_backend.project_propagation import ProjectRequest, propagate_project
    from tam_backend.service.backend import Backend
    from tam_backend.service.parts import database_of
    from tam_backend.store.task_memory import TaskMemories

    settings = _settings_with(
        {"profile": profile, "device": device, "label_studio_url": url, "label_studio_api_key": api_key}
    )
    client = _label_studio(settings)
    zoo.require_installed(settings.profile)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    request = ProjectRequest(project, tuple(task or ()), prompt_from or "", dry_run)
    made: list[Backend] = []

    def backend() -> Backend:
        if not made:
            made.append(Backend(settings))
        return made[0]

    try:
        with _progress() as progress:
            bar = progress.add_task("tracking tasks", total=None)
            outcomes = propagate_project(
                settings,
                client,
                request,
                memories=TaskMemories(database_of(settings)),
                backend=backend,
                on_seen=_say_how_it_begins,
                on_progress=lambda done, total: progress.update(bar, completed=done, total=total),
            )
    finally:
        for each in made:
            each.close()
    for outcome in outcomes:
        if outcome.state == "nothing":
            _say_note(f"Task {outcome.task_id} has nothing to begin with.")
        elif not outcome.is_well:
            _say_error(f"Task {outcome.task_id}: {outcome.state}. {outcome.message}", "")
    tracked = sum(outcome.state == "done" for outcome in outcomes)
    _console.print(f"{tracked} of {len(outcomes)} tasks were tracked.", highlight=False, markup=False)
    if not all(outcome.is_well for outcome in outcomes):
        sys.exit(2)


@app.command()
def report(
    project: Annotated[int, typer.Option(help="Label Studio's project: the number in its address.")],
    out: Annotated[Path | None, typer.Option(help="Folder for report.html, .png, .csv and .json.")] = None,
    overwrite: _Overwrite = False,
    seconds_per_mask: Annotated[
        float | None,
        typer.Option(help="To draw one mask by hand; default as measured in the project, else 79 (COCO's annotators)."),
    ] = None,
    url: Annotated[str | None, typer.Option(help="Label Studio's address; default LABEL_STUDIO_URL.")] = None,
    api_key: Annotated[str | None, typer.Option(help="Its access token; default LABEL_STUDIO_API_KEY.")] = None,
) -> None:
    """Tell what labeling a project cost people, and what the model spared them."""
    from tam_backend.effort.files import COLUMNS, DETAILS, WIDE, rows, sentences, write_report
    from tam_backend.effort.summary import summarise
    from tam_backend.labelstudio.config_xml import parse_config
    from tam_backend.labelstudio.history import read_history

    client = _label_studio(_settings_with({"label_studio_url": url, "label_studio_api_key": api_key}))
    about = client.get_project(project)
    config = parse_config(str(about.get("label_config") or ""))
    records, unread = [], []
    with _progress() as progress:
        for number in progress.track(client.task_ids(project), description="reading tasks"):
            try:
                task = client.get_task(project, number)
            except LabelStudioRefusedError as error:  # deleted since they were listed
                unread.append(f"Task {number} is left out: {error.message}")
                continue
            record, left_out = read_history(task, config)
            records.append(record)
            unread += left_out
    found = summarise(project, str(about.get("title") or ""), records, seconds_per_mask=seconds_per_mask, unread=unread)
    console = Console()
    # The columns would be cut to nothing; all are in the files.
    shown = [place for place, name in enumerate(COLUMNS) if console.width >= WIDE or name not in DETAILS]
    table = Table(title=escape(found.title), title_justify="left")
    for place in shown:
        table.add_column(COLUMNS[place], justify="right" if place else "left", no_wrap=place > 0)
    for row in rows(found)[:-1]:
        table.add_row(*(escape(row[place]) for place in shown))
    table.add_section()
    table.add_row(*(escape(rows(found)[-1][place]) for place in shown), style="bold")
    console.print(table)
    for sentence in sentences(found):
        console.print(sentence, highlight=False, soft_wrap=True, markup=False)
    if out is not None:
        for path in write_report(found, out, overwrite=overwrite):
            _console.print(str(path), highlight=False, soft_wrap=True, markup=False)


@app.command()
def profiles() -> None:
    """List the profiles: what each needs, and what is installed here."""
    from tam_backend.models import zoo

    table = Table("profile", "what it is", "needs", "installed")
    missing: list[str] = []
    for name in zoo.profile_names():
        profile = zoo.profile(name)
        state = profile.installation()
        table.add_row(name, profile.description, profile.needs, "yes" if state.ready else "no")
        if not state.ready:
            missing.append(f"{state.reason} {state.remedy}")
    console = Console()
    console.print(table)
    for line in missing:
        console.print(line, highlight=False, soft_wrap=True)


@weights_app.command()
def fetch(
    profile: Annotated[str, typer.Argument(help="Whose weights; see `tam-backend profiles`.")],
    brought: Annotated[
        list[Path] | None,
        typer.Option("--from", metavar="FILE", help="Install this file instead of downloading; may be given again."),
    ] = None,
) -> None:
    """Download the weights of a profile, or install files brought by hand; what arrives is checked first."""
    from tam_backend.models import zoo
    from tam_backend.models.weights_store import WeightsStore

    settings = get_settings()
    chosen = zoo.profile(profile)
    if not chosen.fetched:
        _console.print(f"Profile {chosen.name} needs {chosen.needs}.", highlight=False)
        return
    store = WeightsStore(settings.weights_folder, settings.weights_mirrors, settings.offline)
    for path in brought or ():
        with _console.status(f"Checking {path} ..."):
            installed = store.take_any(zoo.fetchable(profile), path)
        _console.print(f"{path} is installed as {installed}.", highlight=False, soft_wrap=True)
    if brought:
        still = zoo.profile(profile).installation()
        if not still.ready:
            _console.print(f"{still.reason} {still.remedy}", highlight=False, soft_wrap=True)
        return
    with _transfer() as progress:
        for file in chosen.fetched:
            task = progress.add_task(file.name, total=file.size_bytes)
            if store.is_there(file):
                progress.update(task, description=f"{file.name} (is there)", total=1, completed=1)
            else:
                store.fetch(file, partial(_show, progress, task))
    _console.print(f"Profile {chosen.name} is installed in {store.folder}.", highlight=False, soft_wrap=True)


def _say_how_it_begins(task: int, reports: Sequence[StartReport]) -> None:
    for report in reports:
        for sentence in report.sentences():
            _console.print(printable(f"Task {task}: {sentence}"), highlight=False, markup=False, soft_wrap=True)


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

    with _console.status("Importing ...") as status:
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
        _console.print(printable(line), highlight=False, markup=False, soft_wrap=True)
    for sentence in report.left_out:
        _say_note(f"Left out: {sentence}")
    for failed in report.failed:
        _say_error(f"{failed.path}: {failed.error.message}", failed.error.remedy)
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
    client = _label_studio(settings)
    target = make(client, source) if project is None else project
    library = VideoLibrary.of(settings)
    fetcher = _patient_fetcher(settings, client)
    with _console.status("Importing ...") as status:
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
        _say_note(f"Left out: {sentence}")
    for failed in report.failed:
        _say_error(f"{failed.path} of project {source}: {failed.error.message}", failed.error.remedy)
    earlier = f"; {report.earlier} were there already" if report.earlier else ""
    _console.print(f"Project {target} has {len(report.imported)} more videos{earlier}.", highlight=False)
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
    from tam_backend.labelstudio.config_xml import read_config
    from tam_backend.project_importer import frames_title

    title = frames_title(source)
    found = client.projects_called(title)
    if found:
        return found[0]
    has = read_config(str(client.get_project(source).get("label_config") or ""))
    boxes = video_boxes or any(has.box_output(media) for media in has.media)
    project = client.create_project(title, config_of(labels or video_labels(has) or ["Object"], video=boxes))
    _console.print(f'Project {project}, "{title}", was made, with our labeling config.', highlight=False)
    return project


def _say_imported(done: ImportedVideo, before: str = "", after: str = "") -> None:
    tasks = ", ".join(map(str, done.task_ids))
    line = f"{before}{done.record.name}: {done.pages} of {done.record.frames} frames, task {tasks}{after}"
    _console.print(printable(line), highlight=False, markup=False, soft_wrap=True)
    for note in done.notes:
        _say_note(note)


def _downloaded(settings: Settings, client: LabelStudioClient, address: str) -> Path:
    """Download a video, under the rules for the media of tasks."""
    return _patient_fetcher(settings, client).download(address, settings.data_dir / "imported")


def _patient_fetcher(settings: Settings, client: LabelStudioClient) -> MediaFetcher:
    """Return what gets videos here; nobody waits for them in a browser."""
    from tam_backend.video.fetch import MediaFetcher

    patient = settings.model_copy(update={"media_timeout_s": max(settings.media_timeout_s, _IMPORT_TIMEOUT_S)})
    return MediaFetcher(patient, authorization=client.authorization)


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


def _label_studio(settings: Settings) -> LabelStudioClient:
    from tam_backend.labelstudio.client import LabelStudioClient

    key = settings.label_studio_api_key.get_secret_value()
    if not settings.label_studio_url or not key:
        raise InvalidInputError(
            "Label Studio's address or access token is not known.",
            "Set LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY, or give --url and --api-key.",
        )
    return LabelStudioClient(settings.label_studio_url, key)


def _frame_range(text: str) -> tuple[int, int | None]:
    """Read A:B as Python's slices do, without negative numbers."""
    first, colon, last = text.partition(":")
    if not colon or not all(part.strip().isdecimal() or not part.strip() for part in (first, last)):
        raise FrameOutOfRangeError(f"--frames {text!r} is not A:B.", "Give for instance 0:100, 50: or :30.")
    return int(first or 0), int(last) if last.strip() else None


def _settings_with(given: dict[str, object]) -> Settings:
    """Return the environment's settings with what the command line says on top."""
    said = {name: value for name, value in given.items() if value is not None}
    try:
        # Read here, so that a mistake in the environment is told like one on the command line.
        return Settings.model_validate({**get_settings().model_dump(), **said})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "settings"
        raise InvalidInputError(f"{place}: {first['msg']}.") from error


def _show(progress: Progress, task: TaskID, done: int, total: int | None) -> None:
    progress.update(task, completed=done, total=total)


def _transfer() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=_console,
    )


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=_console,
    )
