"""SAM 2.1 as a segmenter: a frame encoded once, then points, a box and an earlier mask become one mask."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from segment_anything.utils.amg import calculate_stability_score
from torch import Tensor
from torch.nn import functional

from tam_backend.models.devices import fast_precision
from tam_backend.models.protocols import FrameEmbedding, Segmentation, SegmenterPrompts
from tam_backend.models.sam2_network import normalised
from tam_backend.models.segmenters.checked_frame import frame_size_hw
from tam_backend.models.segmenters.checked_prompts import is_ambiguous, require_logits, require_place
from tam_backend.models.transfers import Transfer, uploaded
from tam_backend.types import RgbFrame

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

# By how much the threshold is moved up and down to see whether the mask stays (the package's default).
_STABILITY_OFFSET = 1.0
# Beyond this, logits given back as a mask prompt say no more (the package's number).
_SUREST_LOGIT = 32.0
# The package's labels of a box's corners among its points: top left and bottom right.
_TOP_LEFT, _BOTTOM_RIGHT = 2, 3


class Sam2Segmenter:
    """Implements `Segmenter`. The same answers as the package's `SAM2ImagePredictor`.

    It looks at the whole frame squeezed into its square: nothing is padded.

    Args:
        network: loaded, in eval mode, on `device`.
        name: for `model_version`.
        device: where the network is.
        fast: encode in bfloat16 where that is quick, and keep embeddings in float16; False = float32 everywhere.
    """

    def __init__(self, network: SAM2Base, name: str, device: torch.device, *, fast: bool = True) -> None:
        self._network = network
        self._name = name
        self._device = device
        self._fast = fast
        with torch.inference_mode():
            self._positions = network.sam_prompt_encoder.get_dense_pe()

    @property
    def name(self) -> str:
        """Name and version for `model_version`."""
        return self._name

    @torch.inference_mode()
    def encode(self, frame: RgbFrame) -> FrameEmbedding:
        """Look at a frame once. Its embedding, at three strides, is kept in float16: 8 MB.

        Args:
            frame: (H, W, 3) uint8 RGB.

        Raises:
            InvalidInputError: not such an array, or without pixels.
        """
        size_hw = frame_size_hw(frame)
        side = self._network.image_size
        pixels = uploaded(frame, self._device).permute(2, 0, 1)[None].float() / 255
        square = functional.interpolate(pixels, (side, side), mode="bilinear", align_corners=False, antialias=True)
        with fast_precision(self._device) if self._fast else nullcontext():
            stride4, stride8, stride16 = self._network.forward_image(normalised(square))["backbone_fpn"]
        features = {
            "stride4": stride4,  # 1 x 32 x S/4 x S/4
            "stride8": stride8,  # 1 x 64 x S/8 x S/8
            "stride16": stride16 + self._network.no_mem_embed.view(1, -1, 1, 1),  # 1 x 256 x S/16 x S/16
        }
        kept = {name: each.half() if self._fast else each for name, each in features.items()}
        return FrameEmbedding(size_hw, (side, side), kept)

    @torch.inference_mode()
    def segment(self, embedding: FrameEmbedding, prompts: SegmenterPrompts) -> Segmentation:
        """Answer prompts on an encoded frame.

        A single click may mean a part, a thing or a group of things: it is answered with three masks, of which the one
        with the best predicted IoU is the answer and the others are its alternatives. Anything more has one answer.

        Raises:
            InvalidPromptError: neither a positive point, nor a box, nor a mask.
        """
        require_place(prompts)
        sparse, dense = self._network.sam_prompt_encoder(
            points=self._points(embedding, prompts),
            boxes=None,
            masks=None if prompts.mask_logits is None else self._mask(prompts.mask_logits),
        )
        features = {name: each.float() for name, each in embedding.features.items()}
        low_logits, predicted_iou, _, _ = self._network.sam_mask_decoder(
            image_embeddings=features["stride16"],
            image_pe=self._positions,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=is_ambiguous(prompts),
            repeat_image=False,
            high_res_features=[features["stride4"], features["stride8"]],
        )
        full = functional.interpolate(low_logits, embedding.size_hw, mode="bilinear", align_corners=False)[0]
        stability = calculate_stability_score(full, 0.0, _STABILITY_OFFSET).nan_to_num(0.0)  # nothing at all: 0
        *masks, ious, stable = Transfer(*(each > 0 for each in full), predicted_iou[0], stability).arrays()
        readings = [
            Segmentation(
                mask=masks[index],
                logits=low_logits[0, index].clamp(-_SUREST_LOGIT, _SUREST_LOGIT),
                predicted_iou=min(max(float(ious[index]), 0.0), 1.0),
                stability=float(stable[index]),
            )
            for index in torch.from_numpy(ious).argsort(descending=True, stable=True).tolist()
        ]
        return replace(readings[0], alternatives=tuple(readings[1:]))

    def _points(self, embedding: FrameEmbedding, prompts: SegmenterPrompts) -> tuple[Tensor, Tensor] | None:
        """Return (1, N, 2) x, y in pixels of the square and (1, N) labels, a box's corners first; None without any."""
        places = [(point.x, point.y) for point in prompts.points]
        labels = [int(point.positive) for point in prompts.points]
        if prompts.box is not None:
            x0, y0, x1, y1 = prompts.box
            places = [(x0, y0), (x1, y1), *places]
            labels = [_TOP_LEFT, _BOTTOM_RIGHT, *labels]
        if not places:
            return None
        (height, width), side = embedding.size_hw, self._network.image_size
        scaled = [[x / width * side, y / height * side] for x, y in places]
        return (
            torch.tensor([scaled], device=self._device),
            torch.tensor([labels], dtype=torch.int, device=self._device),
        )

    def _mask(self, logits: Tensor) -> Tensor:
        """Return (1, 1, S/4, S/4) from (h, w) logits over the whole frame, of any size.

        Raises:
            InvalidPromptError: not (h, w), or no finite numbers.
        """
        require_logits(logits)
        given = logits.to(self._device).float()[None, None]
        size_hw = self._network.sam_prompt_encoder.mask_input_size
        if given.shape[-2:] != size_hw:
            given = functional.interpolate(given, size_hw, mode="bilinear", align_corners=False, antialias=True)
        return given
