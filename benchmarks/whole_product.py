"""What people wait for, from a cold start to a dataset: `python -m benchmarks.whole_product [--rounds 3]`.

A real Label Studio and a real `tam-backend serve`, each in a process of its own, and Big Buck Bunny (132 frames of
1280x720). Each round starts the backend anew, with nothing in its folder but the imported clip, and takes the time of

- cold start: from the command to the first answer of /health, and to the first mask;
- the first click, which encodes a frame; the next ones on other frames; one more on the same frame;
- Propagate to all frames, and accepting what came;
- a correction of one frame, from Update in Label Studio to the new prediction in Label Studio;
- `tam-backend export --format coco`.

All through Label Studio, as an annotator's page asks. Medians over the rounds, and the server's memory (all of its
processes) when it idles after its start and when all is done.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psutil
import requests

from benchmarks.machine import describe_machine
from demo import clip
from demo.annotator import Annotator, Page, Region, TagNames
from demo.backend import BackendServer, running_backend, tam_backend
from demo.errors import DemoError
from demo.label_studio import LabelStudio, running_label_studio
from demo.run import LABEL

_CLICKS_XY = ((420, 350), (430, 300), (400, 420))
_FRAMES_CLICKED = (128, 100, 80, 60, 40)
_ARRIVES_WITHIN_S = 600

Made = TypeVar("Made")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", default="compact")
    arguments = parser.parse_args()
    rows: dict[str, list[float]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        video = clip.big_buck_bunny(home)
        with running_label_studio(home / "label-studio") as label_studio:
            for number in range(arguments.rounds):
                _round(label_studio, video, home / str(number), arguments.profile, rows)
    print(f"{describe_machine()}, profile {arguments.profile}")
    for name, taken in rows.items():
        print(f"{name:44}{statistics.median(taken):9.2f}   ({', '.join(f'{each:.2f}' for each in taken)})")


def _round(label_studio: LabelStudio, video: Path, folder: Path, profile: str, rows: dict[str, list[float]]) -> None:
    def timed(name: str, work: Callable[[], Made]) -> Made:
        began_s = time.perf_counter()
        made = work()
        rows[f"{name}, s"].append(time.perf_counter() - began_s)
        return made

    annotator = Annotator(label_studio.url, label_studio.token)
    settings = {"TAM_PROFILE": profile, "TAM_DRAFT_WAIT_S": "1"}
    with running_backend(label_studio, folder, extra_env=settings) as backend:  # imports, and is forgotten
        config = tam_backend(backend, "import", "--config", "--label", LABEL, "--masks", "bitmask")
        project = annotator.create_project("Big Buck Bunny", config)
        ml_backend = annotator.connect_backend(project, backend.url)
        tam_backend(backend, "import", str(video), "--project", str(project), "--max-frames", str(clip.FRAMES))
        port = int(backend.env["TAM_PORT"])
    task = int(annotator.tasks(project)[0]["id"])
    tags = TagNames.of(config)

    began_s = time.perf_counter()
    with running_backend(label_studio, folder, port=port, extra_env=settings) as backend:
        rows["cold start to /health, s"].append(time.perf_counter() - began_s)

        def click(frame: int, number: int = 0, label: str = LABEL) -> list[Region]:
            prompt = Page(tags.frames, frame, clip.SIZE_WH).click(tags.clicks, _CLICKS_XY[number], label)
            return annotator.ask(ml_backend, task, [prompt])

        [mask] = timed("first click", lambda: click(_FRAMES_CLICKED[0]))
        rows["cold start to the first mask, s"].append(time.perf_counter() - began_s)
        rows["memory after the first click, MB"].append(_memory_mb(backend))
        for frame in _FRAMES_CLICKED[1:]:
            timed("a click on another frame", lambda frame=frame: click(frame))  # type: ignore[misc]
        for number in (1, 2):
            timed("a click on the same frame", lambda number=number: click(_FRAMES_CLICKED[-1], number))  # type: ignore[misc]
        prompt = Page(tags.frames, _FRAMES_CLICKED[0], clip.SIZE_WH).click(tags.clicks, _CLICKS_XY[0], "Propagate")
        regions = timed(
            "Propagate, 132 frames", lambda: annotator.propagate(ml_backend, task, mask, prompt, clip.FRAMES)
        )
        annotation = annotator.save_annotation(task, regions)
        timed("a correction, until Label Studio has it", lambda: _correct(annotator, task, annotation, regions))
        dataset = folder / "coco"
        timed("export to COCO", lambda: tam_backend(backend, "export", *_export_words(project, dataset)))
        rows["memory at the end, MB"].append(_memory_mb(backend))


def _export_words(project: int, dataset: Path) -> tuple[str, ...]:
    return "--project", str(project), "--format", "coco", "--out", str(dataset)


def _correct(annotator: Annotator, task: int, annotation: int, regions: list[Region]) -> None:
    """Give frame 64 the mask of frame 63, press Update, and wait for the prediction that follows."""
    before = {int(each["id"]) for each in annotator.predictions(task)}
    by_frame: dict[int, Any] = {region["item_index"]: region for region in regions}
    changed = {**by_frame[64], "value": by_frame[63]["value"], "origin": "prediction-changed"}
    annotator.update_annotation(annotation, [*(r for r in regions if r["item_index"] != 64), changed])
    deadline_s = time.monotonic() + _ARRIVES_WITHIN_S
    while not {int(each["id"]) for each in annotator.predictions(task)} - before:
        if time.monotonic() > deadline_s:
            raise DemoError("No prediction came after the correction.")
        time.sleep(0.2)


def _memory_mb(backend: BackendServer) -> float:
    """Return what all processes of the server hold for themselves, and their share of what they hold together."""
    head = psutil.Process(backend.process.pid)
    requests.get(f"{backend.url}/health", timeout=10).raise_for_status()
    return sum(each.memory_full_info().pss for each in (head, *head.children(recursive=True))) / 2**20


if __name__ == "__main__":
    main()
