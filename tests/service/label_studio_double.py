"""The few calls of Label Studio's API that the loop makes, answered over real HTTP; the real one is in tests/e2e."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flask import Flask, Response, request
from werkzeug.serving import make_server


class LabelStudioDouble:
    """Stores predictions and webhooks; `failing` makes every call fail with that status.

    Attributes:
        tasks: id -> its data and annotations. A task read by itself would be predicted first, as the real one does.
        predictions: id -> what was stored, newest last.
    """

    @property
    def calls(self) -> int:
        """How many there were."""
        return len(self.asked)

    def __init__(self) -> None:
        self.tasks: dict[int, dict[str, Any]] = {}
        self.predictions: dict[int, dict[str, Any]] = {}
        self.webhooks: list[dict[str, Any]] = []
        self.people = [1]  # their ids
        self.drafts: dict[int, list[dict[str, Any]]] = {}  # of a task, everybody's
        self.drafts_read = 0
        self.failing = 0
        self.answers_lost = 0  # so many predictions are stored, and the caller told that they are not
        self.asked: list[tuple[str, str]] = []  # method and path of every call
        self.url = ""
        self._numbers = iter(range(100, 10_000))

    def stored(self, task: int = 1) -> list[Mapping[str, Any]]:
        """The task's predictions, oldest first."""
        return [each for each in self.predictions.values() if each["task"] == task]

    def app(self) -> Flask:
        app = Flask("label_studio_double")

        @app.before_request
        def fail() -> Response | None:
            self.asked.append((request.method, request.full_path))
            return Response("{}", status=self.failing) if self.failing else None

        @app.post("/api/predictions/")
        def store() -> tuple[dict[str, Any], int]:
            number = next(self._numbers)
            self.predictions[number] = {**request.get_json(), "id": number}
            if self.answers_lost:
                self.answers_lost -= 1
                return {}, 502
            return {"id": number}, 201

        @app.get("/api/predictions/")
        def stored() -> Any:
            return self.stored(int(request.args["task"]))

        @app.delete("/api/predictions/<int:number>/")
        def delete(number: int) -> tuple[str, int]:
            self.predictions.pop(number)
            return "", 204

        @app.get("/api/tasks/<int:number>/annotations/")
        def annotations(number: int) -> tuple[Any, int]:
            return (self.tasks[number]["annotations"], 200) if number in self.tasks else ({"detail": "Not found."}, 404)

        @app.get("/api/tasks/<int:number>/drafts")
        def drafts(number: int) -> Any:
            self.drafts_read += 1
            return self.drafts.get(number, [])

        @app.get("/api/tasks/")
        def tasks() -> dict[str, Any]:
            included = json.loads(request.args["query"])["selectedItems"]["included"]
            return {
                "tasks": [{"id": each, "data": self.tasks[each]["data"]} for each in included if each in self.tasks]
            }

        @app.get("/api/users/")
        def people() -> Any:
            return [{"id": each, "email": f"{each}@example.com"} for each in self.people]

        @app.get("/api/webhooks/")
        def webhooks() -> Any:
            return self.webhooks

        @app.post("/api/webhooks/")
        def add_webhook() -> dict[str, Any]:
            self.webhooks.append({"id": len(self.webhooks) + 1, **request.get_json()})
            return self.webhooks[-1]

        @app.patch("/api/webhooks/<int:number>/")
        def change_webhook(number: int) -> dict[str, Any]:
            self.webhooks[number - 1].update(request.get_json())
            return self.webhooks[number - 1]

        return app


@contextmanager
def running_double() -> Iterator[LabelStudioDouble]:
    """Serve a double on a free port."""
    double = LabelStudioDouble()
    server = make_server("127.0.0.1", 0, double.app(), threaded=True)
    double.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield double
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
