"""A SAM 2.1 of the package's own classes with random weights that really move masks, small enough for tests."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from tam_backend.models.sam2_network import network_config, network_of
from tam_backend.models.sam2_variants import SAM2_VARIANTS

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

SIDE = 128  # of its square; it answers at a quarter of it


def tiny_config() -> dict[str, Any]:
    """Return the package's description of SAM 2.1 tiny with every width and depth cut."""
    config = deepcopy(network_config(SAM2_VARIANTS["sam2.1-tiny"]))
    config["image_size"] = SIDE
    trunk, neck = config["image_encoder"]["trunk"], config["image_encoder"]["neck"]
    trunk.update(embed_dim=16, stages=[1, 1, 2, 1], global_att_blocks=[3])
    neck.update(d_model=32, backbone_channel_list=[128, 64, 32, 16])
    neck["position_encoding"].update(num_pos_feats=32)
    attention = config["memory_attention"]
    attention.update(d_model=32, num_layers=2)
    attention["layer"].update(d_model=32, dim_feedforward=64)
    attention["layer"]["self_attention"].update(embedding_dim=32, feat_sizes=[8, 8])
    attention["layer"]["cross_attention"].update(embedding_dim=32, feat_sizes=[8, 8], kv_in_dim=8)
    encoder = config["memory_encoder"]
    encoder.update(out_dim=8, in_dim=32)
    encoder["position_encoding"].update(num_pos_feats=8)
    encoder["mask_downsampler"].update(embed_dim=32)
    encoder["fuser"]["layer"].update(dim=32)
    return config


def tiny_sam2() -> SAM2Base:
    """Make one without lively weights, for loading."""
    return network_of(tiny_config())


def enliven(network: SAM2Base) -> SAM2Base:
    """Give a network random weights whose masks have object and background, and change; always the same ones."""
    generator = torch.Generator().manual_seed(11)
    places = network.sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix  # random too, and no parameter
    places.copy_(torch.randn(places.shape, generator=generator))
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1:
            fan_in = parameter[0].numel()
            parameter.data = torch.randn(parameter.shape, generator=generator) * (2.0 / fan_in) ** 0.5
        elif name.endswith("bias"):
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1
        elif name.endswith("gamma"):  # the memory encoder's blocks, which begin as if they were not there
            nn.init.constant_(parameter, 0.5)
    # An object is there unless something speaks against it.
    nn.init.constant_(network.sam_mask_decoder.pred_obj_score_head.layers[-1].bias, 3.0)
    return network.requires_grad_(False).eval()
