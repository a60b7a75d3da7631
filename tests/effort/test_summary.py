"""The figures of the report follow from what became of the masks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tam_backend.effort.mask_records import AnnotationRecord, Fate, SubmittedMask, TaskRecord
from tam_backend.effort.summary import DEFAULT_SECONDS_PER_MASK, summarise
from tam_backend.errors import InvalidInputError


def masks(**fates: int) -> tuple[SubmittedMask, ...]:
    """So many masks of each fate, each on a frame of its own."""
    names = [fate for fate, count in fates.items() for _ in range(count)]
    return tuple(SubmittedMask(frame, fate, 1.0 if fate == "kept" else None) for frame, fate in enumerate(names))  # type: ignore[arg-type]


def annotation(
    made: tuple[SubmittedMask, ...],
    lead_time_s: float | None = 60,
    *,
    with_model: bool = True,
    erased: tuple[int, ...] = (),
) -> AnnotationRecord:
    return AnnotationRecord(1, made, erased, lead_time_s, with_model)


def task(*annotations: AnnotationRecord, number: int = 1, frames: int = 20) -> TaskRecord:
    return TaskRecord(number, "clip.mp4", frames, annotations)


def test_frames_are_touched_by_clicks_edits_drawing_and_erasing_and_not_by_acceptance() -> None:
    made = masks(kept=10, clicked=1, edited=2, drawn=3)
    total = summarise(1, "", [task(annotation(made, erased=(18, 19)))]).total
    assert (total.masks, total.kept, total.clicked, total.edited, total.drawn, total.erased) == (16, 10, 1, 2, 3, 2)
    assert (total.frames_touched, total.frames) == (8, 20)


def test_a_frame_touched_by_two_people_is_touched_once() -> None:
    one = annotation((SubmittedMask(3, "edited", 0.5),))
    assert summarise(1, "", [task(one, one)]).total.frames_touched == 1


def test_an_erased_mask_counts_as_no_agreement() -> None:
    made = (SubmittedMask(0, "kept", 1.0), SubmittedMask(1, "edited", 0.5), SubmittedMask(2, "drawn", None))
    assert summarise(1, "", [task(annotation(made, erased=(3,)))]).total.agreement == pytest.approx(0.5)
    assert summarise(1, "", [task(annotation(masks(drawn=2)))]).total.agreement is None


def test_time_by_hand_is_measured_where_somebody_worked_without_the_model() -> None:
    report = summarise(
        1,
        "",
        [task(annotation(masks(kept=10), 100)), task(annotation(masks(drawn=4), 200, with_model=False), number=2)],
    )
    assert (report.seconds_per_mask, report.seconds_from) == (50, "measured")
    assert report.with_model.seconds_per_mask == 10
    assert report.faster == 5
    assert report.total.saved_s == 10 * 50 - 100, "what was made by hand saved nothing"
    assert [each.saved_s for each in report.tasks] == [400, None]
    assert report.total.by_hand == 1


def test_time_by_hand_is_assumed_where_nobody_did_and_may_be_given() -> None:
    records = [task(annotation(masks(kept=10), 100))]
    assumed = summarise(1, "", records)
    assert (assumed.seconds_per_mask, assumed.seconds_from) == (DEFAULT_SECONDS_PER_MASK, "assumed")
    given_s = summarise(1, "", records, seconds_per_mask=5)
    assert (given_s.seconds_per_mask, given_s.seconds_from, given_s.total.saved_s) == (5, "given", -50)


def test_an_annotation_without_lead_time_counts_for_masks_and_not_for_time() -> None:
    total = summarise(1, "", [task(annotation(masks(kept=3), None))]).total
    assert (total.masks, total.lead_time_s, total.saved_s) == (3, None, None)


def test_tasks_without_annotations_are_left_out() -> None:
    report = summarise(1, "", [task(number=5), task(annotation(masks(kept=1)), number=3)])
    assert [each.task for each in report.tasks] == [3]


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_time_that_cannot_be_is_refused(seconds: float) -> None:
    with pytest.raises(InvalidInputError, match="not above 0"):
        summarise(1, "", [task(annotation(masks(kept=1)))], seconds_per_mask=seconds)


def test_a_project_where_nothing_was_submitted_is_told_so() -> None:
    with pytest.raises(InvalidInputError, match=r"in project 4 yet. Annotation 9 .* Submit an annotation"):
        summarise(4, "", [task()], unread=["Annotation 9 of task 1 is left out: why."])


MASKS = st.lists(
    st.builds(SubmittedMask, st.integers(0, 30), st.sampled_from(list[Fate](["kept", "clicked", "edited", "drawn"])),
              st.none() | st.floats(0, 1)), max_size=12,
).map(tuple)  # fmt: skip
ANNOTATIONS = st.builds(
    AnnotationRecord, st.just(1), MASKS, st.lists(st.integers(0, 30), max_size=4).map(tuple),
    st.none() | st.floats(0, 1e5), st.booleans(),
)  # fmt: skip


@given(st.lists(st.lists(ANNOTATIONS, min_size=1, max_size=3).map(tuple), min_size=1, max_size=4))
def test_the_total_is_the_sum_of_the_tasks(made: list[tuple[AnnotationRecord, ...]]) -> None:
    report = summarise(1, "", [task(*each, number=number) for number, each in enumerate(made)])
    for name in ("annotations", "by_hand", "frames", "frames_touched", "masks", "kept", "drawn", "erased"):
        assert getattr(report.total, name) == sum(getattr(each, name) for each in report.tasks), name
    for name in ("lead_time_s", "saved_s"):
        parts = [value for each in report.tasks if (value := getattr(each, name)) is not None]
        assert getattr(report.total, name) == (pytest.approx(sum(parts), abs=1e-6) if parts else None)
    assert report.total.agreement is None or 0 <= report.total.agreement <= 1
