"""What the browsers of an annotator and an admin send to Label Studio, so that demo and tests go the way people go."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal
from xml.etree import ElementTree as ET

import requests

from demo.errors import DemoError

Region = dict[str, Any]
"""A region as Label Studio's JSON has it."""

PROPAGATE_CALLS_LIMIT = 6
CALL_LIMIT_S = 180
"""Longer than Label Studio's own limit for a backend (100 s), so that its reply comes first."""


@dataclass(frozen=True)
class Page:
    """One image of a task: its media tag, its place in the list and its size in pixels."""

    media: str
    index: int
    size_wh: tuple[int, int]

    def region(self, tag: str, kind: str, value: Mapping[str, Any], label: str, **extra: Any) -> Region:
        """Return a region on this page, as the editor makes it."""
        return {
            "id": secrets.token_hex(5),
            "from_name": tag,
            "to_name": self.media,
            "type": kind,
            "original_width": self.size_wh[0],
            "original_height": self.size_wh[1],
            "image_rotation": 0,
            "item_index": self.index,
            "value": {**value, "labels": [label], kind: [label]},
            **extra,
        }

    def click(self, tag: str, xy: tuple[float, float], label: str, *, positive: bool = True) -> Region:
        """Return a smart click at `xy`, in pixels; `positive=False` is a click with Alt held."""
        x, y = self._percent(xy)
        return self.region(tag, "keypointlabels", {"x": x, "y": y, "width": 0.25}, label, is_positive=positive)

    def box(self, tag: str, box_xyxy: tuple[float, float, float, float], label: str) -> Region:
        """Return a smart box, its corners in pixels."""
        x0, y0 = self._percent(box_xyxy[:2])
        x1, y1 = self._percent(box_xyxy[2:])
        value = {"x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0, "rotation": 0}
        return self.region(tag, "rectanglelabels", value, label, is_positive=True)

    def _percent(self, xy: tuple[float, float]) -> tuple[float, float]:
        return 100 * xy[0] / self.size_wh[0], 100 * xy[1] / self.size_wh[1]


@dataclass(frozen=True)
class TagNames:
    """The names in a labeling config for frame lists."""

    frames: str
    clicks: str
    boxes: str
    masks: str

    @classmethod
    def of(cls, label_config: str) -> TagNames:
        """Read them.

        Raises:
            DemoError: the config has no frame list with clicks, boxes and masks.
        """
        tags = list(ET.fromstring(label_config).iter())  # noqa: S314 - our own config

        def name_of(*kinds: str, **attributes: str) -> str:
            for tag in tags:
                fits = all(tag.get(key) == value for key, value in attributes.items())
                if tag.tag in kinds and fits:
                    return tag.get("name", "")
            raise DemoError(f"The labeling config has no {' or '.join(kinds)} on its frame list.")

        frames = next((tag.get("name", "") for tag in tags if tag.tag == "Image" and tag.get("valueList")), "")
        return cls(
            frames=frames,
            clicks=name_of("KeyPointLabels", toName=frames),
            boxes=name_of("RectangleLabels", toName=frames),
            masks=name_of("BrushLabels", "BitmaskLabels", "PolygonLabels", toName=frames),
        )


class Annotator:
    """A person who is logged in.

    Args:
        url: Label Studio's.
        token: the person's legacy API token.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self._http = requests.Session()
        self._http.headers["Authorization"] = f"Token {token}"

    def call(self, method: Literal["GET", "POST", "PATCH", "DELETE"], path: str, payload: Any = None) -> Any:
        """Call Label Studio's API and return the JSON of its answer (None if it is empty).

        Raises:
            DemoError: it refused, or did not answer.
        """
        try:
            reply = self._http.request(method, self.url + path, json=payload, timeout=CALL_LIMIT_S)
        except requests.RequestException as error:
            raise DemoError(f"Label Studio did not answer {method} {path}: {error}") from error
        if not reply.ok:
            raise DemoError(f"Label Studio refused {method} {path} with {reply.status_code}: {reply.text[:600]}")
        return reply.json() if reply.content else None

    def create_project(self, title: str, label_config: str) -> int:
        """Create a project and return its id."""
        return int(self.call("POST", "/api/projects", {"title": title, "label_config": label_config})["id"])

    def connect_backend(self, project: int, backend_url: str, user: str = "", password: str = "") -> int:
        """Connect an ML backend with interactive preannotations, as Settings > Model does; return its id."""
        auth: dict[str, str] = {"auth_method": "NONE"}
        if user:
            auth = {"auth_method": "BASIC_AUTH", "basic_auth_user": user, "basic_auth_pass": password}
        payload = {"project": project, "url": backend_url, "title": "Track Anything", "is_interactive": True, **auth}
        return int(self.call("POST", "/api/ml", payload)["id"])

    def create_task(self, project: int, data: Mapping[str, Any]) -> int:
        """Create a task and return its id."""
        return int(self.call("POST", "/api/tasks", {"project": project, "data": dict(data)})["id"])

    def tasks(self, project: int) -> list[dict[str, Any]]:
        """Return all tasks of a project, in the order of their ids."""
        found: list[dict[str, Any]] = self.call("GET", f"/api/tasks?project={project}&page_size=1000")["tasks"]
        return sorted(found, key=lambda task: int(task["id"]))

    def task(self, task: int) -> dict[str, Any]:
        """Return a task with its drafts, annotations and predictions."""
        return dict(self.call("GET", f"/api/tasks/{task}"))

    def ask(self, ml_backend: int, task: int, prompts: Sequence[Region]) -> list[Region]:
        """Send smart prompts, as the editor does after each, and return the regions that it would show.

        Raises:
            DemoError: the answer carries errors. (The editor would show nothing at all.)
        """
        payload = {"task": task, "context": {"result": list(prompts)}}
        answer = self.call("POST", f"/api/ml/{ml_backend}/interactive-annotating", payload)
        if "errors" in answer:
            raise DemoError(f"The backend did not answer the prompt: {answer['errors']}")
        return list(answer["data"]["result"])

    def propagate(self, ml_backend: int, task: int, accepted: Region, prompt: Region, frames: int) -> list[Region]:
        """Accept a mask (a draft, as the editor saves it), ask for all frames, and return one region per frame.

        Each call tracks for as long as Label Studio lets it; a slow machine needs several for a whole clip.
        """
        draft = self.save_draft(task, [accepted])
        by_frame: dict[int, Region] = {accepted["item_index"]: accepted}
        for _ in range(PROPAGATE_CALLS_LIMIT):
            before = len(by_frame)
            answer = self.ask(ml_backend, task, [prompt])
            by_frame = {**{region["item_index"]: region for region in answer}, **by_frame}
            if len(by_frame) in (frames, before):
                break
        # What came says it all; a draft with one mask would be what the annotator sees instead.
        self.call("DELETE", f"/api/drafts/{draft}")
        return [by_frame[frame] for frame in sorted(by_frame)]

    def save_draft(self, task: int, result: Sequence[Region]) -> int:
        """Save regions that are not submitted yet, as the editor does every few seconds; return the draft's id."""
        return int(self.call("POST", f"/api/tasks/{task}/drafts", {"result": list(result), "lead_time": 1})["id"])

    def save_annotation(self, task: int, result: Sequence[Region]) -> int:
        """Submit regions; return the annotation's id."""
        return int(self.call("POST", f"/api/tasks/{task}/annotations", {"result": list(result)})["id"])

    def update_annotation(self, annotation: int, result: Sequence[Region]) -> None:
        """Press Update: the annotation has these regions now, and no others."""
        self.call("PATCH", f"/api/annotations/{annotation}", {"result": list(result), "lead_time": 2})

    def save_prediction(self, task: int, result: Sequence[Region], model_version: str, score: float) -> int:
        """Store regions as a prediction, which every annotator who opens the task starts from; return its id."""
        payload = {"task": task, "result": list(result), "model_version": model_version, "score": score}
        return int(self.call("POST", "/api/predictions", payload)["id"])

    def predictions(self, task: int) -> list[dict[str, Any]]:
        """Return the predictions of a task."""
        return list(self.call("GET", f"/api/predictions?task={task}"))

    def webhooks(self, project: int) -> list[str]:
        """Return the addresses that a project's events go to."""
        return [str(hook["url"]) for hook in self.call("GET", f"/api/webhooks/?project={project}")]
