"""Between the original size of a video and the size its tracker works at; nothing else resizes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from tam_backend.models.transfers import uploaded
from tam_backend.types import BoolMask, RgbFrame

# A panorama keeps at most this many times the pixels of a square with the profile's shorter side.
MAX_ASPECT = 4.0
# Of 255, for each value of a pixel: to look them up takes a quarter of the time of dividing.
_SHARES = np.arange(256, dtype=np.float32) / np.float32(255)


class Scaling:
    """Scales frames down (or up) to a tracker and its answers back.

    Args:
        original_hw: (height, width) of the video.
        side: the tracker's shorter side in pixels.
        device: where the images go.
    """

    def __init__(self, original_hw: tuple[int, int], side: int, device: torch.device) -> None:
        height, width = original_hw
        factor = side / min(height, width)
        aspect = max(height, width) / min(height, width)
        if aspect > MAX_ASPECT:
            factor *= (MAX_ASPECT / aspect) ** 0.5
        self.original_hw = original_hw
        self.working_hw = (max(1, round(height * factor)), max(1, round(width * factor)))
        self._device = device

    def image(self, frame: RgbFrame) -> Tensor:
        """Return the frame as float32 (3, h, w) RGB in 0..1 at the working size."""
        height, width = self.working_hw
        shrinks = height < frame.shape[0]
        interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        small = cv2.resize(frame, (width, height), interpolation=interpolation)
        if self._device.type == "cpu":
            # By OpenCV: this runs in a thread beside the networks, and PyTorch would give that thread a team of its
            # own, whose members keep turning when they are done. It took a fifth of the networks' speed on two cores.
            return torch.from_numpy(cv2.LUT(small, _SHARES)).permute(2, 0, 1)
        return uploaded(small, self._device).permute(2, 0, 1).float() / 255

    def index_mask(self, masks: Mapping[int, BoolMask]) -> Tensor:
        """Return int64 (h, w) at the working size: pixel = object id; the higher id lies on top where masks overlap."""
        height, width = self.working_hw
        index = np.zeros((height, width), dtype=np.int64)
        for object_id in sorted(masks):
            index[self.shrunk(masks[object_id])] = object_id
        return torch.from_numpy(index).to(self._device)

    def shrunk(self, mask: BoolMask) -> BoolMask:
        """Return a mask at the working size: pixels that it covers by half.

        One that covers less than one working pixel keeps one, so that small objects are not lost.
        """
        height, width = self.working_hw
        coverage = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
        small = coverage >= 0.5
        if not small.any() and mask.any():
            small = coverage == coverage.max()
        return np.asarray(small)

    @torch.inference_mode()
    def labels(self, probabilities: Tensor) -> Tensor:
        """Return (H, W) uint8 at the original size: the most probable channel, the first of equal ones.

        (int16 where there are more channels than uint8 can tell.) On the device of the probabilities.

        Args:
            probabilities: (1 + objects, h, w) at the working size, background first.
        """
        return most_probable(self._up(channel) for channel in probabilities)

    def _up(self, channel: Tensor) -> Tensor:
        if channel.shape == self.original_hw:
            return channel
        size = self.original_hw
        return F.interpolate(channel[None, None].float(), size=size, mode="bilinear", align_corners=False)[0, 0]


def most_probable(channels: Iterable[Tensor]) -> Tensor:
    """Return which of (H, W) channels is the largest, the first of equal ones; uint8, or int16 beyond 256 channels.

    One channel after the other: on a CPU that is several times as quick as `argmax`, and needs the memory of one.
    """
    coming = iter(channels)
    best = next(coming)
    labels = torch.zeros_like(best, dtype=torch.uint8)
    for number, candidate in enumerate(coming, start=1):
        if number == 256:
            labels = labels.to(torch.int16)
        labels.masked_fill_(candidate > best, number)
        best = torch.maximum(best, candidate)
    return labels
