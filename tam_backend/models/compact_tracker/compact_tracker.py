"""The compact profile's tracker: memorises frames with masks and predicts the masks of the next frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional

from tam_backend.errors import InvalidInputError
from tam_backend.models.compact_tracker.compact_network import MEMORY_STRIDE, CompactNetwork, TrackedFrame
from tam_backend.models.compact_tracker.lines import by_rows, short_lines, sorted_lines
from tam_backend.models.compact_tracker.memory_bank import MemoryBank, MemoryFrame, MemoryRules
from tam_backend.models.devices import fast_precision, has_fast_bfloat16
from tam_backend.models.memory_reading.affinity import memory_rows, narrow_memory, narrow_queries, query_rows
from tam_backend.models.memory_reading.aggregation import overrule, put_over, soft_aggregate
from tam_backend.models.memory_reading.inputs import checked, image_of
from tam_backend.models.memory_reading.reading import Reading, memory_reading
from tam_backend.models.padding import Padding
from tam_backend.models.protocols import EncodedImage, Review, TrackingStep

# A frame joins the working memory when this many have passed since the last one that did.
MEMORY_EVERY = 5
# The window was measured at this shorter side; it grows and shrinks with the frame, but never below 2 cells.
_WINDOW_MEASURED_AT_SIDE = 480
_SMALLEST_WINDOW_CELLS = 2.0


class CompactTracker:
    """Implements `Tracker`. One instance per pass over a video; the network is shared.

    Args:
        network: loaded, in eval mode, on `device`.
        device: where the network is; answers stay there.
        rules: of the memory.
    """

    def __init__(self, network: CompactNetwork, device: torch.device, rules: MemoryRules | None = None) -> None:
        self._network = network
        self._device = device
        self._rules = rules or MemoryRules()
        self._bank: MemoryBank | None = None
        self._size_hw = (0, 0)
        self._padding = Padding(0, 0, 0, 0)
        self._narrow = device.type == "cpu" and has_fast_bfloat16(device)
        self._clock = -1
        self._last_kept = 0
        self._sensory: dict[int, Tensor] = {}  # id -> (Ch, h, w)
        self._previous: dict[int, Tensor] = {}  # id -> (padded H, padded W), probabilities on the frame before

    @property
    def object_ids(self) -> tuple[int, ...]:
        """The objects in memory, ascending."""
        return tuple(sorted(self._previous))

    @property
    def memory_elements(self) -> int:
        """How many elements the memory holds; bounded by the number of objects, not by the video's length."""
        return 0 if self._bank is None else self._bank.elements

    @torch.inference_mode()
    def encode(self, image: Tensor) -> EncodedImage:
        """Compute what follows from an image alone; see `Tracker.encode`.

        Raises:
            InvalidInputError: the image is of another kind.
        """
        checked(image, None, None, None)
        return EncodedImage(image, self._encode(image))

    @torch.inference_mode()
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

        The frame on which an object joins is kept for good even if `permanent` is False: it is all that is known of it.

        Raises:
            InvalidInputError: no object known and none given, sizes or kinds that do not fit.
        """
        pixels = image_of(image)
        given, labels = self._check(pixels, mask, object_ids)
        joining = given.difference(self._previous)
        predicted = sorted(self._previous.keys() - given)
        if not predicted and not given:
            raise InvalidInputError("No object is known yet.", "Give a mask with the first frame.")
        bank = self._prepare(pixels)
        self._clock += 1
        frame = image.features if isinstance(image, EncodedImage) else self._encode(image)

        probabilities, reading = self._predict(bank, frame, predicted)
        if labels is not None and given:
            probabilities = overrule(probabilities, labels, predicted, sorted(given))
        ids = sorted({*predicted, *given})
        seen = (
            None
            if reading is None
            else memory_reading(reading, ids, predicted, frame.key.shape[-2:], CompactNetwork.FEATURE_CHANNELS)
        )
        revised: tuple[int, ...] = ()
        if review is not None and seen is not None:
            revision = review(TrackingStep(tuple(ids), self._padding.remove(probabilities), seen))
            if revision is not None:
                revised = revision.object_ids
                better = self._padding.add(revision.mask.to(self._device))
                probabilities = put_over(probabilities, better, ids, revised)
        self._previous = dict(zip(ids, probabilities[1:], strict=True))
        for object_id in (*given, *revised):
            # What the sensory memory held led to a mask that was replaced, or to none.
            self._sensory[object_id] = self._blank_sensory(frame)
        if not last:
            self._memorise(bank, frame, ids, given if permanent else joining, now=bool(revised))
        return TrackingStep(tuple(ids), self._padding.remove(probabilities), seen)

    @torch.inference_mode()
    def memorise(self, image: Tensor, mask: Tensor, object_ids: Sequence[int] | None = None) -> None:
        """Keep a frame with a human's mask for good, without moving the clock; see `Tracker.memorise`.

        An object reads its first such frame and the 7 added last, so add the nearest keyframes last.

        Raises:
            InvalidInputError: no object in the mask, sizes or kinds that do not fit.
        """
        given, labels = self._check(image, mask, object_ids)
        if labels is None or not given:
            raise InvalidInputError("There is no object in the mask to memorise.")
        bank = self._prepare(image)
        frame = self._encode(image)
        ids = sorted(given)
        masks = torch.stack([(labels == object_id).float() for object_id in ids])
        bank.keep_for_good(self._memory_frame(frame, ids, masks))
        for object_id in given.difference(self._previous):
            self._previous[object_id] = torch.zeros_like(masks[0])
            self._sensory[object_id] = self._blank_sensory(frame)

    def step(
        self,
        image: Tensor,
        mask: Tensor | None = None,
        object_ids: Sequence[int] | None = None,
        last: bool = False,
    ) -> Tensor:
        """Return `track(...)`'s probabilities alone: (1 + objects, H, W) float32, background first."""
        return self.track(image, mask, object_ids, last=last).probabilities

    def remove(self, object_id: int) -> None:
        """Forget an object.

        Raises:
            InvalidInputError: it is not in memory.
        """
        if object_id not in self._previous or self._bank is None:
            raise InvalidInputError(f"Object {object_id} is not in the tracker's memory.")
        del self._previous[object_id], self._sensory[object_id]
        self._bank.remove(object_id)

    def _check(
        self, image: Tensor, mask: Tensor | None, object_ids: Sequence[int] | None
    ) -> tuple[set[int], Tensor | None]:
        """Return the given objects and the padded (H, W) int64 mask; changes nothing."""
        given, labels = checked(image, mask, object_ids, None if self._bank is None else self._size_hw)
        if labels is None:
            return given, None
        padding = Padding.of(image, CompactNetwork.STRIDE)
        return given, padding.add(labels.to(self._device))

    def _prepare(self, image: Tensor) -> MemoryBank:
        """Return the memory; on the first frame, lay it out for the frame's size."""
        if self._bank is None:
            self._size_hw = (image.shape[1], image.shape[2])
            self._padding = Padding.to_stride(self._size_hw, CompactNetwork.STRIDE)
            cells = self._rules.window_cells * min(self._size_hw) / _WINDOW_MEASURED_AT_SIDE
            rules = replace(self._rules, window_cells=max(_SMALLEST_WINDOW_CELLS, cells))
            height, width = self._padding.padded(self._size_hw)
            self._bank = MemoryBank(rules, sorted_lines(height // MEMORY_STRIDE, width // MEMORY_STRIDE))
        return self._bank

    def _encode(self, image: Tensor) -> TrackedFrame:
        batch = image.to(self._device, torch.float32)[None]
        padding = Padding.of(image, CompactNetwork.STRIDE)
        with fast_precision(self._device):
            return self._network.encode(padding.add(self._network.backbone.normalise(batch)))

    def _predict(
        self, bank: MemoryBank, frame: TrackedFrame, predicted: Sequence[int]
    ) -> tuple[Tensor, Reading | None]:
        """Return (1 + predicted, padded H, padded W) probabilities and what was read for them."""
        grid_hw = (frame.key.shape[-2], frame.key.shape[-1])
        padded_hw = (grid_hw[0] * MEMORY_STRIDE, grid_hw[1] * MEMORY_STRIDE)
        if not predicted:
            return torch.ones(1, *padded_hw, device=self._device), None
        queries = query_rows(short_lines(frame.key)[0], short_lines(frame.selection)[0])
        reading = bank.read(narrow_queries(queries) if self._narrow else queries, predicted, self._clock)
        reading = by_rows(reading, grid_hw)
        readout = reading.values.transpose(1, 2).reshape(len(predicted), -1, *grid_hw)  # O x Cv x h x w
        before = torch.stack([self._previous[object_id] for object_id in predicted])
        others = (sum(self._previous.values()) - before).clamp(0, 1)
        sensory = torch.stack([self._sensory[object_id] for object_id in predicted])
        with fast_precision(self._device):
            logits, sensory = self._network.decode(frame, readout, sensory, before[:, None], others[:, None])
        self._sensory.update(zip(predicted, sensory, strict=True))
        full = functional.interpolate(logits, padded_hw, mode="bilinear", align_corners=False)[:, 0]
        return soft_aggregate(full), reading

    def _memorise(
        self, bank: MemoryBank, frame: TrackedFrame, ids: Sequence[int], for_good: set[int], *, now: bool
    ) -> None:
        """Store the frame: for good for some objects, as a working or the last frame for the others.

        `now`: as a working frame, whenever the last one was.
        """
        masks = torch.stack([self._previous[object_id] for object_id in ids])
        memory = self._memory_frame(frame, ids, masks)
        recent = {object_id: value for object_id, value in memory.values.items() if object_id not in for_good}
        if for_good:
            bank.keep_for_good(replace(memory, values={object_id: memory.values[object_id] for object_id in for_good}))
        keep = now or bool(for_good) or self._clock - self._last_kept >= MEMORY_EVERY
        if keep:
            self._last_kept = self._clock
        if keep and recent:
            bank.keep_for_now(replace(memory, values=recent))
        else:
            bank.set_last(replace(memory, values=recent) if recent else None)

    def _memory_frame(self, frame: TrackedFrame, ids: Sequence[int], masks: Tensor) -> MemoryFrame:
        """Describe (O, padded H, padded W) masks for the memory."""
        others = (masks.sum(0, keepdim=True) - masks).clamp(0, 1)
        with fast_precision(self._device):
            values = self._network.encode_value(frame, masks[:, None], others[:, None])
        rows = memory_rows(short_lines(frame.key)[0], short_lines(frame.shrinkage)[0])
        rows = narrow_memory(rows) if self._narrow else rows
        return MemoryFrame(rows, dict(zip(ids, short_lines(values), strict=True)), self._clock)

    def _blank_sensory(self, frame: TrackedFrame) -> Tensor:
        return torch.zeros(CompactNetwork.SENSORY_CHANNELS, *frame.key.shape[-2:], device=self._device)
