"""What XMem and its successor Cutie do alike in time: when they predict, what they memorise, who joins and leaves.

Both keep pixels in the same memory (`XMemMemory`) and one sensory memory for each object. What they do with a frame is
their network's, and their subclass's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from tam_backend.errors import InvalidInputError
from tam_backend.models.memory_reading.affinity import query_rows
from tam_backend.models.memory_reading.aggregation import given_over_predicted
from tam_backend.models.memory_reading.inputs import checked, element_rows, image_of
from tam_backend.models.memory_reading.reading import Reading, memory_reading
from tam_backend.models.padding import Padding
from tam_backend.models.protocols import EncodedImage, Review, TrackingStep
from tam_backend.models.xmem.elements import Elements
from tam_backend.models.xmem.network import STRIDE
from tam_backend.models.xmem.three_memories import XMemMemory, below
from tam_backend.models.xmem.xmem_config import MemoryConfig

_EXPORT_REMEDY = "Import what `export_memory` gave, over the same weights."


class Keyed(Protocol):
    """What every encoded frame has: (1, Ck, h, w) key, (1, 1, h, w) shrinkage and (1, Ck, h, w) selection, float32."""

    @property
    def key(self) -> Tensor:
        """What it is found by."""

    @property
    def shrinkage(self) -> Tensor:
        """How sharply it is matched."""

    @property
    def selection(self) -> Tensor:
        """Which channels of its key count when it asks."""


Frame = TypeVar("Frame", bound=Keyed)


class RememberingTracker(ABC, Generic[Frame]):
    """Implements `Tracker` but for the networks. One instance per pass over a video.

    All numbers are float32. Beside its Cv features a remembered value has one channel more: how much of the cell the
    object covers. The networks do not see it; it tells what a read saw of the object (`MemoryReading.foreground`).

    Args:
        config: how much is remembered.
        device: where the network is; answers stay there.
        channels: (Ck, Cv, Ch), of keys, values and sensory memory.
    """

    def __init__(self, config: MemoryConfig, device: torch.device, channels: tuple[int, int, int]) -> None:
        self._config = config
        self._device = device
        self._channels = channels
        self._memory = self._empty_memory()
        self._sensory: dict[int, Tensor] = {}  # id -> (Ch, h, w)
        self._size_hw: tuple[int, int] | None = None
        self._clock = -1
        self._last_memorised = 0

    @abstractmethod
    def _look(self, image: Tensor) -> Frame:
        """Encode a (1, 3, H, W) float32 frame as it was given, not yet padded."""

    @abstractmethod
    def _segment(self, frame: Frame, readout: Tensor, ids: Sequence[int], *, memorising: bool, last: bool) -> Tensor:
        """Predict masks and update the sensory memory.

        Args:
            frame: of `_look`.
            readout: (O, Cv, h, w), what the memory says of each object.
            ids: which objects.
            memorising: `_describe` follows on this frame.
            last: no frame follows.

        Returns:
            (1 + O, padded H, padded W) probabilities, background first.
        """

    @abstractmethod
    def _describe(self, frame: Frame, ids: Sequence[int], masks: Tensor, *, in_time: bool) -> Tensor:
        """Return the (O, Cv, h, w) values to be remembered of (O, padded H, padded W) masks.

        Args:
            frame: of `_look`.
            ids: which objects.
            masks: probabilities.
            in_time: it is the frame that the pass has come to, so the sensory memory is updated too.
        """

    def _conclude(self, ids: Sequence[int], masks: Tensor) -> None:
        """Learn what became of a frame: (O, padded H, padded W) probabilities."""

    @property
    def object_ids(self) -> tuple[int, ...]:
        """The objects in memory, ascending."""
        return tuple(sorted(self._sensory))

    @property
    def memory(self) -> XMemMemory:
        """What is remembered, to be counted."""
        return self._memory

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

        With permanent memory, the frame on which an object joins is kept for good even if `permanent` is False: it is
        all that is known of it.

        Raises:
            InvalidInputError: no object known and none given, sizes or kinds that do not fit.
        """
        pixels = image_of(image)
        given, labels = self._accept(pixels, mask, object_ids)
        known = self.object_ids
        if not known and not given:
            raise InvalidInputError("No object is known yet.", "Give a mask with the first frame.")
        joining = given.difference(known)
        ids = tuple(sorted({*known, *given}))
        self._clock += 1
        memorise = not last and (labels is not None or self._clock - self._last_memorised >= self._config.mem_every)
        frame: Frame = image.features if isinstance(image, EncodedImage) else self._encode(image)
        self._size_hw = (pixels.shape[1], pixels.shape[2])

        predicted: dict[int, Tensor] = {}
        reading = None
        if not given.issuperset(known):
            probabilities, reading = self._predict(frame, known, memorising=memorise, last=last)
            predicted = dict(zip(known, probabilities[1:], strict=True))
        if labels is not None:
            probabilities = given_over_predicted(labels, given, predicted)
        seen = None if reading is None else memory_reading(reading, ids, known, frame.key.shape[-2:], self._channels[1])
        if review is not None and seen is not None:
            revision = review(TrackingStep(ids, Padding.of(pixels, STRIDE).remove(probabilities), seen))
            if revision is not None:
                better = Padding.of(pixels, STRIDE).add(revision.mask.to(self._device))
                rest = dict(zip(ids, probabilities[1:], strict=True))
                probabilities = given_over_predicted(better, revision.object_ids, rest)
                memorise = not last
        self._welcome(joining, frame)
        if memorise:
            keep = self._config.permanent_memory and bool(given if permanent else joining)
            self._store(frame, ids, probabilities[1:], keep, in_time=True)
            self._last_memorised = self._clock
        self._conclude(ids, probabilities[1:])
        return TrackingStep(ids, Padding.of(pixels, STRIDE).remove(probabilities), seen)

    def step(
        self,
        image: Tensor,
        mask: Tensor | None = None,
        object_ids: Sequence[int] | None = None,
        last: bool = False,
    ) -> Tensor:
        """Return `track(...)`'s probabilities alone: (1 + objects, H, W) float32, background first."""
        return self.track(image, mask, object_ids, last=last).probabilities

    @torch.inference_mode()
    def memorise(self, image: Tensor, mask: Tensor, object_ids: Sequence[int] | None = None) -> None:
        """Keep a frame with a human's mask, without moving the clock; see `Tracker.memorise`.

        It is kept for good only with permanent memory. The sensory memory, which belongs to the moment, stays as it is.

        Raises:
            InvalidInputError: no object in the mask, sizes or kinds that do not fit.
        """
        given, labels = self._accept(image, mask, object_ids)
        if labels is None or not given:
            raise InvalidInputError("There is no object in the mask to memorise.")
        frame = self._encode(image)
        self._size_hw = (image.shape[1], image.shape[2])
        masks = given_over_predicted(labels, given, {})[1:]
        self._store(frame, sorted(given), masks, self._config.permanent_memory, in_time=False)
        self._welcome(given.difference(self._sensory), frame)

    def remove(self, object_id: int) -> None:
        """Forget an object.

        Raises:
            InvalidInputError: it is not in memory.
        """
        if object_id not in self._sensory:
            raise InvalidInputError(f"Object {object_id} is not in the tracker's memory.")
        del self._sensory[object_id]
        self._memory.remove(object_id)

    def export_memory(self) -> dict[str, Tensor]:
        """Return all that a pass has in mind, so that another tracker can go on from here.

        Returns:
            Tensors by name, on the tracker's device, fit for `safetensors.torch.save_file`.
        """
        return {
            "channels": torch.tensor(self._channels),
            "times": torch.tensor((self._clock, self._last_memorised)),
            "size_hw": torch.tensor(self._size_hw or (0, 0)),
            **named_below("sensory", self._sensory),
            **{f"memory.{name}": tensor for name, tensor in self._memory.exported().items()},
        }

    def import_memory(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on where a tracker over the same network and with the same config stood at `export_memory`.

        What this tracker had in mind is forgotten.

        Raises:
            InvalidInputError: a tensor is missing, or they come from a network of other sizes; nothing is changed then.
        """
        here = {name: tensor.to(self._device) for name, tensor in tensors.items()}
        memory = self._empty_memory()
        try:
            channels = tuple(here["channels"].tolist())
            clock, last_memorised = here["times"].tolist()
            height, width = here["size_hw"].tolist()
            memory.restore(below(here, "memory."))
            if channels == self._channels:
                self._import_own(here)
        except KeyError as error:
            raise InvalidInputError(f"The exported memory lacks {error.args[0]!r}.", _EXPORT_REMEDY) from error
        if channels != self._channels:
            raise InvalidInputError(
                f"The memory was exported with {channels} channels (Ck, Cv, Ch), the network has {self._channels}.",
                _EXPORT_REMEDY,
            )
        self._memory = memory
        self._sensory = numbered_below("sensory", here)
        self._size_hw = (height, width) if height else None
        self._clock, self._last_memorised = clock, last_memorised

    def _import_own(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over what a subclass exported besides. Raises KeyError before anything is changed."""

    def _empty_memory(self) -> XMemMemory:
        return XMemMemory(self._config, self._channels[1] + 1)

    def _accept(
        self, image: Tensor, mask: Tensor | None, object_ids: Sequence[int] | None
    ) -> tuple[set[int], Tensor | None]:
        """Return the given objects and the padded (H, W) int64 mask."""
        given, labels = checked(image, mask, object_ids, self._size_hw)
        return given, None if labels is None else Padding.of(image, STRIDE).add(labels.to(self._device))

    def _encode(self, image: Tensor) -> Frame:
        return self._look(image.to(self._device, torch.float32)[None])

    def _predict(self, frame: Frame, ids: Sequence[int], *, memorising: bool, last: bool) -> tuple[Tensor, Reading]:
        """Return (1 + ids, padded H, padded W) probabilities and what was read for them."""
        queries = query_rows(element_rows(frame.key)[0], element_rows(frame.selection)[0])
        reading = self._memory.read(queries, ids)
        features = reading.values[..., :-1]  # O x Q x Cv
        readout = features.view(len(ids), *frame.key.shape[-2:], -1).permute(0, 3, 1, 2)  # O x Cv x h x w
        return self._segment(frame, readout, ids, memorising=memorising, last=last), reading

    def _store(self, frame: Frame, ids: Sequence[int], masks: Tensor, permanent: bool, *, in_time: bool) -> None:
        """Memorise (O, padded H, padded W) probabilities."""
        values = self._describe(frame, ids, masks, in_time=in_time)
        covered = functional.avg_pool2d(masks[:, None], STRIDE)
        rows = element_rows(torch.cat([values, covered], 1))
        key, shrinkage, selection = (element_rows(x)[0] for x in (frame.key, frame.shrinkage, frame.selection))
        self._memory.add(Elements.of_frame(key, shrinkage, selection, dict(zip(ids, rows, strict=True))), permanent)

    def _welcome(self, joining: Iterable[int], frame: Frame) -> None:
        """Give new objects a sensory memory of zeros."""
        blank = torch.zeros(self._channels[2], *frame.key.shape[-2:], device=self._device)
        self._sensory.update(dict.fromkeys(joining, blank))

    def _sensory_of(self, ids: Sequence[int]) -> Tensor:
        return torch.stack([self._sensory[object_id] for object_id in ids])

    def _set_sensory(self, ids: Sequence[int], sensory: Tensor) -> None:
        self._sensory.update(zip(ids, sensory, strict=True))


def named_below(prefix: str, tensors: Mapping[int, Tensor]) -> dict[str, Tensor]:
    """Return copies of tensors by object id, named so that `numbered_below` finds them."""
    return {f"{prefix}.{object_id}": tensor.contiguous().clone() for object_id, tensor in tensors.items()}


def numbered_below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[int, Tensor]:
    """Undo `named_below`."""
    return {int(object_id): tensor for object_id, tensor in below(tensors, f"{prefix}.").items()}
