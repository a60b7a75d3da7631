"""Models small enough to reason about: an object is its mean colour. For tests of what goes on above the networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from tam_backend.errors import InvalidInputError
from tam_backend.models.memory_reading.inputs import image_of
from tam_backend.models.protocols import (
    EncodedImage,
    FrameEmbedding,
    Models,
    Review,
    Segmentation,
    SegmenterPrompts,
    TrackingStep,
)
from tam_backend.types import RgbFrame

NEAR = 0.15


class ColourSegmenter:
    """The mask is every pixel that has nearly the colour of the first positive point, or of the box's centre."""

    name = "colour"

    def __init__(self) -> None:
        self.encoded = 0

    def encode(self, frame: RgbFrame) -> FrameEmbedding:
        self.encoded += 1
        pixels = torch.from_numpy(np.array(frame)).permute(2, 0, 1).float() / 255
        return FrameEmbedding(frame.shape[:2], frame.shape[:2], {"pixels": pixels})

    def segment(self, embedding: FrameEmbedding, prompts: SegmenterPrompts) -> Segmentation:
        pixels = embedding.features["pixels"]
        positive = [point for point in prompts.points if point.positive]
        if positive:
            x, y = positive[0].x, positive[0].y
        elif prompts.box is not None:
            x, y = (prompts.box[0] + prompts.box[2]) / 2, (prompts.box[1] + prompts.box[3]) / 2
        else:
            assert prompts.mask_logits is not None
            y, x = (int(v) for v in torch.nonzero(prompts.mask_logits > 0).float().mean(0))
        colour = pixels[:, int(y), int(x)]
        mask = (pixels - colour[:, None, None]).abs().amax(0) < NEAR
        for point in prompts.points:
            if not point.positive:
                mask[:, int(point.x) :] = False
        return Segmentation(mask.numpy(), mask.float() * 8 - 4, 0.9)


@dataclass
class ColourTracker:
    """Follows colours; writes down what it is told."""

    colours: dict[int, Tensor] = field(default_factory=dict)
    tracked: list[tuple[tuple[int, ...] | None, bool]] = field(default_factory=list)
    memorised: list[tuple[int, ...]] = field(default_factory=list)

    @property
    def object_ids(self) -> tuple[int, ...]:
        return tuple(sorted(self.colours))

    def encode(self, image: Tensor) -> EncodedImage:
        return EncodedImage(image, None)

    def track(
        self,
        image: Tensor | EncodedImage,
        mask: Tensor | None = None,
        object_ids: Sequence[int] | None = None,
        *,
        last: bool = False,
        permanent: bool = True,
        review: Review | None = None,
    ) -> TrackingStep:
        self.tracked.append((None if object_ids is None else tuple(object_ids), permanent))
        image = image_of(image)
        if mask is not None:
            self._learn(image, mask, object_ids)
        channels = []
        for object_id in self.object_ids:
            if mask is not None and object_ids is not None and object_id in object_ids:
                channels.append((mask == object_id).float())
                continue
            near = (image - self.colours[object_id][:, None, None]).abs().amax(0) < NEAR
            channels.append(near.float() * 0.9)
        if not channels:
            raise InvalidInputError("No object is known yet.", "Give a mask with the first frame.")
        objects = torch.stack(channels)
        background = (1 - objects.sum(0)).clamp(0.05)
        probabilities = torch.cat([background[None], objects])
        return TrackingStep(self.object_ids, probabilities / probabilities.sum(0))

    def memorise(self, image: Tensor, mask: Tensor, object_ids: Sequence[int] | None = None) -> None:
        self.memorised.append(tuple(object_ids or ()))
        self._learn(image, mask, object_ids)

    def step(
        self, image: Tensor, mask: Tensor | None = None, object_ids: Sequence[int] | None = None, last: bool = False
    ) -> Tensor:
        return self.track(image, mask, object_ids, last=last).probabilities

    def remove(self, object_id: int) -> None:
        del self.colours[object_id]

    def _learn(self, image: Tensor, mask: Tensor, object_ids: Sequence[int] | None) -> None:
        for object_id in object_ids or ():
            if (mask == object_id).any():
                self.colours[object_id] = image[:, mask == object_id].mean(1)
            else:
                self.colours.setdefault(object_id, torch.full((len(image),), torch.nan))  # known, and nowhere


@dataclass
class ColourModels:
    """Models over the two above, with every tracker made kept for inspection."""

    trackers: list[ColourTracker] = field(default_factory=list)
    segmenter: ColourSegmenter = field(default_factory=ColourSegmenter)

    def models(self) -> Models:
        def new_tracker() -> ColourTracker:
            self.trackers.append(ColourTracker())
            return self.trackers[-1]

        return Models("colour", "colour-1", torch.device("cpu"), self.segmenter, new_tracker, tracker_side=96)
