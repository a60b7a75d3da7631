"""What people and scripts look at: the status page, the jobs and the metrics."""

from __future__ import annotations

import secrets
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, make_response, render_template
from prometheus_client import CONTENT_TYPE_LATEST

from tam_backend import __version__
from tam_backend.server.jobs import Job
from tam_backend.server.metrics import Metrics
from tam_backend.settings import Settings

if TYPE_CHECKING:
    from tam_backend.server.backend import Backend

_JOBS_ON_PAGE = 20
_PROBLEMS_ON_PAGE = 20


def pages_blueprint(settings: Settings, backend: Backend, metrics: Metrics) -> Blueprint:
    """Return the routes /, /jobs, /jobs/<id> and /metrics."""
    routes = Blueprint("pages", __name__, template_folder="templates")

    @routes.get("/")
    def status() -> Response:
        nonce = secrets.token_urlsafe(16)
        jobs = [job.as_json() for job in backend.jobs.all()[:_JOBS_ON_PAGE]]
        page = render_template(
            "status.html",
            backend=backend.describe(),
            package_version=__version__,
            settings=settings,
            jobs=jobs,
            busy=any(job["state"] == "running" for job in jobs),
            problems=backend.problems.recent()[:_PROBLEMS_ON_PAGE],
            now=datetime.now(timezone.utc),
            nonce=nonce,
        )
        reply = make_response(page)
        reply.headers["Content-Security-Policy"] = (
            f"default-src 'none'; style-src 'nonce-{nonce}'; script-src 'nonce-{nonce}'; connect-src 'self'; "
            "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        reply.headers["Cache-Control"] = "no-store"
        return reply

    @routes.get("/jobs")
    def jobs() -> dict[str, Any]:
        return {"jobs": [job.as_json() for job in backend.jobs.all()]}

    @routes.get("/jobs/<job_id>")
    def job(job_id: str) -> dict[str, Any]:
        found: Job = backend.jobs.get(job_id)
        return found.as_json()

    @routes.delete("/jobs/<job_id>")
    def cancel_job(job_id: str) -> tuple[dict[str, Any], int]:
        found: Job = backend.jobs.get(job_id)
        found.cancel()
        view = found.as_json()
        # 202: it ends after the frame it is at.
        return view, 202 if view["state"] == "running" else 200

    @routes.get("/metrics")
    def prometheus() -> Response:
        return Response(metrics.as_text(), content_type=CONTENT_TYPE_LATEST)

    return routes
