"""Random weights in the layout of the published XMem state dict, written down from its description.

`python -m benchmarks.lively_weights XMem.pth` writes a file that `load_xmem` takes. Masks follow colours with it.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tam_backend.models.xmem.network import XMemNetwork, XMemSizes

Shape = tuple[int, ...]


def official_layout(  # noqa: PLR0915 - a list
    key: int = 64, value: int = 512, hidden: int = 64
) -> dict[str, Shape]:
    """Every name and shape of XMem.pth (with its own sizes: 412 tensors)."""
    layout: dict[str, Shape] = {}

    def convolution(name: str, shape: Shape, bias: bool = True) -> None:
        layout[f"{name}.weight"] = shape
        if bias:
            layout[f"{name}.bias"] = shape[:1]

    def norm(name: str, channels: int) -> None:
        layout.update({f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")})
        layout[f"{name}.num_batches_tracked"] = ()

    def plain(name: str, norm_name: str, shape: Shape) -> None:
        convolution(name, shape, bias=False)
        norm(norm_name, shape[0])

    def stage(name: str, in_channels: int, width: int, blocks: int, bottleneck: bool) -> None:
        out_channels = width * 4 if bottleneck else width
        kernels = (1, 3, 1) if bottleneck else (3, 3)
        for block in range(blocks):
            widths = (width, width, out_channels) if bottleneck else (width, width)
            before = in_channels if block == 0 else out_channels
            first = before
            for i, (kernel, after) in enumerate(zip(kernels, widths, strict=True), 1):
                plain(f"{name}.{block}.conv{i}", f"{name}.{block}.bn{i}", (after, before, kernel, kernel))
                before = after
            if first != out_channels:
                plain(f"{name}.{block}.downsample.0", f"{name}.{block}.downsample.1", (out_channels, first, 1, 1))

    def residual(name: str, before: int, after: int) -> None:
        convolution(f"{name}.conv1", (after, before, 3, 3))
        convolution(f"{name}.conv2", (after, after, 3, 3))
        if before != after:
            convolution(f"{name}.downsample", (after, before, 3, 3))

    def fuser(name: str, before: int, after: int) -> None:
        residual(f"{name}.block1", before, after)
        residual(f"{name}.block2", after, after)
        convolution(f"{name}.attention.ChannelGate.mlp.1", (after // 16, after))
        convolution(f"{name}.attention.ChannelGate.mlp.3", (after, after // 16))
        convolution(f"{name}.attention.SpatialGate.spatial.conv", (1, 2, 7, 7))

    plain("key_encoder.conv1", "key_encoder.bn1", (64, 3, 7, 7))
    stage("key_encoder.res2", 64, 64, 3, bottleneck=True)
    stage("key_encoder.layer2", 256, 128, 4, bottleneck=True)
    stage("key_encoder.layer3", 512, 256, 6, bottleneck=True)
    plain("value_encoder.conv1", "value_encoder.bn1", (64, 5, 7, 7))
    stage("value_encoder.layer1", 64, 64, 2, bottleneck=False)
    stage("value_encoder.layer2", 64, 128, 2, bottleneck=False)
    stage("value_encoder.layer3", 128, 256, 2, bottleneck=False)
    fuser("value_encoder.fuser", 1024 + 256, value)
    convolution("key_proj.key_proj", (key, 1024, 3, 3))
    convolution("key_proj.d_proj", (1, 1024, 3, 3))
    convolution("key_proj.e_proj", (key, 1024, 3, 3))
    fuser("decoder.fuser", 1024 + value + hidden, 512)
    convolution("decoder.up_16_8.skip_conv", (512, 512, 3, 3))
    residual("decoder.up_16_8.out_conv", 512, 256)
    convolution("decoder.up_8_4.skip_conv", (256, 256, 3, 3))
    residual("decoder.up_8_4.out_conv", 256, 256)
    convolution("decoder.pred", (1, 256, 3, 3))
    if hidden:
        convolution("value_encoder.hidden_reinforce.transform", (3 * hidden, value + hidden, 3, 3))
        convolution("decoder.hidden_update.g16_conv", (256, 512, 1, 1))
        convolution("decoder.hidden_update.g8_conv", (256, 256, 1, 1))
        convolution("decoder.hidden_update.g4_conv", (256, 257, 1, 1))
        convolution("decoder.hidden_update.transform", (3 * hidden, 256 + hidden, 3, 3))
    return layout


def random_state(layout: dict[str, Shape], seed: int = 0) -> dict[str, Tensor]:
    """He-initialised weights; normalisation that does nothing yet."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}
    for name, shape in layout.items():
        if name.endswith("num_batches_tracked"):
            state[name] = torch.tensor(0)
        elif len(shape) > 1:
            state[name] = torch.randn(shape, generator=generator) * math.sqrt(2 / math.prod(shape[1:]))
        else:
            state[name] = torch.ones(shape) if name.endswith((".running_var", "weight")) else torch.zeros(shape)
    return state


def lively_network(seed: int = 0) -> XMemNetwork:
    """Return a random network, in eval mode, that passes masks on by colour; of the published layout, not quickened."""
    network = XMemNetwork(XMemSizes())
    network.load_state_dict(random_state(official_layout(), seed))
    network.requires_grad_(False).eval()
    calibrate(network)
    wire(network)
    return network


def textured(seed: int, size_hw: tuple[int, int] = (48, 64)) -> Tensor:
    """(3, H, W) RGB in 0..1: smooth blobs with a little noise."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 5, 7, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, size_hw, mode="bicubic", align_corners=False)[0]
    return (smooth + 0.1 * torch.rand(3, *size_hw, generator=generator)).clamp(0, 1)


@torch.inference_mode()
def calibrate(network: XMemNetwork) -> None:
    """Let activations keep their scale: normalise by textured frames, project to unit variance."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    image = network.normalise(torch.stack([textured(seed, (64, 64)) for seed in range(2)]))
    masks = torch.rand(2, 4, 4, generator=torch.Generator().manual_seed(9)).round().kron(torch.ones(16, 16))
    network.train()
    network.key_encoder(image)
    network.eval()
    frame = network.encode_key(image[:1])
    network.train()
    values = network.encode_value(frame, masks)
    network.eval()
    projections: Any = network.key_proj
    for convolution in (projections.key_proj, projections.d_proj, projections.e_proj):
        convolution.weight.div_(convolution(frame.stride16).std())
    network.value_encoder.fuser.block1.conv2.weight.div_(values.std())
    network.value_encoder.fuser.block1.downsample.weight.div_(values.std())
    values = network.encode_value(frame, masks)
    sensory = torch.zeros(2, network.sizes.hidden_channels, *frame.key.shape[-2:])
    network.decoder.pred.weight.div_(2 * network.decode(frame, values, sensory, False)[0].std())


@torch.inference_mode()
def wire(network: XMemNetwork) -> None:
    """Lay a straight path for colours into the key and for masks through value, read-out and decoder to the logits.

    All else stays random, so every part has a say, but masks follow the colours that they were given on.
    """
    # Any: PyTorch's modules do not tell mypy what their attributes are.
    encoder: Any = network.key_encoder
    masks: Any = network.value_encoder
    decoder: Any = network.decoder
    clear(encoder.conv1, encoder.bn1, range(6))
    for colour in range(3):  # what is above the mean and what is below it: a ReLU follows
        encoder.conv1.weight[2 * colour, colour] = 1 / 49
        encoder.conv1.weight[2 * colour + 1, colour] = -1 / 49
    for blocks in (encoder.res2, encoder.layer2, encoder.layer3):
        for block in blocks:
            clear(block.conv3, block.bn3, range(6))
            pass_on(block.downsample, range(6))
    projections: Any = network.key_proj
    for channel in range(6):
        tap(projections.key_proj, channel, channel, gain=6)
        projections.e_proj.weight[channel] = 0
        projections.e_proj.bias[channel] = 4
    projections.key_proj.weight[6:] *= 0.3
    projections.d_proj.weight.mul_(0.3)

    clear(masks.conv1, masks.bn1, [0])
    masks.conv1.weight[0, 3] = 1 / 49
    for blocks in (masks.layer1, masks.layer2, masks.layer3):
        for block in blocks:
            clear(block.conv2, block.bn2, [0])
            pass_on(block.downsample, [0])
    _wire_fuser(masks.fuser)
    _wire_fuser(decoder.fuser)
    for up in (decoder.up_16_8, decoder.up_8_4):
        up.skip_conv.weight[0] = 0
        _pass_residual(up.out_conv, 0)
    noise = decoder.pred.weight.clone()
    tap(decoder.pred, 0, 0)
    frame = network.encode_key(network.normalise(textured(0, (64, 64))[None]))
    whole = network.encode_value(frame, torch.ones(1, 64, 64))
    sensory = torch.zeros(1, network.sizes.hidden_channels, *frame.key.shape[-2:])
    inside = float(network.decode(frame, whole, sensory, False)[0].median())
    tap(decoder.pred, 0, 0, gain=12 / inside)  # logits of 7 inside and -5 outside
    decoder.pred.weight[0, 1:] = noise[0, 1:]
    decoder.pred.bias[:] = -5


def clear(convolution: Any, norm: Any, channels: Iterable[int]) -> None:
    """Silence output channels, and let their normalisation do nothing."""
    for channel in channels:
        convolution.weight[channel] = 0
        norm.running_mean[channel], norm.running_var[channel] = 0, 1
        norm.weight[channel], norm.bias[channel] = 1, 0


def pass_on(downsample: Any, channels: Sequence[int]) -> None:
    if downsample is not None:
        clear(downsample[0], downsample[1], channels)
        for channel in channels:
            downsample[0].weight[channel, channel] = 1


def tap(convolution: Any, channel: int, source: int, gain: float = 1) -> None:
    """Let an output channel be an input channel, at the same place."""
    convolution.weight[channel] = 0
    convolution.weight[channel, source, 1, 1] = gain


def _pass_residual(block: Any, source: int) -> None:
    block.conv2.weight[0] = 0
    if block.downsample is not None:
        tap(block.downsample, 0, source)


def _wire_fuser(fuser: Any) -> None:
    _pass_residual(fuser.block1, 1024)
    _pass_residual(fuser.block2, 0)


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.save(lively_network(arguments.seed).state_dict(), arguments.file)


if __name__ == "__main__":
    main()
