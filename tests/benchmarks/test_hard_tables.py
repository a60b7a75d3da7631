"""The tables of hard kinds: pooled over frames, and only of what is there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks.hard_kinds import Detail, JudgedMask
from benchmarks.hard_tables import (
    AbsenceRow,
    DetailRow,
    HardKinds,
    LookAlikeRow,
    absence_rows,
    detail_rows,
    look_alike_rows,
)

PLAIN = Detail(0, 0, 0, 0, 0, 0)


def seen(area: int = 100, found: int = 90, quality: float = 0.9, detail: Detail = PLAIN) -> JudgedMask:
    return JudgedMask(area, found, empty=False, quality=quality, given={}, detail=detail)


def unseen(area: int, quality: float) -> JudgedMask:
    return JudgedMask(area, 0, empty=True, quality=quality, given={}, detail=PLAIN)


def test_details_are_pooled_so_that_every_pixel_counts_the_same() -> None:
    small = seen(100, detail=Detail(thin=10, thin_found=0, holes=0, holes_free=0, band_both=5, band_either=20))
    large = seen(300, detail=Detail(thin=30, thin_found=30, holes=8, holes_free=2, band_both=55, band_either=60))
    (row,) = detail_rows("chair", "tracker", {1: [small, large]})
    assert row == DetailRow("chair", 1, "tracker", 10.0, 75.0, 2.0, 25.0, 75.0)


def test_a_handful_of_pixels_is_no_detail() -> None:
    speck = Detail(thin=0, thin_found=0, holes=1, holes_free=0, band_both=9, band_either=10)
    assert list(detail_rows("box", "tracker", {1: [seen(1000, detail=speck)]})) == []
    leg = replace(speck, thin=10, thin_found=5)
    (row,) = detail_rows("box", "tracker", {1: [seen(1000, detail=leg)]})
    assert (row.thin_recall, row.holes_free) == (50.0, None)


def test_an_object_that_is_never_there_has_no_rows_but_that_of_absence() -> None:
    judged = {1: [unseen(0, 0.7)], 2: [seen()]}
    assert list(detail_rows("clip", "tracker", judged)) == []
    assert [row.object_id for row in look_alike_rows("clip", "tracker", judged)] == [2]
    assert [row.object_id for row in absence_rows("tracker", [("clip", judged)])] == [1, None]


def test_what_an_object_lost_is_the_others_or_nobodys() -> None:
    first = replace(seen(100, found=70), given={2: 10, 3: 5})
    second = replace(seen(100, found=90), given={2: 0, 3: 9})
    rows = list(look_alike_rows("girls", "tracker", {1: [first, second], 2: [seen(50, found=50)], 3: []}))
    assert rows == [
        LookAlikeRow("girls", 1, "tracker", own=80.0, others=12.0, nobody=8.0, most_to=3),
        LookAlikeRow("girls", 2, "tracker", own=100.0, others=0.0, nobody=0.0, most_to=None),
    ]


def test_an_object_alone_has_nobody_to_be_confused_with() -> None:
    assert list(look_alike_rows("chair", "tracker", {1: [seen()]})) == []


def test_absence_counts_both_errors_and_what_was_told_of_them() -> None:
    absent = [seen(0, 0, quality=0.8), seen(0, 0, quality=0.4), unseen(0, quality=0.7)]
    present = [seen(), unseen(50, quality=0.9)]
    row, everything = absence_rows("tracker", [("bikes", {1: absent + present, 2: [seen()]})])
    assert row == AbsenceRow("bikes", 1, "tracker", 3, 2, pytest.approx(0.6), 2, 1, 0.9, 0.7)
    assert everything == replace(row, clip="all", object_id=None, present=3)


def test_without_errors_nothing_is_told() -> None:
    (everything,) = absence_rows("tracker", [("box", {1: [seen()]})])
    assert everything == AbsenceRow("all", None, "tracker", 0, 0, None, 1, 0, None, None)


def test_tables_are_printed_where_a_clip_has_the_kind(capsys: pytest.CaptureFixture[str]) -> None:
    HardKinds.of({"tracker": [("box", {1: [seen()]})]}).show()
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines() if line] == ["absence", "all"]

    leg = Detail(thin=10, thin_found=5, holes=0, holes_free=0, band_both=1, band_either=4)
    lost = replace(seen(detail=leg), given={2: 4})
    HardKinds.of({"tracker": [("chair", {1: [lost, unseen(0, 0.5)], 2: [seen()]})]}).show()
    details, others, absence = capsys.readouterr().out.strip().split("\n\n")
    assert details.splitlines()[1].split() == ["chair", "1", "tracker", "10.0", "50.0", "0.0", "-", "25.0"]
    assert details.splitlines()[2].split()[3:] == ["1", "tracker", "-", "50.0", "-", "-", "25.0"]
    assert others.splitlines()[1].split() == ["chair", "1", "tracker", "90.0", "4.0", "6.0", "2"]
    assert others.splitlines()[3].split()[3:] == ["2", "tracker", "90.0", "2.0", "8.0"]
    assert absence.splitlines()[1].split() == ["chair", "1", "tracker", "1", "0", "-", "1", "0", "-", "0.50"]
