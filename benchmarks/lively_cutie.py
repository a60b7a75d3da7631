"""Random weights for the networks of the package `rf-cutie` with which masks follow colours, as in lively_weights.py.

`python -m benchmarks.lively_cutie cutie-base-mega.pth --size base` writes a file of the published layout.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.lively_weights import clear, pass_on, tap, textured
from tam_backend.models.cutie_tracker.package_network import CutieSize, make_network

# Modules come from a package without types.
Module = Any


def lively_cutie(size: CutieSize = "base", seed: int = 0) -> Module:
    """Return a random network, in eval mode, that passes masks on by colour."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: Module = make_network(size)
        with torch.inference_mode():
            _calibrate(network)
            _wire(network)
    return network


def _calibrate(network: Module) -> None:
    """Let activations keep their scale: normalise by textured frames, project to unit variance."""
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum, norm.training = 1.0, True
    images = torch.stack([textured(seed, (64, 64)) for seed in range(2)])
    features, pixels = network.encode_image(images)
    masks = torch.rand(2, 1, 4, 4).round().kron(torch.ones(16, 16))
    values, *_ = network.encode_mask(images, pixels, torch.zeros(2, 1, network.sensory_dim, 4, 4), masks)
    for norm in norms:
        norm.eval()
    key_projection = network.key_proj
    middle = key_projection.pix_feat_proj(features[0])
    for convolution in (key_projection.key_proj, key_projection.d_proj, key_projection.e_proj):
        convolution.weight.div_(convolution(middle).std())
    for projection in (network.mask_encoder.fuser.distributor.g_transform, network.pix_feat_proj):
        projection.weight.div_(max(values.std(), pixels.std()))


def _wire(network: Module) -> None:
    """Lay a straight path for colours into the key and for masks through all that follows to the logits.

    All else stays random, so every part has a say.
    """
    encoder, projection = network.pixel_encoder, network.key_proj
    _silence_first(encoder, range(6))
    for colour in range(3):  # what is above the mean and what is below it: a ReLU follows
        encoder.conv1.weight[2 * colour, colour] = 1 / 49
        encoder.conv1.weight[2 * colour + 1, colour] = -1 / 49
    for stage in (encoder.res2, encoder.layer2, encoder.layer3):
        _pass_stage(stage, range(6))
    for channel in range(6):
        _link(projection.pix_feat_proj, channel, channel)
        tap(projection.key_proj, channel, channel, gain=6)
        projection.e_proj.weight[channel] = 0
        projection.e_proj.bias[channel] = 4
    projection.key_proj.weight[6:] *= 0.3
    projection.d_proj.weight.mul_(0.3)

    masks = network.mask_encoder
    _silence_first(masks, [0])
    masks.conv1.weight[0, 3] = 1 / 49
    for stage in (masks.layer1, masks.layer2, masks.layer3):
        _pass_stage(stage, [0])
    _pass_fuser(masks.fuser)
    _silence(network.pixel_fuser.sensory_compress, 0)
    _pass_fuser(network.pixel_fuser.fuser)
    _wire_transformer(network.object_transformer)
    _wire_decoder(network)


def _wire_transformer(transformer: Module) -> None:
    _link(transformer.pixel_init_proj, 0, 0)
    for block in transformer.blocks:
        attention = block.read_from_query.cross_attn.out_proj
        attention.weight[0], attention.bias[0] = 0, 0
        _silence(block.pixel_ffn.conv.conv2, 0)
    for _, predict in transformer.mask_pred:  # a ReLU before each
        _silence(predict, 0)
        predict.weight[0, 0], predict.bias[0] = 2, -1


def _wire_decoder(network: Module) -> None:
    decoder = network.mask_decoder
    for skip in decoder.decoder_feat_proc.transforms:
        _silence(skip, 0)
    for up in (decoder.up_16_8, decoder.up_8_4):
        _silence(up.out_conv.conv2, 0)
        if isinstance(up.out_conv.downsample, torch.nn.Conv2d):
            _link(up.out_conv.downsample, 0, 0)
    noise = decoder.pred.weight.clone()
    tap(decoder.pred, 0, 0)
    decoder.pred.bias[:] = 0
    inside = float(_whole_logits(network).median())
    tap(decoder.pred, 0, 0, gain=12 / inside)  # logits of 7 inside and -5 outside
    decoder.pred.weight[0, 1:] = noise[0, 1:] * 0.05
    decoder.pred.bias[:] = -5


def _whole_logits(network: Module) -> Tensor:
    """Return the logits of an object that covers a frame, read from nowhere but that frame."""
    image, mask = textured(0, (64, 64))[None], torch.ones(1, 1, 64, 64)
    features, pixels = network.encode_image(image)
    sensory = torch.zeros(1, 1, network.sensory_dim, 4, 4)
    values, _, summaries, _ = network.encode_mask(image, pixels, sensory, mask)
    readout, _ = network.readout_query(network.pixel_fusion(pixels, values, sensory, mask), summaries[:, :, None])
    logits: Tensor = network.mask_decoder(features, readout, sensory)[1]
    return logits


def _silence_first(encoder: Module, channels: Any) -> None:
    clear(encoder.conv1, encoder.bn1, channels)


def _pass_stage(stage: Module, channels: Any) -> None:
    """Let channels of a ResNet's stage be what they were before it."""
    for block in stage:
        last = 3 if hasattr(block, "conv3") else 2
        clear(getattr(block, f"conv{last}"), getattr(block, f"bn{last}"), channels)
        pass_on(block.downsample, channels)


def _pass_fuser(fuser: Module) -> None:
    """Let channel 0 be that of the object."""
    _silence(fuser.distributor.x_transform, 0)
    _link(fuser.distributor.g_transform, 0, 0)
    for block in (fuser.block1, fuser.block2):
        _silence(block.conv2, 0)


def _silence(convolution: Module, channel: int) -> None:
    convolution.weight[channel], convolution.bias[channel] = 0, 0


def _link(convolution: Module, channel: int, source: int) -> None:
    """Let an output channel of a 1x1 convolution be an input channel."""
    _silence(convolution, channel)
    convolution.weight[channel, source] = 1


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--size", choices=("base", "small"), default="base")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.save(lively_cutie(arguments.size, arguments.seed).state_dict(), arguments.file)


if __name__ == "__main__":
    main()
