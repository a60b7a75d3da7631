"""Cutie's network by what it is asked in time: encode a frame, predict masks from what memory says, describe masks.

A thin face over the package's modules, which take a batch of one and objects as a dimension of their own. h, w are the
height and width at stride 16.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class CutieFrame:
    """What one frame gives to memory and decoder.

    Args:
        image: (1, 3, 16 h, 16 w) float32, the padded frame, RGB in 0..1.
        features: of the image encoder at strides 16, 8 and 4.
        pixels: (1, C, h, w), what objects are fused with.
        key: (1, Ck, h, w) float32.
        shrinkage: (1, 1, h, w) float32, 1 or above: how sharply an element is matched.
        selection: (1, Ck, h, w) float32 in 0..1: which channels of the key count for a query.
    """

    image: Tensor
    features: tuple[Tensor, Tensor, Tensor]
    pixels: Tensor
    key: Tensor
    shrinkage: Tensor
    selection: Tensor


@dataclass(frozen=True, eq=False)
class Description:
    """What is to be remembered of masks on a frame.

    Args:
        values: (O, Cv, h, w), pixel by pixel.
        sensory: (O, Ch, h, w), the sensory memory after the frame.
        summaries: (O, queries, C + 1): features of parts of the object and of its surroundings, each summed over the
            cells, with its area as the last channel; sums over frames make their mean over time.
    """

    values: Tensor
    sensory: Tensor
    summaries: Tensor


class CutieNetwork:
    """Cutie in float32.

    Args:
        network: `cutie.model.cutie.CUTIE`, in eval mode.
    """

    def __init__(self, network: Any) -> None:
        self._network = network

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self._network.device
        return device

    @property
    def channels(self) -> tuple[int, int, int]:
        """(Ck, Cv, Ch), of keys, values and sensory memory."""
        network = self._network
        return network.key_dim, network.value_dim, network.sensory_dim

    @property
    def summary_shape(self) -> tuple[int, int]:
        """(queries, C + 1), of one object's summaries."""
        summarizer = self._network.object_summarizer
        return summarizer.num_summaries, summarizer.embed_dim + 1

    def encode(self, image: Tensor) -> CutieFrame:
        """Look at a padded (1, 3, H, W) frame, RGB in 0..1; H and W are multiples of 16."""
        features, pixels = self._network.encode_image(image)
        return CutieFrame(image, tuple(features), pixels, *self._network.transform_key(features[0]))

    def segment(
        self,
        frame: CutieFrame,
        readout: Tensor,
        sensory: Tensor,
        last_masks: Tensor,
        summaries: Tensor,
        update_sensory: bool,
    ) -> tuple[Tensor, Tensor]:
        """Predict masks.

        Args:
            frame: of `encode`.
            readout: (O, Cv, h, w), what the memory of pixels says.
            sensory: (O, Ch, h, w).
            last_masks: (O, H, W) probabilities on the frame before.
            summaries: (O, queries, C + 1), the memory of objects: `Description.summaries`, summed over time.
            update_sensory: whether the sensory memory follows.

        Returns:
            (1 + O, H, W) probabilities, background first, and the sensory memory after this frame.
        """
        network = self._network
        fused = network.pixel_fusion(frame.pixels, readout[None], sensory[None], last_masks[None])
        by_object, _ = network.readout_query(fused, summaries[None, :, None])
        after, _, probabilities = network.segment(
            frame.features, by_object, sensory[None], update_sensory=update_sensory
        )
        return probabilities[0], after[0]

    def describe(self, frame: CutieFrame, masks: Tensor, sensory: Tensor) -> Description:
        """Say what is to be remembered.

        Args:
            frame: of `encode`.
            masks: (O, H, W) probabilities.
            sensory: (O, Ch, h, w), before the frame.
        """
        values, after, summaries, _ = self._network.encode_mask(frame.image, frame.pixels, sensory[None], masks[None])
        return Description(values[0], after[0], summaries[0])
