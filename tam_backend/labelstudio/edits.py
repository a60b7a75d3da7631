"""What a human did to the masks that we sent: left alone, edited, erased; and what a human drew by hand.

Label Studio marks an edited region ("origin": "prediction-changed"), but scripts and other editors may not; so a mask
is compared with those that we sent under its id.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tam_backend.labelstudio.ids import parse_result_id
from tam_backend.labelstudio.regions import Region
from tam_backend.types import BoolMask

Frames = Mapping[str, Collection[int]]
"""Object key -> frames (from 0)."""


def mask_digest(mask: BoolMask) -> str:
    """Return 16 hex digits that stand for an (H, W) mask."""
    digest = hashlib.blake2b(repr(mask.shape).encode(), digest_size=8)
    digest.update(np.packbits(mask).tobytes())
    return digest.hexdigest()


def value_digest(value: Mapping[str, Any]) -> str:
    """Return "v" and 16 hex digits that stand for a mask as it is written: two writings of one mask may differ.

    It costs no decoding; most masks come back just as they were sent.
    """
    rle = value.get("rle")
    touched = any(value.get(key) for key in ("touches", "maskDataURL"))
    try:
        packed = bytes(rle) if isinstance(rle, (list, tuple)) else b""
    except (TypeError, ValueError):
        return ""  # it cannot be decoded either
    digest = hashlib.blake2b(packed, digest_size=8)
    digest.update(f"{touched} {value.get('imageDataURL')}".encode("utf-8", "surrogatepass"))
    if "points" in value:
        digest.update(_points_text(value["points"]).encode("utf-8", "surrogatepass"))
    return "v" + digest.hexdigest()


def _points_text(points: Any) -> str:
    """Write corners as they are sent: a browser writes 50.0 as 50."""
    try:
        return " ".join(f"{each:.4f}" for corner in points for each in corner)
    except (TypeError, ValueError):
        return ""  # it cannot be read either


def told_apart(region: Region, sent: Mapping[tuple[str, int], Collection[str]]) -> Region:
    """Return a region of ours as edited if its mask is none that we sent; every other region as it is.

    What the editor says was changed is a human's. But it says so, too, of a region that somebody hung a choice or a
    note on: then the mask decides.

    Args:
        region: of an annotation or a draft.
        sent: (object key, frame) -> digests of the masks that we sent there, `mask_digest` and `value_digest`.

    Raises:
        PayloadError: the mask cannot be decoded.
    """
    if region.own_key is None or not region.is_mask:
        return region
    if region.is_humans_mask and not (region.origin == "prediction-changed" and region.attributes):
        return region
    digests = sent.get((region.own_key, region.frame))
    if not digests or region.encoded is None:
        return region
    as_sent = value_digest(region.encoded) in digests or (mask := region.mask) is None or mask_digest(mask) in digests
    if as_sent == (region.origin == "prediction"):
        return region
    return replace(region, origin="prediction" if as_sent else "prediction-changed")


def is_as_sent(result: Mapping[str, Any], sent: Mapping[tuple[str, int], Collection[str]]) -> bool:
    """Tell whether a result is a mask of ours that nobody touched, without decoding it.

    Args:
        result: JSON.
        sent: see `told_apart`; where nothing is known of a mask, its "origin" decides.
    """
    own, value = parse_result_id(str(result.get("id"))), result.get("value")
    if own is None or result.get("origin") != "prediction" or not isinstance(value, Mapping):
        return False
    digests = sent.get(own)
    return not digests or value_digest(value) in digests


def frames_by_object(regions: Sequence[Region]) -> dict[str, frozenset[int]]:
    """Return the frames on which our objects have masks, whoever made them what they are."""
    frames: dict[str, set[int]] = {}
    for region in regions:
        if region.is_mask and region.own_key is not None:
            frames.setdefault(region.own_key, set()).add(region.frame)
    return {key: frozenset(found) for key, found in frames.items()}


def erased(before: Frames, now: Frames) -> dict[str, frozenset[int]]:
    """Return what a human took away: frames that an object had in what the human began with, and has no more.

    An object of which nothing is left was deleted as a whole; it is left out, for that says nothing of single frames.

    >>> erased({"a": {1, 2, 3}, "b": {1}}, {"a": {1, 3}})
    {'a': frozenset({2})}
    """
    return {key: gone for key, frames in before.items() if now.get(key) and (gone := frozenset(frames) - set(now[key]))}
