"""What an export costs: `python -m benchmarks.export [--frames 1000] [--long 10000] [--formats coco davis]`.

Exports a made-up project of FRAMES frames of 1280x720 with 3 objects each, in tasks of 50 frames, from a server that
answers as Label Studio does, in a process of its own. Beside it, what decoding the same regions one by one takes with
the Label Studio SDK's own `decode_rle`, in the same process and minute. Seconds and ratios are told by the clock, which
other programs on the machine slow down, and of the processor, which they hardly do. Last, the resident memory while
LONG frames are exported.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import cv2
import numpy as np

from benchmarks.resident import resident_mb
from tam_backend.errors import MediaNotFoundError
from tam_backend.export.formats import FORMATS
from tam_backend.exporter import ExportRequest, export_project
from tam_backend.labelstudio.client import LabelStudioClient
from tam_backend.labelstudio.encoding import encode_bitmask, encode_brush
from tam_backend.types import BoolMask, VideoSource

SIZE_HW = (720, 1280)
OBJECTS = 3
FRAMES_PER_TASK = 50
_LABELS = ("Red", "Green", "Blue")
_POSES = 25  # masks are made for so many frames and then come again
_NEVER = "This project is exported without frames."


def config(kind: str) -> str:
    """Return a labeling config for a kind of mask."""
    labels = "".join(f'<Label value="{each}"/>' for each in _LABELS)
    return f'<View><Image name="f" valueList="$frames"/><{kind} name="m" toName="f">{labels}</{kind}></View>'


def mask(frame: int, number: int) -> BoolMask:
    """Return an object like people label: 13 % of the frame, with an uneven edge."""
    height, width = SIZE_HW
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    ragged = 1 + 0.05 * np.random.default_rng(1000 * number + frame).standard_normal(len(angles))
    x = width * (0.2 + 0.3 * number) + 4 * frame + 180 * ragged * np.cos(angles)
    y = height * 0.5 + 210 * ragged * np.sin(angles)
    canvas = np.zeros(SIZE_HW, np.uint8)
    cv2.fillPoly(canvas, [np.stack((x, y), axis=1).astype(np.int32)], (1,))
    return canvas > 0


def region(kind: str, frame: int, number: int, shape: dict[str, Any]) -> dict[str, Any]:
    """Return a region as Label Studio stores it."""
    return {
        "id": f"tam-object{number}-{frame}f",
        "from_name": "m",
        "to_name": "f",
        "type": kind.lower(),
        "original_width": SIZE_HW[1],
        "original_height": SIZE_HW[0],
        "image_rotation": 0,
        "item_index": frame,
        "origin": "prediction",
        "score": 0.9,
        "value": {**shape, kind.lower(): [_LABELS[number]]},
    }


def serve(kind: str, frames: int, pipe: Connection) -> None:
    """Answer as Label Studio does, until killed; sends the address."""
    import json  # noqa: PLC0415 - of the other process

    shapes = [
        {"rle": encode_brush(mask(pose, number)), "format": "rle"}
        if kind == "BrushLabels"
        else {"imageDataURL": encode_bitmask(mask(pose, number))}
        for pose in range(_POSES)
        for number in range(OBJECTS)
    ]
    parts = frames // FRAMES_PER_TASK

    def data(task: int) -> dict[str, Any]:
        chain = {
            "part": task,
            "parts": parts,
            "previous_task": task - 1 or None,
            "next_task": task + 1 if task < parts else None,
        }
        return {"frames": [f"/f/{n}.jpg" for n in range(FRAMES_PER_TASK)], "video": "/v/clip.mp4", "chain": chain}

    results = [
        region(kind, frame, number, shapes[(frame % _POSES) * OBJECTS + number])
        for frame in range(FRAMES_PER_TASK)
        for number in range(OBJECTS)
    ]
    annotations = json.dumps([{"id": 1, "completed_by": 1, "result": results}]).encode()
    tasks = [{"id": task, "data": data(task)} for task in range(1, parts + 1)]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            query = dict(parse_qsl(asked.query))
            if "annotations" in asked.path:
                body = annotations
            elif "query" in query:
                [task] = json.loads(query["query"])["selectedItems"]["included"]
                body = json.dumps({"tasks": [tasks[task - 1]]}).encode()
            elif "/projects/" in asked.path:
                body = json.dumps({"id": 3, "label_config": config(kind)}).encode()
            else:
                size, page = int(query["page_size"]), int(query["page"])
                body = json.dumps({"tasks": tasks[(page - 1) * size : page * size], "total": parts}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    pipe.send(f"http://127.0.0.1:{server.server_address[1]}")
    server.serve_forever()


@contextmanager
def served(kind: str, frames: int) -> Iterator[LabelStudioClient]:
    """Run the server in another process, so that its memory and time do not count."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(kind, frames, there), daemon=True)
    process.start()
    try:
        yield LabelStudioClient(here.recv(), "0" * 40)
    finally:
        process.kill()
        process.join()


@dataclass(frozen=True)
class Cost:
    """Seconds by the clock, and those that the processor worked for this process."""

    clock_s: float
    processor_s: float

    def __str__(self) -> str:
        return f"{self.clock_s:>8.1f} s{self.processor_s:>8.1f} s"


def cost(work: Callable[[], object]) -> Cost:
    """Do something, and return what it took."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return Cost(time.perf_counter() - clock, time.process_time() - processor)


def export(client: LabelStudioClient, form: str) -> None:
    """Export the project."""

    def no_media(value: Any, task: int) -> VideoSource:  # noqa: ARG001 - as `OpenMedia` is called
        raise MediaNotFoundError(_NEVER)

    with tempfile.TemporaryDirectory(prefix="tam-export-") as folder:
        export_project(client, ExportRequest(3, form), Path(folder) / "out", no_media)


def decode_by_sdk(client: LabelStudioClient, frames: int) -> None:
    """Read all regions, and decode them one by one as the SDK's exporters do."""
    from label_studio_sdk.converter.brush import decode_rle  # noqa: PLC0415 - slow to import

    for task in range(1, frames // FRAMES_PER_TASK + 1):
        for each in client.annotations(task)[0]["result"]:
            height, width = each["original_height"], each["original_width"]
            np.reshape(decode_rle(each["value"]["rle"]), (height, width, 4))[:, :, 3]


class Peak:
    """The most memory that was resident while a block ran."""

    def __enter__(self) -> Peak:
        self.mb = resident_mb()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.05):
            self.mb = max(self.mb, resident_mb())


def main() -> None:
    """Print one line for each format, and one for the memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--long", type=int, default=10_000)
    parser.add_argument("--formats", nargs="+", default=[name for name in FORMATS if name != "overlay"])
    options = parser.parse_args()
    height, width = SIZE_HW
    print(f"{options.frames} frames of {width}x{height}, {OBJECTS} objects, load {os.getloadavg()[0]:.1f}")
    with served("BrushLabels", options.frames) as client:
        before_mb = resident_mb()
        by_sdk = cost(partial(decode_by_sdk, client, options.frames))
        print(f"{'':<28}{'clock':>10}{'processor':>10}")
        print(f"{'decoding one by one, SDK':<28}{by_sdk}", flush=True)
        for form in options.formats:
            ours = cost(partial(export, client, form))
            clock, processor = by_sdk.clock_s / ours.clock_s, by_sdk.processor_s / ours.processor_s
            print(f"{'export as ' + form:<28}{ours}{clock:>7.1f} and{processor:>5.1f} times as fast", flush=True)
    for kind in ("BrushLabels", "BitmaskLabels"):
        with served(kind, options.long) as client, Peak() as peak:
            ours = cost(partial(export, client, "coco"))
        print(f"{options.long} frames, {kind}, as coco:{ours}, {peak.mb} MB resident at most", end="")
        print(f" (the process held {before_mb} MB before)", flush=True)


if __name__ == "__main__":
    main()
