"""A tracker without a network: every mask stays where it was."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tam_backend.errors import InvalidInputError
from tam_backend.models.memory_reading.aggregation import overrule
from tam_backend.models.memory_reading.inputs import checked, image_of
from tam_backend.models.protocols import EncodedImage, Review, TrackingStep


class StillTracker:
    """Implements `Tracker`. Its memory is one mask for each object.

    Args:
        device: where its answers go.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._masks: dict[int, Tensor] = {}  # id -> (H, W) float32 probabilities

    @property
    def object_ids(self) -> tuple[int, ...]:
        """The objects in memory, ascending."""
        return tuple(sorted(self._masks))

    def encode(self, image: Tensor) -> EncodedImage:
        """Compute what follows from an image alone, which another thread may ask for meanwhile: nothing, here."""
        checked(image, None, None, None)
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
        """Advance by one frame; see `Tracker.track`.

        Raises:
            InvalidInputError: no object known and none given, or sizes that do not fit.
        """
        image = image_of(image)
        size_hw = next((tuple(each.shape) for each in self._masks.values()), None)
        given, labels = checked(image, mask, object_ids, size_hw)
        if not given and not self._masks:
            raise InvalidInputError("No object is known yet.", "Give a mask with the first frame.")
        before = sorted(self._masks.keys() - given)
        planes = [self._masks[object_id] for object_id in before]
        background = torch.ones(image.shape[1:], device=self._device) - sum(planes)
        probabilities = torch.stack([background, *planes])
        if labels is not None and given:
            probabilities = overrule(probabilities, labels.to(self._device), before, sorted(given))
        ids = sorted({*before, *given})
        self._masks = dict(zip(ids, probabilities[1:], strict=True))
        return TrackingStep(tuple(ids), probabilities)

    def memorise(self, image: Tensor, mask: Tensor, object_ids: Sequence[int] | None = None) -> None:
        """Learn of objects from a keyframe elsewhere: it knows no elsewhere, so they are not seen until they join."""
        given, labels = checked(image, mask, object_ids, None)
        if labels is None or not given:
            raise InvalidInputError("There is no object in the mask to memorise.")
        for object_id in given.difference(self._masks):
            self._masks[object_id] = torch.zeros(labels.shape, device=self._device)

    def step(
        self,
        image: Tensor,
        mask: Tensor | None = None,
        object_ids: Sequence[int] | None = None,
        last: bool = False,
    ) -> Tensor:
        """Return `track(...)`'s probabilities alone."""
        return self.track(image, mask, object_ids, last=last).probabilities

    def remove(self, object_id: int) -> None:
        """Forget an object.

        Raises:
            InvalidInputError: it is not in memory.
        """
        if object_id not in self._masks:
            raise InvalidInputError(f"Object {object_id} is not in the tracker's memory.")
        del self._masks[object_id]
