"""The adapter for teams that run `label-studio-ml start`: the same backend behind a `LabelStudioMLBase` class.

Works with 1.0.9 (the last release on PyPI) and with the 2.x line (GitHub only). A project's `model.py` is one line:

    from tam_backend.label_studio_ml import TrackAnythingModel

What the host framework does not offer is not there: no status page, no jobs, no frames (`tam-backend serve` on the same
TAM_DATA_DIR serves those of `tam-backend import`), and every error is its status 500. Failures stand in the log with
their sentence and remedy.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from flask import has_request_context, request

from tam_backend.server import payloads
from tam_backend.server.connection import watch_client
from tam_backend.service.backend import Backend
from tam_backend.settings import get_settings

try:
    from label_studio_ml import model as _host
except ImportError as error:
    raise ImportError(
        "label-studio-ml cannot be imported, which tam_backend.label_studio_ml is an adapter for. Install it with "
        "`pip install --no-deps label-studio-ml==1.0.9` and `pip install 'tam-backend[label-studio-ml]'`, or do "
        "without it: `tam-backend serve`."
    ) from error

# 2.x makes an instance for every request and names the project in it; 1.0.9 keeps one from /setup to /setup.
_IS_1_X = hasattr(_host, "LabelStudioMLManager")


@lru_cache(maxsize=1)
def shared_backend() -> Backend:
    """Return the one backend of this process; the frameworks make models as they like."""
    return Backend(get_settings())


class TrackAnythingModel(_host.LabelStudioMLBase):  # type: ignore[misc]  # it has no types
    """Track Anything as label-studio-ml wants it."""

    def __init__(self, project_id: str | None = None, label_config: str | None = None, **kwargs: Any) -> None:
        """Take either line's arguments; 1.0.9 adds hostname, access_token, train_output and model_version."""
        self._schema = label_config
        self._project = project_id or ""
        if not _IS_1_X:
            super().__init__(project_id, label_config)
            return
        # Without the config: 1.0.9 would parse it, with a parser that raises on XML errors and loses frame lists.
        super().__init__(train_output=kwargs.get("train_output"), **_access(kwargs))
        self.label_config = label_config
        # 1.0.9 also makes models in child processes, one per webhook event, where no networks must be loaded.
        if multiprocessing.parent_process() is None:
            self._set_up(_access(kwargs))

    def setup(self) -> None:
        """Say which version we are; called by 2.x at the end of its `__init__`."""
        self._set_up({})
        self.set("model_version", shared_backend().model_version)

    def predict(
        self, tasks: list[dict[str, Any]], context: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> list[dict[str, Any]]:
        """Answer like POST /predict of our own server: one prediction per task.

        Raises:
            TamError: as `Backend.predict` does, logged before.
        """
        payload: dict[str, Any] = {
            "tasks": tasks,
            "project": self._project,
            "label_config": self._schema,
            "params": {"login": kwargs.get("login"), "password": kwargs.get("password"), "context": context},
        }
        try:
            payloads.check_predict(payload)
            predictions = shared_backend().predict(payload, cancelled=_client_gone())
        except Exception as error:
            shared_backend().problems.failed("predict under label-studio-ml", error)
            raise
        if _IS_1_X:
            # 1.0.9 tells /setup its own name for the version ("INITIAL"). Label Studio takes a prediction's version
            # from the prediction first, so with ours in it every task would count as not yet predicted, for ever.
            return [{key: value for key, value in one.items() if key != "model_version"} for one in predictions]
        return predictions

    def fit(self, event: Any = None, data: Mapping[str, Any] | None = None, **kwargs: Any) -> dict[str, Any]:  # noqa: ARG002
        """Pass an event of 2.x on, as POST /webhook does, Start training too; 1.0.9's training calls end here."""
        if isinstance(event, str) and data is not None:
            shared_backend().webhook({**data, "action": event})
        return {}

    def process_event(self, event: str, data: Any, job_id: str, additional_params: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Take the trace of a webhook event of 1.0.9 away again.

        1.0.9 handles each event in a process of its own, where there is no session to tell of it, and leaves a folder
        with the event that every later /setup searches for training results, loudly.
        """
        folder = Path(additional_params["workdir"]) if "workdir" in additional_params else None
        if folder is not None and folder.name == str(job_id):
            (folder / "event.json").unlink(missing_ok=True)
            folder.rmdir()

    def _set_up(self, access: Mapping[str, Any]) -> None:
        if self._schema is not None:
            shared_backend().setup({"project": self._project, "schema": self._schema, **access})


def _access(kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: kwargs.get(name) or "" for name in ("hostname", "access_token")}


def _client_gone() -> Callable[[], bool]:
    return watch_client(request.environ if has_request_context() else {})
