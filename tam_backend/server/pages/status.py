"""What people and scripts look at: the status page, the jobs and the metrics."""

from __future__ import annotations

import secrets
from dataclasses import asdict
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Response, render_template
from prometheus_client import CONTENT_TYPE_LATEST

from tam_backend import __version__
from tam_backend.export import object_colour
from tam_backend.server.metrics import Metrics
from tam_backend.server.pages.adapted import adapted_projects
from tam_backend.server.pages.task import ACTIVE_STATES, session_page_address, task_page_address
from tam_backend.server.replies import html_reply
from tam_backend.settings import Settings
from tam_backend.store.sessions import SessionSummary

if TYPE_CHECKING:
    from tam_backend.service.backend import Backend

_JOBS_ON_PAGE = 20
_PROBLEMS_ON_PAGE = 20
_SESSIONS_ON_PAGE = 25
_BUSY_REFRESH_S, _IDLE_REFRESH_S = 3, 30


def pages_blueprint(settings: Settings, backend: Backend, metrics: Metrics) -> Blueprint:
    """Return the routes /, /jobs, /jobs/<id>, /workers and /metrics."""
    routes = Blueprint("pages", __name__, template_folder="templates")

    @routes.get("/")
    def status() -> Response:
        nonce, facts = secrets.token_urlsafe(16), backend.describe()
        summaries = backend.store.summaries(_SESSIONS_ON_PAGE)
        with_page = {(summary.key.project, summary.key.task) for summary in summaries}
        jobs = [_with_page(job.as_json(), with_page) for job in backend.jobs.all(_JOBS_ON_PAGE)]
        busy = any(job["state"] in ACTIVE_STATES for job in jobs) or not (facts["ready"] or facts["failure"])
        return html_reply(
            render_template(
                "status.html",
                backend=facts,
                package_version=__version__,
                settings=settings,
                jobs=jobs,
                active=ACTIVE_STATES,
                adapted=adapted_projects(facts.get("adapted", ()), backend),
                sessions=[_session(summary, summaries) for summary in summaries],
                problems=backend.problems.recent()[:_PROBLEMS_ON_PAGE],
                refresh_s=_BUSY_REFRESH_S if busy else _IDLE_REFRESH_S,
                root="",
                now=datetime.now(timezone.utc),
                nonce=nonce,
            ),
            nonce,
        )

    @routes.get("/jobs")
    def jobs() -> dict[str, Any]:
        return {"jobs": [job.as_json() for job in backend.jobs.all()]}

    @routes.get("/jobs/<job_id>")
    def job(job_id: str) -> dict[str, Any]:
        return backend.jobs.get(job_id).as_json()

    @routes.delete("/jobs/<job_id>")
    def cancel_job(job_id: str) -> tuple[dict[str, Any], int]:
        view = backend.jobs.cancel(job_id).as_json()
        # 202: it ends after the frame it is at.
        return view, 200 if view["ended_at"] else 202

    @routes.get("/workers")
    def workers() -> dict[str, Any]:
        return {"workers": [asdict(each) for each in backend.workers()]}

    @routes.get("/metrics")
    def prometheus() -> Response:
        return Response(metrics.as_text(), content_type=CONTENT_TYPE_LATEST)

    return routes


def _with_page(job: dict[str, Any], with_page: set[tuple[str, str]]) -> dict[str, Any]:
    project, task = str(job["project"]), str(job["task"])
    return {**job, "page": task_page_address(project, task) if (project, task) in with_page else ""}


def _session(summary: SessionSummary, summaries: list[SessionSummary]) -> dict[str, Any]:
    project, task = summary.key.project, summary.key.task
    alone = sum((each.key.project, each.key.task) == (project, task) for each in summaries) == 1
    return {
        "project": project,
        "task": task,
        "page": task_page_address(project, task) if alone else session_page_address(summary.key),
        "annotator": summary.key.annotator,
        "objects": [
            {"label": label or f"object {object_id}", "colour": object_colour(object_id)}
            for object_id, label in sorted(summary.labels.items())
        ],
        "frames": summary.frames,
        "frames_done": summary.frames_done,
        "updated_at": datetime.fromtimestamp(summary.updated_at, timezone.utc),
    }
