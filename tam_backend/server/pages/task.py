"""A page for each stored session: what was tracked, how good it is thought to be, and where a human should look."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timezone
from os import SEEK_END
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from flask import Blueprint, Response, render_template, request
from werkzeug.wsgi import wrap_file

from tam_backend.errors import NotFoundError
from tam_backend.labelstudio.scores import DOUBTFUL
from tam_backend.problems import Problem
from tam_backend.server.connection import sending_within, watch_client
from tam_backend.server.pages.adapted import adapted_projects
from tam_backend.server.pages.mask_archives import ARCHIVES, DOWNLOADABLE, Downloads, download_name, sending_limit_s
from tam_backend.server.pages.pictures import Pictures
from tam_backend.server.pages.task_view import task_view
from tam_backend.server.replies import html_reply
from tam_backend.settings import Settings
from tam_backend.store.sessions import SessionKey

if TYPE_CHECKING:
    from tam_backend.service.backend import Backend

T = TypeVar("T")

ACTIVE_STATES = frozenset({"queued", "running", "pushing", "waiting"})
"""Of jobs that can still be stopped."""

NO_PROJECT = "-"
"""In addresses, of a task whose project is unknown: an address cannot have an empty part."""

_UP = "../../"
"""From a task's page to the status page."""
_CHUNK_BYTES = 1 << 16
_MOST_DOWNLOADS = 3
_JOBS_ON_PAGE = 3
_PROBLEMS_ON_PAGE = 10
_BUSY_REFRESH_S, _IDLE_REFRESH_S = 5, 60


def task_pages_blueprint(settings: Settings, backend: Backend) -> Blueprint:
    """Return the routes /tasks/<project>/<task>, and below it /frames/<frame>.jpg[?small=1] and /masks/<format>.zip.

    None touches the networks: they read the store, and frames by decoders of their own.
    """
    routes = Blueprint("tasks", __name__, template_folder="templates")
    pictures = Pictures(backend.store, backend.task_frame)
    at_once = max(1, min(_MOST_DOWNLOADS, settings.http_threads // 2))
    downloads = Downloads(backend.store, settings.data_dir / ARCHIVES, at_once)

    def found(find: Callable[[str, str, str], T | None], project: str, task: str) -> T:
        named = ("" if project == NO_PROJECT else project, task, request.args.get("view", ""))
        # PostgreSQL refuses texts with a zero in them; there is nothing of that name.
        stored = None if any("\0" in name for name in named) else find(*named)
        if stored is None:
            raise NotFoundError(
                f"Nothing is stored of task {task[:40]!r} in project {project[:40]!r}.",
                "The status page lists the tasks; one that nobody clicked in, or that is old, is not among them.",
            )
        return stored

    @routes.get("/tasks/<project>/<task>")
    def page(project: str, task: str) -> Response:
        view = found(backend.store.find, project, task)
        key = view.summary.key
        jobs = [job.as_json() for job in backend.jobs.all()]
        jobs = [job for job in jobs if (str(job["task"]), job["project"]) == (key.task, key.project)][:_JOBS_ON_PAGE]
        busy = any(job["state"] in ACTIVE_STATES for job in jobs)
        nonce = secrets.token_urlsafe(16)
        return html_reply(
            render_template(
                "task.html",
                task=task,
                # Relative, because a proxy may serve us under a path; "./", because an id may look like a scheme.
                here=f"./{quote(task, safe='')}",
                others=[
                    (session_page_address(each.key, _UP), each)
                    for each in backend.store.summaries_of(key.project, key.task)
                    if each.key != key
                ],
                summary=view.summary,
                updated_at=datetime.fromtimestamp(view.summary.updated_at, timezone.utc),
                shown=task_view(view),
                doubtful=DOUBTFUL,
                downloads={name: form.title for name, form in DOWNLOADABLE.items()},
                jobs=jobs,
                active=ACTIVE_STATES,
                adapted=adapted_projects(backend.adapted_versions(key.project), backend),
                problems=_problems_of(task, backend.problems.recent())[:_PROBLEMS_ON_PAGE],
                label_studio_page=_in_label_studio(settings, key.project, key.task),
                refresh_s=_BUSY_REFRESH_S if busy else _IDLE_REFRESH_S,
                root=_UP,
                nonce=nonce,
            ),
            nonce,
        )

    @routes.get("/tasks/<project>/<task>/frames/<int:frame>.jpg")
    def picture(project: str, task: str, frame: int) -> Response:
        drawn = pictures.draw(found(backend.store.find_summary, project, task), frame, small="small" in request.args)
        if drawn.on_video and request.if_none_match.contains_weak(drawn.etag):
            reply = Response(status=304)
        else:
            reply = Response(drawn.jpeg, mimetype="image/jpeg")
        if drawn.on_video:
            reply.set_etag(drawn.etag)
            # The page names the version of what it shows: under that address the picture does not change.
            reply.headers["Cache-Control"] = "private, max-age=86400" if "v" in request.args else "private, no-cache"
        else:
            reply.headers["Cache-Control"] = "no-store"
        return reply

    @routes.get("/tasks/<project>/<task>/masks/<form>.zip")
    def masks(project: str, task: str, form: str) -> Response:
        view = found(backend.store.find, project, task)
        with ExitStack() as until_sent:
            archive = until_sent.enter_context(downloads.make(view, form, watch_client(request.environ)))
            size = archive.seek(0, SEEK_END)
            archive.seek(0)
            # Not past Flask to the server, whose end of it would not be heard of.
            reply = Response(wrap_file(request.environ, archive, _CHUNK_BYTES), mimetype="application/zip")
            reply.content_length = size
            reply.headers.set("Content-Disposition", "attachment", filename=f"{download_name(view)}-{form}.zip")
            reply.headers["Cache-Control"] = "no-store"
            until_sent.enter_context(sending_within(request.environ, sending_limit_s(size)))
            reply.call_on_close(until_sent.pop_all().close)
        return reply

    return routes


def task_page_address(project: str, task: str) -> str:
    """Return where a task's page is, relative to the status page."""
    return f"tasks/{quote(project or NO_PROJECT, safe='')}/{quote(task, safe='')}"


def session_page_address(session: SessionKey, root: str = "") -> str:
    """Return where the page of one of a task's sessions is, relative to the status page, or with `root` before it."""
    return f"{root}{task_page_address(session.project, session.task)}?view={quote(session.view, safe='')}"


def _problems_of(task: str, problems: list[Problem]) -> list[Problem]:
    named = re.compile(rf"\btask {re.escape(task)}(?!\w)", re.IGNORECASE)
    return [problem for problem in problems if named.search(problem.where) or named.search(problem.message)]


def _in_label_studio(settings: Settings, project: str, task: str) -> str:
    known = settings.label_studio_pages and project.isdecimal() and task.isdecimal()
    return f"{settings.label_studio_pages}/projects/{project}/data?task={task}" if known else ""
