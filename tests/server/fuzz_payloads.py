"""`make fuzz`: send thousands of mutated requests to a real server, with jobs and a Label Studio to store them in.

Right is: no 500, no traceback in the log, and good requests are served afterwards. What is wrong is printed with the
seed and the number that make it again: `make fuzz ARGS="--seed 7 --only 1234"`.
"""

from __future__ import annotations

import argparse
import http.client
import json
import logging
import secrets
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
from label_studio_double import LabelStudioDouble, running_double
from live_servers import free_port, process, request
from mutated_payloads import Media, Mutations, Sent, as_text, good_requests
from test_backend import VIDEO

from tam_backend.export import OverlayWriter
from tam_backend.video.library import VideoLibrary

_SLOW_S = 20.0


def main() -> int:
    """Return the exit status: 1 where something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000, help="how many requests; default %(default)s")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="default: another one each time")
    parser.add_argument("--only", type=int, action="append", help="send this number of the seed, and no other")
    options = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # of the double
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder, running_double() as double:
        place, port = Path(folder), free_port()
        library, media = _media(place)
        command = [sys.executable, str(Path(__file__).with_name("serve_colours.py")), str(port), folder, double.url]
        log = place / "log"
        tests = str(Path(__file__).parents[1])
        with process(command, port, log, PYTHONPATH=f"{Path(__file__).parents[2]}:{tests}"):
            run = _Run(port, library.webhook_secret, log, double)
            mutations = Mutations(options.seed, media)
            for number in options.only or range(options.count):
                run.send(number, mutations[number])
            run.finish()
            wrong = run.wrong + run.good_requests_refused(media)
    print(f"{run.sent} requests, {wrong} wrong, answers: {dict(sorted(run.statuses.items()))}")
    return 1 if wrong else 0


def _media(place: Path) -> tuple[VideoLibrary, Media]:
    library, frames = VideoLibrary(place), place / "frames"
    frames.mkdir()
    for index, frame in enumerate(VIDEO):
        cv2.imwrite(str(frames / f"{index}.png"), frame[..., ::-1])
    with OverlayWriter(place / "clip.mp4", VIDEO.size_hw, 24) as writer:
        for frame in VIDEO:
            writer.write(frame, {})
    pages, clip = library.register(frames), library.register(place / "clip.mp4")
    urls = [library.frame_url("http://x", pages.id, index) for index in range(VIDEO.frames)]
    return library, {"frames": urls, "video": library.video_url("http://x", clip.id)}


class _Run:
    def __init__(self, port: int, secret: str, log: Path, double: LabelStudioDouble) -> None:
        self._port, self._secret, self._log, self._double = port, secret, log, double
        self._read_of_log = 0
        self.sent = self.wrong = 0
        self.statuses: dict[int, int] = {}

    def send(self, number: int, sent: Sent) -> None:
        """Send one, and print it where the answer or the log is wrong."""
        self._let_label_studio_know(sent)
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_SLOW_S)
        try:
            headers = {"Content-Type": sent.content_type} if sent.body is not None else {}
            connection.request(sent.method, sent.path.replace("{secret}", self._secret), sent.body, headers)
            status = connection.getresponse().status
        except (http.client.HTTPException, OSError) as error:
            print(f"{number}: no answer: {error!r}")
            status = 0
        finally:
            connection.close()
        self.sent += 1
        self.statuses[status] = self.statuses.get(status, 0) + 1
        traceback = self._new_traceback()
        if status in (0, 500) or traceback:
            self.wrong += 1
            print(f"--- {number}: {status}\n{traceback}\n{as_text(sent)[:3000]}", flush=True)

    def finish(self) -> None:
        """Wait until no job is left that works, and look at the log."""
        deadline_s = time.monotonic() + 60
        while time.monotonic() < deadline_s and self._at_work():
            time.sleep(0.2)
        if traceback := self._new_traceback():
            self.wrong += 1
            print(f"--- afterwards\n{traceback}")

    def good_requests_refused(self, media: Media) -> int:
        """Send what Label Studio sends, and return how much of that is not served."""
        refused = 0
        for path, payload in good_requests(media):
            status, answer = request(self._port, "POST", path.replace("{secret}", self._secret), payload, 60)
            if status not in (200, 201):
                refused += 1
                print(f"--- a good {path} afterwards: {status} {answer}")
        return refused

    def _at_work(self) -> bool:
        jobs = request(self._port, "GET", "/jobs")[1]["jobs"]
        return any(job["state"] in ("queued", "running", "pushing") for job in jobs)

    def _let_label_studio_know(self, sent: Sent) -> None:
        """Let it have the annotations of an event, as odd as they are: jobs ask for them."""
        if not sent.path.startswith("/webhook") or sent.body is None:
            return
        try:
            event: Any = json.loads(sent.body)
            self._double.tasks[7] = {"data": event["task"]["data"], "annotations": [event["annotation"]]}
        except (ValueError, KeyError, TypeError, RecursionError):
            self._double.tasks.pop(7, None)

    def _new_traceback(self) -> str:
        """Return what is new in the log, where there is a traceback in it."""
        with self._log.open("rb") as log:
            log.seek(self._read_of_log)
            new = log.read()
        self._read_of_log += len(new)
        text = new.decode("utf-8", "replace")
        return text[text.index("Traceback") :][-6000:] if "Traceback" in text else ""


if __name__ == "__main__":
    sys.exit(main())
