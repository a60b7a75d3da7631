"""The main job on a real video: one click on a rabbit in Label Studio becomes its mask on all 132 frames."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

import requests

from demo import clip
from demo.annotator import Annotator, Page, Region, TagNames
from demo.backend import BackendServer, running_backend, tam_backend
from demo.console import Step, fail, step
from demo.errors import DemoError
from demo.label_studio import LabelStudio, running_label_studio
from demo.pictures import Tracked, write_pictures

LABEL = "Rabbit"
CLICK_FRAME = 128
CLICK_XY = (420, 350)
"""Pixels of the clip: the rabbit's chest, near the end, where head, belly, arms and feet all show."""

MASK_SHARE = (0.05, 0.40)
"""What part of the frame the rabbit's mask may cover: on the clicked frame it covers about an eighth."""


@dataclass(frozen=True)
class Work:
    """The task to label, and who labels it."""

    annotator: Annotator
    project: int
    task: int
    ml_backend: int
    tags: TagNames

    @property
    def page(self) -> Page:
        """The page that is clicked."""
        return Page(self.tags.frames, CLICK_FRAME, clip.SIZE_WH)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; return the exit code."""
    options = _options(arguments)
    out: Path = options.out.resolve()
    finished = False
    _end_servers_on_signals()
    try:
        with ExitStack() as servers:
            label_studio, backend, project = _run(out, options.cache, servers)
            _say_what_next(label_studio, backend, project, out, keep=options.keep)
            finished = True
            if options.keep:
                _wait_for_ctrl_c(label_studio, backend)
    except DemoError as error:
        fail(error)
        return 1
    except KeyboardInterrupt:
        if not finished:
            print("\nInterrupted before it was done; both servers are stopped. `make demo` begins anew.")
            return 130
        print("\nBoth servers are stopped. `make demo` starts them again, with what you have labeled.")
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--keep", type=int, choices=(0, 1), default=1, help="0: end at once; 1: serve until Ctrl-C")
    parser.add_argument("--out", type=Path, default=Path(".demo"), help="folder for everything that is written")
    parser.add_argument("--cache", type=Path, default=Path(".cache"), help="folder for the downloaded clip")
    return parser.parse_args(arguments)


def _end_servers_on_signals() -> None:
    """Leave in order, which ends the servers, however the demo is ended: Ctrl-C, kill, or its terminal closed."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts it in the background ignores it
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _: sys.exit(128 + received))


def _run(out: Path, cache: Path, servers: ExitStack) -> tuple[LabelStudio, BackendServer, int]:
    started_s = time.monotonic()
    print("Track Anything for Label Studio: one click becomes a mask on every frame.\n")
    with step("Fetching the clip: Big Buck Bunny, 132 frames at 1280x720") as now:
        video = clip.big_buck_bunny(cache)
        now.note(str(video))
    first_start = not (out / "label-studio").exists()
    with step("Starting Label Studio", "about 40 s the first time" if first_start else "about 10 s"):
        label_studio = servers.enter_context(running_label_studio(out / "label-studio", port=8080))
    with step("Starting the backend with its embedded networks", "a few seconds"):
        backend = servers.enter_context(running_backend(label_studio, out / "backend", port=9090))
    with step("Creating a project, connecting the backend, importing the clip as one task") as now:
        work = _prepare(label_studio, backend, video)
        now.note(f"project {work.project}, task {work.task}")
    with step(f"Clicking the rabbit once, on frame {CLICK_FRAME}, through Label Studio") as now:
        clicked = _click(work)
        mask = Tracked.from_region(clicked)
        _check_click(mask)
        now.note(f"a mask of {mask.share:.1%} of the frame, quality {mask.quality:.2f}")
    with step("Propagating to all frames, backward and forward", "1 to 2 minutes on two cores") as now:
        tracked_s = time.monotonic()
        regions = _propagate(work, clicked, backend, now)
        tracked_s = time.monotonic() - tracked_s
        masks = {region["item_index"]: Tracked.from_region(region) for region in regions}
        _check_track(masks)
        now.note(f"{len(masks)} masks, {len(masks) / tracked_s:.1f} frames/s")
    with step("Storing them in Label Studio as the task's prediction") as now:
        score = sum(mask.quality for mask in masks.values()) / len(masks)
        prediction = work.annotator.save_prediction(work.task, regions, f"compact, one click on {CLICK_FRAME}", score)
        _check_stored(work, prediction)
        now.note(f"prediction {prediction}, mean quality {score:.2f}")
    with step("Drawing the overlay video and the contact sheet"):
        write_pictures(video, masks, LABEL, (CLICK_FRAME, CLICK_XY), out)
    print(f"\nDone in {time.monotonic() - started_s:.0f} s.")
    return label_studio, backend, work.project


def _prepare(label_studio: LabelStudio, backend: BackendServer, video: Path) -> Work:
    config = tam_backend(backend, "import", "--config", "--label", LABEL, "--masks", "bitmask")
    annotator = Annotator(label_studio.url, label_studio.token)
    project = annotator.create_project("Track Anything: Big Buck Bunny", config)
    ml_backend = annotator.connect_backend(project, backend.url)
    tam_backend(backend, "import", str(video), "--project", str(project), "--max-frames", str(clip.FRAMES))
    tasks = annotator.tasks(project)
    pages = [len(task["data"].get("frames", ())) for task in tasks]
    if pages != [clip.FRAMES]:
        raise DemoError(f"The import made tasks of {pages} frames; one task of {clip.FRAMES} was expected.")
    return Work(annotator, project, int(tasks[0]["id"]), ml_backend, TagNames.of(config))


def _click(work: Work) -> Region:
    prompt = work.page.click(work.tags.clicks, CLICK_XY, LABEL)
    regions = work.annotator.ask(work.ml_backend, work.task, [prompt])
    if len(regions) != 1:
        raise DemoError(f"One click on one frame gave {len(regions)} regions; one mask was expected.")
    return regions[0]


def _check_click(mask: Tracked) -> None:
    x, y = CLICK_XY
    if not mask.array[y, x]:
        raise DemoError(f"The mask does not cover the click at {CLICK_XY}.")
    if not MASK_SHARE[0] <= mask.share <= MASK_SHARE[1]:
        raise DemoError(f"The mask covers {mask.share:.1%} of the frame; that is not the rabbit.")


def _propagate(work: Work, clicked: Region, backend: BackendServer, now: Step) -> list[Region]:
    """Accept the mask, ask for all frames, and return one region per frame."""
    prompt = work.page.click(work.tags.clicks, CLICK_XY, "Propagate")
    with _progress_of_jobs(backend, now):
        return work.annotator.propagate(work.ml_backend, work.task, clicked, prompt, clip.FRAMES)


@contextmanager
def _progress_of_jobs(backend: BackendServer, now: Step) -> Iterator[None]:
    """Show how far the running propagation is, as GET /jobs tells it."""
    done = Event()

    def look() -> None:
        while not done.wait(1):
            try:
                jobs = requests.get(f"{backend.url}/jobs", timeout=2).json()["jobs"]
            except (requests.RequestException, ValueError, KeyError):
                continue  # only a display
            for job in jobs:
                if job["state"] == "running":
                    now.progress(f"(frame {job['frames_done']} of {job['frames_total']})")

    looking = Thread(target=look, daemon=True)
    looking.start()
    try:
        yield
    finally:
        done.set()
        looking.join()


def _check_track(masks: dict[int, Tracked]) -> None:
    missing = sorted(set(range(clip.FRAMES)) - set(masks))
    if missing:
        raise DemoError(f"{len(missing)} of {clip.FRAMES} frames came back without a mask, first frame {missing[0]}.")
    empty = [frame for frame, mask in sorted(masks.items()) if not mask.array.any()]
    if empty:
        raise DemoError(f"The mask is empty on {len(empty)} frames, first on frame {empty[0]}; the rabbit is on all.")


def _check_stored(work: Work, prediction: int) -> None:
    stored = {int(found["id"]): found for found in work.annotator.predictions(work.task)}
    pages = {region["item_index"] for region in stored.get(prediction, {"result": ()})["result"]}
    if len(pages) != clip.FRAMES:
        raise DemoError(f"Label Studio kept {len(pages)} of {clip.FRAMES} masks of prediction {prediction}.")


def _say_what_next(label_studio: LabelStudio, backend: BackendServer, project: int, out: Path, *, keep: bool) -> None:
    print(
        f"\n  Look at   {_short(out / 'contact_sheet.png')}   (twelve frames; the dot on the last one is the click)"
        f"\n            {_short(out / 'overlay.mp4')}         (the whole clip)"
        f"\n  Credit    {clip.CREDIT}"
    )
    if not keep:
        return
    print(
        f"\n  Label Studio   {label_studio.url}/projects/{project}/data"
        f"\n  Login          {label_studio.email}   password: {label_studio.password}"
        f"\n  The backend    {backend.url}"
        "\n"
        "\n  What to try next"
        "\n  1. Log in and open the task (all 132 masks take the browser half a minute; your own tasks will have 50"
        "\n     pages). The masks are on their pages: turn them with the arrows above the picture."
        "\n  2. Is a page wrong? Delete its mask; switch Auto-Annotation on (below the picture), choose"
        f'\n     "{LABEL}" under "Click on an object", press the smart button (the last one of the toolbar), and'
        "\n     click the rabbit. Alt-click takes something out again. The green tick accepts."
        '\n  3. Choose "Propagate" and click anywhere on the picture: every page is tracked again from your mask.'
        "\n\n  Ctrl-C stops both servers."
    )


def _wait_for_ctrl_c(label_studio: LabelStudio, backend: BackendServer) -> None:
    while True:
        for process in (label_studio.process, backend.process):
            if not process.alive():
                raise DemoError(f"{process.name} ended by itself.\n{process.log_end()}")
        time.sleep(1)


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


if __name__ == "__main__":
    sys.exit(main())
