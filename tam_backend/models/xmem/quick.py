"""The same network, laid out to run quickly: folded norms, halved work for several objects, the layout and precision.

The published layout of the state dict is given up for it, so it is the last thing that happens to a loaded network.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tam_backend.models.winograd import use_winograd
from tam_backend.models.xmem.network import JoiningConvolution, XMemNetwork

_NORM_AFTER = {"conv1": "bn1", "conv2": "bn2", "conv3": "bn3", "0": "1"}
"""Name of a convolution -> name of the normalisation that follows it in the same module."""


def quicken(network: XMemNetwork, dtype: torch.dtype, device: torch.device) -> XMemNetwork:
    """Change a network in eval mode for good; in float32 its answers stay the same up to rounding.

    - Batch normalisation becomes part of the convolution before it.
    - A convolution over the image's features and each object's is the sum of two: the image's is done once per frame,
      whatever the number of objects.
    - Weights lie channels last, in which the CPU's and the GPU's convolutions read them quickest.
    - Most weights get `dtype`. Float32 stay the projections to keys, shrinkage and selection, and the first stage of
      the key encoder: what is rounded there goes through all that follows. It is a twentieth of the work; in bfloat16
      it made half of all the pixels that differed (measured).
    - On a CPU in float32 most of the decoder's convolutions are computed with fewer multiplications (`winograd.py`), at
      150 MB more of weights.

    Args:
        network: as loaded.
        dtype: of most weights.
        device: that it will run on.

    Returns:
        The same network.
    """
    fold_norms(network)
    _split_joining(network)
    if dtype == torch.float32 and device.type == "cpu":
        # Large tiles where places are many; small ones, whose weights take less memory, where channels are.
        use_winograd(network.decoder.up_16_8, tile=4)
        use_winograd(network.decoder.up_8_4, tile=4)
        use_winograd(network.decoder.fuser, tile=2)
    encoder = network.key_encoder
    for part in (encoder.layer2, encoder.layer3, network.value_encoder, network.decoder):
        part.to(dtype)
    return network.to(memory_format=torch.channels_last)


class _SplitConvolution(nn.Module):
    """`JoiningConvolution` as a sum."""

    def __init__(self, joining: JoiningConvolution) -> None:
        super().__init__()
        channels = joining.image_channels
        self.image = _slice(joining, slice(0, channels), None)
        self.objects = _slice(joining, slice(channels, None), joining.bias)

    def forward(self, image: Tensor, objects: Tensor) -> Tensor:
        """(1, A, h, w) and (O, B, h, w) -> (O, out_channels, h, w)."""
        each: Tensor = self.objects(objects)
        return each.add_(self.image(image))


def _slice(convolution: nn.Conv2d, channels: slice, bias: Tensor | None) -> nn.Conv2d:
    """Return a 3x3 convolution over some of the input channels."""
    weight = convolution.weight[:, channels].detach()
    with torch.device("meta"):
        part = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1, bias=bias is not None)
    part.weight = nn.Parameter(weight.clone(), requires_grad=False)
    if bias is not None:
        part.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
    return part


def fold_norms(network: nn.Module) -> None:
    """Make every batch normalisation in eval mode part of the convolution before it; named as in a ResNet."""
    for module in list(network.modules()):
        parts = dict(module.named_children())
        for name, norm_name in _NORM_AFTER.items():
            convolution, norm = parts.get(name), parts.get(norm_name)
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(convolution, norm).requires_grad_(False))
                setattr(module, norm_name, nn.Identity())


def _split_joining(network: nn.Module) -> None:
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, JoiningConvolution):
                setattr(module, name, _SplitConvolution(child))
