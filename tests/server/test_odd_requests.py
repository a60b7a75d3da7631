"""Odd ids, tokens and characters get a clear answer, and spoil nothing else."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_backend import make_settings
from flask.testing import FlaskClient
from test_backend import BRUSH, PROPAGATE, backend, data, draft, point, predict

from tam_backend.jobs.records import Intent
from tam_backend.labelstudio.config_xml import parse_config
from tam_backend.server.app import create_app
from tam_backend.service import annotation_events as events
from tam_backend.service.backend import Backend
from tam_backend.service.read_task import merged
from tam_backend.store.database import Database, sqlite_url
from tam_backend.store.sessions import SessionStore
from tam_backend.store.task_memory import TaskMemories

__all__ = ["backend", "data"]  # fixtures

HALF = "\ud800"  # half of a character: JSON can name it, UTF-8 cannot hold it


@pytest.fixture
def client(backend: Backend, tmp_path: Path) -> FlaskClient:
    return create_app(make_settings(tmp_path / "data"), backend).test_client()


def post(client: FlaskClient, path: str, body: object) -> Any:
    return client.post(path, data=json.dumps(body), content_type="application/json")


@pytest.mark.parametrize(
    "number", [HALF, f"7{HALF}", "a\0b", "x" * 65, "line\nbreak", {"a": 1}, [7], True, 1.5, 2**31, -(10**40)]
)
def test_an_id_that_cannot_be_kept_is_refused_by_name(client: FlaskClient, data: dict[str, Any], number: Any) -> None:
    body = {"tasks": [{"id": number, "data": data}], "label_config": BRUSH, "project": "7.1", "params": None}
    reply = post(client, "/predict", body)
    assert reply.status_code == 400
    assert "tasks[0].id" in reply.get_json()["error"]["message"]
    reply = post(client, "/predict", {**body, "tasks": [{"id": 7, "data": data}], "project": number})
    assert (reply.status_code, "project" in reply.get_json()["error"]["message"]) == (400, True)
    assert post(client, "/setup", {"project": number, "schema": BRUSH}).status_code == 400


@pytest.mark.parametrize("key", ["project", "task", "annotation"])
@pytest.mark.parametrize("number", [HALF, {"a": 1}, [7], True, 1.5, 2**31])
def test_an_event_with_an_id_that_cannot_be_kept_is_refused_by_name(client: FlaskClient, key: str, number: Any) -> None:
    body = {"action": "ANNOTATION_CREATED", "annotation": {"id": 1}, "task": {"id": 1}, "project": {"id": 1}}
    reply = post(client, "/webhook", {**body, key: {"id": number}})
    assert reply.status_code == 400
    assert f"{key}.id" in reply.get_json()["error"]["message"]


@pytest.mark.parametrize(("depth", "status"), [(90, 200), (101, 400), (900, 400)])
def test_json_nested_deeper_than_anything_can_go_down_is_refused(client: FlaskClient, depth: int, status: int) -> None:
    deep: Any = []
    for _ in range(depth):
        deep = [deep]
    assert post(client, "/setup", {"project": "7.1", "schema": BRUSH, "extra_params": deep}).status_code == status


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Return where texts stand in JSON."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, (dict, list)):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from places(each, (*path, key))


def test_half_a_character_anywhere_is_no_fault_of_ours(
    client: FlaskClient, backend: Backend, data: dict[str, Any]
) -> None:
    [clicked] = predict(backend, data, point(0, "Rabbit"))
    few = {"frames": data["frames"][:2]}
    good = {
        "tasks": [{"id": 7, "data": few, "drafts": draft(clicked), "annotations": []}],
        "label_config": BRUSH,
        "project": "7.1",
        "params": {"context": {"result": [PROPAGATE]}},
    }
    for path in places(good):
        bad = copy.deepcopy(good)
        holder: Any = bad
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = f"{holder[path[-1]]}{HALF}"
        assert post(client, "/predict", bad).status_code < 500, path
    assert client.get("/").status_code == 200
    assert post(client, "/predict", good).status_code == 200


@pytest.mark.parametrize("token", ["ключ", "two\nlines", "\x07", HALF, "  ", "nön-ascii" * 40])
def test_a_project_with_an_odd_token_connects_without_pushing(
    client: FlaskClient, backend: Backend, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without a login nobody's word is taken for where Label Studio is.
    login = backend.settings.model_copy(update={"basic_auth_user": "team"})
    monkeypatch.setattr(backend._projects, "_settings", login)
    body = {"project": "7.1", "schema": BRUSH, "hostname": "http://localhost:8080", "access_token": token}
    reply = post(client, "/setup", body)
    assert (reply.status_code, reply.get_json()) == (200, {"model_version": backend.model_version})
    page = client.get("/").get_data(as_text=True)
    assert "no usable API key" in page
    assert token.strip() not in page or not token.strip()


def test_what_a_config_cannot_get_stands_on_the_status_page_until_it_is_mended(
    client: FlaskClient, backend: Backend
) -> None:
    odd = BRUSH.replace("</View>", '<CuboidLabels name="cube" toName="pages" smart="true"/></View>')
    for _ in range(2):
        assert post(client, "/setup", {"project": "7.1", "schema": odd}).status_code == 200
    assert client.get("/").get_data(as_text=True).count("&lt;CuboidLabels&gt;") == 1
    assert backend.problems.recent() == []
    assert post(client, "/setup", {"project": "7.1", "schema": BRUSH}).status_code == 200
    assert "Cuboid" not in client.get("/").get_data(as_text=True)


@pytest.mark.parametrize("number", ["tam-0-0f", "\N{PILE OF POO}", [7], {"a": 1}, None])
def test_an_annotation_with_an_odd_id_is_read_like_any_other(tmp_path: Path, number: Any) -> None:
    database = Database(sqlite_url(tmp_path / "tam.sqlite"))
    memories, store = TaskMemories(database), SessionStore(database)
    region = {"id": number, "from_name": number, "type": "choices", "value": {}}
    intent = Intent("7", 1, {"id": 1, "data": {}, "annotations": []}, None, BRUSH)
    annotations = [{"id": number, "result": [region]}]
    events.take_note(annotations, parse_config(BRUSH), intent, memories, store)
    assert set(memories.get("7", "1").annotations) == {0}
    assert merged(annotations, {}) == [region]
