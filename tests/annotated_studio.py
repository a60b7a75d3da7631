"""The calls of Label Studio's API that an export makes, answered over real HTTP; the real one is in tests/e2e."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol, TypeVar, cast
from urllib.parse import parse_qsl, urlsplit

TOKEN = "7a6d" * 10


class AnnotatedStudio:
    """One project, number 3, and its tasks.

    A task cannot be read by itself: the real Label Studio would have the backend predict it first.

    Attributes:
        config: the labeling config.
        tasks: id -> its data, annotations and predictions.
        refuse_after: so many calls are answered, then the key is refused; None = all are.
        calls: the paths that were asked for.
    """

    def __init__(self, config: str) -> None:
        self.config = config
        self.tasks: dict[int, dict[str, Any]] = {}
        self.refuse_after: int | None = None
        self.calls: list[str] = []
        self.url = ""

    def add_task(self, data: dict[str, Any], *results: Sequence[dict[str, Any]], predicted: Any = None) -> int:
        """Make a task with an annotation for each `result` list, each newer than the one before it."""
        number = max(self.tasks, default=10) + 1
        annotations = [
            self.annotation(10 * number + at, result, f"2026-01-0{at + 1}T10:00:00Z")
            for at, result in enumerate(results)
        ]
        predictions = [] if predicted is None else [{"id": number, "result": predicted, "created_at": "2026-01-01"}]
        self.tasks[number] = {"id": number, "data": data, "annotations": annotations, "predictions": predictions}
        return number

    @staticmethod
    def annotation(number: int, result: Sequence[dict[str, Any]], when: str, **more: Any) -> dict[str, Any]:
        """Return an annotation of user 1."""
        about = {"id": number, "result": list(result), "updated_at": when, "completed_by": 1}
        return {**about, "was_cancelled": False, "ground_truth": False, **more}

    def answer(self, path: str, authorization: str | None) -> tuple[int, Any]:
        """Return status and JSON."""
        self.calls.append(path)
        refused = self.refuse_after is not None and len(self.calls) > self.refuse_after
        if refused or authorization != f"Token {TOKEN}":
            return 401, {"detail": "Invalid token."}
        asked = urlsplit(path)
        query = dict(parse_qsl(asked.query))
        place = asked.path.rstrip("/")
        found: dict[str, Any] = {
            "/api/projects/3": {"id": 3, "title": "Dogs", "label_config": self.config},
            "/api/users": [{"id": 1, "email": "ann@example.com"}, {"id": 2, "email": "ben@example.com"}],
        }
        found |= {f"/api/tasks/{number}/annotations": task["annotations"] for number, task in self.tasks.items()}
        if place == "/api/tasks":
            found[place] = self._listed(query)
        if place == "/api/predictions":
            found[place] = self.tasks[int(query["task"])]["predictions"]
        return (200, found[place]) if place in found else (404, {"detail": "Not found."})

    def _listed(self, query: dict[str, str]) -> dict[str, Any]:
        if "query" in query:
            included = json.loads(query["query"])["selectedItems"]["included"]
            return {"tasks": [self._shown(each) for each in included if each in self.tasks]}
        size, page = int(query["page_size"]), int(query["page"])
        listed = sorted(self.tasks)[(page - 1) * size : page * size]
        return {"tasks": [self._shown(each) for each in listed], "total": len(self.tasks)}

    def _shown(self, number: int) -> dict[str, Any]:
        task = self.tasks[number]
        skipped = sum(bool(each["was_cancelled"]) for each in task["annotations"])
        counts = {"total_annotations": len(task["annotations"]) - skipped, "cancelled_annotations": skipped}
        return {"id": number, "data": task["data"], **counts}


class Answering(Protocol):
    """A stand-in for Label Studio that is only read from."""

    url: str

    def answer(self, path: str, authorization: str | None) -> tuple[int, Any]:
        """Return status and JSON of a GET."""


class Taking(Answering, Protocol):
    """One that is also written to."""

    def take(self, method: str, path: str, payload: Any) -> tuple[int, Any]:
        """Return status and JSON of a POST or PATCH."""


S = TypeVar("S", bound=Answering)


@contextmanager
def serving(studio: S) -> Iterator[S]:
    """Serve it on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.reply(*studio.answer(self.path, self.headers["authorization"]))

        def do_POST(self) -> None:
            payload = json.loads(self.rfile.read(int(self.headers["content-length"])))
            taking = cast(Taking, studio)
            self.reply(*taking.take(self.command, self.path, payload))

        do_PATCH = do_POST  # noqa: N815 - http.server's name

        def reply(self, status: int, answer: Any) -> None:
            body = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    studio.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield studio
    finally:
        server.shutdown()
        server.server_close()
