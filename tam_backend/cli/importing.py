"""`import`: videos, projects with videos, and datasets become tasks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tam_backend.cli.choices import ArrivalName, BoxesName, MaskFormat, ReadableFormatName
from tam_backend.cli.command_line import app
from tam_backend.cli.common import (
    ApiKey,
    ProjectOption,
    Url,
    console,
    label_studio,
    project_number,
    say,
    say_error,
    say_note,
    settings_with,
    steps,
    told_when_stopped,
)
from tam_backend.errors import InvalidInputError, LabelStudioError
from tam_backend.planned_tasks import DEFAULT_MAX_FRAMES
from tam_backend.settings import Settings

if TYPE_CHECKING:
    from tam_backend.dataset_importer import ArrivedVideo, DatasetArrival
    from tam_backend.importer import FailedVideo, ImportedVideo
    from tam_backend.labelstudio.client import LabelStudioClient
    from tam_backend.planned_tasks import FrameSelection
    from tam_backend.project_importer import ArrivedFromTask
    from tam_backend.video.fetch import MediaFetcher
    from tam_backend.video.library import VideoLibrary

_IMPORT_TIMEOUT_S = 3600.0  # of one download
_GOES_ON = (
    "videos have arrived, those that are named above. The same command goes on: it brings those that are missing, and "
    "makes no task twice."
)


@app.command("import")
def import_(  # noqa: PLR0917 - typer makes options of them, whatever their order
    videos: Annotated[
        list[str] | None,
        typer.Argument(metavar="VIDEO...", help="Video files, image folders, addresses on the web; or datasets."),
    ] = None,
    project: Annotated[int | None, ProjectOption] = None,
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
        typer.Option(
            help="Make pages of this project's <Video> tasks; without --project in a new project.",
            parser=project_number,
            metavar="NUMBER",
        ),
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
    from tam_backend.importer import import_videos
    from tam_backend.labelstudio.recommended_config import recommended_config
    from tam_backend.planned_tasks import FrameSelection
    from tam_backend.video.library import VideoLibrary

    if not videos and not config and from_project is None:
        raise InvalidInputError("There is nothing to import.", "Name a video, or ask for the config: --config.")
    settings = settings_with({"label_studio_url": url, "label_studio_api_key": api_key, "public_url": backend_url})
    selection = FrameSelection(fps=fps, stride=stride, max_frames=max_frames)
    transcode_to = settings.data_dir / "transcoded" if transcode else None
    config_of = partial(
        recommended_config, masks=masks.value, propagate_label=settings.propagate_label, new_objects=new_objects
    )
    of_config = {
        "--label": label,
        "--masks": masks is not MaskFormat.BRUSH,
        "--new-objects": new_objects,
        "--video-boxes": video_boxes,
    }
    told = [name for name, said in of_config.items() if said]
    if project is not None and not config and told:
        _say_config_stays(project, told)
    if from_project is not None:
        make = partial(_project_for_frames, config_of=config_of, labels=label, video_boxes=video_boxes, told=told)
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
    arrivals = _Arrivals(client, project, settings, library)
    with told_when_stopped(lambda: _left_of(videos, arrivals)), steps("Importing ...") as step:
        report = import_videos(
            videos,
            project,
            library=library,
            client=client,
            base_url=settings.own_url,
            selection=selection,
            download=partial(_downloaded, settings, client),
            transcode_to=transcode_to,
            on_progress=lambda source, doing: step(f"{Path(source).name}: {doing} ..."),
            on_done=arrivals.tell,
        )
    if report.imported:
        arrivals.listen()
    if report.failed:
        sys.exit(2)


def _left_of(videos: Sequence[str], arrivals: _Arrivals) -> str:
    """Return what is told when somebody stops an import of videos: they are not known again."""
    return (
        f"{arrivals.count} of {len(videos)} videos have arrived, those that are named above. Give the command again "
        "with the others only: a video that is imported again gets new tasks. Of the one that was at work there may be "
        "tasks too: look in the project, and delete them before."
    )


@dataclass(eq=False)
class _Arrivals:
    """Tells of videos as they arrive. From the first on, Label Studio tells the backend what happens in their project.

    Args:
        client: Label Studio.
        project: where they arrive.
        settings: of the environment and the command line.
        library: where they are registered.
        whence: stands behind the task that a video was found in.
        count: so many have arrived.
        is_heard: Label Studio does tell the backend.
    """

    client: LabelStudioClient
    project: int
    settings: Settings
    library: VideoLibrary
    whence: str = ""
    count: int = 0
    is_heard: bool = False

    def tell(self, done: ImportedVideo | ArrivedVideo | ArrivedFromTask | FailedVideo) -> None:
        """Tell of one more, arrived or failed."""
        from tam_backend.dataset_importer import ArrivedVideo
        from tam_backend.importer import FailedVideo, ImportedVideo

        if isinstance(done, FailedVideo):
            say_error(f"{done.path}{self.whence}: {done.error.message}", done.error.remedy)
            return
        self.count += 1
        if not self.is_heard:
            with suppress(LabelStudioError):  # the videos shall arrive all the same; `listen` says it at the end
                self.listen()
        if isinstance(done, ArrivedVideo):
            say(_as_dataset_line(done))
            return
        video, line = (
            (done, "") if isinstance(done, ImportedVideo) else (done.video, f"Task {done.task}{self.whence}, ")
        )
        line += _as_line(video)
        if not isinstance(done, ImportedVideo) and done.boxes:
            line += f", {done.boxes} tracks of boxes"
        say(line)
        for note in video.notes:
            say_note(note)

    def listen(self) -> None:
        """Have Label Studio tell the backend what happens in the project, if it does not yet.

        Raises:
            LabelStudioError: it refuses.
        """
        if not self.is_heard:
            self.client.install_webhook(self.project, self.settings.events_url, self.library.webhook_secret)
            self.is_heard = True


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

    arrivals = _Arrivals(client, wanted.project, settings, library)
    with told_when_stopped(lambda: f"{arrivals.count} {_GOES_ON}"), steps("Importing ...") as step:
        report = import_dataset(
            read_dataset(path, wanted.form),
            wanted,
            library=library,
            client=client,
            base_url=settings.own_url,
            frames_folder=settings.data_dir / "dataset-frames",
            on_progress=lambda video, doing: step(f"{video}: {doing} ..."),
            on_done=arrivals.tell,
        )
    if report.imported:
        arrivals.listen()
    for sentence in report.kept:
        say_note(sentence)
    for sentence in report.left_out:
        say_note(f"Left out: {sentence}")
    return not report.failed


def _as_dataset_line(done: ArrivedVideo) -> str:
    tasks = ", ".join(map(str, done.task_ids))
    counts = f"{done.pages} frames, {done.objects} objects, {done.masks} masks"
    counts += f", {done.boxes} boxes" if done.boxes else ""
    return f"{done.name}: {counts}, task {tasks}{'' if done.is_new else ' (made earlier)'}"


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
    arrivals = _Arrivals(client, target, settings, library, f" of project {source}")
    with told_when_stopped(lambda: f"{arrivals.count} {_GOES_ON}"), steps("Importing ...") as step:
        report = import_project(
            source,
            target,
            library=library,
            client=client,
            base_url=settings.own_url,
            selection=selection,
            bring=lambda value, task: fetcher.bring(value, settings.data_dir / "imported", task_id=task),
            transcode_to=transcode_to,
            on_progress=lambda video, doing: step(f"{video}: {doing} ... ({arrivals.count} arrived)"),
            on_done=arrivals.tell,
        )
    if report.earlier or report.imported:
        arrivals.listen()
    for sentence in report.kept:
        say_note(sentence)
    for sentence in report.left_out:
        say_note(f"Left out: {sentence}")
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
    told: Sequence[str],
) -> int:
    """Return the project that the frames of another one's videos go to where nobody named one; make it if need be.

    Its config has the labels of that one's boxes, unless others are named, and boxes if that one has. That of a project
    which is there already stays, whatever options (`told`) were given for it.
    """
    from tam_backend.labelstudio.carried_boxes import video_labels
    from tam_backend.project_importer import config_with_videos, frames_title

    title = frames_title(source)
    found = client.projects_called(title)
    if found:
        if told:
            _say_config_stays(found[0], told)
        return found[0]
    has = config_with_videos(client, source)
    boxes = video_boxes or any(has.box_output(media) for media in has.media)
    project = client.create_project(title, config_of(labels or video_labels(has) or ["Object"], video=boxes))
    console.print(f'Project {project}, "{title}", was made, with our labeling config.', highlight=False)
    return project


def _say_config_stays(project: int, told: Sequence[str]) -> None:
    say_note(
        f"Project {project} is there, and its labeling config stays as it is: {', '.join(told)} did nothing. To "
        f"replace it give --config with them, and --project {project}."
    )


def _as_line(done: ImportedVideo) -> str:
    tasks = ", ".join(map(str, done.task_ids))
    return f"{done.record.name}: {done.pages} of {done.record.frames} frames, task {tasks}"


def _downloaded(settings: Settings, client: LabelStudioClient, address: str) -> Path:
    """Download a video, under the rules for the media of tasks."""
    return _patient_fetcher(settings, client).download(address, settings.data_dir / "imported")


def _patient_fetcher(settings: Settings, client: LabelStudioClient) -> MediaFetcher:
    """Return what gets videos here; nobody waits for them in a browser."""
    from tam_backend.video.fetch import MediaFetcher

    patient = settings.model_copy(update={"media_timeout_s": max(settings.media_timeout_s, _IMPORT_TIMEOUT_S)})
    return MediaFetcher(patient, authorization=client.authorization)
