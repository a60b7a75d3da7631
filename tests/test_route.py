"""Which files a reader opens to follow one click, or one Propagate, from its arrival to its reply; seen as it happens.

Counted are the files that hand a request on: their functions are called, and call another file of ours. Behind the two
seams, `models/` (networks behind two protocols) and `video/` (frames behind one), lies another story: each room counts
once. Not counted are

- files that answer at once, and call no other: their name tells what they do;
- the ground floor: plain data, errors, locks;
- questions, and what finds their answers: properties, len() and in, and the methods of frozen data classes below the
  service (a region's box, a config's tag).

`sys.setprofile` sees every call, those through callbacks too, of which the import graph knows nothing.
"""

from __future__ import annotations

import dataclasses
import enum
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from inspect import isfunction
from pathlib import Path
from textwrap import fill, indent
from types import CodeType, FrameType
from typing import Any

import cv2
import pytest
from fake_backend import make_settings
from test_backend import BRUSH, PROPAGATE, VIDEO, draft, point
from test_floor_plan import FLOOR_OF, FLOORS, PACKAGE, ROOT

from tam_backend.engine import TrackAnything
from tam_backend.server.app import create_app
from tam_backend.service.backend import Backend
from tam_backend.tracking.passes import Workplace

MOST_FILES = {"click": 20, "Propagate": 25}
GROUND = {room for floor in FLOORS[:2] for room in floor}
SEAMS = {"models": "the networks", "video": "the frames"}
DOCS = ROOT / "docs" / "development.md"


def room_of(file: str) -> str:
    return file.split("/", maxsplit=1)[0].removesuffix(".py")


@dataclass
class Route:
    """The calls between files for one request. Its dicts are sets that keep the order of the first call.

    Args:
        handed: (file, file that it calls), without questions, and calls back to a file that waits for an answer.
        back: (file, file of the service that it calls) from a floor below.
        entered: the files, and the rooms behind the seams, that are called.
    """

    handed: dict[tuple[str, str], None] = field(default_factory=dict)
    back: set[tuple[str, str]] = field(default_factory=set)
    entered: dict[str, None] = field(default_factory=dict)
    _questions: set[CodeType] = field(default_factory=lambda: set(questions()))
    _places: dict[CodeType, str | None] = field(default_factory=dict)

    def follow(self, ask: Callable[[], None]) -> Route:
        threading.setprofile(self._called)
        sys.setprofile(self._called)
        try:
            ask()
        finally:
            sys.setprofile(None)
            threading.setprofile(None)  # type: ignore[arg-type]
        return self

    @property
    def on_it(self) -> list[str]:
        """The files that are counted, and the rooms behind the seams."""
        handing_on = {caller for caller, _ in self.handed}
        return [place for place in self.entered if place in handing_on or place in SEAMS]

    @property
    def answering(self) -> list[str]:
        """The files that answer at once."""
        return [place for place in self.entered if place not in self.on_it]

    def tree(self) -> str:
        """Draw the files that are counted, each under the one that calls it first."""
        first_caller: dict[str, str] = {}
        for caller, called in self.handed:
            first_caller.setdefault(called, caller)
        lines: list[str] = []

        def draw(place: str, depth: int) -> None:
            lines.append("  " * depth + (f"{place}/ ({SEAMS[place]})" if place in SEAMS else place))
            for each in self.on_it:
                if first_caller.get(each) == place:
                    draw(each, depth + 1)

        for place in self.on_it:
            if place not in first_caller:
                draw(place, 0)
        return "\n".join(lines)

    def _called(self, frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or not frame.f_code.co_filename.startswith(str(PACKAGE)):
            return
        here, callers = self._place(frame.f_code), list(callers_of(frame))
        if here is None or not self._questions.isdisjoint([frame.f_code, *callers]):
            return
        self.entered.setdefault(here)
        waiting = [place for code in callers if (place := self._place(code)) is not None]
        if not waiting or waiting[0] == here:
            return
        caller = waiting[0]
        is_below = FLOOR_OF[room_of(caller)] < FLOOR_OF["service"]
        if room_of(here) == "service" and is_below and frame.f_code.co_name != "<lambda>":
            self.back.add((caller, here))
        if here not in waiting:
            self.handed.setdefault((caller, here))

    def _place(self, code: CodeType) -> str | None:
        """Return the file, or the room behind a seam, that code stands in; None on the ground and outside."""
        if code not in self._places:
            path = Path(code.co_filename)
            file = path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else None
            if file is None or room_of(file) in GROUND:
                self._places[code] = None
            else:
                self._places[code] = room_of(file) if room_of(file) in SEAMS else file
        return self._places[code]


def callers_of(frame: FrameType) -> Iterator[CodeType]:
    waiting = frame.f_back
    while waiting is not None:
        yield waiting.f_code
        waiting = waiting.f_back


def questions() -> Iterator[CodeType]:
    """Yield the code of what only asks; see above."""
    modules = [module for name, module in sys.modules.items() if name.startswith("tam_backend.")]
    classes = {each for module in modules for each in vars(module).values() if isinstance(each, type)}
    for owner in classes:
        room = owner.__module__.split(".")[1] if owner.__module__.startswith("tam_backend.") else "server"
        if FLOOR_OF[room] > FLOOR_OF["service"]:
            continue
        for name, each in vars(owner).items():
            function = each.fget if isinstance(each, property) else getattr(each, "__func__", each)
            asks = isinstance(each, property) or name in ("__len__", "__contains__")
            if isfunction(function) and (asks or (is_data(owner) and room != "service")):
                yield function.__code__


def is_data(owner: type) -> bool:
    frozen = dataclasses.is_dataclass(owner) and owner.__dataclass_params__.frozen
    return frozen or issubclass(owner, (tuple, enum.Enum))


@pytest.fixture(scope="module")
def routes(tam: TrackAnything, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Route]]:
    """One click and one Propagate of a task that is open, over HTTP, with the embedded networks."""
    folder = tmp_path_factory.mktemp("route")
    for index, frame in enumerate(VIDEO):
        cv2.imwrite(str(folder / f"{index}.png"), frame[..., ::-1])
    settings = make_settings(folder / "data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrackAnything, "load", lambda *_, **__: tam)
        patch.setattr(Workplace, "shares_cores", False)  # in one thread, the way can be followed
        backend = Backend(settings)
        client = create_app(settings, backend).test_client()
        record = backend.library.register(folder)
        pages = [backend.library.frame_url("http://x", record.id, index) for index in range(VIDEO.frames)]

        def ask(clicked: Mapping[str, Any], *accepted: Mapping[str, Any]) -> dict[str, Any]:
            task = {"id": 1, "data": {"frames": pages}, "annotations": [], "drafts": draft(*accepted)}
            payload = {
                "tasks": [task],
                "project": "7.123",
                "label_config": BRUSH,
                "params": {"context": {"result": [clicked]}},
            }
            reply = client.post("/predict", json=payload)
            assert reply.status_code == 200, reply.text
            found: dict[str, Any] = reply.json["results"][0]
            assert found["result"]
            return found

        [mask] = ask(point(4, "Rabbit"))["result"]
        yield {
            "click": Route().follow(lambda: ask(point(5, "Rabbit"), mask) and None),
            "Propagate": Route().follow(lambda: ask(PROPAGATE, mask) and None),
        }
        backend.close()


@pytest.mark.parametrize("name", MOST_FILES)
def test_few_files_are_on_the_way(routes: Mapping[str, Route], name: str) -> None:
    on_it = routes[name].on_it
    assert {"server/app.py", "service/backend.py", "models", "video"} <= set(on_it)
    assert len(on_it) <= MOST_FILES[name], routes[name].tree()


@pytest.mark.parametrize("name", MOST_FILES)
def test_no_file_of_the_service_is_entered_again_from_below(routes: Mapping[str, Route], name: str) -> None:
    """A callback would send the reader back up; lambdas stand where they are given."""
    assert not routes[name].back


@pytest.mark.parametrize("name", MOST_FILES)
def test_the_service_is_read_from_top_to_bottom(routes: Mapping[str, Route], name: str) -> None:
    """None of its files calls one that leads back to it: each is read once, and left for good."""
    calls = [(a, b) for a, b in routes[name].handed if room_of(a) == room_of(b) == "service"]
    left = {file for pair in calls for file in pair}
    while left:
        free = {file for file in left if not any(b == file and a in left for a, b in calls)}
        assert free, f"these call each other: {sorted(left)}"
        left -= free


def described(routes: Mapping[str, Route]) -> str:
    parts = []
    for name, route in routes.items():
        answering = ", ".join(f"`{place}`" for place in sorted(route.answering))
        parts.append(f"One {name} is handed on by {len(route.on_it)} files:\n\n{indent(route.tree(), ' ' * 4)}\n")
        parts.append(fill(f"These answer at once: {answering}.", 120, break_on_hyphens=False) + "\n")
    return "\n".join(parts)


def test_the_lists_in_the_docs_are_those_of_today(routes: Mapping[str, Route]) -> None:
    wanted = described(routes)
    if wanted not in DOCS.read_text():
        todays = ROOT / ".cache" / "route.md"
        todays.parent.mkdir(exist_ok=True)
        todays.write_text(wanted)
        pytest.fail(f"Put what {todays} holds into {DOCS}.", pytrace=False)
