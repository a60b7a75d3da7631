"""Masks of Label Studio's regions, read with other people's code so that ours is checked against it."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from tam_backend.types import BoolMask


def mask_of(region: dict[str, Any]) -> BoolMask:
    """Return a brush or bitmask region as an (H, W) mask, as Label Studio's own export does."""
    height, width = region["original_height"], region["original_width"]
    if region["type"] == "brushlabels":
        from label_studio_sdk.converter.brush import decode_rle

        return np.asarray(decode_rle(region["value"]["rle"])).reshape(height, width, 4)[:, :, 3] > 0
    header, data = region["value"]["imageDataURL"].split(",", 1)
    assert header == "data:image/png;base64"
    mask = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGBA"))[:, :, 3] > 0
    assert mask.shape == (height, width)
    return mask


def label_of(region: dict[str, Any]) -> str:
    """Return the label of a region."""
    [label] = region["value"][region["type"]]
    return str(label)


def masks_by_page(parts: Iterable[Sequence[dict[str, Any]]], pages: int) -> dict[tuple[int, str], BoolMask]:
    """Return (frame, label) -> mask of the results of a chain's tasks, which show so many frames each."""
    return {
        (pages * part + region["item_index"], label_of(region)): mask_of(region)
        for part, results in enumerate(parts)
        for region in results
    }
