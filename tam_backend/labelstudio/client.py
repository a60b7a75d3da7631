"""Label Studio's HTTP API: the few calls that we make, with either kind of API key, and errors that say what to do."""

from __future__ import annotations

import base64
import binascii
import copy
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

from tam_backend.errors import LabelStudioError, LabelStudioRefusedError

if TYPE_CHECKING:
    import requests

_REFRESH_EARLY_S = 30  # of an access token's 300 s
_DEFAULT_LIFETIME_S = 300
_KEY_REMEDY = (
    "Set LABEL_STUDIO_API_KEY to a personal access token from Label Studio's Account & Settings; a legacy token works "
    "only where the organization allows legacy tokens."
)

_PROJECT = re.compile(r"(?:GET|PATCH) /api/projects/(\d+)/|POST /api/projects/(\d+)/import\?.*")

# Worth asking again later: the client's own clock, too many requests, a server that is being restarted.
_PASSING = (401, 403, 408, 425, 429)

START_TRAINING = "START_TRAINING"
"""The event of the button of that name; it comes to the address of the backend, without the webhook's secret."""

ANNOTATION_EVENTS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED")
"""What a project is asked to tell us."""


@dataclass(frozen=True)
class TaskProgress:
    """How far people are with a task, as its project lists it.

    Args:
        task: its id.
        submitted, skipped: how many annotations of each kind it has; a skipped one is not submitted.
    """

    task: int
    submitted: int
    skipped: int


class LabelStudioClient:
    """One Label Studio as one user. Thread-safe; holds no connection open.

    A legacy token (40 hex digits) is sent as it is. A personal access token is a refresh token: it is exchanged for an
    access token, which lives for five minutes and is exchanged again before that.

    Args:
        url: such as http://localhost:8080, with or without a path.
        api_key: of either kind.
        timeout_s: longest silence of one call, connecting included.

    Raises:
        LabelStudioError: the address or the key is empty. All calls raise it too: not reachable, no answer in time, key
            refused, not allowed, no such project or task, or data that Label Studio refuses.
    """

    def __init__(self, url: str, api_key: str, *, timeout_s: float = 30) -> None:
        self.url = url.strip().rstrip("/")
        self._key = api_key.strip()
        self._timeout_s = timeout_s
        if not self.url:
            raise LabelStudioError("The address of Label Studio is not set.", "Set LABEL_STUDIO_URL.")
        if not self._key or not self._key.isascii() or not self._key.isprintable():
            raise LabelStudioError("There is no usable API key for Label Studio.", _KEY_REMEDY)
        self._key_type = _claims(self._key).get("token_type")
        self._lock = threading.Lock()
        self._access_token = ""
        self._fresh_until_s = 0.0

    def within(self, timeout_s: float) -> LabelStudioClient:
        """Return the same client with another patience; it goes on with the access token that there is."""
        other = copy.copy(self)
        other._timeout_s = timeout_s
        return other

    def authorization(self) -> dict[str, str]:
        """Return the header that authorises a request to Label Studio right now."""
        if self._key_type is None:
            return {"Authorization": f"Token {self._key}"}
        if self._key_type != "refresh":
            return {"Authorization": f"Bearer {self._key}"}
        with self._lock:
            if time.monotonic() >= self._fresh_until_s:
                self._exchange()
            return {"Authorization": f"Bearer {self._access_token}"}

    def whoami(self) -> str:
        """Return the e-mail address of the key's user; the cheapest way to see that address and key are right."""
        return str(self._object("GET", "/api/current-user/whoami").get("email", ""))

    def user_ids(self) -> list[int]:
        """Return the ids of all people of the key's organization, in Label Studio's order."""
        return [int(each["id"]) for each in self._objects("GET", "/api/users/") if isinstance(each.get("id"), int)]

    def create_project(self, title: str, label_config: str) -> int:
        """Create a project and return its id."""
        return self._id("POST", "/api/projects/", {"title": title, "label_config": label_config})

    def get_project(self, project_id: int) -> dict[str, Any]:
        """Return a project, its `label_config` included. Raises LabelStudioRefusedError: there is none."""
        return self._object("GET", f"/api/projects/{project_id}/")

    def projects_called(self, title: str) -> list[int]:
        """Return the ids of the projects with exactly this title, ascending."""
        query = urlencode({"title": title, "include": "id,title", "page_size": 1000})
        found = self._object("GET", f"/api/projects/?{query}").get("results")
        if not isinstance(found, list) or not all(isinstance(each, dict) and "id" in each for each in found):
            raise self._foreign()
        return sorted(int(each["id"]) for each in found if each.get("title") == title)

    def set_label_config(self, project_id: int, xml: str) -> None:
        """Replace a project's labeling config."""
        self._call("PATCH", f"/api/projects/{project_id}/", {"label_config": xml})

    def create_tasks(self, project_id: int, data: Sequence[Mapping[str, Any]]) -> list[int]:
        """Create one task per item, in this order; return their ids in this order."""
        if not data:
            return []
        tasks = [{"data": dict(item)} for item in data]
        answer = self._object("POST", f"/api/projects/{project_id}/import?return_task_ids=true", tasks)
        ids = answer.get("task_ids")
        if not isinstance(ids, list) or len(ids) != len(data):
            raise LabelStudioError(
                f"Label Studio did not say which tasks it made in project {project_id}.",
                "Look at the project's tasks before importing again.",
            )
        return [int(task_id) for task_id in ids]

    def update_task_data(self, task_id: int, data: Mapping[str, Any]) -> None:
        """Replace a task's data."""
        self._call("PATCH", f"/api/tasks/{task_id}/", {"data": dict(data)})

    def create_prediction(self, task_id: int, prediction: Mapping[str, Any]) -> int:
        """Store what `results.prediction` made for a task; return the prediction's id."""
        return self._id("POST", "/api/predictions/", {**prediction, "task": task_id})

    def create_annotation(
        self, task_id: int, results: Sequence[Mapping[str, Any]], *, ground_truth: bool = False
    ) -> int:
        """Submit an annotation of the key's user; return its id."""
        payload = {"result": list(results), "ground_truth": ground_truth}
        return self._id("POST", f"/api/tasks/{task_id}/annotations/", payload)

    def delete_prediction(self, prediction_id: int) -> None:
        """Delete a prediction."""
        self._call("DELETE", f"/api/predictions/{prediction_id}/")

    def get_task(self, project_id: int, task_id: int) -> dict[str, Any]:
        """Return a task: its id, data, annotations and predictions; in three calls, see `annotations` for why.

        Raises:
            LabelStudioRefusedError: the project has no such task.
        """
        return {
            "id": task_id,
            "data": self.task_data(str(project_id), task_id),
            "annotations": self.annotations(task_id),
            "predictions": self.predictions(task_id),
        }

    def annotations(self, task_id: int) -> list[dict[str, Any]]:
        """Return a task's annotations.

        Not with the task itself: whoever reads a task without a prediction makes Label Studio ask us for one first.
        """
        return self._objects("GET", f"/api/tasks/{task_id}/annotations/")

    def drafts(self, task_id: int) -> list[dict[str, Any]]:
        """Return a task's drafts, everybody's."""
        return self._objects("GET", f"/api/tasks/{task_id}/drafts")

    def predictions(self, task_id: int) -> list[dict[str, Any]]:
        """Return a task's predictions; see `annotations`."""
        return self._objects("GET", f"/api/predictions/?task={task_id}")

    def task_data(self, project_id: str, task_id: int) -> dict[str, Any]:
        """Return what a task shows, from the project's list of tasks; see `annotations` for why.

        Raises:
            LabelStudioRefusedError: the project has no such task.
        """
        selected = json.dumps({"selectedItems": {"all": False, "included": [task_id]}})
        query = urlencode({"project": project_id, "include": "id,data", "query": selected})
        tasks = self._object("GET", f"/api/tasks/?{query}").get("tasks")
        if tasks == []:
            raise LabelStudioRefusedError(
                f"Project {project_id} of Label Studio has no task {task_id}.", "Import the video anew."
            )
        if not isinstance(tasks, list) or not isinstance(tasks[0], dict) or not isinstance(tasks[0].get("data"), dict):
            raise self._foreign()
        return dict(tasks[0]["data"])

    def task_ids(self, project_id: int, page_size: int = 100) -> list[int]:
        """Return the ids of all tasks of a project, asked for page by page."""
        return [each["id"] for each in self._listed(project_id, {"id": int}, page_size)]

    def tasks_data(self, project_id: int, page_size: int = 100) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield (id, data) of all tasks of a project, asked for page by page; see `annotations` for why."""
        for each in self._listed(project_id, {"id": int, "data": dict}, page_size):
            yield each["id"], each["data"]

    def progress(self, project_id: int, page_size: int = 100) -> Iterator[TaskProgress]:
        """Yield how far people are with each task of a project, asked for page by page."""
        kinds: dict[str, type] = {"id": int, "total_annotations": int, "cancelled_annotations": int}
        for each in self._listed(project_id, kinds, page_size):
            yield TaskProgress(each["id"], each["total_annotations"], each["cancelled_annotations"])

    def _listed(self, project_id: int, kinds: Mapping[str, type], page_size: int) -> Iterator[dict[str, Any]]:
        """Yield all tasks of a project with the fields of these kinds, by ascending ids."""
        seen = 0
        while True:
            number = seen // page_size + 1
            asked = {"project": project_id, "page": number, "page_size": page_size, "include": ",".join(kinds)}
            answer = self._object("GET", f"/api/tasks?{urlencode(asked)}&ordering=id")
            tasks = answer.get("tasks")
            if not isinstance(tasks, list) or not all(
                isinstance(each, dict) and all(isinstance(each.get(name), kind) for name, kind in kinds.items())
                for each in tasks
            ):
                raise self._foreign()
            yield from tasks
            seen += len(tasks)
            # A page beyond the last one would be refused with 404.
            if len(tasks) < page_size or seen >= int(answer.get("total") or seen + 1):
                return

    def users(self) -> dict[str, int]:
        """Return e-mail address -> id of the users that the key's user may see."""
        return {str(each.get("email", "")): int(each["id"]) for each in self._objects("GET", "/api/users/")}

    def install_webhook(self, project_id: int, address: str, secret: str) -> None:
        """See to it that a project tells its annotations' events to `<address>/<secret>`.

        The webhook that Label Studio makes by itself, to the bare address, is left alone: it would come back.

        Args:
            project_id: the project.
            address: such as http://localhost:9090/webhook.
            secret: a path's last part; a webhook with an older one is changed.
        """
        hooks = self._objects("GET", f"/api/webhooks/?project={project_id}")
        url = f"{address}/{secret}"
        wanted = {
            "url": url,
            "project": project_id,
            "send_payload": True,
            "send_for_all_actions": False,
            "actions": list(ANNOTATION_EVENTS),
            "is_active": True,
        }
        ours = [hook for hook in hooks if str(hook.get("url", "")).startswith(f"{address}/")]
        if not ours:
            self._call("POST", "/api/webhooks/", wanted)
        elif not any(hook["url"] == url and hook.get("is_active") for hook in ours):
            self._call("PATCH", f"/api/webhooks/{ours[0]['id']}/", wanted)

    def create_draft(
        self, task_id: int, results: Sequence[Mapping[str, Any]], *, annotation_id: int | None = None
    ) -> int:
        """Store a draft of the key's user, for a new annotation or for one that exists; return the draft's id."""
        inside = "" if annotation_id is None else f"/annotations/{annotation_id}"
        return self._id("POST", f"/api/tasks/{task_id}{inside}/drafts", {"result": list(results), "lead_time": 0})

    def add_ml_backend(
        self,
        project_id: int,
        backend_url: str,
        title: str,
        *,
        interactive: bool = True,
        basic_auth: tuple[str, str] | None = None,
    ) -> int:
        """Connect a backend to a project; return its id. Label Studio calls the backend's /health and /setup first.

        Args:
            project_id: the project.
            backend_url: as Label Studio reaches it.
            title: what people see.
            interactive: use it for smart clicks.
            basic_auth: (user, password) that the backend asks for.
        """
        payload: dict[str, Any] = {
            "project": project_id,
            "url": backend_url,
            "title": title,
            "is_interactive": interactive,
        }
        if basic_auth is not None:
            user, password = basic_auth
            payload |= {"auth_method": "BASIC_AUTH", "basic_auth_user": user, "basic_auth_pass": password}
        return self._id("POST", "/api/ml/", payload)

    def _id(self, method: str, path: str, payload: Any) -> int:
        found = self._object(method, path, payload).get("id")
        if not isinstance(found, int):
            raise self._foreign()
        return found

    def _objects(self, method: str, path: str) -> list[dict[str, Any]]:
        answer = self._call(method, path)
        if not isinstance(answer, list) or not all(isinstance(each, dict) for each in answer):
            raise self._foreign()
        return answer

    def _object(self, method: str, path: str, payload: Any = None) -> dict[str, Any]:
        answer = self._call(method, path, payload)
        if not isinstance(answer, dict):
            raise self._foreign()
        return answer

    def _call(self, method: str, path: str, payload: Any = None) -> Any:
        headers = self.authorization()
        response = self._send(method, path, payload, headers)
        if response.status_code == 401 and self._key_type == "refresh":
            # Revoked early, or the clock jumped: once more with a new access token.
            with self._lock:
                if headers["Authorization"] == f"Bearer {self._access_token}":
                    self._fresh_until_s = 0.0
            response = self._send(method, path, payload, self.authorization())
        if not response.ok or response.is_redirect:
            raise self._refusal(response, f"{method} {path}")
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError as error:
            raise self._foreign() from error

    def _exchange(self) -> None:
        """Get a new access token; the caller holds the lock."""
        response = self._send("POST", "/api/token/refresh/", {"refresh": self._key}, {})
        if response.status_code in (401, 403):
            raise LabelStudioError(
                f"Label Studio at {self.url} does not take the personal access token. It is not valid: "
                "expired, revoked, or no token of this Label Studio.",
                _KEY_REMEDY,
            )
        if not response.ok or response.is_redirect:
            raise self._refusal(response, "POST /api/token/refresh/")
        try:
            token = response.json()["access"]
        except (ValueError, KeyError, TypeError) as error:
            raise self._foreign() from error
        claims = _claims(str(token))
        lifetime_s = _DEFAULT_LIFETIME_S
        # Their difference, not `exp` alone: the two machines' clocks may differ.
        if isinstance(claims.get("exp"), int) and isinstance(claims.get("iat"), int):
            lifetime_s = claims["exp"] - claims["iat"]
        self._access_token = str(token)
        self._fresh_until_s = time.monotonic() + max(lifetime_s - _REFRESH_EARLY_S, lifetime_s / 2)

    def _send(self, method: str, path: str, payload: Any, headers: Mapping[str, str]) -> requests.Response:
        import requests  # noqa: PLC0415 - slow to import, and `tam-backend --help` must be quick

        def sign(request: requests.PreparedRequest) -> requests.PreparedRequest:
            request.headers.update(headers)  # as `auth`, because a .netrc would replace a plain header
            return request

        try:
            return requests.request(
                method, self.url + path, json=payload, auth=sign, timeout=self._timeout_s, allow_redirects=False
            )
        except requests.Timeout as error:
            raise LabelStudioError(
                f"Label Studio at {self.url} did not answer {method} {path} within {self._timeout_s:g} s.",
                "Look at its log; it may be overloaded.",
            ) from error
        except requests.RequestException as error:
            raise LabelStudioError(
                f"Label Studio at {self.url} cannot be reached ({type(error).__name__}).",
                "Start it, or correct LABEL_STUDIO_URL.",
            ) from error

    def _refusal(self, response: requests.Response, call: str) -> LabelStudioError:
        status = response.status_code
        if response.is_redirect:
            return LabelStudioError(
                f"Label Studio at {self.url} sends {call} on to {response.headers['location']}.",
                "Set LABEL_STUDIO_URL to the address that it really answers at.",
            )
        if status == 401:
            return LabelStudioError(f"Label Studio at {self.url} does not take the API key.", _KEY_REMEDY)
        if status == 403:
            return LabelStudioError(
                f"Label Studio does not allow {call} to the user of the API key.",
                "Use the key of a user who may change the project.",
            )
        if status == 404:
            return self._nothing_there(call)
        if status < 500 and status not in _PASSING:
            said = f"Label Studio refused {call}: {_detail(response)}"
            return LabelStudioRefusedError(said, "Correct what it names.")
        return LabelStudioError(f"Label Studio failed on {call} with status {status}.", "Look at its log.")

    def _nothing_there(self, call: str) -> LabelStudioRefusedError:
        asked = _PROJECT.fullmatch(call)
        if asked is not None:
            return LabelStudioRefusedError(
                f"There is no project {asked[1] or asked[2]} in the Label Studio at {self.url}.",
                "Give the number in the project's address, .../projects/N/; the user of the API key must see it.",
            )
        return LabelStudioRefusedError(
            f"Label Studio knows nothing at {call}.",
            "Check the id of the project or task, and that the user of the API key can see it.",
        )

    def _foreign(self) -> LabelStudioError:
        return LabelStudioError(
            f"What answers at {self.url} does not speak Label Studio's API.", "Correct LABEL_STUDIO_URL."
        )


def _claims(token: str) -> dict[str, Any]:
    """Return what a JWT says of itself, unverified; {} if it is none."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, ValueError):
        return {}
    return cast(dict[str, Any], claims) if isinstance(claims, dict) else {}


def _detail(response: requests.Response) -> str:
    """Return why Label Studio refused, in its own words and in one line."""
    try:
        answer = response.json()
    except ValueError:
        return f"status {response.status_code}."
    if isinstance(answer, dict):
        answer = answer.get("validation_errors") or answer.get("detail") or answer
    text = answer if isinstance(answer, str) else json.dumps(answer, ensure_ascii=False)
    return " ".join(text.split())[:500]
