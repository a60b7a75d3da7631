"""Cutie in time: XMem's memory of pixels, and beside it what each object looks like as a whole.

Over the same weights masks are those of the package's own inference core where the rules agree
(tests/models/cutie_tracker/). On purpose ours differ:

- Frames with a human's mask are kept for good, at any time of the video; the core keeps the first one of an object.
- A mask may speak for some of the objects; the core takes one for all of them, or for new ones.
- All objects compete within the network; in the core, only those that joined on the same frame do.
- A full long-term memory gives way element by element; the core drops 2,000 at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tam_backend.models.cutie_tracker.cutie_network import CutieFrame, CutieNetwork
from tam_backend.models.padding import Padding
from tam_backend.models.xmem.network import STRIDE
from tam_backend.models.xmem.remembering_tracker import RememberingTracker, named_below, numbered_below
from tam_backend.models.xmem.xmem_config import MemoryConfig


class CutieTracker(RememberingTracker[CutieFrame]):
    """Implements `Tracker`. One instance per pass over a video; the network is shared.

    The memory of objects is one mean over time for each: it does not grow, and a frame that was memorised has its say
    in it for good, also after its pixels were forgotten.

    Args:
        network: of `load_cutie`; answers stay on its device.
        config: how much is remembered.
    """

    def __init__(self, network: CutieNetwork, config: MemoryConfig | None = None) -> None:
        super().__init__(config or MemoryConfig(), network.device, network.channels)
        self._network = network
        self._summaries: dict[int, Tensor] = {}  # id -> (queries, C + 1), summed over memorised frames
        self._last_masks: dict[int, Tensor] = {}  # id -> (padded H, padded W) probabilities on the frame before

    def remove(self, object_id: int) -> None:
        """Forget an object; see `RememberingTracker.remove`."""
        super().remove(object_id)
        self._summaries.pop(object_id, None)
        self._last_masks.pop(object_id, None)

    def export_memory(self) -> dict[str, Tensor]:
        """Return all that a pass has in mind; see `RememberingTracker.export_memory`."""
        return {
            **super().export_memory(),
            **named_below("summaries", self._summaries),
            **named_below("last_masks", self._last_masks),
        }

    def _import_own(self, tensors: Mapping[str, Tensor]) -> None:
        self._summaries = numbered_below("summaries", tensors)
        self._last_masks = numbered_below("last_masks", tensors)

    def _look(self, image: Tensor) -> CutieFrame:
        padding = Padding.of(image, STRIDE)
        return self._network.encode(padding.add(image))  # black around it, as in training

    def _segment(
        self,
        frame: CutieFrame,
        readout: Tensor,
        ids: Sequence[int],
        *,
        memorising: bool,  # noqa: ARG002 - its sensory memory is updated by both, one after the other
        last: bool,
    ) -> Tensor:
        probabilities, sensory = self._network.segment(
            frame, readout, self._sensory_of(ids), self._masks_before(frame, ids), self._summaries_of(ids), not last
        )
        self._set_sensory(ids, sensory)
        return probabilities

    def _describe(self, frame: CutieFrame, ids: Sequence[int], masks: Tensor, *, in_time: bool) -> Tensor:
        if in_time:
            before = self._sensory_of(ids)
        else:
            before = torch.zeros(len(ids), self._channels[2], *frame.key.shape[-2:], device=self._device)
        described = self._network.describe(frame, masks, before)
        if in_time:
            self._set_sensory(ids, described.sensory)
        for object_id, summaries in zip(ids, described.summaries, strict=True):
            held = self._summaries.get(object_id)
            self._summaries[object_id] = summaries if held is None else held + summaries
        return described.values

    def _conclude(self, ids: Sequence[int], masks: Tensor) -> None:
        self._last_masks = dict(zip(ids, masks, strict=True))

    def _summaries_of(self, ids: Sequence[int]) -> Tensor:
        """Return (O, queries, C + 1); zeros where no memorised frame has told of an object."""
        nothing = torch.zeros(self._network.summary_shape, device=self._device)
        return torch.stack([self._summaries.get(object_id, nothing) for object_id in ids])

    def _masks_before(self, frame: CutieFrame, ids: Sequence[int]) -> Tensor:
        """Return (O, padded H, padded W); nothing where an object was not on the frame before."""
        nothing = torch.zeros(frame.image.shape[-2:], device=self._device)
        return torch.stack([self._last_masks.get(object_id, nothing) for object_id in ids])
