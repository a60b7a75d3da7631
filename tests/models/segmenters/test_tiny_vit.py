"""TinyViT: the layout of the published weights, and its blocks against naive ones."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tam_backend.models.segmenters.tiny_vit import ConvolutionalBlock, TinyVit, WindowAttention, WindowBlock


def lively(module: nn.Module) -> nn.Module:
    """Random weights in which nothing is one or zero, normalisation and biases included."""
    torch.manual_seed(0)
    for name, tensor in module.state_dict().items():
        if name.endswith("running_var") or (tensor.ndim == 1 and name.endswith("weight")):
            tensor.uniform_(0.5, 1.5)
        elif tensor.ndim == 1 or name.endswith("attention_biases"):
            tensor.normal_(0, 0.5)
    return module.eval().requires_grad_(False)


def published_layout() -> Iterator[tuple[str, tuple[int, ...]]]:
    """The names and shapes of the image encoder in mobile_sam.pt, as projects that list them do."""

    def normed(name: str, *shape: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield f"{name}.c.weight", shape
        for part in ("weight", "bias", "running_mean", "running_var"):
            yield f"{name}.bn.{part}", shape[:1]
        yield f"{name}.bn.num_batches_tracked", ()

    def affine(name: str, *shape: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield f"{name}.weight", shape
        yield f"{name}.bias", shape[:1]

    yield from normed("patch_embed.seq.0", 32, 3, 3, 3)
    yield from normed("patch_embed.seq.2", 64, 32, 3, 3)
    for block in range(2):
        yield from normed(f"layers.0.blocks.{block}.conv1", 256, 64, 1, 1)
        yield from normed(f"layers.0.blocks.{block}.conv2", 256, 1, 3, 3)
        yield from normed(f"layers.0.blocks.{block}.conv3", 64, 256, 1, 1)
    for stage, (narrow, wide) in enumerate([(64, 128), (128, 160), (160, 320)]):
        yield from normed(f"layers.{stage}.downsample.conv1", wide, narrow, 1, 1)
        yield from normed(f"layers.{stage}.downsample.conv2", wide, 1, 3, 3)
        yield from normed(f"layers.{stage}.downsample.conv3", wide, wide, 1, 1)
    for stage, blocks, width, heads, cells in [(1, 2, 128, 4, 49), (2, 6, 160, 5, 196), (3, 2, 320, 10, 49)]:
        for name in [f"layers.{stage}.blocks.{block}" for block in range(blocks)]:
            yield f"{name}.attn.attention_biases", (heads, cells)
            yield from affine(f"{name}.attn.norm", width)
            yield from affine(f"{name}.attn.qkv", 3 * width, width)
            yield from affine(f"{name}.attn.proj", width, width)
            yield from affine(f"{name}.mlp.norm", width)
            yield from affine(f"{name}.mlp.fc1", 4 * width, width)
            yield from affine(f"{name}.mlp.fc2", width, 4 * width)
            yield from normed(f"{name}.local_conv", width, 1, 3, 3)
    yield from affine("norm_head", 320)
    yield from affine("head", 1000, 320)
    yield "neck.0.weight", (256, 320, 1, 1)
    yield from affine("neck.1", 256)
    yield "neck.2.weight", (256, 256, 3, 3)
    yield from affine("neck.3", 256)


def test_it_has_the_published_names_and_shapes() -> None:
    with torch.device("meta"):
        encoder = TinyVit()
    ours = {name: tuple(tensor.shape) for name, tensor in encoder.state_dict().items()}
    assert ours == dict(published_layout())
    # The same of all lines "name shape", taken once from a network that the authors' own code had made.
    lines = sorted(f"{name} {shape}" for name, shape in ours.items())
    assert (
        hashlib.sha256("\n".join(lines).encode()).hexdigest()
        == "3bae6e53e8e0674c86d3c03f785efa7e75a0d52c6e1db6c2ddec68ca450df98b"
    )
    trunk = sum(weight.numel() for name, weight in encoder.named_parameters() if not name.startswith(("neck", "head")))
    assert trunk == pytest.approx(5.07e6, abs=0.01e6), "TinyViT-5M without its classifier"


@torch.inference_mode()
def test_the_embedding_has_a_cell_for_every_16_pixels_whatever_the_side() -> None:
    encoder = lively(TinyVit(64, (8, 16, 24, 32), (1, 1, 1, 1), (0, 2, 3, 4), (0, 7, 14, 7), 12))
    for side in (64, 160):
        assert encoder(torch.randn(2, 3, side, side)).shape == (2, 12, side // 16, side // 16)


@torch.inference_mode()
def test_a_convolutional_block_adds_what_came_in() -> None:
    block = lively(ConvolutionalBlock(8))
    x = torch.randn(1, 8, 5, 6)
    y = x
    for name, padding, groups in (("conv1", 0, 1), ("conv2", 1, 32), ("conv3", 0, 1)):
        weights = {key.removeprefix(f"{name}."): value for key, value in block.state_dict().items() if name in key}
        y = functional.conv2d(y, weights["c.weight"], padding=padding, groups=groups)
        mean, spread = weights["bn.running_mean"], (weights["bn.running_var"] + 1e-5).sqrt()
        y = ((y.movedim(1, -1) - mean) / spread * weights["bn.weight"] + weights["bn.bias"]).movedim(-1, 1)
        y = _gelu(y + x if name == "conv3" else y)
    assert torch.allclose(block(x), y, atol=1e-5)


@torch.inference_mode()
def test_attention_cell_by_cell() -> None:
    side, heads, channels = 3, 2, 8
    attention = lively(WindowAttention(channels, heads, side))
    x = torch.randn(1, side * side, channels)
    each = channels // heads
    qkv = attention.qkv(functional.layer_norm(x[0], (channels,), attention.norm.weight, attention.norm.bias))
    expected = torch.empty(side * side, channels)
    for head in range(heads):
        query, key, value = qkv[:, 3 * each * head : 3 * each * (head + 1)].split(each, dim=1)
        for a in range(side * side):
            scores = torch.tensor(
                [
                    float(query[a] @ key[b]) / math.sqrt(each)
                    + float(
                        attention.attention_biases[head, abs(a // side - b // side) * side + abs(a % side - b % side)]
                    )
                    for b in range(side * side)
                ]
            )
            expected[a, each * head : each * (head + 1)] = scores.softmax(0) @ value
    assert torch.allclose(attention(x)[0], attention.proj(expected), atol=1e-5)


@pytest.mark.parametrize("size_hw", [(3, 3), (7, 5), (6, 9), (1, 4)])
@torch.inference_mode()
def test_a_window_block_window_by_window(size_hw: tuple[int, int]) -> None:
    side, channels = 3, 8
    block = lively(WindowBlock(channels, 2, side))
    x = torch.randn(2, channels, *size_hw)
    attended = x.clone()
    for sample in range(2):
        for top in range(0, size_hw[0], side):
            for left in range(0, size_hw[1], side):
                window = torch.zeros(channels, side, side)  # beyond the map: zeros, attended to like any cell
                part = x[sample, :, top : top + side, left : left + side]
                window[:, : part.shape[1], : part.shape[2]] = part
                mixed = block.attn(window.flatten(1).T[None])[0].T.reshape(channels, side, side)
                attended[sample, :, top : top + side, left : left + side] += mixed[:, : part.shape[1], : part.shape[2]]
    local = block.local_conv(attended)
    assert torch.allclose(block(x), local + _by_cell(block.mlp, local), atol=1e-5)


def _by_cell(mlp: nn.Module, x: Tensor) -> Tensor:
    hidden = _gelu(mlp.fc1(mlp.norm(x.movedim(1, -1))))
    return mlp.fc2(hidden).movedim(-1, 1)


def _gelu(x: Tensor) -> Tensor:
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))
