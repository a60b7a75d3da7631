from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from tam_backend.models.layers import ResidualBlock, resize_like


@pytest.mark.parametrize("out_channels", [4, 6])
@pytest.mark.parametrize("trains", [True, False])
def test_a_residual_block_adds_two_convolutions_of_relus_to_its_input(out_channels: int, trains: bool) -> None:
    torch.manual_seed(0)
    block, x = ResidualBlock(4, out_channels), torch.randn(2, 4, 5, 7)
    before = x.clone()
    with torch.set_grad_enabled(trains):
        out = block(x)
    passed_on = x if block.shortcut is None else block.shortcut(x)
    expected = block.conv2(functional.relu(block.conv1(functional.relu(x)))) + passed_on
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5, check_device=False)
    assert (block.shortcut is None) == (out_channels == 4)
    assert torch.equal(x, before), "the input was changed"


def test_a_map_is_resized_to_another_ones_height_and_width() -> None:
    ramp = torch.tensor([0.0, 4.0]).expand(1, 3, 2, 2)
    resized = resize_like(ramp, torch.empty(5, 1, 2, 4))
    assert resized[0, 2].tolist() == [[0.0, 1.0, 3.0, 4.0]] * 2
