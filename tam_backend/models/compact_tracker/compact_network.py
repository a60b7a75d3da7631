"""The compact tracker's network: MobileNetV2 in the shape of XMem (key, value, decoder, sensory memory)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tam_backend.models.backbones import MobileNetV2
from tam_backend.models.captured import captured
from tam_backend.models.cpu_operators import convolved
from tam_backend.models.layers import ResidualBlock, resize_like

MEMORY_STRIDE = 16


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """What one frame gives to memory and decoder; h, w at stride 16.

    Args:
        stride4: (1, 24, 4h, 4w) backbone features.
        stride8: (1, 32, 2h, 2w) backbone features.
        context16: (1, 160, h, w) backbone features with those of stride 32.
        key: (1, 64, h, w) float32.
        shrinkage: (1, 1, h, w) float32, 1 or above: how sharply an element is matched.
        selection: (1, 64, h, w) float32 in 0..2: which channels of the key count for a query.
    """

    stride4: Tensor
    stride8: Tensor
    context16: Tensor
    key: Tensor
    shrinkage: Tensor
    selection: Tensor


class CompactNetwork(nn.Module):
    """Sizes follow the research spike. A value's last two channels are the object's and the others' mask itself."""

    STRIDE = MobileNetV2.STRIDE
    KEY_CHANNELS = 64
    FEATURE_CHANNELS = 128
    VALUE_CHANNELS = FEATURE_CHANNELS + 2
    SENSORY_CHANNELS = 32

    def __init__(self) -> None:
        super().__init__()
        self.backbone = MobileNetV2()
        channels4, channels8, channels16, channels32 = MobileNetV2.CHANNELS
        context = channels16 + 64
        self.context32 = nn.Conv2d(channels32, 64, 1)
        self.to_key = nn.Conv2d(context, self.KEY_CHANNELS, 3, padding=1)
        self.key_scale = nn.Parameter(torch.tensor(12.6))
        self.to_shrinkage = nn.Conv2d(context, 1, 3, padding=1)
        self.to_selection = nn.Conv2d(context, self.KEY_CHANNELS, 3, padding=1)

        # Mask and other objects' masks enter at stride 4, 16 pixels of each folded into channels.
        self.mask4 = nn.Conv2d(channels4 + 2 * 16, 48, 3, stride=2, padding=1)
        self.mask8 = nn.Conv2d(48 + channels8, 96, 3, stride=2, padding=1)
        self.to_value = nn.Conv2d(96 + context, self.FEATURE_CHANNELS, 1)
        self.refine_value = ResidualBlock(self.FEATURE_CHANNELS, self.FEATURE_CHANNELS)

        self.merge16 = nn.Conv2d(self.VALUE_CHANNELS + 2 + self.SENSORY_CHANNELS + context, 128, 3, padding=1)
        self.decode16 = ResidualBlock(128, 128)
        self.skip8 = nn.Conv2d(channels8 + 2, 64, 3, padding=1)
        self.up8 = nn.Conv2d(128, 64, 1)
        self.decode8 = ResidualBlock(64, 64)
        self.skip4 = nn.Conv2d(channels4, 32, 3, padding=1)
        self.up4 = nn.Conv2d(64, 32, 1)
        self.decode4 = ResidualBlock(32, 32)
        self.to_logit = nn.Conv2d(32, 1, 3, padding=1)
        self.mask_residual = nn.Parameter(torch.tensor(4.0))
        self.sensory_gates = nn.Conv2d(128 + 64 + 1 + self.SENSORY_CHANNELS, 3 * self.SENSORY_CHANNELS, 3, padding=1)

    @captured
    def encode(self, image: Tensor) -> TrackedFrame:
        """Compute what a frame gives to memory and decoder.

        Args:
            image: (1, 3, H, W) normalised; H and W multiples of 32.
        """
        pyramid = self.backbone(image)
        context = torch.cat([pyramid.stride16, resize_like(self.context32(pyramid.stride32), pyramid.stride16)], 1)
        return TrackedFrame(
            stride4=pyramid.stride4,
            stride8=pyramid.stride8,
            context16=context,
            key=functional.normalize(self.to_key(context).float(), dim=1) * self.key_scale,
            shrinkage=self.to_shrinkage(context).float() ** 2 + 1,
            selection=2 * torch.sigmoid(self.to_selection(context).float()),
        )

    @captured
    def encode_value(self, frame: TrackedFrame, masks: Tensor, others: Tensor) -> Tensor:
        """Describe objects where they are.

        Args:
            frame: of `encode`.
            masks: (O, 1, H, W) float32 in 0..1.
            others: (O, 1, H, W) float32 in 0..1; for each object, the sum of all others.

        Returns:
            (O, VALUE_CHANNELS, h, w) float32.
        """
        planes = _folded(torch.cat([masks, others], 1).to(frame.context16.dtype), 4)
        objects = masks.shape[0]
        x = convolved(self.mask4, _joined([_repeat(frame.stride4, objects), planes], frame), "relu")
        x = convolved(self.mask8, _joined([x, _repeat(frame.stride8, objects)], frame), "relu")
        x = self.refine_value(self.to_value(_joined([x, _repeat(frame.context16, objects)], frame)))
        return torch.cat([x.float(), functional.avg_pool2d(masks, 16), functional.avg_pool2d(others, 16)], 1)

    @captured
    def decode(
        self, frame: TrackedFrame, readout: Tensor, sensory: Tensor, masks: Tensor, others: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Turn what was read from memory into masks.

        Args:
            frame: of `encode`.
            readout: (O, VALUE_CHANNELS, h, w) float32.
            sensory: (O, SENSORY_CHANNELS, h, w) float32.
            masks: (O, 1, H, W) float32; probabilities on the frame before.
            others: (O, 1, H, W) float32; for each object, the sum of all others there.

        Returns:
            logits (O, 1, H/4, W/4) float32, and the next sensory memory.
        """
        objects = readout.shape[0]
        planes8 = functional.avg_pool2d(torch.cat([masks, others], 1), 8)
        planes16 = functional.avg_pool2d(planes8, 2)
        stride8 = _repeat(frame.stride8, objects)
        merged = _joined([readout, planes16, sensory, _repeat(frame.context16, objects)], frame)
        x16 = self.decode16(self.merge16(merged))
        x8 = self.decode8(self.skip8(_joined([stride8, planes8], frame)) + resize_like(self.up8(x16), stride8))
        # The skip at stride 4 sees no mask, so it is computed once for all objects.
        x4 = self.decode4(self.skip4(frame.stride4) + resize_like(self.up4(x8), frame.stride4))
        mask_readout = readout[:, self.FEATURE_CHANNELS : self.FEATURE_CHANNELS + 1]
        logits = self.to_logit(functional.relu(x4)).float()
        logits = logits + self.mask_residual * (resize_like(mask_readout, logits) - 0.5)

        gates_input = [x16, functional.avg_pool2d(x8, 2), functional.avg_pool2d(logits, 4), sensory]
        forget, update, new = self.sensory_gates(_joined(gates_input, frame)).float().chunk(3, 1)
        forget, update = torch.sigmoid(forget), torch.sigmoid(update)
        return logits, forget * sensory * (1 - update) + update * torch.tanh(new)


def _repeat(features: Tensor, objects: int) -> Tensor:
    """(1, C, h, w) -> (objects, C, h, w) without copying."""
    return features.expand(objects, -1, -1, -1)


def _folded(planes: Tensor, side: int) -> Tensor:
    """Do what `pixel_unshuffle` does, (O, C, H, W) -> (O, C * side^2, H / side, W / side), with channels last."""
    objects, channels, height, width = planes.shape
    blocks = planes.view(objects, channels, height // side, side, width // side, side).permute(0, 2, 4, 1, 3, 5)
    return blocks.reshape(objects, height // side, width // side, channels * side**2).permute(0, 3, 1, 2)


def _joined(parts: Sequence[Tensor], frame: TrackedFrame) -> Tensor:
    """Put channels together in the precision of the frame's features, as the convolution that follows would do."""
    dtype = frame.context16.dtype
    return torch.cat([part.to(dtype, memory_format=torch.channels_last) for part in parts], 1)
