"""SAM 2.1's tracker: memorises frames with masks and predicts the masks of the next frame."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from tam_backend.errors import InvalidInputError
from tam_backend.models.devices import fast_precision
from tam_backend.models.memory_reading.aggregation import overrule, put_over, soft_aggregate
from tam_backend.models.memory_reading.inputs import checked
from tam_backend.models.protocols import Review, TrackingStep
from tam_backend.models.sam2_network import normalised
from tam_backend.models.sam2_tracker.object_memory import ObjectMemory, Remembered

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

# The package asks how long the video is only to read fewer pointers of a very short one; a pass does not know.
_FRAMES_TO_COME = 1 << 40


@dataclass(frozen=True, eq=False)
class Sam2Frame:
    """A frame as the network sees it.

    Args:
        maps: features at strides 4, 8 and 16, each (cells, 1, C).
        positions: the encoding of their places, of the same shapes.
        sizes_hw: (height, width) of each.
    """

    maps: list[Tensor]
    positions: list[Tensor]
    sizes_hw: list[tuple[int, int]]


@dataclass(frozen=True, eq=False)
class _Found:
    """One object on one frame, before it is remembered.

    Args:
        logits: (1, 1, S/4, S/4) float32.
        pointer: (1, D).
        score: (1, 1) above 0 if the object is there.
    """

    logits: Tensor
    pointer: Tensor
    score: Tensor


class Sam2Tracker:
    """Implements `Tracker`. One instance per pass over a video; the network is shared.

    The rules are those of the package's `SAM2VideoPredictor`; docs/networks.md says where they differ on purpose. It
    gives no reading: attention of many layers over all of memory tells of no memory element how much it was the object.

    Args:
        network: loaded, in eval mode, on `device`.
        device: where the network is; answers stay there.
        fast: compute in bfloat16 where that is quick, as its authors do; False = float32 everywhere.
    """

    def __init__(self, network: SAM2Base, device: torch.device, *, fast: bool = True) -> None:
        self._network = network
        self._device = device
        self._fast = fast
        self._side: int = network.image_size
        self._size_hw: tuple[int, int] | None = None
        self._positions: Tensor | None = None  # of remembered cells; the same for all frames and objects
        self._clock = -1
        self._memories: dict[int, ObjectMemory] = {}

    @property
    def object_ids(self) -> tuple[int, ...]:
        """The objects in memory, ascending."""
        return tuple(sorted(self._memories))

    @property
    def memory_elements(self) -> int:
        """How many elements the memory holds; bounded by the number of objects, not by the video's length."""
        return sum(memory.elements for memory in self._memories.values())

    @torch.inference_mode()
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
        """Advance by one frame; see `Tracker.track`.

        The frame on which an object joins is kept for good even if `permanent` is False: it is all that is known of it.

        Raises:
            InvalidInputError: no object known and none given, sizes or kinds that do not fit.
        """
        given, labels = checked(image, mask, object_ids, self._size_hw)
        predicted = sorted(self._memories.keys() - given)
        if not predicted and not given:
            raise InvalidInputError("No object is known yet.", "Give a mask with the first frame.")
        self._size_hw = (image.shape[1], image.shape[2])
        self._clock += 1
        frame = self._encode(image)
        found = {object_id: self._found(frame, None, self._memories[object_id].as_package()) for object_id in predicted}
        probabilities = self._probabilities([found[object_id].logits for object_id in predicted], self._size_hw)
        if labels is not None and given:
            labels = labels.to(self._device)
            found.update(self._given(frame, labels, given))
            probabilities = overrule(probabilities, labels, predicted, sorted(given))
        ids = sorted(found)
        step = TrackingStep(tuple(ids), probabilities)
        if review is not None and predicted and (revision := review(step)) is not None:
            better = revision.mask.to(self._device)
            found.update(self._given(frame, better, set(revision.object_ids)))
            step = TrackingStep(step.object_ids, put_over(probabilities, better, ids, revision.object_ids))
        if not last:
            for object_id in ids:
                self._remember(frame, object_id, found[object_id], given if permanent else set())
        return step

    @torch.inference_mode()
    def memorise(self, image: Tensor, mask: Tensor, object_ids: Sequence[int] | None = None) -> None:
        """Keep a frame with a human's mask for good, without moving the clock; see `Tracker.memorise`.

        An object reads its first keyframe and the 7 added last, so add the nearest keyframes last.

        Raises:
            InvalidInputError: no object in the mask, sizes or kinds that do not fit.
        """
        given, labels = checked(image, mask, object_ids, self._size_hw)
        if labels is None or not given:
            raise InvalidInputError("There is no object in the mask to memorise.")
        self._size_hw = (image.shape[1], image.shape[2])
        frame = self._encode(image)
        for object_id, found in self._given(frame, labels.to(self._device), given).items():
            self._memory(object_id).keep_from_elsewhere(self._remembered(frame, found, by_hand=True))

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
        if object_id not in self._memories:
            raise InvalidInputError(f"Object {object_id} is not in the tracker's memory.")
        del self._memories[object_id]

    def _precision(self) -> AbstractContextManager[None]:
        return fast_precision(self._device) if self._fast else nullcontext()

    def _encode(self, image: Tensor) -> Sam2Frame:
        batch = image.to(self._device, torch.float32)[None]
        if batch.shape[-2:] != (self._side, self._side):
            batch = functional.interpolate(
                batch, (self._side, self._side), mode="bilinear", align_corners=False, antialias=True
            )
        with self._precision():
            encoded = self._network.forward_image(normalised(batch))
        maps, places = encoded["backbone_fpn"], encoded["vision_pos_enc"]
        return Sam2Frame(
            maps=[each.flatten(2).permute(2, 0, 1) for each in maps],
            positions=[each.flatten(2).permute(2, 0, 1) for each in places],
            sizes_hw=[(each.shape[-2], each.shape[-1]) for each in maps],
        )

    def _given(self, frame: Sam2Frame, labels: Tensor, given: set[int]) -> dict[int, _Found]:
        """Return what the network makes of masks, (H, W) int64, that are taken as they are."""
        found = {}
        for object_id in sorted(given):
            plane = (labels == object_id).float()[None, None]
            if plane.shape[-2:] != (self._side, self._side):
                plane = functional.interpolate(
                    plane, (self._side, self._side), mode="bilinear", align_corners=False, antialias=True
                )
            found[object_id] = self._found(frame, (plane >= 0.5).float(), {})
        return found

    def _found(self, frame: Sam2Frame, mask: Tensor | None, memory: dict[str, dict[int, dict[str, Any]]]) -> _Found:
        with self._precision():
            out = self._network.track_step(
                frame_idx=self._clock,
                is_init_cond_frame=mask is not None,
                current_vision_feats=frame.maps,
                current_vision_pos_embeds=frame.positions,
                feat_sizes=frame.sizes_hw,
                point_inputs=None,
                mask_inputs=mask,
                output_dict=memory,
                num_frames=_FRAMES_TO_COME,
                run_mem_encoder=False,
            )
        return _Found(out["pred_masks"].float(), out["obj_ptr"], out["object_score_logits"])

    def _probabilities(self, logits: list[Tensor], size_hw: tuple[int, int]) -> Tensor:
        """Let (1, 1, S/4, S/4) logits compete for the pixels of an image: (1 + objects, H, W)."""
        if not logits:
            return torch.ones(1, *size_hw, device=self._device)
        full = functional.interpolate(torch.cat(logits), size_hw, mode="bilinear", align_corners=False)
        return soft_aggregate(full[:, 0])

    def _remember(self, frame: Sam2Frame, object_id: int, found: _Found, for_good: set[int]) -> None:
        if object_id in for_good or object_id not in self._memories:
            remembered = self._remembered(frame, found, by_hand=object_id in for_good)
            self._memory(object_id).keep_for_good(self._clock, remembered)
        else:
            self._memories[object_id].keep_for_now(self._clock, self._remembered(frame, found, by_hand=False))

    def _remembered(self, frame: Sam2Frame, found: _Found, *, by_hand: bool) -> Remembered:
        """Encode an object's mask with its frame; a human's without soft edges."""
        masks = functional.interpolate(found.logits, (self._side, self._side), mode="bilinear", align_corners=False)
        with self._precision():
            features, positions = self._network._encode_new_memory(
                current_vision_feats=frame.maps,
                feat_sizes=frame.sizes_hw,
                pred_masks_high_res=masks,
                object_score_logits=found.score,
                is_mask_from_pts=by_hand,
            )
        if self._positions is None:
            self._positions = positions[-1]
        return Remembered(features.to(torch.bfloat16), self._positions, found.pointer)

    def _memory(self, object_id: int) -> ObjectMemory:
        """Return the memory of an object; a new one for an object that joins."""
        if object_id not in self._memories:
            frames = self._network.num_maskmem - 1
            pointers = max(frames, self._network.max_obj_ptrs_in_encoder - 1)
            self._memories[object_id] = ObjectMemory(frames, pointers)
        return self._memories[object_id]
