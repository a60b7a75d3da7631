"""XMem in time: one step encodes a frame, predicts its masks from the memories, and memorises what is known of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from tam_backend.errors import InvalidInputError
from tam_backend.models.memory_reading.affinity import query_rows
from tam_backend.models.memory_reading.aggregation import aggregate, soft_aggregate
from tam_backend.models.memory_reading.inputs import checked, element_rows, image_of
from tam_backend.models.memory_reading.reading import Reading, memory_reading
from tam_backend.models.padding import Padding
from tam_backend.models.protocols import EncodedImage, Review, TrackingStep
from tam_backend.models.xmem.elements import Elements
from tam_backend.models.xmem.network import STRIDE, EncodedFrame, XMemNetwork
from tam_backend.models.xmem.three_memories import XMemMemory, below
from tam_backend.models.xmem.xmem_config import XMemConfig

_EXPORT_REMEDY = "Import what `export_memory` gave, over the same weights."


class XMemTracker:
    """Implements `Tracker`. One instance per pass over a video; the network is shared.

    All numbers are float32. Beside its Cv features a remembered value has one channel more: how much of the cell the
    object covers. The network does not see it; it tells what a read saw of the object (`MemoryReading.foreground`).

    Args:
        network: of `load_xmem`; answers stay on its device.
        config: how much is remembered.
    """

    def __init__(self, network: XMemNetwork, config: XMemConfig | None = None) -> None:
        self._network = network
        self._config = config or XMemConfig()
        self._device = network.device
        self._memory = XMemMemory(self._config, network.sizes.value_channels + 1)
        self._sensory: dict[int, Tensor] = {}  # id -> (Ch, h, w)
        self._size_hw: tuple[int, int] | None = None
        self._clock = -1
        self._last_memorised = 0
        self._last_deep_update = -self._config.deep_update_every  # so that one is due with the first memorised frame

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
        deep_with_memory = self._config.deep_update_every == -1
        frame: EncodedFrame = image.features if isinstance(image, EncodedImage) else self._encode(image)
        self._size_hw = (pixels.shape[1], pixels.shape[2])

        predicted: dict[int, Tensor] = {}
        reading = None
        if not given.issuperset(known):
            decoder_updates = not last and not (deep_with_memory and memorise)
            probabilities, reading = self._predict(frame, known, decoder_updates)
            predicted = dict(zip(known, probabilities[1:], strict=True))
        if labels is not None:
            probabilities = _with_given(labels, given, predicted)
        seen = (
            None
            if reading is None
            else memory_reading(reading, ids, known, frame.key.shape[-2:], self._network.sizes.value_channels)
        )
        if review is not None and seen is not None:
            revision = review(TrackingStep(ids, _padding(pixels).remove(probabilities), seen))
            if revision is not None:
                better = _padding(pixels).add(revision.mask.to(self._device))
                probabilities = _with_given(better, revision.object_ids, dict(zip(ids, probabilities[1:], strict=True)))
                memorise = not last
        self._welcome(joining, frame)
        if memorise:
            keep = self._config.permanent_memory and bool(given if permanent else joining)
            values = self._store(frame, ids, probabilities[1:], keep)
            self._last_memorised = self._clock
            if deep_with_memory or self._clock - self._last_deep_update >= self._config.deep_update_every:
                self._set_sensory(ids, self._network.deep_update(values, self._sensory_of(ids)))
                self._last_deep_update = self._clock
        return TrackingStep(
            ids,
            _padding(pixels).remove(probabilities),
            seen,
        )

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
        masks = _with_given(labels, given, {})[1:]
        self._store(frame, sorted(given), masks, self._config.permanent_memory)
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
            "times": torch.tensor((self._clock, self._last_memorised, self._last_deep_update)),
            "size_hw": torch.tensor(self._size_hw or (0, 0)),
            **{f"sensory.{object_id}": hidden.contiguous().clone() for object_id, hidden in self._sensory.items()},
            **{f"memory.{name}": tensor for name, tensor in self._memory.exported().items()},
        }

    def import_memory(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on where a tracker over the same network and with the same config stood at `export_memory`.

        What this tracker had in mind is forgotten.

        Raises:
            InvalidInputError: a tensor is missing, or they come from a network of other sizes; nothing is changed then.
        """
        here = {name: tensor.to(self._device) for name, tensor in tensors.items()}
        memory = XMemMemory(self._config, self._network.sizes.value_channels + 1)
        try:
            channels = tuple(here["channels"].tolist())
            clock, last_memorised, last_deep_update = here["times"].tolist()
            height, width = here["size_hw"].tolist()
            memory.restore(below(here, "memory."))
        except KeyError as error:
            raise InvalidInputError(f"The exported memory lacks {error.args[0]!r}.", _EXPORT_REMEDY) from error
        if channels != self._channels:
            raise InvalidInputError(
                f"The memory was exported with {channels} channels (Ck, Cv, Ch), the network has {self._channels}.",
                _EXPORT_REMEDY,
            )
        self._memory = memory
        self._sensory = {int(object_id): hidden for object_id, hidden in below(here, "sensory.").items()}
        self._size_hw = (height, width) if height else None
        self._clock, self._last_memorised, self._last_deep_update = clock, last_memorised, last_deep_update

    @property
    def _channels(self) -> tuple[int, int, int]:
        sizes = self._network.sizes
        return sizes.key_channels, sizes.value_channels, sizes.hidden_channels

    def _accept(
        self, image: Tensor, mask: Tensor | None, object_ids: Sequence[int] | None
    ) -> tuple[set[int], Tensor | None]:
        """Return the given objects and the padded (H, W) int64 mask."""
        given, labels = checked(image, mask, object_ids, self._size_hw)
        return given, None if labels is None else _padding(image).add(labels.to(self._device))

    def _encode(self, image: Tensor) -> EncodedFrame:
        batch = image.to(self._device, torch.float32)[None]
        return self._network.encode_key(_padding(image).add(self._network.normalise(batch)))

    def _predict(self, frame: EncodedFrame, ids: Sequence[int], update_sensory: bool) -> tuple[Tensor, Reading]:
        """Return (1 + ids, padded H, padded W) probabilities and what was read for them."""
        queries = query_rows(element_rows(frame.key)[0], element_rows(frame.selection)[0])
        reading = self._memory.read(queries, ids)
        features = reading.values[..., :-1]  # O x Q x Cv
        readout = features.view(len(ids), *frame.key.shape[-2:], -1).permute(0, 3, 1, 2)  # O x Cv x h x w
        logits, sensory = self._network.decode(frame, readout, self._sensory_of(ids), update_sensory)
        self._set_sensory(ids, sensory)
        return soft_aggregate(logits), reading

    def _store(self, frame: EncodedFrame, ids: Sequence[int], masks: Tensor, permanent: bool) -> Tensor:
        """Memorise (O, padded H, padded W) probabilities; return the (O, Cv, h, w) values without coverage."""
        values = self._network.encode_value(frame, masks)
        covered = functional.avg_pool2d(masks[:, None], STRIDE)
        rows = element_rows(torch.cat([values, covered], 1))
        key, shrinkage, selection = (element_rows(x)[0] for x in (frame.key, frame.shrinkage, frame.selection))
        self._memory.add(Elements.of_frame(key, shrinkage, selection, dict(zip(ids, rows, strict=True))), permanent)
        return values

    def _welcome(self, joining: Iterable[int], frame: EncodedFrame) -> None:
        """Give new objects a sensory memory of zeros."""
        blank = torch.zeros(self._network.sizes.hidden_channels, *frame.key.shape[-2:], device=self._device)
        self._sensory.update(dict.fromkeys(joining, blank))

    def _sensory_of(self, ids: Sequence[int]) -> Tensor:
        return torch.stack([self._sensory[object_id] for object_id in ids])

    def _set_sensory(self, ids: Sequence[int], sensory: Tensor) -> None:
        self._sensory.update(zip(ids, sensory, strict=True))


def _padding(image: Tensor) -> Padding:
    return Padding.to_stride((image.shape[1], image.shape[2]), STRIDE)


def _with_given(labels: Tensor, given: Iterable[int], predicted: Mapping[int, Tensor]) -> Tensor:
    """Put given objects over predicted ones, and let all compete.

    Args:
        labels: (H, W) int64; its labels besides `given` are ignored.
        given: the objects that it speaks for.
        predicted: object id -> (H, W) probabilities; those of `given` do not count.

    Returns:
        (1 + objects, H, W) float32, background first, objects in the order of their ids.
    """
    planes = {object_id: (labels == object_id).float() for object_id in given}
    free = 1 - sum(planes.values(), torch.zeros(labels.shape, device=labels.device))
    rest = {object_id: plane * free for object_id, plane in predicted.items() if object_id not in planes}
    planes.update(rest)
    return aggregate(torch.stack([planes[object_id] for object_id in sorted(planes)]))
