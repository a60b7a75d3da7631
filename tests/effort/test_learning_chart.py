"""The curve as it is drawn: columns, rules and medians where they belong, and words for those who cannot see it."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from tam_backend.effort.chart import Bar, Chart, Text, as_svg
from tam_backend.effort.learning_chart import BASE, OWN, TURN, learning_charts
from tam_backend.effort.learning_curve import Turn, WorkedVideo, learning_curve

ATTACK = "<script>alert(1)</script>\"'&"


def videos(count: int, own_from: int = 10**9, name: str = "v", seconds: float | None = None) -> list[WorkedVideo]:
    return [
        WorkedVideo(f"{name}{place}", 10.0 * place, count - place, seconds, place >= own_from) for place in range(count)
    ]


def bars(chart: Chart, *colours: str) -> list[Bar]:
    return [part for part in chart.parts if isinstance(part, Bar) and part.colour in colours and part.says]


def texts(chart: Chart) -> list[str]:
    return [part.text for part in chart.parts if isinstance(part, Text)]


def test_columns_are_as_high_as_clicks_and_tell_which_networks_answered() -> None:
    [chart] = learning_charts(learning_curve(videos(4, own_from=2), [Turn(15, "p7.1")]))
    columns = bars(chart, BASE, OWN)
    assert [each.colour for each in columns] == [BASE, BASE, OWN, OWN]
    assert [each.height / columns[-1].height for each in columns] == pytest.approx([4, 3, 2, 1])
    assert columns[1].says == "v1, begun 1970-01-01: 3"


def test_a_rule_stands_between_the_videos_before_and_after_networks_changed() -> None:
    [chart] = learning_charts(learning_curve(videos(4), [Turn(15, "p7.1"), Turn(25, "p7.1 taken back")]))
    columns, rules = bars(chart, BASE), bars(chart, TURN)
    assert [rule.says for rule in rules] == ["since p7.1", "since p7.1 taken back"]
    for rule, before, after in ((rules[0], columns[1], columns[2]), (rules[1], columns[2], columns[3])):
        assert before.x + before.width < rule.x
        assert rule.x + rule.width < after.x
    assert {"p7.1", "p7.1 taken back"} <= set(texts(chart))


def test_a_median_is_drawn_across_the_videos_of_a_stage_and_none_of_too_few() -> None:
    [chart] = learning_charts(learning_curve(videos(5), [Turn(25, "p7.1")]))
    [median] = [bar for bar in bars(chart, TURN) if bar.says.startswith("median")]
    first, second, third = bars(chart, BASE)[:3]
    assert median.says == "median, at first"
    assert median.y + 1 == pytest.approx(second.y), "as high as the middle one of three"
    assert (median.x < first.x, median.x + median.width > third.x + third.width) == (True, True)


def test_a_median_is_explained_also_where_networks_never_changed() -> None:
    [chart] = learning_charts(learning_curve(videos(3), []))
    assert "across: the median of 3 videos or more" in texts(chart)
    [chart] = learning_charts(learning_curve(videos(2), []))
    assert not any("median" in each for each in texts(chart)), "none is drawn"


def test_working_time_has_a_chart_of_its_own_where_it_is_known() -> None:
    clicks, time = learning_charts(learning_curve(videos(3, seconds=90.0), []))
    assert texts(clicks)[0].startswith("Clicks")
    assert texts(time)[0].startswith("Working time")
    assert "90 s" in texts(time)
    assert learning_charts(learning_curve([], [Turn(1, "p7.1")])) == []


def test_it_says_in_words_what_it_shows() -> None:
    [chart] = learning_charts(learning_curve(videos(4), [Turn(15, "p7.1"), Turn(99, "p7.2")]))
    assert chart.title == "Clicks and corrections, video by video: 4, 3; since p7.1: 2, 1; since p7.2: no video yet"


@pytest.mark.parametrize(("count", "turns"), [(1, 0), (1, 5), (40, 100), (41, 1), (1000, 300)])
def test_however_much_there_is_it_stays_within_its_picture(count: int, turns: int) -> None:
    moments = [Turn(10.0 * place + 5, f"p{'7' * 60}.{place}") for place in range(turns)]
    [chart] = learning_charts(learning_curve(videos(count, name=ATTACK * 9), moments))
    for part in chart.parts:
        assert 0 <= part.x <= chart.width
        assert 0 <= part.y <= chart.height
        if isinstance(part, Bar):
            assert part.width > 0
            assert part.x + part.width <= chart.width
    assert len(as_svg(chart)) < 300_000


def test_no_words_are_written_over_others() -> None:
    [chart] = learning_charts(
        learning_curve(videos(40), [Turn(10.0 * place + 5, f"p7.{place}") for place in range(40)])
    )
    words = [part for part in chart.parts if isinstance(part, Text) and part.colour == TURN]
    assert len(words) > 10
    for one in words:
        assert all(abs(one.x - other.x) > 6 * len(one.text) for other in words if other is not one and other.y == one.y)


def test_what_others_wrote_is_escaped_and_colours_follow_the_page() -> None:
    [chart] = learning_charts(learning_curve(videos(3, name=ATTACK), [Turn(5, ATTACK)]))
    svg = as_svg(chart)
    ET.fromstring(svg)
    assert "<script" not in svg
    assert 'fill="var(--card, #ffffff)"' in svg
    assert 'fill="var(--ink, #1a1e24)"' in svg
