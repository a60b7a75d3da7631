"""The Flask app: Label Studio's protocol and a few pages for people, over one backend.

| route | who calls it | answer |
|---|---|---|
| GET /health | Label Studio, load balancers | {"status": "UP", ...}, at once, whatever the model does |
| GET /ready | proxies before several of us | 200 when the networks and the database are there, else 503 and why |
| POST /setup | Label Studio, when a backend is added or looked at | {"model_version": ".."} |
| POST /predict | Label Studio: clicks and batches | {"results": [..one per task..]} |
| POST /webhook, /webhook/<secret> | Label Studio, on every event | {} at once; only the second starts work |
| GET /versions | Label Studio | {"versions": [..]} |
| GET /metrics | Prometheus | text |
| GET / | people | a status page |
| GET /tasks/<project>/<task>, ../frames/<n>.jpg | people | what is stored of a task: overlays, quality |
| GET /tasks/<project>/<task>/masks/<format>.zip | people, scripts | its masks as a dataset |
| GET /networks/<project>/<n>, ../<place>.jpg | people | what a version learnt from a project: figures, pictures |
| GET /jobs, GET or DELETE /jobs/<id> | people, scripts | running and recent propagations; DELETE stops one |
| GET /workers | people, scripts | those that have the networks, and how busy they are |
| GET /frames/.., GET /videos/.. | browsers | signed media, see frames.py |

Who must show a password is told in auth.py, what errors look like in replies.py.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, g, render_template, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge

from tam_backend import __version__
from tam_backend.errors import HttpError, NotFoundError, OverloadedError, TamError, UnauthorizedError
from tam_backend.labelstudio.client import START_TRAINING
from tam_backend.problems import redact
from tam_backend.server import payloads
from tam_backend.server.auth import check_credentials, is_anonymous
from tam_backend.server.connection import watch_client
from tam_backend.server.frames import frames_blueprint
from tam_backend.server.metrics import Metrics
from tam_backend.server.pages.learnt import learnt_pages_blueprint
from tam_backend.server.pages.status import pages_blueprint
from tam_backend.server.pages.task import task_pages_blueprint
from tam_backend.server.replies import error_reply, html_reply
from tam_backend.settings import Settings, get_settings

if TYPE_CHECKING:
    from tam_backend.service.backend import Backend

logger = logging.getLogger(__name__)

# Threads that no /predict may take, so that /health and frames are answered however many annotators wait.
_THREADS_KEPT_FREE = 2


def create_app(settings: Settings | None = None, backend: Backend | None = None) -> Flask:
    """Build the app.

    Args:
        settings: default: from the environment.
        backend: default: a new one, which begins to load its networks in the background.
    """
    settings = settings or get_settings()
    if backend is None:
        # Only here: a backend that is given (another one, in tests) needs none of what this imports.
        from tam_backend.service.backend import Backend as RealBackend  # noqa: PLC0415

        backend = RealBackend(settings)
    app = Flask("tam_backend.server")
    app.config["MAX_CONTENT_LENGTH"] = int(settings.max_payload_mb * 1024 * 1024)
    app.extensions["tam_backend"] = backend  # for whoever has to end its work: serve.py
    metrics = Metrics(backend.jobs, lambda: backend.model_version, backend.workers)
    _add_protocol_routes(app, settings, backend, metrics)
    _add_error_replies(app, settings, backend, metrics)
    _add_request_hooks(app, settings, metrics)
    app.register_blueprint(frames_blueprint(backend.library))
    app.register_blueprint(pages_blueprint(settings, backend, metrics))
    app.register_blueprint(learnt_pages_blueprint(backend))
    app.register_blueprint(task_pages_blueprint(settings, backend))
    return app


def _add_protocol_routes(app: Flask, settings: Settings, backend: Backend, metrics: Metrics) -> None:
    admission_limit = max(1, min(settings.max_waiting, settings.http_threads - _THREADS_KEPT_FREE))
    admission = threading.BoundedSemaphore(admission_limit)

    def read_object() -> dict[str, Any]:
        return payloads.read_object(request, settings.max_payload_mb, settings.body_timeout_s)

    @app.get("/health")
    def health() -> dict[str, Any]:
        return {"status": "UP", "model_class": "TrackAnything", "v": __version__}

    @app.get("/ready")
    def ready() -> tuple[dict[str, Any], int]:
        hindrance = backend.hindrance()
        return ({"status": "WAIT", "reason": redact(hindrance)}, 503) if hindrance else ({"status": "READY"}, 200)

    @app.post("/setup")
    def setup() -> dict[str, Any]:
        payload = read_object()
        payloads.check_setup(payload)
        return {"model_version": backend.setup(payload)}

    @app.post("/predict")
    def predict() -> dict[str, Any]:
        payload = read_object()
        payloads.check_predict(payload)
        client_gone = watch_client(request.environ)
        if not admission.acquire(blocking=False):
            raise OverloadedError(
                f"{admission_limit} requests work or wait already.",
                "Try again in a moment, or raise THREADS and TAM_MAX_WAITING.",
            )
        try:
            with metrics.predict_seconds.time(), metrics.predicts_waiting.track_inprogress():
                return {"results": backend.predict(payload, cancelled=client_gone)}
        finally:
            admission.release()

    @app.post("/webhook", defaults={"secret": ""})
    @app.post("/webhook/<secret>")
    def webhook(secret: str) -> tuple[dict[str, Any], int]:
        payload = read_object()
        payloads.check_webhook(payload)
        if payload["action"] == START_TRAINING and settings.basic_auth_user and is_anonymous(request) and not secret:
            raise UnauthorizedError(
                "Start training came without the login.",
                "Set it in Label Studio: Settings > Model > Edit > Basic auth.",
            )
        backend.webhook(payload, secret)
        return {}, 201

    @app.get("/versions")
    def versions() -> dict[str, Any]:
        return {"versions": backend.versions()}


def _add_error_replies(app: Flask, settings: Settings, backend: Backend, metrics: Metrics) -> None:
    def reply_to(error: Exception) -> Response:
        problem = backend.problems.failed(f"{request.method} {_loggable_path()}", error)
        metrics.failed(problem.type)
        return error_reply(problem)

    @app.errorhandler(NotFoundError)
    def not_there(error: NotFoundError) -> Response:
        # Who looks for a page in a browser sees what is not there; whoever runs the backend has nothing to mend.
        if request.method != "GET" or request.accept_mimetypes.best != "text/html":
            return reply_to(error)
        nonce = secrets.token_urlsafe(16)
        reply = html_reply(render_template("not_there.html", error=error, nonce=nonce, refresh_s=3600), nonce)
        reply.status_code = 404
        metrics.failed(type(error).__name__)
        return reply

    @app.errorhandler(Exception)
    def failed(error: Exception) -> Response:
        return reply_to(error)

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> Response:
        known: TamError
        if isinstance(error, NotFound):
            known = NotFoundError(
                f"There is nothing at {request.path[:200]}.",
                "The URL to enter in Label Studio is the backend's root, such as http://localhost:9090.",
            )
        elif isinstance(error, MethodNotAllowed):
            allowed = ", ".join(sorted(error.valid_methods or ()))
            known = HttpError(405, f"{request.path[:200]} does not know {request.method}.", f"Use {allowed}.")
        elif isinstance(error, RequestEntityTooLarge):
            known = payloads.too_large(settings.max_payload_mb)
        else:
            known = HttpError(error.code or 500, f"{error.name}: {error.description}")
        reply = not_there(known) if isinstance(known, NotFoundError) else reply_to(known)
        if isinstance(error, MethodNotAllowed):
            reply.headers["Allow"] = ", ".join(sorted(error.valid_methods or ()))
        return reply


def _add_request_hooks(app: Flask, settings: Settings, metrics: Metrics) -> None:
    @app.before_request
    def begin() -> None:
        g.started = time.monotonic()
        check_credentials(request, settings)

    @app.after_request
    def end(reply: Response) -> Response:
        payloads.discard_rest(request)
        rule = request.url_rule.rule if request.url_rule is not None else "(none)"
        metrics.answered(request.method, rule, reply.status_code)
        reply.headers["X-Content-Type-Options"] = "nosniff"
        # The query string stays out of the log: it may be a signature.
        logger.log(
            logging.DEBUG if request.endpoint in ("health", "ready", "frames.frame") else logging.INFO,
            "%s %s %d in %.3f s",
            request.method,
            _loggable_path(),
            reply.status_code,
            time.monotonic() - g.get("started", time.monotonic()),
        )
        return reply


def _loggable_path() -> str:
    """Return the request's path without the secret of a webhook."""
    return "/webhook/..." if request.path.startswith("/webhook/") else request.path[:200]
