"""The compact profile's segmenter: clicks, a box and an earlier mask become one mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from tam_backend.errors import InvalidPromptError
from tam_backend.models.devices import fast_precision
from tam_backend.models.padding import Padding
from tam_backend.models.protocols import FrameEmbedding, Segmentation, SegmenterPrompts
from tam_backend.models.segmenters.box_prompts import box_clicks, box_prior, inside_box
from tam_backend.models.segmenters.checked_frame import frame_size_hw
from tam_backend.models.segmenters.click_network import ClickNetwork, EncodedFrames
from tam_backend.models.segmenters.clicks import click_discs, connected_to_clicks, honour_clicks
from tam_backend.models.segmenters.closer_look import window_around
from tam_backend.types import BoolMask, Point, RgbFrame

# Measured on 24 masks of 3 real clips (model card): 384 beats 320 and 256 after 1, 3 and 5 clicks.
SHORTER_SIDE = 384
# A thing that fills more of the frame than this is larger, at that size, than most that the network learned from, and
# one click then finds a part of it: the first click is answered at a smaller size, too (training/NOTES.md, inference).
LARGE_SHARE, FARTHER_SIDE = 0.05, 288
# The network was trained to be clicked one by one, each time seeing its last answer; doing the same here beats giving
# all clicks at once. More rounds than this cost time and bring nothing.
MAX_ROUNDS = 6
# The name under which an embedding keeps the frame itself, (H, W, 3) uint8, for a closer look at a small thing.
_PIXELS = "pixels"


@dataclass(frozen=True, eq=False)
class _Frame:
    """An encoded frame with the geometry of its prompts."""

    size_hw: tuple[int, int]
    input_hw: tuple[int, int]
    padding: Padding
    encoded: EncodedFrames

    @property
    def padded_hw(self) -> tuple[int, int]:
        return self.encoded.stride4.shape[-2] * 4, self.encoded.stride4.shape[-1] * 4

    def to_input(self, points: Sequence[Point]) -> tuple[Point, ...]:
        """Bring points from pixels of the original frame to pixels of the padded input."""
        scale_x, scale_y = self.input_hw[1] / self.size_hw[1], self.input_hw[0] / self.size_hw[0]
        return tuple(
            Point(p.x * scale_x + self.padding.left, p.y * scale_y + self.padding.top, p.positive) for p in points
        )


class CompactSegmenter:
    """Implements `Segmenter` with the click network.

    Args:
        network: loaded, in eval mode, on `device`.
        name: for `model_version`.
        device: where the network is.
    """

    def __init__(self, network: ClickNetwork, name: str, device: torch.device) -> None:
        self._network = network
        self._name = name
        self._device = device

    @property
    def name(self) -> str:
        """Name and version for `model_version`."""
        return self._name

    @torch.inference_mode()
    def encode(self, frame: RgbFrame) -> FrameEmbedding:
        """Look at a frame once.

        Args:
            frame: (H, W, 3) uint8 RGB.

        Raises:
            InvalidInputError: not such an array, or without pixels.
        """
        pixels = np.array(frame, order="C")  # a copy: the caller may write to the frame before it is looked at again
        seen = self._encoded(pixels, SHORTER_SIDE)
        features = {**_as_features(seen.encoded), _PIXELS: torch.from_numpy(pixels)}
        return FrameEmbedding(seen.size_hw, seen.input_hw, features)

    def _encoded(self, pixels: RgbFrame, shorter_side: int) -> _Frame:
        """Encode (H, W, 3) uint8 pixels, scaled to a shorter side. Raises InvalidInputError: they are not such."""
        size_hw = frame_size_hw(pixels)
        input_hw = _input_size(size_hw, shorter_side)
        method = cv2.INTER_AREA if input_hw[0] < size_hw[0] else cv2.INTER_LINEAR
        resized = cv2.resize(pixels, (input_hw[1], input_hw[0]), interpolation=method)
        image = torch.from_numpy(resized).to(self._device).permute(2, 0, 1)[None].float() / 255  # 1 x 3 x h x w
        padding = Padding.to_stride(input_hw, ClickNetwork.STRIDE)
        with fast_precision(self._device):
            encoded = self._network.encode(padding.add(self._network.backbone.normalise(image)))
        return _Frame(size_hw, input_hw, padding, encoded)

    @torch.inference_mode()
    def segment(self, embedding: FrameEmbedding, prompts: SegmenterPrompts) -> Segmentation:
        """Answer prompts on an encoded frame.

        Clicks are given to the network one after the other, the first positive one first, and all of them once more
        with the answer to the last. Where there are only clicks and the answer to the first is large, it is answered
        from farther away, too (`LARGE_SHARE`), and a small thing is looked at a second time, enlarged (see
        closer_look). Either costs about as much as one click does without; what is compact and fills little more than
        `LARGE_SHARE` gets both. A box becomes clicks and a prior (see box_prompts), and nothing outside of it is
        answered.

        Raises:
            InvalidPromptError: neither a positive point, nor a box, nor a mask.
        """
        if prompts.box is None and prompts.mask_logits is None and not any(point.positive for point in prompts.points):
            raise InvalidPromptError(
                "These prompts do not say where the object is.", "Give a positive point, a box or a mask."
            )
        frame, pixels = _frame_of(embedding), embedding.features[_PIXELS].numpy()
        probability = self._answer(frame, pixels, prompts)  # 1 x 1 x padded h x w
        inner = frame.padding.remove(probability)
        full = _resized(inner, frame.size_hw)[0, 0].cpu().numpy()
        if prompts.box is None and prompts.mask_logits is None:
            closer = self._closer(pixels, full, prompts.points)
            if closer is not None:
                full = closer
                inner = functional.interpolate(torch.from_numpy(full)[None, None], frame.input_hw, mode="area")
        logits = torch.logit(inner[0, 0], eps=1e-6).to(self._device)
        mask: BoolMask = full > 0.5
        if prompts.box is not None:
            mask &= inside_box(prompts.box, frame.size_hw)
        mask = honour_clicks(mask, full, prompts.points)
        if prompts.box is None and prompts.mask_logits is None:
            mask = connected_to_clicks(mask, prompts.points)
        return Segmentation(mask=mask, logits=logits.float(), predicted_iou=_soft_iou(full, mask))

    def _closer(
        self, pixels: RgbFrame, probability: NDArray[np.float32], points: Sequence[Point]
    ) -> NDArray[np.float32] | None:
        """Return (H, W) probabilities, averaged with those of a second look, or None where the thing is not small.

        Args:
            pixels: (H, W, 3) uint8, the frame.
            probability: (H, W), the first answer.
            points: in pixels of the frame; at least one positive.
        """
        first = connected_to_clicks(honour_clicks(probability > 0.5, probability, points), points)
        window = window_around(first, points)
        if window is None:
            return None
        frame = self._encoded(pixels[window.pixels], SHORTER_SIDE)
        earlier = _resized(torch.from_numpy(probability[window.pixels])[None, None], frame.input_hw)
        clicks = window.within(_first_positive_first(points))
        answer = self._decode(frame, clicks, frame.padding.add(earlier.to(self._device)))
        second = _resized(frame.padding.remove(answer), window.size_hw)[0, 0].cpu().numpy()
        merged = probability.copy()
        merged[window.pixels] = (merged[window.pixels] + second) / 2
        return merged

    def _answer(self, frame: _Frame, pixels: RgbFrame, prompts: SegmenterPrompts) -> Tensor:
        """Return (1, 1, padded h, padded w) probabilities."""
        clicks = _first_positive_first(prompts.points)
        if prompts.mask_logits is not None:
            probability = self._earlier_mask(frame, prompts.mask_logits)
        elif prompts.box is not None:
            probability = box_prior(prompts.box, frame.size_hw, frame.input_hw, frame.padding, self._device)
        else:
            probability = torch.zeros(1, 1, *frame.padded_hw, device=self._device)
        if prompts.box is not None:
            around = box_clicks(prompts.box, frame.size_hw)
            probability = self._decode(frame, around, probability)
            return self._decode(frame, (*around, *clicks), probability) if clicks else probability
        only_clicks = prompts.mask_logits is None
        rounds = _rounds(len(clicks))
        if only_clicks:
            rounds.append(len(clicks))  # the network sees its own answer once more (measured in training/NOTES.md)
        farther: _Frame | None = None
        for count in rounds:
            answer = self._decode(frame, clicks[:count], probability)
            if only_clicks and count == 1 and _share(frame, answer) > LARGE_SHARE:
                farther = farther or self._encoded(pixels, FARTHER_SIDE)
                answer = (answer + self._decode_farther(frame, farther, clicks[:1], probability)) / 2
            probability = answer
        return probability

    def _decode_farther(self, frame: _Frame, farther: _Frame, clicks: Sequence[Point], earlier: Tensor) -> Tensor:
        """Answer at another size of the frame; `earlier` and the answer are (1, 1, padded h, padded w) of `frame`."""
        seen = farther.padding.add(_resized(frame.padding.remove(earlier), farther.input_hw))
        answer = farther.padding.remove(self._decode(farther, clicks, seen))
        return frame.padding.add(_resized(answer, frame.input_hw))

    def _decode(self, frame: _Frame, clicks: Sequence[Point], earlier: Tensor) -> Tensor:
        """Return (1, 1, padded h, padded w) probabilities."""
        at_input = frame.to_input(clicks)
        positive = click_discs([p for p in at_input if p.positive], frame.padded_hw, self._device)
        negative = click_discs([p for p in at_input if not p.positive], frame.padded_hw, self._device)
        with fast_precision(self._device):
            logits = self._network.decode(frame.encoded, positive, negative, earlier)
        return torch.sigmoid(functional.interpolate(logits, frame.padded_hw, mode="bilinear", align_corners=False))

    def _earlier_mask(self, frame: _Frame, mask_logits: Tensor) -> Tensor:
        if mask_logits.ndim != 2 or mask_logits.numel() == 0:
            raise InvalidPromptError(f"Mask logits must be (h, w), not of shape {tuple(mask_logits.shape)}.")
        probability = torch.sigmoid(mask_logits.to(self._device).float())[None, None]
        return frame.padding.add(_resized(probability, frame.input_hw))


def _input_size(size_hw: tuple[int, int], shorter_side: int) -> tuple[int, int]:
    """Scale the shorter side; a very long side is held at 4 times that."""
    scale = min(shorter_side / min(size_hw), 4 * shorter_side / max(size_hw))
    return max(1, round(size_hw[0] * scale)), max(1, round(size_hw[1] * scale))


def _share(frame: _Frame, probability: Tensor) -> float:
    """Return the share of the frame that (1, 1, padded h, padded w) probabilities fill."""
    return float((frame.padding.remove(probability) > 0.5).float().mean())


def _resized(planes: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """(..., h, w) -> (..., *size_hw)."""
    return functional.interpolate(planes, size_hw, mode="bilinear", align_corners=False)


def _as_features(encoded: EncodedFrames) -> dict[str, Tensor]:
    return {name: getattr(encoded, name) for name in EncodedFrames.__dataclass_fields__}


def _frame_of(embedding: FrameEmbedding) -> _Frame:
    padding = Padding.to_stride(embedding.input_hw, ClickNetwork.STRIDE)
    encoded = {name: embedding.features[name] for name in EncodedFrames.__dataclass_fields__}
    return _Frame(embedding.size_hw, embedding.input_hw, padding, EncodedFrames(**encoded))


def _first_positive_first(points: Sequence[Point]) -> tuple[Point, ...]:
    """Move the first positive point to the front: the network cannot start from what the object is not."""
    first = next((point for point in points if point.positive), None)
    return tuple(points) if first is None else (first, *(point for point in points if point is not first))


def _rounds(clicks: int) -> list[int]:
    """Return how many clicks are known at each round: one more each time, or in even steps where there are many.

    >>> _rounds(3), _rounds(12)
    ([1, 2, 3], [1, 3, 5, 8, 10, 12])
    """
    if clicks <= MAX_ROUNDS:
        return list(range(1, clicks + 1)) or [0]
    return [round(1 + (clicks - 1) * index / (MAX_ROUNDS - 1)) for index in range(MAX_ROUNDS)]


def _soft_iou(probability: np.ndarray[tuple[int, int], np.dtype[np.float32]], mask: BoolMask) -> float:
    """Return sum(p m) / sum(max(p, m)): 1 where the network is sure of every pixel."""
    union = float(np.maximum(probability, mask).sum())
    return float(probability[mask].sum()) / union if union > 0 else 0.0
