"""SAM as a segmenter: a frame encoded once, then points, a box and an earlier mask become one mask."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import torch
from segment_anything.modeling import Sam
from segment_anything.utils.amg import calculate_stability_score
from torch import Tensor
from torch.nn import functional

from tam_backend.models.captured import captured
from tam_backend.models.devices import fast_precision, keep_fast_precision
from tam_backend.models.protocols import FrameEmbedding, Segmentation, SegmenterPrompts
from tam_backend.models.segmenters.checked_frame import frame_size_hw
from tam_backend.models.segmenters.checked_prompts import is_ambiguous, require_logits, require_place
from tam_backend.models.segmenters.sam_attention import quicken
from tam_backend.models.segmenters.sam_resizing import resized
from tam_backend.models.transfers import Transfer
from tam_backend.types import Box, Point, RgbFrame

# By how much the threshold is moved up and down to see whether the mask stays (the package's default).
_STABILITY_OFFSET = 1.0
# What a mask prompt says of the padding: at least as surely not the object as the surest pixel, and at least this.
_PADDING_LOGIT = -1.0


class SamSegmenter:
    """Implements `Segmenter` with a SAM of any image encoder. The same answers as the package's `SamPredictor`.

    Args:
        network: loaded, in eval mode, on `device`; its image encoder is made quicker in place.
        name: for `model_version`.
        device: where the network is.
        fast: encode in bfloat16 where that is quick; False = float32 everywhere.
    """

    def __init__(self, network: Sam, name: str, device: torch.device, *, fast: bool = True) -> None:
        quicken(network.image_encoder)
        if fast and device.type == "cuda":
            keep_fast_precision(network.image_encoder, device)
        self._network = network
        self._name = name
        self._device = device
        self._fast = fast
        with torch.inference_mode():
            self._positions = network.prompt_encoder.get_dense_pe()

    @property
    def name(self) -> str:
        """Name and version for `model_version`."""
        return self._name

    @torch.inference_mode()
    def encode(self, frame: RgbFrame) -> FrameEmbedding:
        """Look at a frame once. The embedding (1, 256, 64, 64) is kept in float16: 2 MB.

        Args:
            frame: (H, W, 3) uint8 RGB.

        Raises:
            InvalidInputError: not such an array, or without pixels.
        """
        size_hw = frame_size_hw(frame)
        input_hw = _input_size(size_hw, self._network.image_encoder.img_size)
        square = self._network.preprocess(resized(frame, input_hw, self._device))
        return FrameEmbedding(size_hw, input_hw, {"image": self._embedded(square)})

    @captured
    def _embedded(self, square: Tensor) -> Tensor:
        """Encode a normalised and padded (1, 3, S, S) frame; float16."""
        with fast_precision(self._device) if self._fast else nullcontext():
            embedding: Tensor = self._network.image_encoder(square)
        return embedding.half()

    @torch.inference_mode()
    def segment(self, embedding: FrameEmbedding, prompts: SegmenterPrompts) -> Segmentation:
        """Answer prompts on an encoded frame.

        A single click may mean a part, a thing or a group of things: SAM answers it with three masks, of which the one
        with the best predicted IoU is the answer and the others are its alternatives. Anything more has one answer.

        Raises:
            InvalidPromptError: neither a positive point, nor a box, nor a mask.
        """
        require_place(prompts)
        frame = _Frame(embedding, self._network)
        sparse, dense = self._network.prompt_encoder(
            points=frame.points(prompts.points, self._device) if prompts.points else None,
            boxes=None if prompts.box is None else frame.box(prompts.box, self._device),
            masks=None if prompts.mask_logits is None else frame.mask(prompts.mask_logits, self._device),
        )
        low_logits, *told = self._decoded(
            embedding.features["image"], sparse, dense, is_ambiguous(prompts), embedding.input_hw, embedding.size_hw
        )
        *masks, ious, stable = Transfer(*told).arrays()
        height, width = frame.low_hw
        readings = [
            Segmentation(
                mask=masks[index],
                logits=low_logits[0, index, :height, :width].float(),
                predicted_iou=min(max(float(ious[index]), 0.0), 1.0),
                stability=float(stable[index]),
            )
            for index in torch.from_numpy(ious).argsort(descending=True, stable=True).tolist()
        ]
        return replace(readings[0], alternatives=tuple(readings[1:]))

    @captured
    def _decoded(
        self,
        image: Tensor,
        sparse: Tensor,
        dense: Tensor,
        ambiguous: bool,
        input_hw: tuple[int, int],
        size_hw: tuple[int, int],
    ) -> tuple[Tensor, ...]:
        """Return logits (1, masks, 256, 256), each mask (H, W) bool, their predicted IoUs and their stabilities."""
        low_logits, predicted_iou = self._network.mask_decoder(
            image_embeddings=image.float(),
            image_pe=self._positions,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=ambiguous,
        )
        full = self._network.postprocess_masks(low_logits, input_hw, size_hw)[0]
        threshold = self._network.mask_threshold
        stability = calculate_stability_score(full, threshold, _STABILITY_OFFSET).nan_to_num(0.0)  # nothing at all: 0
        return low_logits, *(each > threshold for each in full), predicted_iou[0], stability


class _Frame:
    """The geometry of prompts on an encoded frame: SAM sees it at the top left of a padded square."""

    def __init__(self, embedding: FrameEmbedding, network: Sam) -> None:
        self._scale_x = embedding.input_hw[1] / embedding.size_hw[1]
        self._scale_y = embedding.input_hw[0] / embedding.size_hw[0]
        self._mask_hw: tuple[int, int] = network.prompt_encoder.mask_input_size
        # Input pixels per pixel of a mask prompt, and of the decoder's answer: 4.
        stride = network.image_encoder.img_size / self._mask_hw[0]
        self.low_hw = tuple(max(1, round(length / stride)) for length in embedding.input_hw)

    def points(self, points: tuple[Point, ...], device: torch.device) -> tuple[Tensor, Tensor]:
        """Return (1, N, 2) x, y in input pixels and (1, N) labels."""
        places = [[point.x * self._scale_x, point.y * self._scale_y] for point in points]
        labels = [int(point.positive) for point in points]
        return torch.tensor([places], device=device), torch.tensor([labels], dtype=torch.int, device=device)

    def box(self, box: Box, device: torch.device) -> Tensor:
        """Return (1, 4) x0, y0, x1, y1 in input pixels."""
        x0, y0, x1, y1 = box
        scaled = [x0 * self._scale_x, y0 * self._scale_y, x1 * self._scale_x, y1 * self._scale_y]
        return torch.tensor([scaled], device=device)

    def mask(self, logits: Tensor, device: torch.device) -> Tensor:
        """Return (1, 1, 256, 256) of the padded square from (h, w) logits over the whole frame, of any size.

        Raises:
            InvalidPromptError: not (h, w), or no finite numbers.
        """
        require_logits(logits)
        given = logits.to(device).float()[None, None]
        if given.shape[-2:] != self.low_hw:
            given = functional.interpolate(given, self.low_hw, mode="bilinear", align_corners=False, antialias=True)
        square = given.amin().clamp(max=_PADDING_LOGIT).repeat(1, 1, *self._mask_hw)
        square[..., : given.shape[-2], : given.shape[-1]] = given
        return square


def _input_size(size_hw: tuple[int, int], longest: int) -> tuple[int, int]:
    """Scale the longer side to `longest`, rounded as SAM's authors do."""
    scale = longest / max(size_hw)
    return max(1, int(size_hw[0] * scale + 0.5)), max(1, int(size_hw[1] * scale + 0.5))
