"""What trackers accept, and feature maps as rows of a memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tam_backend.errors import InvalidInputError
from tam_backend.models.protocols import EncodedImage

# Resizing with cubic filters goes beyond 0 and 1 by a little.
_TOLERATED = 0.5
# Every so many rows and columns tell which range an image is in.
_LOOKED_AT = 8


def checked(
    image: Tensor, mask: Tensor | None, object_ids: Sequence[int] | None, size_hw: tuple[int, int] | None
) -> tuple[set[int], Tensor | None]:
    """Check one frame's input; see `Tracker.track`.

    Args:
        image: the frame.
        mask: its mask, if any.
        object_ids: the objects that the mask speaks for, if said.
        size_hw: (height, width) of the frames before, if any.

    Returns:
        The objects that the mask speaks for, and the mask as (H, W) int64.

    Raises:
        InvalidInputError: sizes or kinds that do not fit.
    """
    if not isinstance(image, Tensor):
        raise InvalidInputError(f"An image must be a tensor, not a {type(image).__name__}.")
    if image.ndim != 3 or image.shape[0] != 3 or image.numel() == 0 or not image.is_floating_point():
        raise InvalidInputError(
            f"An image must be (3, H, W) float, not {tuple(image.shape)} {image.dtype}.",
            "Give RGB in 0..1, with the channels first.",
        )
    if image.device.type == "cpu":  # elsewhere a look at the numbers would make all wait for the device
        least, largest = (float(bound) for bound in image.detach()[:, ::_LOOKED_AT, ::_LOOKED_AT].aminmax())
        if not (least > -_TOLERATED and largest < 1 + _TOLERATED):
            raise InvalidInputError(
                f"An image must be RGB in 0..1; this one's numbers are {least:.3g} to {largest:.3g}.",
                "Divide by 255; it is normalised here.",
            )
    own_hw = (image.shape[1], image.shape[2])
    if size_hw is not None and own_hw != size_hw:
        raise InvalidInputError(
            f"The frame is {own_hw[0]}x{own_hw[1]}, those before were {size_hw[0]}x{size_hw[1]}.",
            "Scale all frames of a video to one size.",
        )
    if mask is None:
        if object_ids:
            raise InvalidInputError("Object ids were given without the mask that speaks for them.")
        return set(), None
    if tuple(mask.shape) != own_hw or mask.is_floating_point() or mask.is_complex():
        raise InvalidInputError(
            f"A mask must be {own_hw} integers like its image, not {tuple(mask.shape)} {mask.dtype}."
        )
    labels = mask.to(torch.int64)
    given = set(torch.unique(labels).tolist()) - {0} if object_ids is None else {int(i) for i in object_ids}
    if any(object_id < 1 for object_id in given):
        raise InvalidInputError(f"Object ids start at 1, not at {min(given)}.")
    return given, labels


def image_of(image: Tensor | EncodedImage) -> Tensor:
    """Return the image itself; (3, H, W)."""
    return image.image if isinstance(image, EncodedImage) else image


def element_rows(planes: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, h * w, C) contiguous."""
    return planes.flatten(2).transpose(1, 2).contiguous()
