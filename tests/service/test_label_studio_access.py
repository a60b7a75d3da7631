"""Who can be clicking where a click does not tell: the only person in Label Studio, where there is only one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from databases import KINDS, empty_database
from fake_backend import make_settings
from hypothesis import given
from hypothesis import strategies as st
from label_studio_double import LabelStudioDouble, running_double
from sqlalchemy import text

from tam_backend.problems import ProblemLog
from tam_backend.service.label_studio_access import LabelStudioAccess
from tam_backend.settings import Settings
from tam_backend.store.database import Database, sqlite_url
from tam_backend.store.learnt_access import LearntAccess
from tam_backend.store.sealed import Seal

KEY = "a" * 40
LOGIN = {"basic_auth_user": "ls", "basic_auth_pass": "secret"}


@pytest.fixture
def label_studio() -> Iterator[LabelStudioDouble]:
    with running_double() as double:
        yield double


@pytest.fixture
def access(label_studio: LabelStudioDouble, tmp_path: Path) -> LabelStudioAccess:
    return make_access(make_settings(tmp_path, label_studio_url=label_studio.url, label_studio_api_key=KEY))


def make_access(
    settings: Settings, url: str = "", secret: bytes = b"ours", problems: ProblemLog | None = None
) -> LabelStudioAccess:
    database = Database(url or sqlite_url(settings.data_dir / "tam.sqlite"))
    return LabelStudioAccess(settings, LearntAccess(database, Seal(secret)), problems or ProblemLog())


def test_the_only_person_is_the_one_who_clicks(access: LabelStudioAccess, label_studio: LabelStudioDouble) -> None:
    label_studio.people = [12]
    assert access.only_user() == "12"


def test_somebody_who_joins_is_noticed_at_the_next_click(
    access: LabelStudioAccess, label_studio: LabelStudioDouble
) -> None:
    label_studio.people = [12]
    assert access.only_user() == "12"
    label_studio.people = [12, 13]
    assert access.only_user() is None


def test_of_several_nobody_is_meant_and_label_studio_is_not_asked_at_every_click(
    access: LabelStudioAccess, label_studio: LabelStudioDouble
) -> None:
    label_studio.people = [12, 13]
    assert [access.only_user() for _ in range(3)] == [None] * 3
    assert label_studio.calls == 1


@pytest.mark.parametrize("status", [403, 404, 500])
def test_where_it_cannot_be_asked_nobody_is_meant(
    access: LabelStudioAccess, label_studio: LabelStudioDouble, status: int
) -> None:
    label_studio.failing = status
    assert access.only_user() is None


def test_without_a_key_nobody_is_meant_until_one_is_told(tmp_path: Path, label_studio: LabelStudioDouble) -> None:
    label_studio.people = [12]
    access = make_access(make_settings(tmp_path, **LOGIN))
    assert access.only_user() is None
    access.learn(label_studio.url, "a" * 40)
    assert access.only_user() == "12"
    access.learn("http://elsewhere.example", "")
    assert access.only_user() is None


# --- several processes on one database ---


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return empty_database(request.param, tmp_path)


def test_what_one_process_is_told_all_know_and_nobody_can_read_it_in_the_database(
    url: str, tmp_path: Path, label_studio: LabelStudioDouble
) -> None:
    settings = make_settings(tmp_path, **LOGIN)
    first, second = (make_access(settings, url) for _ in range(2))
    assert (second.client, second.url) == (None, "")
    first.learn(f"{label_studio.url}/", KEY)
    assert second.url == label_studio.url
    assert second.authorization() == {"Authorization": f"Token {KEY}"}
    assert make_access(settings, url).only_user() == "1", "it is known after a restart too"
    first.learn(label_studio.url, "")
    assert first.authorization() == {"Authorization": f"Token {KEY}"}, "the same address tells nothing new"
    with Database(url).reading() as connection:
        row = connection.execute(text("SELECT url, token FROM learnt_access")).one()
    assert row.url == label_studio.url
    assert KEY not in row.token and len(row.token) > len(KEY)


def test_a_token_sealed_with_another_secret_is_forgotten_and_that_is_said_once(
    url: str, tmp_path: Path, label_studio: LabelStudioDouble
) -> None:
    settings, problems = make_settings(tmp_path, **LOGIN), ProblemLog()
    make_access(settings, url, b"former").learn(label_studio.url, KEY)
    access = make_access(settings, url, b"newer", problems)
    assert [access.client for _ in range(3)] == [None] * 3
    assert access.url == label_studio.url
    [problem] = problems.recent()
    assert "another secret" in problem.message and "TAM_SECRET" in problem.remedy
    access.learn(label_studio.url, "b" * 40)
    assert access.authorization() == {"Authorization": f"Token {'b' * 40}"}
    assert len(problems.recent()) == 1


def test_what_the_settings_name_wins_over_what_was_learnt_before(
    url: str, tmp_path: Path, label_studio: LabelStudioDouble
) -> None:
    make_access(make_settings(tmp_path, **LOGIN), url).learn(label_studio.url, KEY)
    other = {"label_studio_url": "http://other.example"}
    assert make_access(make_settings(tmp_path, **other), url).authorization() == {}
    with_key = make_access(make_settings(tmp_path, **other, label_studio_api_key="c" * 40), url)
    assert with_key.authorization() == {"Authorization": f"Token {'c' * 40}"}
    assert make_access(make_settings(tmp_path), url).url == "", "nobody had to log in: anybody could have told"
    key_alone = make_access(make_settings(tmp_path, **LOGIN, label_studio_api_key="c" * 40), url)
    key_alone.learn("http://told.example", "d" * 40)
    assert (key_alone.url, key_alone.authorization()) == ("http://told.example", {})


@given(st.binary(min_size=1, max_size=64), st.binary(min_size=1, max_size=64), st.text(st.characters(codec="utf-8")))
def test_only_the_same_secret_opens_what_is_sealed(secret: bytes, other: bytes, token: str) -> None:
    sealed = Seal(secret).closed(token)
    assert Seal(secret).opened(sealed) == token
    assert Seal(other).opened(sealed) == (token if other == secret else None)
    assert Seal(secret).opened(sealed[:-5]) is None
