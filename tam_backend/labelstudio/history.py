"""A task's annotations and predictions (JSON) -> what became of each mask that we proposed, and who made the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np

from tam_backend.effort.mask_records import AnnotationRecord, Fate, SubmittedMask, TaskRecord
from tam_backend.errors import PayloadError
from tam_backend.labelstudio.config import LabelingConfig, MediaKind
from tam_backend.labelstudio.edits import as_left
from tam_backend.labelstudio.regions import Region, read_regions
from tam_backend.types import BoolMask

_Proposed = Mapping[tuple[str, int], Region]


def read_history(task: Mapping[str, Any], config: LabelingConfig) -> tuple[TaskRecord, list[str]]:
    """Read what GET /api/tasks/<id> answers.

    What an annotation began with is its `parent_prediction`, or, where that is unknown or gone, our newest prediction
    from before the annotation. What another model proposed is kept or edited too, but not compared.

    Args:
        task: with its data, annotations and predictions.
        config: of its project.

    Returns:
        The record, and a sentence on each annotation that could not be read and was left out.

    Raises:
        PayloadError: it is no task.
    """
    number, data = task.get("id"), task.get("data")
    if not isinstance(number, int) or not isinstance(data, Mapping):
        raise PayloadError("A task without id or data came from Label Studio.", "")
    predictions = [each for each in _listed(task, "predictions") if _is_ours(each, config)]
    annotations: list[AnnotationRecord] = []
    unread: list[str] = []
    for annotation in as_left(_listed(task, "annotations"), task):
        if annotation.get("was_cancelled"):
            continue
        try:
            annotations.append(_read(annotation, predictions, config))
        except PayloadError as error:
            unread.append(f"Annotation {annotation.get('id')} of task {number} is left out: {error.message}")
    return TaskRecord(number, _name(number, data), _frames(data, config), tuple(annotations)), unread


def _listed(task: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = task.get(key)
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, Sequence) else []


def _is_ours(prediction: Mapping[str, Any], config: LabelingConfig) -> bool:
    try:
        return any(region.own_key is not None for region in _masks(prediction, config))
    except PayloadError:
        return False  # another program's; ours can be read


def _masks(holder: Mapping[str, Any], config: LabelingConfig) -> list[Region]:
    return [region for region in read_regions(holder.get("result") or (), config) if region.is_mask]


def _read(
    annotation: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]], config: LabelingConfig
) -> AnnotationRecord:
    regions = _masks(annotation, config)
    base = _base(annotation, predictions)
    proposed: dict[tuple[str, int], Region] = {
        (region.own_key, region.frame): region
        for region in (() if base is None else _masks(base, config))
        if region.own_key is not None
    }
    ours = {(region.own_key, region.frame) for region in regions if region.own_key is not None}
    gone = [region for place, region in proposed.items() if place not in ours]
    masks = []
    for region in regions:
        if region.own_key is not None:
            masks.append(_fate_of_ours(region, proposed))
            continue
        if region.origin != "manual":
            masks.append(SubmittedMask(region.frame, "kept" if region.origin == "prediction" else "edited"))
            continue
        # A human who deletes our mask and draws another one in its place has drawn, not erased.
        instead = max(
            (each for each in gone if (each.frame, each.label) == (region.frame, region.label)),
            key=lambda each: _iou(each.mask, region.mask),
            default=None,
        )
        if instead is not None:
            gone.remove(instead)
        masks.append(SubmittedMask(region.frame, "drawn", None if instead is None else _iou(instead.mask, region.mask)))
    seconds = _seconds(annotation.get("lead_time"))
    number = annotation.get("id")
    return AnnotationRecord(
        annotation=number if isinstance(number, int) else 0,
        masks=tuple(masks),
        erased=tuple(sorted(region.frame for region in gone)),
        lead_time_s=seconds,
        with_model=base is not None or any(region.own_key or region.origin != "manual" for region in regions),
        begun_at=_begun_at(annotation, seconds or 0.0),
    )


def _seconds(lead_time: Any) -> float | None:
    is_number = isinstance(lead_time, (int, float)) and not isinstance(lead_time, bool)
    return float(lead_time) if is_number and math.isfinite(lead_time) else None


def _begun_at(annotation: Mapping[str, Any], seconds: float) -> float | None:
    """Return when the work on an annotation began, which is made when it is submitted; seconds since 1970."""
    try:
        made = datetime.fromisoformat(str(annotation.get("created_at")).replace("Z", "+00:00"))
    except ValueError:
        return None
    return (made if made.tzinfo else made.replace(tzinfo=timezone.utc)).timestamp() - seconds


def _base(annotation: Mapping[str, Any], predictions: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    parent = annotation.get("parent_prediction")
    if parent is not None:
        for prediction in predictions:
            if prediction.get("id") == parent:
                return prediction
    begun = str(annotation.get("created_at") or "")
    before = [each for each in predictions if begun and str(each.get("created_at") or "~") <= begun]
    return max(before, key=lambda each: str(each["created_at"]), default=None)


def _fate_of_ours(region: Region, proposed: _Proposed) -> SubmittedMask:
    before = proposed.get((str(region.own_key), region.frame))
    if before is not None:
        overlap = _iou(before.mask, region.mask)
        fate: Fate = "kept" if overlap == 1 else "edited"
        if fate == "kept" and region.source == "prompt":
            fate = "clicked"
        return SubmittedMask(region.frame, fate, overlap)
    if region.is_humans_mask:
        return SubmittedMask(region.frame, "edited")
    return SubmittedMask(region.frame, "clicked" if region.source == "prompt" else "kept")


def _iou(proposed: BoolMask | None, submitted: BoolMask | None) -> float:
    if proposed is None or submitted is None or proposed.shape != submitted.shape:
        return 0.0
    union = int(np.count_nonzero(proposed | submitted))
    return int(np.count_nonzero(proposed & submitted)) / union if union else 1.0


def _name(number: int, data: Mapping[str, Any]) -> str:
    """Call a task by its video's file, and by its part in a chain."""
    address, chain = data.get("video"), data.get("chain")
    name = unquote(urlsplit(address).path.rpartition("/")[2]) if isinstance(address, str) else ""
    part = (
        f" {chain['part']}/{chain['parts']}" if isinstance(chain, Mapping) and {"part", "parts"} <= set(chain) else ""
    )
    return f"{name or f'task {number}'}{part}"


def _frames(data: Mapping[str, Any], config: LabelingConfig) -> int:
    for media in config.media:
        value = media.value(data)
        if media.kind is not MediaKind.VIDEO and value:
            return len(value) if isinstance(value, list) else 1
    return 0
