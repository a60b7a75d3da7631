"""XMem in time: one step encodes a frame, predicts its masks from the memories, and memorises what is known of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tam_backend.models.memory_reading.aggregation import soft_aggregate
from tam_backend.models.padding import Padding
from tam_backend.models.xmem.network import STRIDE, EncodedFrame, XMemNetwork
from tam_backend.models.xmem.remembering_tracker import RememberingTracker
from tam_backend.models.xmem.xmem_config import XMemConfig


class XMemTracker(RememberingTracker[EncodedFrame]):
    """Implements `Tracker`. One instance per pass over a video; the network is shared.

    Args:
        network: of `load_xmem`; answers stay on its device.
        config: how much is remembered.
    """

    def __init__(self, network: XMemNetwork, config: XMemConfig | None = None) -> None:
        config = config or XMemConfig()
        sizes = network.sizes
        super().__init__(config, network.device, (sizes.key_channels, sizes.value_channels, sizes.hidden_channels))
        self._network = network
        self._deep_update_every = config.deep_update_every
        self._last_deep_update = -config.deep_update_every  # so that one is due with the first memorised frame

    def export_memory(self) -> dict[str, Tensor]:
        """Return all that a pass has in mind; see `RememberingTracker.export_memory`."""
        return {**super().export_memory(), "last_deep_update": torch.tensor(self._last_deep_update)}

    def _import_own(self, tensors: Mapping[str, Tensor]) -> None:
        self._last_deep_update = int(tensors["last_deep_update"])

    def _look(self, image: Tensor) -> EncodedFrame:
        return self._network.encode_key(Padding.of(image, STRIDE).add(self._network.normalise(image)))

    def _segment(
        self, frame: EncodedFrame, readout: Tensor, ids: Sequence[int], *, memorising: bool, last: bool
    ) -> Tensor:
        # Where every memorised frame brings a deep update, that takes the place of the decoder's.
        decoder_updates = not last and not (memorising and self._deep_update_every == -1)
        logits, sensory = self._network.decode(frame, readout, self._sensory_of(ids), decoder_updates)
        self._set_sensory(ids, sensory)
        return soft_aggregate(logits)

    def _describe(self, frame: EncodedFrame, ids: Sequence[int], masks: Tensor, *, in_time: bool) -> Tensor:
        values = self._network.encode_value(frame, masks)
        every = self._deep_update_every
        if in_time and (every == -1 or self._clock - self._last_deep_update >= every):
            self._set_sensory(ids, self._network.deep_update(values, self._sensory_of(ids)))
            self._last_deep_update = self._clock
        return values
