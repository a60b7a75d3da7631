"""A page for each version of a project's networks: figures, and pictures of what it learnt, beside what was before."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from flask import Blueprint, Response, render_template

from tam_backend.effort.durations import duration
from tam_backend.errors import NotFoundError
from tam_backend.server.pages.adapted import version_row
from tam_backend.server.replies import html_reply

if TYPE_CHECKING:
    from tam_backend.service.backend import Backend

_UP = "../../"
"""From such a page to the status page."""
_REFRESH_S = 3600
_OTHERS = 20
_LARGEST = 2**31 - 1  # that a database's integer holds


def learnt_pages_blueprint(backend: Backend) -> Blueprint:
    """Return the routes /networks/<project>/<number>, and below it /<place>.jpg; they read the store alone."""
    routes = Blueprint("networks", __name__, template_folder="templates")

    def known(project: str) -> str:
        # PostgreSQL refuses texts with a zero in them; there is no project of that name.
        if "\0" in project:
            raise NotFoundError(f"There is no project {project[:40]!r}.", "The status page lists those that learnt.")
        return project

    @routes.get(f"/networks/<project>/<int(max={_LARGEST}):number>")
    def page(project: str, number: int) -> Response:
        versions = backend.adapted_versions(known(project))
        version = next((each for each in versions if each.number == number), None)
        if version is None:
            raise NotFoundError(
                f"Nothing is known of version {number} of the networks of project {project[:40]!r}.",
                "The status page shows the last few; of more than fifty the oldest are forgotten.",
            )
        nonce = secrets.token_urlsafe(16)
        return html_reply(
            render_template(
                "learnt.html",
                project=project,
                version=version_row(version, backend.serving(versions), backend.learnt_pictures(project)),
                others=[(each.short_name, each.number) for each in versions if each.number != number][:_OTHERS],
                findings=version.findings,
                took=duration(version.findings.seconds),
                refresh_s=_REFRESH_S,
                root=_UP,
                nonce=nonce,
            ),
            nonce,
        )

    @routes.get(f"/networks/<project>/<int(max={_LARGEST}):number>/<int(max={_LARGEST}):place>.jpg")
    def picture(project: str, number: int, place: int) -> Response:
        reply = Response(backend.learnt_picture(known(project), number, place), mimetype="image/jpeg")
        # No number is given twice: under its address a picture does not change.
        reply.headers["Cache-Control"] = "private, max-age=86400"
        return reply

    return routes
