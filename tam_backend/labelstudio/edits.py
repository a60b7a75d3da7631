"""What a human did to the masks that we sent: left alone, edited, erased; and what a human drew by hand.

Label Studio marks an edited region ("origin": "prediction-changed"), but scripts and other editors may not; so a mask
is compared with those that we sent under its id. What another model said is compared with its prediction
(`with_origins`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tam_backend.errors import PayloadError
from tam_backend.labelstudio.checked import CHECKSUM_KEY, VideoKeyframe, is_number, keyframe_checksum, read_keyframes
from tam_backend.labelstudio.ids import parse_result_id
from tam_backend.labelstudio.regions import Region
from tam_backend.types import BoolMask

Frames = Mapping[str, Collection[int]]
"""Object key -> frames (from 0)."""

CARRIED = "from-project-"
"""What the versions of predictions begin with that hold the boxes which people drew in another project."""

_Said = Mapping[tuple[str, str], Sequence[Mapping[str, Any]]]
_BOX_NUMBERS = ("x", "y", "width", "height", "rotation", "radiusX", "radiusY")


def with_origins(entry: Mapping[str, Any], task: Mapping[str, Any]) -> Any:
    """Return the results of an annotation or a draft; those that a prediction said, and nobody touched, say so.

    The editor notes an origin on what it opens of a prediction. Label Studio's action "Create annotations from
    predictions" copies what a model said: without an origin, unless the model is this backend, or with the "manual" of
    people who drew it for another project; and what has no origin the editor saves as "manual". Scripts and other
    editors may write none for what people changed or drew either. Of boxes on a <Video> the editor never notes that
    somebody moved them: there each keyframe is compared.

    Args:
        entry: JSON.
        task: its predictions and annotations, as far as they are known. Without the prediction that the entry was made
            from, what has no origin is taken for copied.
    """
    results, parent = entry.get("result"), _parent(entry, task)
    if parent is None or not isinstance(results, (list, tuple)):
        return results
    said = _said_by(parent, task)
    return [_with_origin(each, said) if isinstance(each, Mapping) else each for each in results]


def as_left(annotations: Sequence[Mapping[str, Any]], task: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return annotations with their results as `with_origins` tells them."""
    return [{**each, "result": with_origins(each, task)} for each in annotations]


def needs_parent(entry: Mapping[str, Any]) -> bool:
    """Tell whether the prediction that an annotation was made from is needed to say what people did to it."""
    results = entry.get("result")
    if entry.get("parent_prediction") is None or not isinstance(results, (list, tuple)):
        return False
    return any(
        isinstance(each, Mapping)
        and "id" in each  # a relation has none, and never an origin
        and ("origin" not in each or (not _has_our_id(each) and (each["origin"] == "manual" or _is_track(each))))
        for each in results
    )


def _parent(entry: Mapping[str, Any], task: Mapping[str, Any]) -> Any:
    """Return the id of the prediction that an annotation, or the one that a draft stands for, was made from."""
    drafted = entry.get("annotation")
    if drafted is not None:
        entry = next((each for each in _listed(task, "annotations") if each.get("id") == drafted), {})
    return entry.get("parent_prediction")


def _said_by(parent: Any, task: Mapping[str, Any]) -> _Said | None:
    """Return what the prediction's model said, by id and type; None where the prediction is not known."""
    prediction = next((each for each in _listed(task, "predictions") if each.get("id") == parent), None)
    if prediction is None:
        return None
    if str(prediction.get("model_version")).startswith(CARRIED):
        return {}
    results = _listed(prediction, "result")
    ours = any(map(_is_our_track, results))
    said: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for each in results:
        if not (ours and _is_track(each)):
            said.setdefault(_named(each), []).append(each)  # imported predictions may lack ids
    return said


def _with_origin(result: Mapping[str, Any], said: _Said | None) -> Mapping[str, Any]:
    has_origin = "origin" in result
    if _is_track(result):
        if said is not None:
            return _with_nobodys_keyframes(result, said.get(_named(result), ()))
        return result if has_origin or _is_our_track(result) else _with_nobodys_keyframes(result, [result])
    if said is None:
        return result if has_origin else {**result, "origin": "prediction"}
    before = said.get(_named(result), ())
    if any(_is_same_shape(result, each) for each in before):
        return {**result, "origin": "prediction"} if result.get("origin", "manual") == "manual" else result
    return result if has_origin else {**result, "origin": "prediction-changed" if before else "manual"}


def _with_nobodys_keyframes(result: Mapping[str, Any], before: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return a box on a <Video> whose keyframes, where they are among those of before, are told as no human's."""
    try:
        theirs = {_checksum(box) for each in before if _is_track(each) for box in read_keyframes("", each["value"])}
        kept = {each.frame: _checksum(each) for each in read_keyframes("", result["value"])}
    except PayloadError:
        return result  # it is named where it is read
    sequence = [
        {**each, CHECKSUM_KEY: kept[each["frame"]]} if kept[each["frame"]] in theirs else each
        for each in result["value"]["sequence"]
    ]
    return {**result, "value": {**result["value"], "sequence": sequence}}


def _checksum(keyframe: VideoKeyframe) -> int:
    return keyframe_checksum(keyframe.frame, keyframe.enabled, keyframe.box)


def _is_same_shape(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two results have one shape, whatever their labels."""
    here, there = one.get("value"), other.get("value")
    if not isinstance(here, Mapping) or not isinstance(there, Mapping):
        return False
    return value_digest(here) == value_digest(there) and _box_numbers(here) == _box_numbers(there)


def _box_numbers(value: Mapping[str, Any]) -> list[float | None]:
    """Return what places a box, in percent; a browser may write other digits."""
    return [round(value[key], 3) if is_number(value.get(key)) else None for key in _BOX_NUMBERS]


def _named(result: Mapping[str, Any]) -> tuple[str, str]:
    return str(result.get("id")), str(result.get("type"))


def _has_our_id(result: Mapping[str, Any]) -> bool:
    return parse_result_id(str(result.get("id"))) is not None


def _sequence(result: Mapping[str, Any]) -> Sequence[Any] | None:
    """Return the keyframes of a box on a <Video>; None for other results."""
    value = result.get("value")
    sequence = value.get("sequence") if isinstance(value, Mapping) else None
    return sequence if isinstance(sequence, (list, tuple)) else None


def _is_track(result: Mapping[str, Any]) -> bool:
    return _sequence(result) is not None


def _is_our_track(result: Mapping[str, Any]) -> bool:
    """Whether it is a box on a <Video> that we sent, in which humans' keyframes are told already."""
    return any(_is_object(each) and CHECKSUM_KEY in each for each in _sequence(result) or ())


def _listed(holder: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    listed = holder.get(key)
    return [each for each in listed if _is_object(each)] if isinstance(listed, (list, tuple)) else []


def _is_object(each: Any) -> bool:
    return isinstance(each, Mapping)


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


def is_edit(result: Mapping[str, Any], sent: Mapping[tuple[str, int], Collection[str]]) -> bool:
    """Tell whether a result is a human's work, not what a model said and nobody touched, without decoding a mask.

    Args:
        result: JSON, of `with_origins`.
        sent: see `told_apart`; where nothing is known of a mask, its "origin" decides.
    """
    value = result.get("value")
    if not isinstance(value, Mapping):
        return True
    if _is_track(result):
        try:
            return any(each.by_human for each in read_keyframes("", value))
        except PayloadError:
            return True  # it may be a human's, and is named where it is read
    own = parse_result_id(str(result.get("id")))
    digests = () if own is None else sent.get(own, ())
    return result.get("origin") != "prediction" or (bool(digests) and value_digest(value) not in digests)


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
