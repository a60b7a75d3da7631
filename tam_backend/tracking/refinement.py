"""Track Anything's third step: a doubtful mask is put to the segmenter, which is believed only with evidence.

What it is asked comes from the tracker: *probes* (points where the memory's evidence for the object, or against it, is
strongest), the tracker's own logits as a mask prompt, and a box. What it answers must be sure of itself, be about the
same thing as the tracker's mask, take nothing from another object, and be explained by the tracker's memory about as
well as that mask; else the tracker's mask stays. An accepted mask is remembered like any tracked one, not for good.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tam_backend.models.protocols import (
    FrameEmbedding,
    Revision,
    Segmentation,
    Segmenter,
    SegmenterPrompts,
    TrackingStep,
)
from tam_backend.models.transfers import Transfer
from tam_backend.quality.meter import QualityMeter, Verdict
from tam_backend.tracking.scaling import Scaling, most_probable
from tam_backend.types import BoolMask, Box, Mask, Point, RgbFrame

Floats = NDArray[np.float32]

# Logits beyond this say no more: sigmoid(10) = 0.99995.
_SUREST_LOGIT = 10.0


@dataclass(frozen=True)
class RefinementRules:
    """When the segmenter is asked, and when it is believed.

    Args:
        doubtful: quality under which a mask is refined.
        pause: frames from one attempt at an object to the next; bounds the cost.
        objects: attempts on one frame, the most doubtful first; bounds the cost.
        least_pixels: of a mask, at the working size; smaller ones have no inside to take probes from.
        positives: probes on the object.
        negatives: probes beside it.
        band: how far the disputed band reaches outside, as a share of the square root of the mask's area.
        box_margin: how much the box exceeds the mask, as a share of its sides.
        least_iou: the segmenter's own estimate of its IoU.
        least_stability: of its mask, where it tells.
        least_agreement: IoU of its mask and the tracker's.
        largest_change: of the area, as a factor, either way: no jump to a part, or to the whole.
        largest_theft: share of its mask that lies on other objects.
        explained: how much less than the tracker's mask the memory's read-out may explain its mask, in soft IoU. The
            tracker's was made from that read-out, which is coarse: 12 of 17 answers between 0 and 0.1 were better.
    """

    doubtful: float = 0.75
    pause: int = 5
    objects: int = 2
    least_pixels: int = 64
    positives: int = 3
    negatives: int = 2
    band: float = 0.3
    box_margin: float = 0.1
    least_iou: float = 0.8
    least_stability: float = 0.8
    least_agreement: float = 0.6
    largest_change: float = 1.5
    largest_theft: float = 0.05
    explained: float = 0.1


@dataclass(frozen=True, eq=False)
class Question:
    """One object on one frame, as the tracker sees it, at the working size.

    Args:
        probability: (h, w) of the object.
        mask: (h, w) where it is the most probable.
        others: (h, w) where another object is.
        evidence: (h, w) in 0..1; how much of what memory read there is the object.
        logits: (h, w) of the probability, on the tracker's device.
    """

    probability: Floats
    mask: BoolMask
    others: BoolMask
    evidence: Floats
    logits: Tensor

    @classmethod
    def of(cls, step: TrackingStep, object_id: int) -> Question | None:
        """Take it from a tracker's answer; None where nothing was read for it."""
        if step.reading is None:
            return None
        row = step.object_ids.index(object_id)
        own = step.probabilities[row + 1].detach().float().nan_to_num()
        transfer = Transfer(own, most_probable(step.probabilities), step.reading.foreground[row].float())
        probability, winner, grid = transfer.arrays()
        height, width = winner.shape
        # The grid reaches as far as the padded frame, which is nearly the same.
        evidence = cv2.resize(np.nan_to_num(grid), (width, height), interpolation=cv2.INTER_LINEAR)
        return cls(
            probability=probability,
            mask=winner == row + 1,
            others=(winner != row + 1) & (winner != 0),
            evidence=np.asarray(np.clip(evidence, 0, 1), np.float32),
            logits=torch.logit(own, 1e-6).clamp(-_SUREST_LOGIT, _SUREST_LOGIT),
        )

    def probes(self, rules: RefinementRules) -> tuple[Point, ...]:
        """Return points in pixels of the working size: on the object where memory and mask agree most that it is there,
        not at its outline; beside it, in the band that could be taken for it, where they agree most that it is not."""
        reach = max(2, round(rules.band * float(np.count_nonzero(self.mask)) ** 0.5))
        near, left, top = self._around(reach + 1)  # farther away nothing speaks for a probe
        mask, evidence, probability = self.mask[near], self.evidence[near], self.probability[near]
        inside, outside = _depth(mask, reach), _depth(~mask, reach)
        on = evidence * probability * inside
        band = (outside > 0) & (outside < 1)
        against = np.where(band | self.others[near] & (outside > 0), (1 - evidence) * (1 - probability), 0)
        against *= 1 - np.abs(2 * outside - 1)  # neither at the outline nor far from it
        found = (*_peaks(on, rules.positives, reach, True), *_peaks(against, rules.negatives, reach, False))
        return tuple(Point(point.x + left, point.y + top, point.positive) for point in found)

    def _around(self, margin: int) -> tuple[tuple[slice, slice], int, int]:
        """Return the mask's box with a margin, as far as the frame reaches, and where it begins (x, y)."""
        left, top, width, height = cv2.boundingRect(self.mask.view(np.uint8))
        x, y = max(0, left - margin), max(0, top - margin)
        return (slice(y, top + height + margin), slice(x, left + width + margin)), x, y

    def box(self, margin: float) -> Box:
        """Return a box around the mask, in pixels of the working size."""
        height, width = self.mask.shape
        rows, columns = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        top, bottom, left, right = float(rows[0]), float(rows[-1] + 1), float(columns[0]), float(columns[-1] + 1)
        more_y, more_x = margin * (bottom - top), margin * (right - left)
        return max(0.0, left - more_x), max(0.0, top - more_y), min(width, right + more_x), min(height, bottom + more_y)

    def believes(self, answer: BoolMask, segmentation: Segmentation, rules: RefinementRules) -> bool:
        """Tell whether there is evidence that an answer, (h, w) at the working size, is better than the mask."""
        area, own = int(np.count_nonzero(answer)), int(np.count_nonzero(self.mask))
        if not area or segmentation.predicted_iou < rules.least_iou:
            return False
        if segmentation.stability is not None and segmentation.stability < rules.least_stability:
            return False
        if max(area / own, own / area) > rules.largest_change:
            return False
        if np.count_nonzero(answer & self.others) > rules.largest_theft * area:
            return False
        both = int(np.count_nonzero(answer & self.mask))
        if both / (area + own - both) < rules.least_agreement:
            return False
        return self._explained(answer) >= self._explained(self.mask) - rules.explained

    def _explained(self, mask: BoolMask) -> float:
        """Return the soft IoU of a mask with the memory's evidence."""
        inside, total = float(self.evidence[mask].sum()), float(self.evidence.sum())
        return inside / max(1e-6, float(np.count_nonzero(mask)) + total - inside)


class Refiner:
    """Refines the doubtful masks of one pass over a video.

    Args:
        segmenter: used within the tracker's step, whose caller holds the device's lock.
        scaling: between the video and the working size.
        rules: when it is asked and believed.
        objects: those that may be refined; None: all.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        scaling: Scaling,
        rules: RefinementRules | None = None,
        objects: Collection[int] | None = None,
    ) -> None:
        self._segmenter = segmenter
        self._scaling = scaling
        self._rules = rules or RefinementRules()
        self._objects = objects
        self._clock = 0
        self._tried: dict[int, int] = {}  # object id -> when

    def refine(self, step: TrackingStep, verdicts: Mapping[int, Verdict], pixels: RgbFrame) -> dict[int, Mask]:
        """Return better masks, at the original size and disjoint, by object id; call it once for every frame.

        Args:
            step: what was predicted.
            verdicts: of the objects that may be changed.
            pixels: (H, W, 3) the frame.
        """
        self._clock += 1
        embedding: FrameEmbedding | None = None
        refined: dict[int, Mask] = {}
        taken = np.zeros(self._scaling.original_hw, np.bool_)
        for object_id in self._doubtful(verdicts):
            question = Question.of(step, object_id)
            if question is None or np.count_nonzero(question.mask) < self._rules.least_pixels:
                continue
            self._tried[object_id] = self._clock
            embedding = embedding or self._segmenter.encode(pixels)
            answer = self._segmenter.segment(embedding, self._prompts(question))
            small = self._scaling.shrunk(answer.mask)
            if question.believes(small, answer, self._rules):
                free = answer.mask & ~taken & ~self._up(question.others)
                quality = (verdicts[object_id].quality + answer.predicted_iou) / 2
                refined[object_id] = Mask(free, quality)
                taken |= free
        return refined

    def _doubtful(self, verdicts: Mapping[int, Verdict]) -> list[int]:
        found = [
            each
            for each, verdict in verdicts.items()
            if not verdict.absent
            and verdict.quality < self._rules.doubtful
            and (self._objects is None or each in self._objects)
            and self._clock - self._tried.get(each, -self._rules.pause) >= self._rules.pause
        ]
        return sorted(found, key=lambda each: verdicts[each].quality)[: self._rules.objects]

    def _prompts(self, question: Question) -> SegmenterPrompts:
        scale_y, scale_x = (a / b for a, b in zip(self._scaling.original_hw, self._scaling.working_hw, strict=True))
        left, top, right, bottom = question.box(self._rules.box_margin)
        return SegmenterPrompts(
            points=tuple(Point(p.x * scale_x, p.y * scale_y, p.positive) for p in question.probes(self._rules)),
            box=(left * scale_x, top * scale_y, right * scale_x, bottom * scale_y),
            mask_logits=question.logits,
        )

    def _up(self, mask: BoolMask) -> BoolMask:
        height, width = self._scaling.original_hw
        return np.asarray(cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0)


class Judgement:
    """A tracker's `Review` of one frame: judges what was predicted, and has it refined.

    Args:
        refiner: of the pass.
        meter: of the pass.
        scaling: of the pass.
        pixels: (H, W, 3) the frame.
        given: the objects whose masks a human gave.
    """

    def __init__(
        self, refiner: Refiner, meter: QualityMeter, scaling: Scaling, pixels: RgbFrame, given: Collection[int]
    ) -> None:
        self._refiner = refiner
        self._meter = meter
        self._scaling = scaling
        self._pixels = pixels
        self._given = given
        self.verdicts: dict[int, Verdict] | None = None
        self.refined: dict[int, Mask] = {}

    def __call__(self, step: TrackingStep) -> Revision | None:
        """Judge and refine; see `Review`."""
        self.verdicts = self._meter.measure(step, self._given)
        self.refined = self._refiner.refine(step, self.verdicts, self._pixels)
        if not self.refined:
            return None
        index = self._scaling.index_mask({each: mask.array for each, mask in self.refined.items()})
        return Revision(index, tuple(sorted(self.refined)))


def _depth(mask: BoolMask, reach: int) -> Floats:
    """Return how deep in the mask each pixel lies, in 0..1 of the reach; the frame's border is no outline."""
    distance = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_3)
    return np.asarray(np.minimum(distance / reach, 1), np.float32)


def _peaks(field: NDArray[np.floating], count: int, apart: int, positive: bool) -> list[Point]:
    """Return up to `count` local maxima, the highest first, at least `apart` pixels from each other; in pixels."""
    left = field.astype(np.float32)
    points: list[Point] = []
    for _ in range(count):
        _, highest, _, (x, y) = cv2.minMaxLoc(left)
        if highest <= 0:
            break
        points.append(Point(x + 0.5, y + 0.5, positive))
        cv2.circle(left, (x, y), apart, 0, -1)
    return points
