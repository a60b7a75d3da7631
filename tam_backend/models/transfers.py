"""To a GPU and back without making the host wait before it needs the numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def uploaded(array: NDArray[Any], device: torch.device) -> Tensor:
    """Return an array's numbers on a device; a GPU takes them when it comes to it, whatever becomes of the array."""
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type != "cuda":
        return tensor.to(device)
    with torch.cuda.device(device):  # else the host memory would belong to the first GPU
        return tensor.pin_memory().to(device, non_blocking=True)


class Transfer:
    """Tensors on their way to the host. On a GPU they are copied after what it was told to do before, and no sooner.

    Args:
        tensors: all of one device; they may be changed or forgotten at once.
    """

    def __init__(self, *tensors: Tensor) -> None:
        self._arrived: torch.cuda.Event | None = None
        if not any(tensor.is_cuda for tensor in tensors):
            self._tensors = [tensor.detach().cpu() for tensor in tensors]
            return
        device = tensors[0].device
        with torch.cuda.device(device):  # else the host memory would belong to the first GPU
            self._tensors = [tensor.detach().to("cpu", non_blocking=True) for tensor in tensors]
            self._arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._arrived.record(torch.cuda.current_stream(device))

    def arrays(self) -> list[NDArray[Any]]:
        """Return them as arrays; waits for those that are not there yet."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return [tensor.numpy() for tensor in self._tensors]
