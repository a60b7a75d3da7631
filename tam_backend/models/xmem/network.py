"""XMem's network: key encoder, value encoder, decoder and sensory updates, in the layout of the published weights.

Cheng & Schwing, "XMem: Long-Term Video Object Segmentation with an Atkinson-Shiffrin Memory Model", ECCV 2022.
Objects are the batch of the value encoder and the decoder; what depends on the image alone is computed once. h, w are
the height and width at stride 16. Convolutions run in the precision of their weights (`quick.py`); what is compared or
kept over time is float32: keys, shrinkage, selection, values, the sensory memory and the logits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from tam_backend.models.backbones import IMAGENET_MEAN_RGB, IMAGENET_STD_RGB
from tam_backend.models.captured import captured
from tam_backend.models.xmem.resnet import BasicBlock, Bottleneck, stage

STRIDE = 16
_CHANNELS4, _CHANNELS8, _CHANNELS16 = 256, 512, 1024  # of the key encoder
_MASK_FEATURES = 256  # of the value encoder's ResNet-18 at stride 16
_DECODER16, _DECODER8 = 512, 256
_GATE_REDUCTION = 16  # Woo et al., "CBAM", ECCV 2018


@dataclass(frozen=True)
class XMemSizes:
    """What differs between weights of the same layout.

    Args:
        key_channels: Ck, of keys and queries.
        value_channels: Cv, of what is remembered.
        hidden_channels: Ch, of the sensory memory; 0: there is none.
    """

    key_channels: int = 64
    value_channels: int = 512
    hidden_channels: int = 64


@dataclass(frozen=True, eq=False)
class EncodedFrame:
    """What one frame gives to memory and decoder.

    Args:
        image: (1, 3, 16 h, 16 w) float32, the normalised, padded frame.
        stride4: (1, 256, 4 h, 4 w) features, these three in the precision of most convolutions.
        stride8: (1, 512, 2 h, 2 w) features.
        stride16: (1, 1024, h, w) features.
        key: (1, Ck, h, w) float32.
        shrinkage: (1, 1, h, w) float32, 1 or above: how sharply an element is matched.
        selection: (1, Ck, h, w) float32 in 0..1: which channels of the key count for a query.
    """

    image: Tensor
    stride4: Tensor
    stride8: Tensor
    stride16: Tensor
    key: Tensor
    shrinkage: Tensor
    selection: Tensor


class XMemNetwork(nn.Module):
    """Loads the published state dict as it is; see `load_xmem`."""

    def __init__(self, sizes: XMemSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.key_encoder = _KeyEncoder()
        self.value_encoder = _ValueEncoder(sizes)
        self.key_proj = _KeyProjection(sizes.key_channels)
        self.decoder = _Decoder(sizes)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.key_encoder.conv1.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of most of its convolutions."""
        return self.decoder.pred.weight.dtype

    def normalise(self, image: Tensor) -> Tensor:
        """Bring (B, 3, H, W) RGB in 0..1 to ImageNet's statistics; padding added afterwards is mean colour."""
        mean, std = _statistics(image.device)
        return (image - mean) / std

    @captured
    def encode_key(self, image: Tensor) -> EncodedFrame:
        """Look at a normalised (1, 3, H, W) frame; H and W are multiples of 16."""
        # Everything after it follows this layout, in which the convolutions take a fifth less time on a CPU (measured).
        image = image.contiguous(memory_format=torch.channels_last)
        stride4, stride8, stride16 = self.key_encoder(image)
        return EncodedFrame(image, stride4, stride8, stride16, *self.key_proj(stride16))

    @captured
    def encode_value(self, frame: EncodedFrame, masks: Tensor) -> Tensor:
        """Describe objects on a frame.

        Args:
            frame: of `encode_key`.
            masks: (O, H, W) probabilities in 0..1.

        Returns:
            (O, Cv, h, w) float32.
        """
        # Summed over the others one by one: a total minus the own mask would round differently.
        others = torch.stack([torch.cat([masks[:i], masks[i + 1 :]]).sum(0) for i in range(masks.shape[0])])
        values: Tensor = self.value_encoder(frame, torch.stack([masks, others], 1))
        return values.float()

    @captured
    def deep_update(self, values: Tensor, sensory: Tensor) -> Tensor:
        """Update the (O, Ch, h, w) sensory memory by (O, Cv, h, w) values."""
        reinforce = self.value_encoder.hidden_reinforce
        return sensory if reinforce is None else reinforce(values, sensory)

    @captured
    def decode(
        self, frame: EncodedFrame, readout: Tensor, sensory: Tensor, update_sensory: bool
    ) -> tuple[Tensor, Tensor]:
        """Predict masks.

        Args:
            frame: of `encode_key`.
            readout: (O, Cv, h, w) what the memory says.
            sensory: (O, Ch, h, w).
            update_sensory: whether the sensory memory follows.

        Returns:
            (O, H, W) float32 logits, and the sensory memory after this frame.
        """
        logits, sensory = self.decoder(frame, readout, sensory, update_sensory)
        return logits, sensory


class _KeyEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.res2 = stage(Bottleneck, 64, 64, blocks=3, stride=1)
        self.layer2 = stage(Bottleneck, _CHANNELS4, 128, blocks=4, stride=2)
        self.layer3 = stage(Bottleneck, _CHANNELS8, 256, blocks=6, stride=2)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return features at strides 4, 8 and 16."""
        x = functional.relu_(self.bn1(self.conv1(image)))
        stride4 = self.res2(functional.max_pool2d(x, 3, stride=2, padding=1)).to(next(self.layer2.parameters()).dtype)
        stride8 = self.layer2(stride4)
        return stride4, stride8, self.layer3(stride8)


class _KeyProjection(nn.Module):
    def __init__(self, key_channels: int) -> None:
        super().__init__()
        self.key_proj = nn.Conv2d(_CHANNELS16, key_channels, 3, padding=1)
        self.d_proj = nn.Conv2d(_CHANNELS16, 1, 3, padding=1)
        self.e_proj = nn.Conv2d(_CHANNELS16, key_channels, 3, padding=1)

    def forward(self, stride16: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return key, shrinkage and selection (section 3.2 of the paper)."""
        stride16 = stride16.to(self.key_proj.weight.dtype)
        return self.key_proj(stride16), self.d_proj(stride16).square() + 1, torch.sigmoid(self.e_proj(stride16))


class _ValueEncoder(nn.Module):
    hidden_reinforce: _SensoryUpdate | None

    def __init__(self, sizes: XMemSizes) -> None:
        super().__init__()
        # 3 channels of the image, the object's mask, the sum of the others' masks.
        self.conv1 = nn.Conv2d(3 + 2, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = stage(BasicBlock, 64, 64, blocks=2, stride=1)
        self.layer2 = stage(BasicBlock, 64, 128, blocks=2, stride=2)
        self.layer3 = stage(BasicBlock, 128, _MASK_FEATURES, blocks=2, stride=2)
        self.fuser = _Fuser(_CHANNELS16, _MASK_FEATURES, sizes.value_channels)
        self.hidden_reinforce = _deep_update(sizes)

    def forward(self, frame: EncodedFrame, masks: Tensor) -> Tensor:
        """Fuse (O, 2, H, W) masks with the frame to (O, Cv, h, w) values."""
        x = torch.cat([_for_each(frame.image, masks), masks], 1)
        x = self.bn1(self.conv1(x.to(self.conv1.weight.dtype, memory_format=torch.channels_last)))
        x = functional.relu_(functional.max_pool2d(x, 3, stride=2, padding=1))
        x = self.layer3(self.layer2(self.layer1(x)))
        values: Tensor = self.fuser(frame.stride16, x)
        return values


class _Decoder(nn.Module):
    hidden_update: _DecoderSensoryUpdate | None

    def __init__(self, sizes: XMemSizes) -> None:
        super().__init__()
        self.fuser = _Fuser(_CHANNELS16, sizes.value_channels + sizes.hidden_channels, _DECODER16)
        self.hidden_update = _DecoderSensoryUpdate(sizes.hidden_channels) if sizes.hidden_channels else None
        self.up_16_8 = _UpBlock(_CHANNELS8, _DECODER16, _DECODER8)
        self.up_8_4 = _UpBlock(_CHANNELS4, _DECODER8, _DECODER8)
        self.pred = nn.Conv2d(_DECODER8, 1, 3, padding=1)

    def forward(
        self, frame: EncodedFrame, readout: Tensor, sensory: Tensor, update_sensory: bool
    ) -> tuple[Tensor, Tensor]:
        """See `XMemNetwork.decode`."""
        g16 = self.fuser(frame.stride16, torch.cat([readout, sensory], 1).to(frame.stride16.dtype))
        g8 = self.up_16_8(frame.stride8, g16)
        skip4 = self.up_8_4.skip_conv(frame.stride4)
        # On a CPU object by object: the features at stride 4 are the largest of all, and no quicker side by side.
        parts = [self._finest(skip4, some) for some in g8.split(1 if g8.device.type == "cpu" else len(g8))]
        pooled, logits = (torch.cat(each) for each in zip(*parts, strict=True))
        if update_sensory and self.hidden_update is not None:
            sensory = self.hidden_update(g16, g8, pooled, sensory)
        full = functional.interpolate(logits.float(), scale_factor=4, mode="bilinear", align_corners=False)
        return full[:, 0], sensory

    def _finest(self, skip4: Tensor, g8: Tensor) -> tuple[Tensor, Tensor]:
        """Return (O, 256 + 1, h, w) for the sensory update, and (O, 1, 4 h, 4 w) logits."""
        g4 = self.up_8_4.join(skip4, g8)
        logits = self.pred(functional.relu(g4))
        return torch.cat([functional.avg_pool2d(g4, 4), functional.avg_pool2d(logits, 4)], 1), logits


class _ResidualGroupBlock(nn.Module):
    """Two 3x3 convolutions, each after a ReLU; the shortcut is a 3x3 convolution too where channels differ."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.downsample = nn.Conv2d(in_channels, out_channels, 3, padding=1) if in_channels != out_channels else None
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(O, in_channels, H, W) -> (O, out_channels, H, W)."""
        out: Tensor = self.conv2(functional.relu_(self.conv1(functional.relu(x))))
        return out.add_(x if self.downsample is None else self.downsample(x))


class _JoiningBlock(nn.Module):
    """A residual group block over the image's channels and each object's."""

    def __init__(self, image_channels: int, object_channels: int, out_channels: int) -> None:
        super().__init__()
        self.downsample = JoiningConvolution(image_channels, object_channels, out_channels)
        self.conv1 = JoiningConvolution(image_channels, object_channels, out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)

    def forward(self, image: Tensor, objects: Tensor) -> Tensor:
        """(1, A, h, w) and (O, B, h, w) -> (O, out_channels, h, w)."""
        out: Tensor = self.conv2(functional.relu_(self.conv1(functional.relu(image), functional.relu(objects))))
        return out.add_(self.downsample(image, objects))


class JoiningConvolution(nn.Conv2d):
    """A 3x3 convolution over the image's channels followed by each object's."""

    def __init__(self, image_channels: int, object_channels: int, out_channels: int) -> None:
        super().__init__(image_channels + object_channels, out_channels, 3, padding=1)
        self.image_channels = image_channels

    def forward(self, image: Tensor, objects: Tensor) -> Tensor:  # type: ignore[override]
        """(1, A, h, w) and (O, B, h, w) -> (O, out_channels, h, w)."""
        return super().forward(torch.cat([_for_each(image, objects), objects], 1))


class _Fuser(nn.Module):
    """Joins the image's features with each object's."""

    def __init__(self, image_channels: int, object_channels: int, out_channels: int) -> None:
        super().__init__()
        self.block1 = _JoiningBlock(image_channels, object_channels, out_channels)
        self.attention = _Cbam(out_channels)
        self.block2 = _ResidualGroupBlock(out_channels, out_channels)

    def forward(self, image: Tensor, objects: Tensor) -> Tensor:
        """(1, A, h, w) and (O, B, h, w) -> (O, out_channels, h, w)."""
        x = self.block1(image, objects)
        fused: Tensor = self.block2(x + self.attention(x))
        return fused


class _UpBlock(nn.Module):
    """Doubles the resolution and adds the image's features of that resolution."""

    def __init__(self, skip_channels: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.skip_conv = nn.Conv2d(skip_channels, in_channels, 3, padding=1)
        self.out_conv = _ResidualGroupBlock(in_channels, out_channels)

    def forward(self, skip: Tensor, x: Tensor) -> Tensor:
        """(1, skip_channels, 2 h, 2 w) and (O, in_channels, h, w) -> (O, out_channels, 2 h, 2 w)."""
        return self.join(self.skip_conv(skip), x)

    def join(self, convolved_skip: Tensor, x: Tensor) -> Tensor:
        """Do what comes after the image's features were convolved."""
        up = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        out: Tensor = self.out_conv(up.add_(convolved_skip))
        return out


class _Cbam(nn.Module):
    """Attention over channels, then over places."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.ChannelGate = _ChannelGate(channels)
        self.SpatialGate = _SpatialGate()

    def forward(self, x: Tensor) -> Tensor:
        """(O, C, h, w) -> the same shape."""
        gated: Tensor = self.SpatialGate(self.ChannelGate(x))
        return gated


class _ChannelGate(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        narrow = channels // _GATE_REDUCTION
        self.mlp = nn.Sequential(nn.Flatten(), nn.Linear(channels, narrow), nn.ReLU(), nn.Linear(narrow, channels))

    def forward(self, x: Tensor) -> Tensor:
        attention = self.mlp(x.mean((2, 3))) + self.mlp(x.amax((2, 3)))
        return x * torch.sigmoid(attention)[:, :, None, None]


class _SpatialGate(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.spatial = nn.Sequential()
        self.spatial.add_module("conv", nn.Conv2d(2, 1, 7, padding=3))

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.cat([x.amax(1, keepdim=True), x.mean(1, keepdim=True)], 1)
        return x * torch.sigmoid(self.spatial(pooled))


class _SensoryUpdate(nn.Module):
    """A gated update of the sensory memory; its gates are not those of the textbook's GRU."""

    def __init__(self, in_channels: int, hidden_channels: int) -> None:
        super().__init__()
        self.transform = nn.Conv2d(in_channels + hidden_channels, 3 * hidden_channels, 3, padding=1)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        """(O, in_channels, h, w) and (O, Ch, h, w) float32 -> (O, Ch, h, w) float32."""
        x = x.to(self.transform.weight.dtype)
        forget, update, new = self.transform(torch.cat([x, hidden.to(x.dtype)], 1)).float().chunk(3, dim=1)
        forget, update = torch.sigmoid(forget), torch.sigmoid(update)
        return forget * hidden * (1 - update) + update * torch.tanh(new)


class _DecoderSensoryUpdate(_SensoryUpdate):
    """The decoder's update: its features of all resolutions and its logits, brought to stride 16."""

    def __init__(self, hidden_channels: int) -> None:
        super().__init__(_DECODER8, hidden_channels)
        self.g16_conv = nn.Conv2d(_DECODER16, _DECODER8, 1)
        self.g8_conv = nn.Conv2d(_DECODER8, _DECODER8, 1)
        self.g4_conv = nn.Conv2d(_DECODER8 + 1, _DECODER8, 1)

    def forward(self, g16: Tensor, g8: Tensor, g4: Tensor, hidden: Tensor) -> Tensor:  # type: ignore[override]
        """Take (O, 512, h, w), (O, 256, 2 h, 2 w) and, averaged to stride 16 already, (O, 256 + 1, h, w)."""
        g8 = functional.avg_pool2d(g8, 2)
        return super().forward(self.g16_conv(g16) + self.g8_conv(g8) + self.g4_conv(g4), hidden)


def _deep_update(sizes: XMemSizes) -> _SensoryUpdate | None:
    return _SensoryUpdate(sizes.value_channels, sizes.hidden_channels) if sizes.hidden_channels else None


def _for_each(image: Tensor, objects: Tensor) -> Tensor:
    """Repeat (1, C, h, w) for every object, without copying."""
    return image.expand(objects.shape[0], -1, -1, -1)


@cache
def _statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """Return ImageNet's mean and standard deviation, (3, 1, 1) each; brought to a device once, which makes it wait."""
    with torch.inference_mode(False):
        mean, std = (torch.tensor(rgb, device=device).view(3, 1, 1) for rgb in (IMAGENET_MEAN_RGB, IMAGENET_STD_RGB))
    return mean, std
