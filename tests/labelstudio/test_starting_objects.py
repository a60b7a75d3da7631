"""Which regions that are there already show one thing, and where a human's word stands in their place."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st
from ls_json import blob, brush, point, task
from test_starting_regions import MEDIA, ORDINARY, found, prediction

from tam_backend.labelstudio.ids import object_key
from tam_backend.labelstudio.prompts import read_task
from tam_backend.labelstudio.starting_objects import with_starting_regions
from tam_backend.labelstudio.starting_regions import starting_regions


def started(*predicted, drawn=(), frames=30, **known):
    """Return the task's prompts and the report, where a detector found some boxes and humans drew some regions."""
    a_task = task(annotations=[list(drawn)] if drawn else (), predictions=[prediction(1, *predicted)])
    a_task["data"]["frames"] = [str(frame) for frame in range(frames)]
    prompts = read_task(a_task, None, ORDINARY, propagate_label="Propagate")
    starts, unusable = starting_regions(a_task, prompts.ordinary, ORDINARY, MEDIA, "predictions")
    return with_starting_regions(prompts, starts, unusable, "predictions", **{"erased": {}, **known})


def grouped(*predicted, **more) -> list[list[str]]:
    """The ids of what became prompts of each object."""
    _, report = started(*predicted, **more)
    return [[region_id for _, region_id, _ in each.used] for each in report.objects if each.used]


def at(region_id, frame, left, label="Dog", **more):
    return found(region_id, frame, label, (left, 20, 20, 20), **more)


def tracked(name, frame, left, source="propagated", **more):
    """A mask of ours, `left` in percent as of `at`."""
    mask = blob(2 * left, 20, 2 * left + 40, 40)
    return brush(f"tam-{name}-{frame}f", mask, frame=frame, origin="prediction", meta={"tam_source": source}, **more)


def test_boxes_of_one_track_id_are_keyframes_of_one_object_wherever_they_are() -> None:
    one, other = {"meta": {"track_id": 1}}, {"meta": {"track_id": 2}}
    boxes = [at("a0", 0, 0, **one), at("b0", 0, 70, **other), at("a9", 9, 70, **one), at("b9", 9, 0, **other)]
    assert grouped(*boxes) == [["a0", "a9"], ["b0", "b9"]]


def test_a_label_that_stands_once_a_frame_is_one_object() -> None:
    assert grouped(at("a", 0, 0), at("b", 10, 70), at("cat", 5, 40, "Cat")) == [["a", "b"], ["cat"]]


def test_without_ids_neighbouring_boxes_are_one_object_where_they_overlap() -> None:
    ones = [at(f"a{frame}", frame, 5 * frame) for frame in range(6)]
    others = [at(f"b{frame}", frame, 70 - 5 * frame) for frame in range(6)]
    assert grouped(*(each for pair in zip(ones, others, strict=True) for each in pair)) == [
        [f"a{frame}" for frame in range(6)],
        [f"b{frame}" for frame in range(6)],
    ]


def test_what_overlaps_with_nothing_is_an_object_of_its_own() -> None:
    assert grouped(at("a0", 0, 0), at("b0", 0, 70), at("c1", 1, 35)) == [["a0"], ["b0"], ["c1"]]


def test_a_detector_may_miss_a_few_frames() -> None:
    still = [at(f"b{frame}", frame, 70) for frame in range(12)]
    assert grouped(at("a0", 0, 0), at("a6", 6, 0), *still)[0] == ["a0", "a6"]
    assert grouped(at("a0", 0, 0), at("a7", 7, 0), *still)[0] == ["a0"]


def test_the_report_says_what_tied_them() -> None:
    _, report = started(
        at("a0", 0, 0, meta={"track_id": 1}), at("a1", 1, 5, meta={"track_id": 1}), at("c", 3, 0, "Cat"), at("d", 40, 0)
    )
    assert report.sentences() == [
        '3 of 4 regions of "predictions" are prompts of 2 objects (2 tied by an id, 1 tied to nothing).',
        f'Object {report.objects[0].key} "Dog" begins on frames 0 (a0), 1 (a1).',
        f'Object {object_key("c")} "Cat" begins on frames 3 (c).',
        'Region "d" is left out, because its task has 30 frames, from 0, and it is on frame 40.',
    ]
    [complaint] = report.complaints()
    assert complaint.startswith('1 of the regions of "predictions" begin nothing, because its task has 30 frames')


def test_where_a_human_clicked_the_human_wins_and_other_frames_are_keyframes_of_the_same_object() -> None:
    clicked = point("p", 20, 30, frame=5)
    prompts, report = started(at("a5", 5, 10), at("b5", 5, 70), at("a6", 6, 11), at("b6", 6, 70), drawn=[clicked])
    human, other = prompts.objects
    assert [region.region_id for region in human.regions] == ["p", "a6"]
    assert [region.region_id for region in other.regions] == ["b5", "b6"]
    assert [each.region_id for each in report.gave_way] == ["a5"]
    assert report.objects[0].is_known and not report.objects[1].is_known


def test_where_a_human_drew_a_mask_it_stays_the_only_word_on_its_frame() -> None:
    prompts, _ = started(at("a3", 3, 10), at("a4", 4, 10), drawn=[brush("m", blob(20, 20, 60, 40), frame=3)])
    [only] = prompts.objects
    assert [(region.region_id, region.frame) for region in only.regions] == [("m", 3), ("a4", 4)]


def test_a_click_elsewhere_on_a_frame_begins_another_object() -> None:
    assert len(started(at("a5", 5, 10), drawn=[point("p", 90, 90, frame=5)])[0].objects) == 2


def test_a_click_of_the_label_on_another_frame_is_of_the_same_object_where_there_is_only_one() -> None:
    [only] = started(at("a5", 5, 70), drawn=[point("p", 10, 10, frame=0)])[0].objects
    assert [region.region_id for region in only.regions] == ["p", "a5"]


def test_what_was_begun_with_them_goes_on_with_them() -> None:
    first, _ = started(at("a0", 0, 0), at("a9", 9, 70))
    key = first.objects[0].key
    masks = [tracked(key, frame, 0, "prompt" if frame in (0, 9) else "propagated") for frame in range(10)]
    again, report = started(at("a0", 0, 0), at("a9", 9, 70), drawn=masks)
    assert [each.key for each in again.objects] == [key]
    assert [each.region_id for each in report.gave_way] == ["a0", "a9"], "its accepted masks are there"


def test_on_a_tracked_mask_that_nobody_settled_a_box_is_a_prompt() -> None:
    [only] = started(at("a4", 4, 10), drawn=[tracked("x", 4, 10), tracked("x", 5, 10)])[0].objects
    assert only.key == "x"
    assert [region.region_id for region in only.on_frame(4)] == ["tam-x-4f", "a4"]


def test_where_a_human_deleted_the_mask_nothing_begins() -> None:
    boxes = [at("a0", 0, 0), at("a1", 1, 0)]
    prompts, report = started(*boxes, erased={object_key("a0"): {1}})
    assert [region.region_id for region in prompts.objects[0].regions] == ["a0"]
    assert "deleted" in report.gave_way[0].why
    prompts, report = started(*boxes, dropped={object_key("a0")})
    assert prompts.objects == ()
    assert [each.region_id for each in report.gave_way] == ["a0", "a1"]


def test_what_the_task_before_ended_with_goes_on() -> None:
    carried = {"seed": ("Dog", (0.1, 0.2, 0.3, 0.4))}
    prompts, report = started(at("a0", 0, 11), at("b0", 0, 70), at("a1", 1, 12), at("b1", 1, 70), carried=carried)
    assert [(each.key, [region.region_id for region in each.regions]) for each in prompts.objects] == [
        ("seed", ["a1"]),
        (object_key("b0"), ["b0", "b1"]),
    ]
    assert [each.region_id for each in report.gave_way] == ["a0"]


def test_of_two_boxes_of_one_id_on_a_frame_the_surer_one_counts() -> None:
    tie = {"meta": {"track_id": 1}}
    assert grouped(at("a", 0, 0, score=0.4, **tie), at("b", 0, 70, score=0.8, **tie)) == [["b"]]


BOXES = st.lists(
    st.tuples(
        st.integers(0, 6), st.integers(0, 80), st.sampled_from(["Dog", "Cat"]), st.sampled_from([None, "1", "2"])
    ),
    max_size=20,
)


@given(BOXES, BOXES)
def test_every_region_is_told_once_and_no_object_has_two_on_a_frame(predicted, drawn) -> None:
    def as_region(name: str, index: int, each: tuple) -> Mapping:
        frame, left, label, track = each
        return at(f"{name}{index}", frame, left, label, **({} if track is None else {"meta": {"track_id": track}}))

    boxes = [as_region("p", index, each) for index, each in enumerate(predicted)]
    clicks = [point(f"c{index}", each[1], 30, label=each[2], frame=each[0]) for index, each in enumerate(drawn)]
    prompts, report = started(*boxes, drawn=clicks)
    used = [region_id for each in report.objects for _, region_id, _ in each.used]
    assert sorted([*used, *(each.region_id for each in report.left_out)]) == sorted(each["id"] for each in boxes)
    assert {each["id"] for each in clicks} | set(used) == {
        r.region_id for each in prompts.objects for r in each.regions
    }
    for each in prompts.objects:
        added = [region.frame for region in each.regions if region.region_id in used]
        assert len(set(added)) == len(added)
        assert {region.shown_label for region in each.regions} == {each.regions[0].shown_label}
    assert len({each.key for each in prompts.objects}) == len(prompts.objects)
