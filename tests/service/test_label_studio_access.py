"""Who can be clicking where a click does not tell: the only person in Label Studio, where there is only one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_backend import make_settings
from label_studio_double import LabelStudioDouble, running_double

from tam_backend.service.label_studio_access import LabelStudioAccess


@pytest.fixture
def label_studio() -> Iterator[LabelStudioDouble]:
    with running_double() as double:
        yield double


@pytest.fixture
def access(label_studio: LabelStudioDouble, tmp_path: Path) -> LabelStudioAccess:
    settings = make_settings(tmp_path, label_studio_url=label_studio.url, label_studio_api_key="a" * 40)
    return LabelStudioAccess(settings)


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
    access = LabelStudioAccess(make_settings(tmp_path))
    assert access.only_user() is None
    access.learn(label_studio.url, "a" * 40)
    assert access.only_user() == "12"
    access.learn("http://elsewhere.example", "")
    assert access.only_user() is None
