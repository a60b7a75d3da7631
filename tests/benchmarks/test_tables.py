"""Means over objects and over masks, their intervals, and two sets of weights side by side."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.scores import Score
from benchmarks.tables import (
    ClickRow,
    TrackingRow,
    click_means,
    estimate,
    mean_over_masks,
    mean_over_objects,
    print_clicks_beside,
    print_tracking,
    print_tracking_beside,
    tracking_rows,
)


def row(clip: str, object_id: int, frames: int, mean: float) -> TrackingRow:
    return TrackingRow(clip, object_id, "tracker", frames, mean - 1, mean + 1, mean)


ROWS = [row("cap", 1, 4, 60.0), row("chair", 1, 58, 80.0), row("chair", 2, 18, 90.0)]


def test_objects_weigh_alike_or_by_their_masks() -> None:
    assert mean_over_objects(ROWS).mean == pytest.approx(230 / 3)
    assert mean_over_masks(ROWS).mean == pytest.approx((4 * 60 + 58 * 80 + 18 * 90) / 80)


def test_clips_are_drawn_whole() -> None:
    """With two clips, a quarter of the draws is one clip twice, another quarter the other one: those are the ends."""
    drawn = mean_over_objects(ROWS)
    assert (drawn.low, drawn.high) == (pytest.approx(60), pytest.approx(85))


def test_one_clip_tells_nothing_of_others() -> None:
    alone = mean_over_objects(ROWS[1:])
    assert alone.mean == pytest.approx(85)
    assert np.isnan(alone.low)
    assert alone.interval == ""


def test_interval_is_as_wide_as_theory_says() -> None:
    """40 clips of independent values: 1.96 standard errors to both sides."""
    values = np.random.default_rng(0).normal(70, 10, 40)
    drawn = estimate(list(values), [1.0] * 40, [str(i) for i in range(40)])
    error = values.std() / np.sqrt(40)
    assert drawn.low == pytest.approx(values.mean() - 1.96 * error, abs=0.3 * error)
    assert drawn.high == pytest.approx(values.mean() + 1.96 * error, abs=0.3 * error)


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(1, 99), st.sampled_from("abcdef")), min_size=1, max_size=12))
def test_interval_lies_among_the_values(cells: list[tuple[float, int, str]]) -> None:
    values, weights, clips = (list(column) for column in zip(*cells, strict=True))
    drawn = estimate(values, weights, clips)
    assert min(values) - 1e-6 <= drawn.mean <= max(values) + 1e-6
    if len(set(clips)) > 1:
        assert min(values) - 1e-6 <= drawn.low <= drawn.high <= max(values) + 1e-6


def test_objects_that_were_not_judged_have_no_row() -> None:
    (only,) = tracking_rows("clip", "tracker", {1: [], 2: [Score(0.5, 0.7), Score(0.7, 0.9)]})
    assert (only.object_id, only.frames) == (2, 2)
    assert (only.region, only.boundary, only.mean) == pytest.approx((60, 80, 70))


def test_click_means_count_every_mask_the_same() -> None:
    means = click_means([ClickRow("a", 1, (10.0, 20.0, 30.0)), ClickRow("b", 3, (50.0, 60.0, 70.0))])
    assert [each.mean for each in means] == pytest.approx([40, 50, 60])


def test_table_ends_with_both_means_and_their_intervals(capsys: pytest.CaptureFixture[str]) -> None:
    print_tracking(ROWS)
    *_, objects, masks = capsys.readouterr().out.splitlines()
    assert objects.split()[:4] == ["mean", "over", "objects", "3"]
    assert objects.endswith("76.7  [60.0, 85.0]")
    assert masks.split()[2:6] == ["masks", "3", "tracker", "80"]
    assert masks.endswith("81.2  [60.0, 82.4]")


def test_difference_is_of_pairs_so_that_its_interval_is_narrower(capsys: pytest.CaptureFixture[str]) -> None:
    """Clips differ by 25 points, but each gains between 1 and 3."""
    better = [row("cap", 1, 4, 61.0), row("chair", 1, 58, 82.0), row("chair", 2, 18, 93.0)]
    print_tracking_beside(better, ROWS)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["cap", "1", "4", "60.0", "61.0", "+1.0"]
    assert lines[-2].split(maxsplit=8) == ["mean", "over", "objects", "3", "80", "76.7", "78.7", "+2.0", "[1.0, 2.5]"]


def test_clicks_beside_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    old = [ClickRow("a", 1, (10.0, 20.0, 30.0)), ClickRow("b", 3, (50.0, 60.0, 70.0))]
    new = [ClickRow("a", 1, (12.0, 20.0, 30.0)), ClickRow("b", 3, (54.0, 60.0, 66.0))]
    print_clicks_beside(new, old)
    *_, means, intervals = capsys.readouterr().out.splitlines()
    assert [float(word) for word in means.split()[3:]] == pytest.approx([4, 40, 50, 60, 43.5, 50, 57, 3.5, 0, -3])
    assert "1: 95 % [2.0, 4.0]" in intervals
