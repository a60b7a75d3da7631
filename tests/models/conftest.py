from __future__ import annotations

import copy
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.lively_weights import calibrate, official_layout, random_state, wire
from tam_backend.models import zoo
from tam_backend.models.protocols import Models
from tam_backend.models.xmem.loading import published_xmem
from tam_backend.models.xmem.network import XMemNetwork
from tam_backend.models.xmem.quick import quicken
from tam_backend.types import BoolMask, RgbFrame

Scene = Callable[[int], tuple[RgbFrame, BoolMask]]


@pytest.fixture(scope="session")
def compact() -> Models:
    return zoo.load("compact", "cpu")


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> XMemNetwork:
    """A random XMem of the published layout that passes masks on by colour; not to be changed."""
    path = tmp_path_factory.mktemp("weights") / "XMem.pth"
    torch.save(random_state(official_layout()), path)
    network = published_xmem(path)
    path.unlink()  # 250 MB
    calibrate(network)
    wire(network)
    return network


@pytest.fixture(scope="session")
def xmem(published: XMemNetwork) -> XMemNetwork:
    """The same as `load_xmem` gives it; not to be changed."""
    return quicken(copy.deepcopy(published), torch.float32, torch.device("cpu"))


@pytest.fixture(scope="session")
def scene() -> Scene:
    """An orange ball that moves 4 pixels a frame over a smooth grey-green texture, 192x256; with its true mask."""
    noise = np.random.default_rng(0).integers(0, 256, (12, 16), dtype=np.uint8)
    texture = cv2.resize(noise, (256, 192), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    background = np.stack([texture * 0.3 + 60, texture * 0.4 + 80, texture * 0.3 + 70], -1)

    def frame(index: int) -> tuple[RgbFrame, BoolMask]:
        mask = np.zeros((192, 256), np.uint8)
        cv2.circle(mask, (70 + 4 * index, 100), 36, 1, -1)
        image = background.copy()
        image[mask > 0] = (235, 120, 30)
        return cv2.GaussianBlur(image, (0, 0), 0.8).clip(0, 255).astype(np.uint8), mask > 0

    return frame


@pytest.fixture(scope="session")
def as_image() -> Callable[[RgbFrame], Tensor]:
    return lambda frame: torch.from_numpy(frame).permute(2, 0, 1).float() / 255


@pytest.fixture(scope="session")
def iou() -> Callable[[BoolMask, BoolMask], float]:
    return lambda a, b: float((a & b).sum() / max(1, (a | b).sum()))
