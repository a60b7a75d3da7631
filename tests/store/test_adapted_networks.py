"""Versions of a project's networks: numbered, served, rolled back and pruned, on every database."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from databases import KINDS, empty_database
from sqlalchemy import text

from tam_backend.errors import NotFoundError, StoreError, WeightsError
from tam_backend.store.adapted_networks import AdaptedNetworks, AdaptedVersion, Figure, Findings, PictureNote, Serving
from tam_backend.store.database import Database
from tam_backend.store.sessions import SessionKey, SessionStore
from tam_backend.store.unlearnt_videos import UnlearntVideos

FINDINGS = Findings("Better.", (Figure("tracker", 60.0, 66.5, 3.0, 10.0),), ("a", "b"), ("c",), ("d is left out.",), 61)
BASE = "compact-0.2-12345678"


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    return Database(empty_database(request.param, tmp_path))


@pytest.fixture
def adapted(database: Database) -> AdaptedNetworks:
    return AdaptedNetworks(database, keep=2, keep_figures=5)


@pytest.mark.parametrize(
    ("figure", "says"),
    [
        (Figure("tracker", 60.0, 66.5, 3.0, 10.0), "+6.5 (+3.0 to +10.0)"),
        (Figure("tracker", 91.02, 91.0, -0.04, 0.01), "+0.0 (+0.0 to +0.0)"),
        (Figure("tracker", 71.6, 74.2, -math.inf, math.inf), "+2.6 (too little was judged to be sure)"),
    ],
    ids=["a gain", "nothing has no minus", "no interval"],
)
def test_a_gain_is_told_with_its_interval(figure: Figure, says: str) -> None:
    assert figure.gain == says


def add(adapted: AdaptedNetworks, weights: bytes = b"", project: str = "7", base: str = BASE) -> AdaptedVersion:
    return adapted.add(project, base, "stamp", FINDINGS, {"tracker": weights} if weights else {})


def test_a_promoted_version_serves_its_project_and_no_other(adapted: AdaptedNetworks) -> None:
    assert adapted.served("7", BASE) is None
    made = add(adapted, b"better")
    assert (made.name, made.state, made.findings) == (f"{BASE}+p7.1", "promoted", FINDINGS)
    assert adapted.served("7", BASE) == made
    assert adapted.weights(made) == {"tracker": b"better"}
    assert adapted.served("8", BASE) is None
    assert add(adapted, b"other", project="8").number == 1
    assert adapted.served("7", BASE) == made


def test_networks_of_another_base_do_not_serve(adapted: AdaptedNetworks) -> None:
    add(adapted, b"better")
    assert adapted.served("7", "compact-0.3-87654321") is None
    assert add(adapted, b"new", base="compact-0.3-87654321").number == 2, "no number is given twice"


def test_a_refused_version_leaves_its_figures_and_changes_nothing(adapted: AdaptedNetworks) -> None:
    made = add(adapted, b"better")
    refused = add(adapted)
    assert (refused.state, refused.can_serve) == ("refused", False)
    assert adapted.served("7", BASE) == made
    assert [each.number for each in adapted.versions("7")] == [2, 1]
    with pytest.raises(WeightsError, match="not there any more"):
        adapted.weights(refused)


def test_rolling_back_brings_back_the_version_before_then_the_packages(adapted: AdaptedNetworks) -> None:
    first, second = add(adapted, b"1"), add(adapted, b"2")
    taken_back = adapted.roll_back("7", BASE)
    assert (taken_back.number, taken_back.state) == (second.number, "rolled back")
    assert second.made_at <= (taken_back.taken_back_at or 0)
    assert second.taken_back_at is first.taken_back_at is None
    assert adapted.served("7", BASE) == first
    adapted.roll_back("7", BASE)
    assert adapted.served("7", BASE) is None
    with pytest.raises(NotFoundError, match="nothing to take back") as told:
        adapted.roll_back("7", BASE)
    assert "--project 7 --list" in told.value.remedy
    with pytest.raises(NotFoundError, match="nothing to take back") as told:
        adapted.roll_back("999", BASE)
    assert "--list" not in told.value.remedy, "it would show nothing"
    assert [each.state for each in adapted.versions("7")] == ["rolled back"] * 2
    assert add(adapted, b"3").number == 3


def test_the_weights_of_the_last_few_are_kept_and_the_figures_of_some_more(adapted: AdaptedNetworks) -> None:
    for number in range(8):
        add(adapted, b"%d" % number)
    add(adapted, b"other", project="8")
    versions = adapted.versions("7")
    assert [each.number for each in versions if each.can_serve] == [8, 7]
    assert [each.number for each in versions] == [8, 7, 6, 5, 4]
    assert adapted.served("8", BASE) is not None


def begin(database: Database, weights: str, task: str = "1", project: str = "7") -> SessionKey:
    """Store a session that works with these networks."""
    key = SessionKey(project, task, "media")
    SessionStore(database).open(key, frames=1, size_hw=(2, 3), weights=weights).close()
    return key


def test_weights_that_a_stored_session_works_with_are_kept_as_long_as_it_is(
    adapted: AdaptedNetworks, database: Database
) -> None:
    versions = [add(adapted, b"%d" % number) for number in range(2)]
    keys = [begin(database, each.name, str(each.number)) for each in versions]
    begin(database, f"{BASE}+p7.11", "of no version")
    for number in range(2, 8):
        add(adapted, b"%d" % number)
    assert [each.number for each in adapted.versions("7") if each.can_serve] == [8, 7, 2, 1]
    assert adapted.weights(versions[0]) == {"tracker": b"0"}
    SessionStore(database).delete(keys[0])
    add(adapted)
    assert [each.number for each in adapted.versions("7") if each.can_serve] == [8, 7, 2]


def test_no_weights_are_kept_that_could_not_serve_a_session_that_works_with_them(
    adapted: AdaptedNetworks, database: Database
) -> None:
    """Its project's number, and its version's, begin as those do; one was taken back; one is of older networks."""
    first = add(adapted, b"1", base="compact-0.1-00000000")
    begin(database, first.name, "old")
    back = add(adapted, b"2")
    begin(database, back.name, "back")
    adapted.roll_back("7", BASE)
    begin(database, f"{BASE}+p7.3", project="8")
    for number in range(3, 6):
        add(adapted, b"%d" % number)
    assert [each.number for each in adapted.versions("7") if each.fingerprints] == [5, 4]


def test_a_version_that_serves_is_kept_however_many_are_refused(adapted: AdaptedNetworks) -> None:
    made = add(adapted, b"better")
    for _ in range(8):
        add(adapted)
    assert adapted.served("7", BASE) == made


def note(frame: int) -> PictureNote:
    return PictureNote("the tracker", "largest loss", "<b>.mp4", frame, 60.5, 40.25)


@pytest.mark.parametrize(
    ("choice", "before", "after", "says"),
    [
        ("largest gain", 84.6, 85.4, "Largest gain of the tracker: 84.6 → 85.4 %"),
        ("largest loss", 85.02, 84.98, "No change of the tracker: 85.0 %"),
        ("largest gain", 85.0, 85.0, "No change of the tracker: 85.0 %"),
        ("median", 85.0, 85.0, "Median of the tracker: 85.0 %, no change"),
    ],
)
def test_a_caption_names_a_gain_or_loss_only_where_it_shows_one(
    choice: str, before: float, after: float, says: str
) -> None:
    assert PictureNote("the tracker", choice, "a.mp4", 4, before, after).told == says


def test_pictures_are_kept_with_their_version_promoted_or_refused(adapted: AdaptedNetworks) -> None:
    adapted.add("7", BASE, "", FINDINGS, {"tracker": b"1"}, [(note(1), b"one"), (note(2), b"two")])
    adapted.add("7", BASE, "", FINDINGS, {}, [(note(3), b"three")])
    adapted.add("8", BASE, "", FINDINGS, {}, [(note(4), b"other")])
    assert adapted.pictures("7") == {1: (note(1), note(2)), 2: (note(3),)}
    assert [adapted.picture("7", *at) for at in ((1, 0), (1, 1), (2, 0))] == [b"one", b"two", b"three"]
    for project, number, place in (("7", 2, 1), ("7", 3, 0), ("8", 2, 0), ("9", 1, 0)):
        with pytest.raises(NotFoundError, match="no such picture"):
            adapted.picture(project, number, place)


def test_pictures_of_the_last_few_are_kept_and_of_those_that_may_serve(database: Database) -> None:
    adapted = AdaptedNetworks(database, keep=1, keep_figures=4, keep_pictures=2)
    pictured = [(note(0), b"picture")]
    adapted.add("8", BASE, "", FINDINGS, {}, pictured)
    adapted.add("7", BASE, "", FINDINGS, {"tracker": b"serves"}, pictured)
    for _ in range(6):
        adapted.add("7", BASE, "", FINDINGS, {}, pictured)
    assert sorted(adapted.pictures("7")) == [1, 6, 7]
    assert [each.number for each in adapted.versions("7")] == [7, 6, 5, 4, 1]
    assert sorted(adapted.pictures("8")) == [1]


def test_damaged_weights_are_noticed(adapted: AdaptedNetworks, database: Database) -> None:
    made = add(adapted, b"better")
    with database.transaction() as connection:
        connection.execute(text("UPDATE adapted_weights SET file = :file"), {"file": b"bettes"})
    with pytest.raises(WeightsError, match="damaged") as told:
        adapted.weights(made)
    assert "--rollback" in told.value.remedy


def damage(database: Database, file: bytes = b"bettes") -> None:
    with database.transaction() as connection:
        connection.execute(text("UPDATE adapted_weights SET file = :file"), {"file": file})


def test_a_damaged_version_does_not_serve_until_it_is_taken_back(adapted: AdaptedNetworks, database: Database) -> None:
    before, made = add(adapted, b"worse."), add(adapted, b"better")
    damage(database)
    assert adapted.serving([made, before], BASE) == Serving(damaged=made)
    assert adapted.served("7", BASE) is None
    assert adapted.roll_back("7", BASE).number == made.number


def test_what_was_found_sound_is_looked_at_again_after_a_while_or_with_another_size(
    adapted: AdaptedNetworks, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = add(adapted, b"better")
    assert adapted.served("7", BASE) == made
    damage(database)
    assert adapted.served("7", BASE) == made, "pages need not read megabytes every few seconds"
    damage(database, b"better, cut off")
    assert adapted.served("7", BASE) is None
    damage(database)
    assert adapted.served("7", BASE) is None
    damage(database, b"better")
    assert adapted.weights(made) == {"tracker": b"better"}
    assert adapted.served("7", BASE) == made, "somebody has mended the file"
    damage(database)
    monkeypatch.setattr("time.monotonic", lambda: float("inf"))
    assert adapted.served("7", BASE) is None


def test_where_the_version_that_would_serve_is_damaged_the_same_may_be_learnt_anew(
    adapted: AdaptedNetworks, database: Database
) -> None:
    add(adapted, b"better")
    add(adapted)
    assert adapted.newest_stamp("7", BASE) == "stamp"
    damage(database)
    assert AdaptedNetworks(database).newest_stamp("7", BASE) == ""


def test_a_version_that_cannot_be_written_whole_is_not_there(adapted: AdaptedNetworks, database: Database) -> None:
    made = add(adapted, b"better")
    with database.transaction() as connection:
        connection.execute(text("DROP TABLE adapted_weights"))
    with pytest.raises(StoreError):
        add(adapted, b"newer")
    with database.reading() as connection:
        assert connection.execute(text("SELECT number FROM adapted_versions")).scalars().all() == [made.number]


def test_a_newest_stamp_tells_whether_there_is_anything_new(adapted: AdaptedNetworks) -> None:
    assert adapted.newest_stamp("7", BASE) == ""
    add(adapted)
    adapted.add("7", BASE, "newer", FINDINGS, {})
    assert adapted.newest_stamp("7", BASE) == "newer"
    assert adapted.newest_stamp("8", BASE) == ""


def test_an_interval_without_ends_is_kept_as_json_that_everybody_reads(
    adapted: AdaptedNetworks, database: Database
) -> None:
    endless = Figure("tracker", 60.0, 61.0, -math.inf, math.inf)
    made = adapted.add("7", BASE, "stamp", replace(FINDINGS, figures=(endless,)), {})
    assert made.findings.figures == (endless,)

    def refuse(word: str) -> None:
        raise AssertionError(word)

    with database.reading() as connection:
        about = connection.execute(text("SELECT about FROM adapted_versions")).scalar_one()
    json.loads(about, parse_constant=refuse)


def test_videos_are_counted_once_each_until_they_are_learnt(database: Database) -> None:
    videos = UnlearntVideos(database)
    assert [videos.submitted("7", each) for each in ("a", "b", "a")] == [1, 2, 0]
    assert videos.submitted("8", "a") == 1
    noted = videos.noted("7")
    assert sorted(noted) == ["a", "b"]
    videos.submitted("7", "c")
    videos.learnt("7", noted)
    assert videos.noted("7") == ["c"], "it was submitted while the others were learnt"
    assert [videos.submitted("7", "a"), videos.submitted("8", "b")] == [2, 2]
