"""The click network: features of a frame once, then a mask from clicks and an earlier mask, cheaply."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from tam_backend.models.backbones import MobileNetV2
from tam_backend.models.layers import ResidualBlock, resize_like


@dataclass(frozen=True, eq=False)
class EncodedFrames:
    """What the decoder needs of a batch of frames. The three embeddings have unit length at every cell.

    Args:
        stride4: (B, 24, H/4, W/4) backbone features.
        stride8: (B, 32, H/8, W/8) backbone features.
        context16: (B, 128, H/16, W/16) features fused with those of stride 32 and of the whole frame.
        embedding16: (B, 64, H/16, W/16) learned, for similarity to clicks.
        embedding8: (B, 32, H/8, W/8) learned, for similarity to clicks.
        backbone_embedding16: (B, 416, H/16, W/16) the backbone's own, for similarity to clicks.
    """

    stride4: Tensor
    stride8: Tensor
    context16: Tensor
    embedding16: Tensor
    embedding8: Tensor
    backbone_embedding16: Tensor


class ClickNetwork(nn.Module):
    """MobileNetV2, similarity of every cell to the clicked ones, and a decoder down to stride 4.

    Sizes and the similarity residual follow the research spike (its numbers are in the model card).
    """

    STRIDE = MobileNetV2.STRIDE
    # How much the deeper features count in the backbone's embedding.
    _STRIDE32_SHARE = 0.7
    _DILATIONS = (1, 3, 6)

    def __init__(self) -> None:
        super().__init__()
        self.backbone = MobileNetV2()
        channels4, channels8, channels16, channels32 = MobileNetV2.CHANNELS
        self.context32 = nn.Conv2d(channels32, 96, 1)
        self.frame_context = nn.Conv2d(channels32, 96, 1)
        self.fuse16 = nn.Conv2d(channels16 + 96, 128, 3, padding=1)
        self.refine_context16 = ResidualBlock(128, 128)
        self.embed16 = nn.Conv2d(128, 64, 1)
        self.embed8 = nn.Conv2d(channels8, 32, 1)

        # The prompts (positive, negative, earlier mask) enter at stride 4, 16 pixels of each folded into channels.
        self.prompts4 = nn.Conv2d(channels4 + 3 * 16, 48, 3, stride=2, padding=1)
        self.prompts8 = nn.Conv2d(48 + channels8 + 2, 96, 3, stride=2, padding=1)
        self.merge16 = nn.Conv2d(96 + 128 + 6, 160, 3, padding=1)
        self.decode16 = ResidualBlock(160, 128)
        self.dilated = nn.ModuleList(nn.Conv2d(128, 48, 3, padding=d, dilation=d) for d in self._DILATIONS)
        self.click_context = nn.Linear(128 + 1, 48)
        self.mix_context = nn.Conv2d(48 * (len(self._DILATIONS) + 1), 128, 1)
        self.refine16 = ResidualBlock(128, 128)
        self.skip8 = nn.Conv2d(channels8 + 2, 64, 3, padding=1)
        self.up8 = nn.Conv2d(128, 64, 1)
        self.decode8 = ResidualBlock(64, 64)
        self.skip4 = nn.Conv2d(channels4 + 3, 32, 3, padding=1)
        self.up4 = nn.Conv2d(64, 32, 1)
        self.decode4 = ResidualBlock(32, 32)
        self.to_logit = nn.Conv2d(32, 1, 3, padding=1)
        # Gain of the similarity to positive clicks, gain of that to negative ones, threshold of the former.
        self.similarity_residual = nn.Parameter(torch.tensor([6.0, 3.0, 0.45]))

    def encode(self, image: Tensor) -> EncodedFrames:
        """Compute features of frames: the expensive step.

        Args:
            image: (B, 3, H, W) normalised; H and W multiples of 32.
        """
        pyramid = self.backbone(image)
        whole_frame = self.frame_context(functional.adaptive_avg_pool2d(pyramid.stride32, 1))
        context = resize_like(self.context32(pyramid.stride32) + whole_frame, pyramid.stride16)
        context16 = self.refine_context16(self.fuse16(torch.cat([pyramid.stride16, context], 1)))
        deep = functional.normalize(resize_like(pyramid.stride32, pyramid.stride16).float(), dim=1)
        shallow = functional.normalize(pyramid.stride16.float(), dim=1)
        return EncodedFrames(
            stride4=pyramid.stride4,
            stride8=pyramid.stride8,
            context16=context16,
            embedding16=functional.normalize(self.embed16(context16).float(), dim=1),
            embedding8=functional.normalize(self.embed8(pyramid.stride8).float(), dim=1),
            backbone_embedding16=functional.normalize(torch.cat([shallow, self._STRIDE32_SHARE * deep], 1), dim=1),
        )

    def decode(self, frames: EncodedFrames, positive: Tensor, negative: Tensor, earlier: Tensor) -> Tensor:
        """Turn prompts into a mask: the cheap step.

        Args:
            frames: of `encode`.
            positive: (B, 1, H, W) float; 1 in discs around positive clicks, else 0.
            negative: (B, 1, H, W) float; the same for negative clicks.
            earlier: (B, 1, H, W) float in 0..1; probabilities of an earlier mask, or zeros.

        Returns:
            (B, 1, H/4, W/4) float32 logits.
        """
        backbone_positive = similarity_to_clicks(frames.backbone_embedding16, positive)
        backbone_negative = similarity_to_clicks(frames.backbone_embedding16, negative)
        similar16 = torch.cat(
            [
                similarity_to_clicks(frames.embedding16, positive),
                similarity_to_clicks(frames.embedding16, negative),
                backbone_positive,
                backbone_negative,
            ],
            1,
        )
        similar8 = torch.cat(
            [similarity_to_clicks(frames.embedding8, positive), similarity_to_clicks(frames.embedding8, negative)], 1
        )

        prompts = torch.cat([functional.pixel_unshuffle(plane, 4) for plane in (positive, negative, earlier)], 1)
        x = functional.relu(self.prompts4(torch.cat([frames.stride4, prompts], 1)))
        x = functional.relu(self.prompts8(torch.cat([x, frames.stride8, similar8], 1)))
        positive16, negative16 = functional.max_pool2d(positive, 16), functional.max_pool2d(negative, 16)
        x = self.decode16(self.merge16(torch.cat([x, frames.context16, similar16, positive16, negative16], 1)))
        x = self.refine16(x + self._surroundings(x, positive16, earlier))
        x = self.decode8(
            self.skip8(torch.cat([frames.stride8, similar8], 1)) + resize_like(self.up8(x), frames.stride8)
        )
        prompts4 = torch.cat([functional.avg_pool2d(plane, 4) for plane in (positive, negative, earlier)], 1)
        x = self.decode4(
            self.skip4(torch.cat([frames.stride4, prompts4], 1)) + resize_like(self.up4(x), frames.stride4)
        )
        logits: Tensor = self.to_logit(functional.relu(x)).float()

        gain_positive, gain_negative, threshold = self.similarity_residual
        residual = gain_positive * (backbone_positive - threshold) - gain_negative * functional.relu(backbone_negative)
        has_earlier = earlier.flatten(1).amax(1)[:, None, None, None] > 0
        residual = residual + torch.where(has_earlier, (functional.avg_pool2d(earlier, 16) - 0.5) * 4, 0.0)
        return logits + resize_like(residual, logits)

    def _surroundings(self, x: Tensor, positive16: Tensor, earlier: Tensor) -> Tensor:
        """Return (B, 128, h, w): what is around each cell, and what the positive clicks lie on."""
        clicked = (x * positive16).flatten(2).sum(2) / positive16.flatten(1).sum(1).clamp(min=1)[:, None]
        clicked = self.click_context(torch.cat([clicked, earlier.flatten(1).mean(1, keepdim=True)], 1))
        around = [branch(functional.relu(x)) for branch in self.dilated]
        around.append(clicked[:, :, None, None].expand(-1, -1, *x.shape[2:]))
        mixed: Tensor = self.mix_context(functional.relu(torch.cat(around, 1)))
        return mixed


def similarity_to_clicks(embedding: Tensor, clicks: Tensor) -> Tensor:
    """Compare every cell with the mean of the clicked ones.

    Args:
        embedding: (B, C, h, w) of unit length at every cell.
        clicks: (B, 1, H, W) discs around clicks; H / h = W / w is a whole number.

    Returns:
        (B, 1, h, w) in -1..1; 0 everywhere where there are no clicks.
    """
    stride = clicks.shape[-1] // embedding.shape[-1]
    weight = functional.max_pool2d(clicks, stride) * functional.avg_pool2d(clicks, stride)
    total = weight.flatten(1).sum(1).clamp(min=1e-6)
    mean = (embedding * weight).flatten(2).sum(2) / total[:, None]
    return (embedding * mean[:, :, None, None]).sum(1, keepdim=True)
