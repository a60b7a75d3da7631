"""The quicker image encoder: the same numbers as the package's own modules."""

from __future__ import annotations

import copy

import pytest
import torch
from hardware import needs_bfloat16
from segment_anything.modeling.image_encoder import Attention, Block, ImageEncoderViT
from torch import nn

from tam_backend.models.cpu_operators import has_onednn
from tam_backend.models.segmenters import sam_attention
from tam_backend.models.segmenters.sam_attention import (
    ConvolutionalLinear,
    FusedAttention,
    WidenedAttention,
    quicken,
)


def lively(module: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for name, parameter in module.named_parameters():
        if "rel_pos" in name or "pos_embed" in name:  # zeros at the package's initialisation: they must matter here
            parameter.data.normal_(0, 0.5)
    return module.eval().requires_grad_(False)


@pytest.mark.parametrize(
    ("trained_hw", "seen_hw"), [((14, 14), (14, 14)), ((12, 7), (12, 7)), ((5, 5), (9, 6)), ((1, 1), (1, 1))]
)
@torch.inference_mode()
def test_attention_is_the_packages_own(trained_hw: tuple[int, int], seen_hw: tuple[int, int]) -> None:
    original = lively(Attention(48, num_heads=3, use_rel_pos=True, input_size=trained_hw))
    x = 2 * torch.randn(2, *seen_hw, 48)
    expected = original(x)
    for fused in (FusedAttention(original), WidenedAttention(original)):
        assert torch.allclose(fused(x), expected, atol=2e-5)
        assert torch.equal(fused(x), fused(x))
    without = copy.deepcopy(original)
    without.rel_pos_h.data.zero_()
    assert seen_hw == (1, 1) or not torch.allclose(without(x), expected, atol=1e-2), "positions do not matter here"


@pytest.mark.parametrize("at_once", [1, 2 * 30**2, 5 * 30**2])
@torch.inference_mode()
def test_heads_may_be_done_in_any_portions(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    original = lively(Attention(40, num_heads=5, use_rel_pos=True, input_size=(6, 5)))
    x = torch.randn(1, 6, 5, 40)
    monkeypatch.setattr(sam_attention, "_BIASES_AT_ONCE", at_once)
    assert torch.allclose(FusedAttention(original)(x), original(x), atol=1e-5)


@pytest.mark.parametrize("window", [0, 3])
@torch.inference_mode()
def test_a_whole_block_is_the_packages_own(window: int) -> None:
    original = lively(Block(48, 3, use_rel_pos=True, window_size=window, input_size=(8, 8)))
    x = torch.randn(1, 8, 8, 48)
    expected = original(x)
    quicken(original)
    assert isinstance(original.attn, FusedAttention)
    assert isinstance(original.attn.qkv, ConvolutionalLinear) == has_onednn()
    assert torch.allclose(original(x), expected, atol=1e-5)


@needs_bfloat16
@torch.inference_mode()
def test_bfloat16_stays_within_one_percent() -> None:
    original = lively(Block(64, 4, use_rel_pos=True, window_size=0, input_size=(8, 8)))
    x = torch.randn(1, 8, 8, 64)
    expected = original(x)
    quicken(original)
    with torch.autocast("cpu", torch.bfloat16):
        answer = original(x).float()
    assert (answer - expected).norm() / expected.norm() < 0.01


@torch.inference_mode()
def test_one_attention_may_see_maps_of_several_sizes() -> None:
    original = lively(Attention(48, num_heads=3, use_rel_pos=True, input_size=(9, 5)))
    widened = WidenedAttention(original)
    for seen_hw in ((9, 5), (4, 7), (9, 5)):
        x = torch.randn(1, *seen_hw, 48)
        assert torch.allclose(widened(x), original(x), atol=2e-5)


def test_parameters_keep_their_names_and_values() -> None:
    encoder = lively(ImageEncoderViT(img_size=64, embed_dim=48, depth=2, num_heads=4, use_rel_pos=True, window_size=3))
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    quicken(encoder)
    after = encoder.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], before[name]) for name in before)


def test_an_encoder_of_another_kind_still_gives_its_own_numbers() -> None:
    encoder = lively(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8 * 36, 5)))
    x = torch.randn(2, 3, 8, 8)
    expected = encoder(x)
    quicken(encoder)
    assert torch.allclose(encoder(x), expected, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(7,), (5, 7), (2, 3, 4, 7)])
@torch.inference_mode()
def test_a_linear_layer_as_convolution_is_linear(shape: tuple[int, ...], bias: bool) -> None:
    linear = nn.Linear(7, 11, bias=bias)
    x = torch.randn(shape)
    assert torch.allclose(ConvolutionalLinear(linear)(x), linear(x), atol=1e-6)
