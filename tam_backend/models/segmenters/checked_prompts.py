"""What segmenters of SAM's family ask of prompts before they answer them."""

from __future__ import annotations

from torch import Tensor

from tam_backend.errors import InvalidPromptError
from tam_backend.models.protocols import SegmenterPrompts


def require_place(prompts: SegmenterPrompts) -> None:
    """Look whether prompts say where the object is.

    Raises:
        InvalidPromptError: neither a positive point, nor a box, nor a mask.
    """
    if prompts.box is None and prompts.mask_logits is None and not any(point.positive for point in prompts.points):
        raise InvalidPromptError(
            "These prompts do not say where the object is.", "Give a positive point, a box or a mask."
        )


def is_ambiguous(prompts: SegmenterPrompts) -> bool:
    """Whether prompts may mean a part, a thing or a group of things: a single click does."""
    return len(prompts.points) == 1 and prompts.box is None and prompts.mask_logits is None


def require_logits(logits: Tensor) -> None:
    """Look whether a mask prompt is one; before it goes to a device, which would have to be waited for.

    Raises:
        InvalidPromptError: not (h, w), or no finite numbers.
    """
    if logits.ndim != 2 or logits.numel() == 0:
        raise InvalidPromptError(f"Mask logits must be (h, w), not of shape {tuple(logits.shape)}.")
    if not bool(logits.isfinite().all()):
        raise InvalidPromptError("Mask logits must be finite numbers.")
