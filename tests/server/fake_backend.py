"""A backend without networks that does what a test tells it to, over the real jobs, problems and library."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tam_backend.jobs.registry import JobRegistry
from tam_backend.jobs.store import JobStore
from tam_backend.problems import ProblemLog
from tam_backend.settings import Settings
from tam_backend.store.adapted_networks import (
    AdaptedNetworks,
    AdaptedVersion,
    PictureNote,
    Serving,
    newest_that_may_serve,
)
from tam_backend.store.database import Database, sqlite_url
from tam_backend.store.sessions import SessionKey, SessionStore
from tam_backend.types import RgbFrame
from tam_backend.video.library import VideoLibrary
from tam_backend.workers.workers import WorkerState

PREDICT = {"tasks": [{"id": 7, "data": {"frames": []}}], "label_config": "<View/>", "project": "1.2", "params": None}
SETUP = {"project": "1.2", "schema": "<View/>", "hostname": "http://localhost:8080", "access_token": "t"}


class FakeBackend:
    """Answers one empty prediction per task, unless `on_predict` says otherwise."""

    def __init__(self, data_dir: Path) -> None:
        database = Database(sqlite_url(data_dir / "tam.sqlite"))
        self.jobs = JobRegistry(JobStore(database))
        self.problems = ProblemLog()
        self.library = VideoLibrary(data_dir)
        self.store = SessionStore(database)
        self.on_frame: Callable[[SessionKey, int], RgbFrame | None] = lambda session, frame: None
        self.model_version = "fake-1"
        self.ready = True
        self.is_cluster = False
        self.failure = ""
        self.adapted: list[AdaptedVersion] = []
        self.is_damaged = False
        self.networks = AdaptedNetworks(database)
        self.events: list[str] = []
        self.secrets: list[str] = []
        self.entered = threading.Semaphore(0)
        self.on_predict: Callable[[Callable[[], bool]], None] = lambda cancelled: None

    def setup(self, payload: Mapping[str, Any]) -> str:
        return self.model_version

    def predict(self, payload: Mapping[str, Any], *, cancelled: Callable[[], bool]) -> list[dict[str, Any]]:
        self.entered.release()
        self.on_predict(cancelled)
        return [{"result": [], "score": 0.0, "model_version": self.model_version} for _ in payload["tasks"]]

    def webhook(self, payload: Mapping[str, Any], secret: str = "") -> None:
        self.events.append(payload["action"])
        self.secrets.append(secret)

    def close(self) -> None:
        self.jobs.interrupt_all()

    def task_frame(self, session: SessionKey, frame: int) -> RgbFrame | None:
        return self.on_frame(session, frame)

    def workers(self) -> list[WorkerState]:
        return [
            WorkerState(
                "worker-1", 12, "cpu", self.ready, self.failure, waiting=2, busy_s=30, frames=60, clicks=5, up_s=60
            )
        ]

    def hindrance(self) -> str:
        return "" if self.ready else self.failure or "No worker has its networks yet."

    def versions(self) -> list[str]:
        return [self.model_version]

    def adapted_versions(self, project: str | None = None) -> list[AdaptedVersion]:
        return [each for each in self.adapted if project in (None, each.project)]

    def serving(self, versions: Sequence[AdaptedVersion]) -> Serving:
        newest = newest_that_may_serve(versions, self.model_version)
        return Serving(damaged=newest) if self.is_damaged else Serving(newest)

    def learnt_pictures(self, project: str) -> dict[int, tuple[PictureNote, ...]]:
        return self.networks.pictures(project)

    def learnt_picture(self, project: str, number: int, place: int) -> bytes:
        return self.networks.picture(project, number, place)

    def describe(self) -> dict[str, Any]:
        return {
            "profile": "fake",
            "device": "cpu",
            "version": self.model_version,
            "ready": self.ready,
            "workers": self.workers(),
            "is_cluster": self.is_cluster,
            "failure": self.failure,
            "adapted": self.adapted_versions(),
        }


DRAFT_WAIT_S = 0.0
"""No test waits for a draft that nobody saves, but those of drafts."""


def make_settings(data_dir: Path, **overrides: Any) -> Settings:
    """Settings that no variable of the developer's shell can change."""
    values: dict[str, Any] = {
        "data_dir": data_dir, "basic_auth_user": "", "basic_auth_pass": "", "http_threads": 8, "max_waiting": 16,
        "host": "127.0.0.1", "port": 9090, "public_url": "", "log_level": "INFO", "max_payload_mb": 1,
        "draft_wait_s": DRAFT_WAIT_S,
    }  # fmt: skip
    return Settings(**(values | overrides))
