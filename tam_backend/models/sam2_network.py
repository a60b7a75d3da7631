"""SAM 2.1's network: the package's own modules put together as its configuration says, and its weights loaded strictly.

The package puts them together by Hydra's global state, from a search path that anything else in the process may have
changed. Its configuration is plain YAML: read here, with no class but the package's own networks.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from tam_backend.errors import WeightsError
from tam_backend.models.weights import first_mismatch, read_state_dict

if TYPE_CHECKING:
    from sam2.modeling.sam2_base import SAM2Base

    from tam_backend.models.sam2_variants import Sam2Variant

# Mean and standard deviation of ImageNet's colours, 0..1 RGB. They are not in the state dict.
_PIXEL_MEAN = (0.485, 0.456, 0.406)
_PIXEL_STD = (0.229, 0.224, 0.225)

# What the package's own `build_sam2` adds to the configuration of a network that is used, not trained: a single mask
# that is not stable gives way to the best of three; a mask that a human gave is remembered without soft edges.
_IN_USE: dict[str, Any] = {
    "sam_mask_decoder_extra_args": {
        "dynamic_multimask_via_stability": True,
        "dynamic_multimask_stability_delta": 0.05,
        "dynamic_multimask_stability_thresh": 0.98,
    },
    "binarize_mask_from_pts_for_mem_enc": True,
}


def load_sam2(path: Path, variant: Sam2Variant, device: torch.device) -> SAM2Base:
    """Load a SAM 2.1 from its official checkpoint.

    Args:
        path: as published: `{"model": state dict}`.
        variant: a row of the table.
        device: where it will live.

    Returns:
        In eval mode, float32.

    Raises:
        MissingPackageError: the package `sam2` is not installed.
        WeightsError: the file is missing, damaged, or of another network; the message names the first mismatch.
    """
    network = empty_sam2(variant)
    network.load_state_dict(_checked_state(network, path, variant, mapped=False))
    return network.requires_grad_(False).to(device).eval()


def check_sam2(path: Path, variant: Sam2Variant) -> None:
    """Look whether a file is the checkpoint of a variant, without loading its values.

    Raises:
        MissingPackageError, WeightsError: as `load_sam2`.
    """
    _checked_state(empty_sam2(variant), path, variant, mapped=True)


def empty_sam2(variant: Sam2Variant) -> SAM2Base:
    """Make a network with random weights.

    Raises:
        MissingPackageError: the package `sam2` is not installed.
    """
    return network_of(network_config(variant))


def network_config(variant: Sam2Variant) -> dict[str, Any]:
    """Return the package's description of a network: classes by `_target_`, with their arguments.

    Raises:
        MissingPackageError: the package `sam2` is not installed.
    """
    variant.package.require()
    import sam2  # noqa: PLC0415 - an extra
    from omegaconf import OmegaConf  # noqa: PLC0415 - comes with it

    file = Path(sam2.__path__[0]) / "configs" / "sam2.1" / variant.config
    model = cast("dict[str, Any]", OmegaConf.to_container(OmegaConf.load(file).model))
    return {**model, **_IN_USE}


def network_of(config: dict[str, Any]) -> SAM2Base:
    """Make a network of a description, with random weights."""
    network: SAM2Base = _made(config)
    return network


def normalised(image: Tensor) -> Tensor:
    """Bring (1, 3, S, S) RGB in 0..1 to the scale that the network was trained on."""
    mean, std = (torch.tensor(each, device=image.device)[:, None, None] for each in (_PIXEL_MEAN, _PIXEL_STD))
    return (image - mean) / std


def _made(node: Any) -> Any:
    """Make what a node of a configuration describes, its arguments first."""
    if isinstance(node, list):
        return [_made(each) for each in node]
    if not isinstance(node, dict):
        return node
    arguments = {name: _made(value) for name, value in node.items() if name != "_target_"}
    if "_target_" not in node:
        return arguments
    module, _, name = node["_target_"].rpartition(".")
    if not module.startswith("sam2."):
        raise WeightsError(f"The configuration of SAM 2.1 asks for {node['_target_']}, which is none of its own.")
    return getattr(import_module(module), name)(**arguments)


def _checked_state(network: SAM2Base, path: Path, variant: Sam2Variant, *, mapped: bool) -> dict[str, Tensor]:
    state = read_state_dict(path, under="model", mapped=mapped)
    mismatch = first_mismatch(network.state_dict(), state)
    if mismatch:
        raise WeightsError(
            f"Weights {path} are not those of {variant.kind}: {mismatch}.",
            "Fetch the right ones: `tam-backend weights fetch PROFILE`.",
        )
    return state
