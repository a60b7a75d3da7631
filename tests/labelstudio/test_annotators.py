"""Whose a draft, an annotation, a smart click is."""

import re

import pytest
from hypothesis import given
from ls_json import CONFIG, blob, brush, click, point
from test_regions import json_values

from tam_backend.labelstudio.annotators import annotator_of, author_of
from tam_backend.labelstudio.prompts import read_task


@pytest.mark.parametrize(
    "entry",
    [
        {"completed_by": 12},
        {"completed_by": {"id": 12, "email": "ann@example.com"}},
        {"created_username": "Ann Lee ann@example.com, 12", "user": "ann@example.com"},
        {"created_username": "ann@example.com, 12"},
        {"created_username": "Lee, Ann ann@example.com, 12 "},
    ],
)
def test_a_persons_drafts_and_annotations_name_the_same_annotator(entry):
    assert author_of(entry) == "12"


@pytest.mark.parametrize("name", ["ann@example.com", "Änn", "\ud800", "x" * 10_000])
def test_a_name_without_a_number_is_an_annotator_too(name):
    assert author_of({"created_username": name}) == author_of({"created_username": name})
    assert author_of({"created_username": name}) != author_of({"created_username": "someone else"})


@pytest.mark.parametrize("entry", [{}, {"completed_by": None}, {"created_username": ""}, {"completed_by": True}])
def test_what_names_nobody_is_nobodys(entry):
    assert author_of(entry) is None


@given(json_values, json_values, json_values)
def test_whatever_is_sent_makes_a_short_plain_key_or_none(completed_by, created_username, drafts):
    found = author_of({"completed_by": completed_by, "created_username": created_username})
    assert found is None or re.fullmatch("[0-9a-z]{1,18}", found)
    annotator_of({"drafts": drafts})


def test_who_clicks_is_known_by_their_draft_and_not_without_one():
    assert annotator_of({"drafts": [{"created_username": "ann@example.com, 3"}]}) == "3"
    assert annotator_of({"drafts": [], "annotations": [{"completed_by": 3}]}) is None


MINE, THEIRS = blob(10, 10, 60, 60), blob(140, 10, 190, 60)


def seen(drafts, annotations):
    task = {"drafts": drafts, "annotations": annotations}
    found = read_task(task, click(point("go", 1, 1, "Propagate")), CONFIG, propagate_label="Propagate")
    return [region.region_id for each in found.objects for region in each.regions], found.whose


@pytest.mark.parametrize("their_time", ["2020-01-01T00:00:00Z", "2031-01-01T00:00:00Z"])
def test_the_newest_of_ones_own_is_on_the_screen_whenever_others_saved(their_time):
    draft = {
        "id": 1,
        "result": [brush("mine", MINE)],
        "updated_at": "2030-01-01T00:00:00Z",
        "created_username": "a@example.com, 1",
    }
    annotations = [{"id": 7, "result": [brush("theirs", THEIRS)], "completed_by": 2, "updated_at": their_time}]
    assert seen([draft], annotations) == (["mine"], "1")
    assert seen([], annotations) == (["theirs"], "2")
    own = {"id": 8, "result": [brush("later", MINE)], "completed_by": 1, "updated_at": "2032-01-01T00:00:00Z"}
    assert seen([draft], [*annotations, own]) == (["later"], "1")
