"""A doubtful mask is put to the segmenter; its answer is taken only with evidence, and bounded in cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from colour_models import ColourModels, ColourSegmenter, ColourTracker
from synthetic import MovingDiscs, iou
from torch import Tensor

from tam_backend.engine import TrackAnything
from tam_backend.models.protocols import (
    FrameEmbedding,
    MemoryReading,
    Models,
    Review,
    Segmentation,
    SegmenterPrompts,
    TrackingStep,
)
from tam_backend.quality.meter import Verdict
from tam_backend.settings import Settings
from tam_backend.tracking.refinement import Question, RefinementRules, Refiner
from tam_backend.tracking.scaling import Scaling
from tam_backend.types import BoolMask, Prompt

RULES = RefinementRules()
HEIGHT, WIDTH = 60, 80


def disc(x: float, y: float = 30, radius: float = 12) -> BoolMask:
    yy, xx = np.mgrid[:HEIGHT, :WIDTH]
    return np.asarray((xx - x) ** 2 + (yy - y) ** 2 <= radius**2)


def step_of(*masks: BoolMask, seen: Sequence[BoolMask] | None = None, sure: float = 0.8) -> TrackingStep:
    """Objects 1, 2, ... where the masks are; memory saw them where `seen` is (default: there)."""
    objects = torch.stack([torch.from_numpy(mask).float() * sure for mask in masks])
    background = 1 - objects.sum(0, keepdim=True)
    grid_hw = (HEIGHT // 4, WIDTH // 4)
    foreground = torch.nn.functional.adaptive_avg_pool2d(
        torch.stack([torch.from_numpy(mask).float() for mask in seen or masks])[:, None], grid_hw
    )[:, 0]
    nearest = torch.ones(len(masks), grid_hw[0] * grid_hw[1], 1)
    reading = MemoryReading(grid_hw, nearest, nearest, nearest.long(), foreground)
    return TrackingStep(tuple(range(1, len(masks) + 1)), torch.cat([background, objects]), reading)


def question(*masks: BoolMask, seen: Sequence[BoolMask] | None = None) -> Question:
    asked = Question.of(step_of(*masks, seen=seen), 1)
    assert asked is not None
    return asked


def answer(mask: BoolMask, predicted_iou: float = 0.95, stability: float | None = None) -> Segmentation:
    return Segmentation(mask, torch.from_numpy(mask).float() * 8 - 4, predicted_iou, stability=stability)


def test_probes_lie_on_the_object_where_memory_saw_it_and_beside_it_where_it_did_not() -> None:
    mask, seen = disc(30) | disc(46), disc(30)  # the mask has run over to something that memory does not know
    probes = question(mask, seen=[seen]).probes(RULES)
    positive = [point for point in probes if point.positive]
    negative = [point for point in probes if not point.positive]
    assert 1 <= len(positive) <= RULES.positives
    assert 1 <= len(negative) <= RULES.negatives
    assert all(seen[int(point.y), int(point.x)] for point in positive)
    assert not any(mask[int(point.y), int(point.x)] for point in negative)
    near = np.nonzero(mask)
    for point in negative:
        assert np.hypot(near[0] - point.y, near[1] - point.x).min() < 0.4 * mask.sum() ** 0.5


def test_the_box_holds_the_mask_and_stays_on_the_frame() -> None:
    left, top, right, bottom = question(disc(10)).box(0.1)
    assert left == 0 and right < WIDTH
    assert (top, bottom) == pytest.approx((18 - 2.5, 43 + 2.5))


def test_logits_say_what_the_tracker_thinks() -> None:
    logits = question(disc(30)).logits
    assert float(logits[30, 30]) == pytest.approx(np.log(0.8 / 0.2), abs=1e-4)
    assert logits[0, 0] == -10


def test_a_sure_answer_that_memory_explains_better_is_believed() -> None:
    too_small = disc(30, radius=10)
    assert question(too_small, seen=[disc(30)]).believes(disc(30), answer(disc(30)), RULES)


TRACKED, OTHER = disc(30), disc(60)


@pytest.mark.parametrize(
    ("mask", "predicted_iou", "stability"),
    [
        (TRACKED, 0.5, None),
        (TRACKED, 0.95, 0.3),
        (np.zeros_like(TRACKED), 0.95, None),
        (disc(30, radius=6), 0.95, None),
        (disc(30, radius=16), 0.95, None),
        (disc(42), 0.95, None),
        (disc(31, radius=11) | disc(52, radius=4), 0.95, None),
        (disc(34), 0.95, None),
    ],
    ids=["unsure", "unstable", "nothing", "a part", "the whole", "elsewhere", "another's pixels", "not explained"],
)
def test_an_answer_without_evidence_is_not_believed(
    mask: BoolMask, predicted_iou: float, stability: float | None
) -> None:
    asked = question(TRACKED, OTHER)
    assert asked.believes(TRACKED, answer(TRACKED), RULES)
    assert not asked.believes(mask, answer(mask, predicted_iou, stability), RULES)


@dataclass
class Answering(ColourSegmenter):
    """Answers everything with one mask."""

    mask: BoolMask = field(default_factory=lambda: disc(30))
    encoded: int = 0
    asked: list[SegmenterPrompts] = field(default_factory=list)

    def segment(self, embedding: FrameEmbedding, prompts: SegmenterPrompts) -> Segmentation:
        self.asked.append(prompts)
        return answer(self.mask)


SCALING = Scaling((HEIGHT, WIDTH), HEIGHT, torch.device("cpu"))
PIXELS = np.zeros((HEIGHT, WIDTH, 3), np.uint8)


def doubt(*qualities: float) -> dict[int, Verdict]:
    return {object_id: Verdict(quality, absent=False) for object_id, quality in enumerate(qualities, start=1)}


def test_masks_above_the_threshold_and_absent_objects_cost_nothing() -> None:
    segmenter = Answering()
    refiner = Refiner(segmenter, SCALING)
    assert refiner.refine(step_of(disc(30)), doubt(0.9), PIXELS) == {}
    assert refiner.refine(step_of(disc(30)), {1: Verdict(0.1, absent=True)}, PIXELS) == {}
    assert segmenter.encoded == 0


def test_a_doubtful_object_is_tried_again_only_after_a_pause() -> None:
    segmenter = Answering()
    refiner = Refiner(segmenter, SCALING)
    tries = [bool(refiner.refine(step_of(disc(30)), doubt(0.3), PIXELS)) for _ in range(2 * RULES.pause + 1)]
    assert [frame for frame, tried in enumerate(tries) if tried] == [0, RULES.pause, 2 * RULES.pause]


def test_a_frame_is_encoded_once_and_only_the_most_doubtful_objects_are_tried() -> None:
    segmenter = Answering(mask=disc(20, radius=8))
    masks = [disc(x, radius=8) for x in (20, 40, 60)]
    refined = Refiner(segmenter, SCALING).refine(step_of(*masks), doubt(0.2, 0.6, 0.4), PIXELS)
    assert segmenter.encoded == 1
    assert len(segmenter.asked) == RULES.objects
    assert set(refined) == {1}  # the other's answer was not about it
    assert 0.2 < refined[1].quality < 0.95


def test_the_segmenter_is_asked_in_pixels_of_the_original_frame() -> None:
    segmenter = Answering(mask=np.zeros((2 * HEIGHT, 2 * WIDTH), np.bool_))
    twice = Scaling((2 * HEIGHT, 2 * WIDTH), HEIGHT, torch.device("cpu"))
    Refiner(segmenter, twice).refine(step_of(disc(60)), doubt(0.3), np.zeros((2 * HEIGHT, 2 * WIDTH, 3), np.uint8))
    asked = segmenter.asked[0]
    assert all(np.hypot(p.x - 120, p.y - 60) < 24 for p in asked.points if p.positive)
    assert asked.box is not None and asked.box[0] < 96 and asked.box[2] > 144
    assert asked.mask_logits is not None and asked.mask_logits.shape == (HEIGHT, WIDTH)


def test_refined_masks_leave_other_objects_their_pixels() -> None:
    segmenter = Answering(mask=disc(31))
    other = disc(54)
    assert (disc(31) & other).any()
    step = step_of(disc(30) & ~other, other, seen=[disc(31), other])
    refined = Refiner(segmenter, SCALING).refine(step, doubt(0.3, 0.9), PIXELS)
    assert not (refined[1].array & other).any()


@dataclass
class HesitantTracker(ColourTracker):
    """Loses the left third of every object on the frames `weak`, and is not sure of the rest; knows what it saw."""

    weak: frozenset[int] = frozenset({3})
    frame: int = -1
    revised: list[tuple[int, tuple[int, ...], BoolMask]] = field(default_factory=list)

    def track(
        self,
        image: Tensor,
        mask: Tensor | None = None,
        object_ids: Sequence[int] | None = None,
        *,
        last: bool = False,
        permanent: bool = True,
        review: Review | None = None,
    ) -> TrackingStep:
        self.frame += 1
        step = super().track(image, mask, object_ids, last=last, permanent=permanent)
        if review is None or (object_ids is not None and set(object_ids) >= set(step.object_ids)):
            return step
        seen = step.probabilities[1:].clone()
        if self.frame in self.weak:
            objects = step.probabilities[1:] * 0.62
            for plane in objects:
                columns = torch.nonzero(plane.amax(0) > 0.5)
                if len(columns):
                    plane[:, : int(columns[0] + (columns[-1] - columns[0]) / 3)] = 0
            step = replace(step, probabilities=torch.cat([1 - objects.sum(0, keepdim=True), objects]))
        height, width = image.shape[1:]
        rows = torch.ones(len(seen), height * width, 1)
        step = replace(step, reading=MemoryReading((height, width), rows, rows, rows.long(), seen))
        revision = review(step)
        if revision is None:
            return step
        self.revised.append((self.frame, revision.object_ids, revision.mask.numpy() > 0))
        probabilities = step.probabilities.clone()
        for object_id in revision.object_ids:
            probabilities[step.object_ids.index(object_id) + 1] = (revision.mask == object_id).float()
        return replace(step, probabilities=probabilities)


class WholeSegmenter(ColourSegmenter):
    """Answers with all of the colour, wherever negative points are."""

    def segment(self, embedding: FrameEmbedding, prompts: SegmenterPrompts) -> Segmentation:
        return super().segment(embedding, replace(prompts, points=tuple(p for p in prompts.points if p.positive)))


def hesitant(refines: bool) -> tuple[Models, list[HesitantTracker]]:
    trackers: list[HesitantTracker] = []

    def new_tracker() -> HesitantTracker:
        trackers.append(HesitantTracker())
        return trackers[-1]

    return replace(
        ColourModels(segmenter=WholeSegmenter()).models(), new_tracker=new_tracker, refines=refines
    ), trackers


VIDEO = MovingDiscs(frames=8)


def test_a_doubtful_frame_is_refined_and_remembered_as_an_ordinary_one() -> None:
    models, trackers = hesitant(refines=True)
    session = TrackAnything(models).session(VIDEO)
    session.prompt(Prompt(object_id=1, frame=0, mask=VIDEO.truth(0)))
    results = {result.frame: result for result in session.propagate()}
    assert [frame for frame in results if results[frame].source[1] == "refined"] == [3]
    assert iou(results[3].masks[1], VIDEO.truth(3)) > 0.95
    assert [frame for frame, _, _ in trackers[0].revised] == [3]
    assert session.keyframes(1).keys() == {0}


def test_refinement_is_a_matter_of_the_profile_and_of_every_call() -> None:
    for refines in (True, False):
        for refine in (None, True, False):
            session = TrackAnything(hesitant(refines)[0]).session(VIDEO)
            session.prompt(Prompt(object_id=1, frame=0, mask=VIDEO.truth(0)))
            sources = {result.frame: result.source[1] for result in session.propagate(refine=refine)}
            assert (sources[3] == "refined") == (refines if refine is None else refine)


def test_a_correction_refines_the_object_that_was_corrected() -> None:
    two = MovingDiscs(frames=8, starts_xy=((20, 30), (110, 70)), steps_xy=((5, 1), (-4, 0)))
    models, _ = hesitant(refines=False)
    session = TrackAnything(models).session(two)
    for disc_number in (1, 2):
        session.prompt(Prompt(object_id=disc_number, frame=0, mask=two.truth(0, disc_number)))
    list(session.propagate())
    session.paint(1, 0, add=np.zeros(two.size_hw, np.bool_))
    list(session.update(refine=True))
    assert session.tracks[3].source == {1: "refined", 2: "propagated"}


def test_an_object_that_joins_later_is_refined_before_it_joins_too() -> None:
    two = MovingDiscs(frames=8, starts_xy=((20, 30), (110, 70)), steps_xy=((5, 1), (-4, 0)))
    models, _ = hesitant(refines=True)
    session = TrackAnything(models).session(two)
    session.prompt(Prompt(object_id=1, frame=0, mask=two.truth(0, 1)))
    session.prompt(Prompt(object_id=2, frame=6, mask=two.truth(6, 2)))
    results = {result.frame: result for result in session.propagate()}
    assert [frame for frame in range(6) if results[frame].source[2] == "refined"] == [3]  # 3 back from 6, too


def test_compact_refines_only_if_it_is_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not TrackAnything.load("compact").models.refines
    assert TrackAnything.load("compact", refine=True).models.refines
    assert Settings().refine is None
    monkeypatch.setenv("TAM_REFINE", "true")
    assert Settings().refine is True
