from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from hardware import needs_bfloat16
from torch import Tensor, nn

from benchmarks.lively_weights import textured
from tam_backend.models.winograd import WinogradConvolution
from tam_backend.models.xmem import XMemTracker
from tam_backend.models.xmem.network import XMemNetwork
from tam_backend.models.xmem.quick import quicken
from tam_backend.types import BoolMask, RgbFrame

CPU = torch.device("cpu")
AROUND_THE_BALL = (slice(60, 140), slice(28, 156))  # over 12 frames of the scene; half precision may be emulated
Scene = Callable[[int], tuple[RgbFrame, BoolMask]]


@pytest.fixture(scope="module")
def half(published: XMemNetwork) -> XMemNetwork:
    return quicken(copy.deepcopy(published), torch.bfloat16, CPU)


def _dtypes(module: nn.Module) -> set[torch.dtype]:
    return {parameter.dtype for parameter in module.parameters()}


def test_no_norm_is_left_to_compute(xmem: XMemNetwork) -> None:
    assert not any(isinstance(module, nn.BatchNorm2d) for module in xmem.modules())


def test_norms_that_do_something_are_folded_in(published: XMemNetwork) -> None:
    """The lively weights scale every channel by its own statistics, and these shift and stretch them besides."""
    plain = copy.deepcopy(published)
    generator = torch.Generator().manual_seed(4)
    for module in plain.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.data = 0.5 + torch.rand(module.weight.shape, generator=generator)
            module.bias.data = 0.2 * torch.randn(module.bias.shape, generator=generator)
    quick = quicken(copy.deepcopy(plain), torch.float32, CPU)
    image = plain.normalise(textured(3))[None]
    expected, got = plain.encode_key(image), quick.encode_key(image)
    torch.testing.assert_close(got.stride16, expected.stride16, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(got.key, expected.key, atol=1e-3, rtol=1e-3)


def test_what_depends_on_the_image_alone_is_convolved_once_for_all_objects(xmem: XMemNetwork) -> None:
    batches: list[int] = []
    watched = xmem.decoder.fuser.block1.conv1.image
    handle = watched.register_forward_hook(lambda module, inputs, output: batches.append(inputs[0].shape[0]))
    frame = xmem.encode_key(xmem.normalise(textured(7))[None])
    xmem.decode(frame, torch.zeros(3, 512, 3, 4), torch.zeros(3, 64, 3, 4), False)
    handle.remove()
    assert batches == [1]


def test_the_decoder_multiplies_less_on_a_cpu_in_float32_only(published: XMemNetwork, half: XMemNetwork) -> None:
    def winograds(network: nn.Module) -> int:
        return sum(isinstance(module, WinogradConvolution) for module in network.modules())

    exact = quicken(copy.deepcopy(published), torch.float32, CPU)
    assert winograds(exact.decoder) == winograds(exact) > 0
    assert winograds(half) == 0
    assert winograds(quicken(copy.deepcopy(published), torch.float32, torch.device("cuda"))) == 0


def test_masks_and_memory_of_the_decoder_stay_the_same(published: XMemNetwork) -> None:
    quick = quicken(copy.deepcopy(published), torch.float32, CPU)
    image = published.normalise(textured(7))[None]
    readout, sensory = torch.randn(2, 512, 3, 4), torch.randn(2, 64, 3, 4)
    expected = published.decode(published.encode_key(image), readout, sensory, True)
    got = quick.decode(quick.encode_key(image), readout, sensory, True)
    scale = float(expected[0].abs().max())
    torch.testing.assert_close(got[0] / scale, expected[0] / scale, atol=1e-5, rtol=0)
    # Its gates are steep with these weights: folding the norms alone moves it as far.
    torch.testing.assert_close(got[1], expected[1], atol=2e-3, rtol=0)


def test_half_precision_is_for_convolutions_only(half: XMemNetwork) -> None:
    assert half.dtype == torch.bfloat16
    parts = (half.key_encoder.layer2, half.key_encoder.layer3, half.value_encoder, half.decoder)
    assert all(_dtypes(part) == {torch.bfloat16} for part in parts)
    assert _dtypes(half.key_proj) == _dtypes(half.key_encoder.res2) == {torch.float32}
    frame = half.encode_key(half.normalise(textured(7))[None])
    assert frame.key.dtype == frame.shrinkage.dtype == frame.selection.dtype == torch.float32
    values = half.encode_value(frame, torch.rand(2, 48, 64))
    logits, sensory = half.decode(frame, values, torch.zeros(2, 64, 3, 4), True)
    assert values.dtype == logits.dtype == sensory.dtype == half.deep_update(values, sensory).dtype == torch.float32


@needs_bfloat16
def test_masks_in_half_precision_stay_those_of_float32(
    xmem: XMemNetwork, half: XMemNetwork, scene: Scene, as_image: Callable[[RgbFrame], Tensor]
) -> None:
    exact, quick = XMemTracker(xmem), XMemTracker(half)
    overlaps = []
    for index in range(12):
        frame, truth = (whole[AROUND_THE_BALL] for whole in scene(index))
        given = (torch.from_numpy(truth).long(), [1]) if index == 0 else (None, None)
        a, b = (tracker.step(as_image(frame), *given).argmax(0) == 1 for tracker in (exact, quick))
        overlaps.append(float((a & b).sum() / (a | b).sum()))
    assert sum(overlaps) / len(overlaps) > 0.97
