"""A project connects: where its Label Studio is, what its page asks for and cannot get, and that we hear of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any

from tam_backend.errors import LabelStudioError, StoreError
from tam_backend.labelstudio.supported import remarks
from tam_backend.problems import ProblemLog
from tam_backend.service.label_studio_access import LabelStudioAccess
from tam_backend.settings import Settings
from tam_backend.store.connected import ConnectedProjects
from tam_backend.store.turns import Turns
from tam_backend.video.addresses import shown

logger = logging.getLogger(__name__)

# Longer than Label Studio takes for the few calls that install a webhook.
_INSTALLING_S = 120.0


class Projects:
    """The projects that were connected. Thread-safe.

    Args:
        settings: of the backend.
        label_studio: learns where it is.
        problems: takes what is wrong.
        known: what is known of projects, by all processes on the database.
        turns: tells which process asks Label Studio.
        webhook_secret: the last part of the address that Label Studio's events count at.
    """

    def __init__(
        self,
        settings: Settings,
        label_studio: LabelStudioAccess,
        problems: ProblemLog,
        known: ConnectedProjects,
        turns: Turns,
        webhook_secret: str,
    ) -> None:
        self._settings = settings
        self._label_studio = label_studio
        self._problems = problems
        self._known = known
        self._turns = turns
        self._webhook_secret = webhook_secret
        self._told_of_label_studio = False

    @property
    def remarks(self) -> list[tuple[str, str]]:
        """(project, what its labeling config asks for and cannot get)."""
        try:
            return self._known.remarks()
        except StoreError as error:
            self._problems.failed("the list of projects", error)
            return []

    def is_known(self, project: str) -> bool:
        """Tell whether a project was connected. Raises StoreError."""
        return self._known.is_known(project)

    def connect(self, payload: Mapping[str, Any]) -> None:
        """Take what Label Studio tells of a project.

        Raises:
            LabelConfigError: nothing in the project's labeling config can be predicted.
        """
        schema, project = payload["schema"], project_of(payload)
        if schema.strip():
            self._look_at(schema, project)
        if url := payload.get("hostname"):
            self._meet(url, payload.get("access_token") or "", project)
        if self._label_studio.client is not None and project.isdecimal():
            # Label Studio waits for the answer to this very call, for 3 s at most.
            threading.Thread(target=self._listen_to, args=(project,), name="install-webhook", daemon=True).start()

    def _look_at(self, schema: str, project: str) -> None:
        """Say what of a project's labeling config cannot be served: in the log, and for good on the status page."""
        found = remarks(schema, self._settings.propagate_label, self._settings.prompt_from)
        try:
            is_new = self._known.remark(project, found)
        except StoreError as error:
            self._problems.failed(f"project {project}, its labeling config", error)
            is_new = True
        for remark in found if is_new else ():
            logger.warning("Project %s, its labeling config: %s", project, remark)

    def _meet(self, url: str, access_token: str, project: str) -> None:
        """Take what Label Studio tells of itself, where whoever tells it had to log in, or the settings name it anyway.

        Else anybody who reaches us could name a host, and have us call it and send on what it answers. An odd token is
        none: the project connects without pushing.
        """
        if not (self._settings.label_studio_url or self._settings.basic_auth_user):
            self._say_once_that_anybody_could_be_label_studio(url)
            return
        try:
            self._label_studio.learn(url, access_token)
        except LabelStudioError as error:
            self._problems.note(f"project {project}, its token", error.message, error.remedy)
            self._label_studio.learn(url, "")

    def _say_once_that_anybody_could_be_label_studio(self, url: str) -> None:
        if not self._told_of_label_studio:
            self._told_of_label_studio = True
            self._problems.note(
                "setup",
                f"Label Studio says that it is at {shown(url)}. Anybody could say so: nothing is fetched from there.",
                "Set LABEL_STUDIO_URL, or a login: BASIC_AUTH_USER and BASIC_AUTH_PASS.",
            )

    def _listen_to(self, project: str) -> None:
        """See to it that a project's events come to us with the secret; one process does, once for all."""
        client, address = self._label_studio.client, self._settings.events_url
        if client is None:
            return
        named = (project, client.url, address, self._webhook_secret)
        try:
            if self._known.is_heard(*named):
                return
            with self._turns.taken(f"webhook of project {project}", _INSTALLING_S) as is_mine:
                if is_mine and not self._known.is_heard(*named):
                    client.install_webhook(int(project), address, self._webhook_secret)
                    self._known.heard(*named)
        except (LabelStudioError, StoreError) as error:
            self._problems.failed(f"project {project}, to hear of its annotations", error)


def project_of(payload: Mapping[str, Any]) -> str:
    """Return a project's id: Label Studio writes "<id>.<time of creation>"."""
    return str(payload.get("project", "")).split(".")[0]
