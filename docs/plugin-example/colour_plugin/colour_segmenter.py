"""A segmenter without a network: the pixels whose colour is like that of the positive points."""

from __future__ import annotations

import torch

from tam_backend.errors import InvalidPromptError
from tam_backend.models.protocols import FrameEmbedding, Segmentation, SegmenterPrompts
from tam_backend.types import RgbFrame

# Colours nearer than this, in 0..255, are alike.
_ALIKE = 40.0


class ColourSegmenter:
    """Implements `Segmenter`.

    Args:
        name: for `model_version`.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def name(self) -> str:
        """Name and version for `model_version`."""
        return self._name

    def encode(self, frame: RgbFrame) -> FrameEmbedding:
        """Look at a frame once; (H, W, 3) uint8 RGB."""
        size_hw = frame.shape[:2]
        return FrameEmbedding(size_hw, size_hw, {"pixels": torch.from_numpy(frame.copy()).float()})

    def segment(self, embedding: FrameEmbedding, prompts: SegmenterPrompts) -> Segmentation:
        """Answer positive points; negative ones, boxes and masks it does not know.

        Raises:
            InvalidPromptError: no positive point.
        """
        pixels = embedding.features["pixels"]  # H x W x 3
        colours = [pixels[int(point.y), int(point.x)] for point in prompts.points if point.positive]
        if not colours:
            raise InvalidPromptError("This segmenter needs a positive point.", "Click on the object.")
        distance = torch.stack([(pixels - colour).norm(dim=-1) for colour in colours]).amin(0)
        logits = (_ALIKE - distance) / 10
        return Segmentation(mask=(logits > 0).numpy(), logits=logits, predicted_iou=0.5)
