"""Published XMem weights into the network: every tensor and none besides."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from tam_backend.errors import WeightsError
from tam_backend.models.devices import fast_dtype
from tam_backend.models.weights import first_mismatch
from tam_backend.models.xmem.network import XMemNetwork, XMemSizes
from tam_backend.models.xmem.quick import quicken

Precision = Literal["float32", "bfloat16", "float16", "fast"]

_REMEDY = "Use XMem.pth or XMem-s012.pth as its authors published them."
_KEY = "key_proj.key_proj.weight"
_VALUE = "value_encoder.fuser.block2.conv2.weight"
_HIDDEN = "decoder.hidden_update.transform.weight"
_STEM = "value_encoder.conv1.weight"
_SINGLE_OBJECT_CHANNELS = 4  # image and mask; the others' masks came with several objects


def load_xmem(path: str | Path, device: torch.device | str = "cpu", precision: Precision = "float32") -> XMemNetwork:
    """Load a published state dict as `published_xmem` does, and make it quick to run.

    Args:
        path: XMem.pth, XMem-s012.pth or one of the same layout.
        device: where the network shall live.
        precision: of the convolutions. float32: upstream's numbers. The halves change masks a little (docs/xmem.md) and
            pay where the hardware has them; "fast" is what pays on this device.

    Raises:
        WeightsError: the file is missing, damaged, or of another network; names the first tensor that does not fit.
    """
    device = torch.device(device)
    dtype: torch.dtype = fast_dtype(device) if precision == "fast" else getattr(torch, precision)
    return quicken(published_xmem(path), dtype, device).to(device)


def published_xmem(path: str | Path) -> XMemNetwork:
    """Load a published state dict (412 tensors) as it is; nothing in the file is executed.

    Sizes of keys, values and sensory memory are read from the weights. Weights trained with single objects get a
    channel of zeros for the others' masks. Half precision becomes float32.

    Returns:
        The network on the CPU, in eval mode, without gradients.

    Raises:
        WeightsError: the file is missing, damaged, or of another network; names the first tensor that does not fit.
    """
    path = Path(path)
    state = _read(path)
    if state.get(_STEM, torch.empty(0)).shape[1:2] == (_SINGLE_OBJECT_CHANNELS,):
        stem = state[_STEM]
        state[_STEM] = torch.cat([stem, torch.zeros_like(stem[:, :1])], 1)
    sizes = XMemSizes(
        key_channels=_rows(state, _KEY, path),
        value_channels=_rows(state, _VALUE, path),
        hidden_channels=_rows(state, _HIDDEN, path) // 3 if _HIDDEN in state else 0,
    )
    with torch.device("meta"):  # no memory, and no random numbers, for weights that are replaced at once
        network = XMemNetwork(sizes)
    mismatch = first_mismatch(network.state_dict(), state)
    if mismatch:
        raise _foreign(path, mismatch)
    network.load_state_dict(state, assign=True)
    return network.requires_grad_(False).eval()


def _read(path: Path) -> dict[str, Tensor]:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise WeightsError(f"Weights {path} cannot be read: {error.strerror or error}.", _REMEDY) from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"Weights {path} are damaged or no state dict: {reason}", _REMEDY) from error
    if not isinstance(loaded, dict):
        raise _foreign(path, f"the file holds a {type(loaded).__name__}, not tensors by name")
    for name, value in loaded.items():
        if not isinstance(value, Tensor):
            raise _foreign(path, f"{name} is a {type(value).__name__}, not a tensor")
    return {str(name): value.float() if value.is_floating_point() else value for name, value in sorted(loaded.items())}


def _rows(state: dict[str, Tensor], name: str, path: Path) -> int:
    if name not in state:
        raise _foreign(path, f"{name} is missing")
    if state[name].ndim != 4 or not state[name].numel():
        raise _foreign(path, f"{name} has shape {tuple(state[name].shape)}, which is no convolution's")
    return state[name].shape[0]


def _foreign(path: Path, mismatch: str) -> WeightsError:
    return WeightsError(f"Weights {path} are of another network: {mismatch}.", _REMEDY)
