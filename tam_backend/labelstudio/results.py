"""Masks and boxes -> the results (JSON) that Label Studio takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tam_backend.labelstudio.attributes import NEEDS_REVIEW, OBJECT_KEY, SOURCE_KEY, SentSource
from tam_backend.labelstudio.checked import CHECKSUM_KEY, VideoKeyframe, keyframe_checksum
from tam_backend.labelstudio.config import Control, ControlKind, Media, MediaKind
from tam_backend.labelstudio.encoding import encode_bitmask, encode_brush
from tam_backend.labelstudio.ids import result_id
from tam_backend.labelstudio.names import PageName
from tam_backend.labelstudio.polygons import encode_polygon
from tam_backend.labelstudio.scores import DOUBTFUL
from tam_backend.labelstudio.shapes import FractionBox
from tam_backend.labelstudio.video_clock import VideoClock
from tam_backend.types import BoolMask, Box


def mask_results(
    control: Control,
    media: Media,
    *,
    key: str,
    frame: int,
    labels: Sequence[str],
    mask: BoolMask,
    quality: float,
    source: SentSource,
    polygon: Mapping[str, Any] | None = None,
) -> tuple[dict[str, Any], ...]:
    """Return an object's mask on a frame as results: one, and one more for each <Labels> tag beside the mask tag.

    Leave out frames of `TaskObject.human_frames` (a result replaces the region with its id, edits included) and empty
    masks (they would be empty regions in the editor's list).

    Args:
        control: a tag for masks: see outputs.py.
        media: what it draws on.
        key: the object's.
        frame: from 0.
        labels: as that tag's results hold them.
        mask: (H, W) at the original size of the frame.
        quality: 0..1; the region's score. A tracked mask below `scores.DOUBTFUL` says so in its meta text, which the
            editor shows with the region.
        source: comes back with the region: an accepted answer to a prompt is a keyframe, a propagated mask is none.
        polygon: of `encode_polygon`, where the tag is one of polygons; None: it is made here.
    """
    height, width = mask.shape
    if control.kind is ControlKind.BRUSH:
        value: Mapping[str, Any] = {"format": "rle", "rle": encode_brush(mask)}
    elif control.kind is ControlKind.POLYGON:
        value = encode_polygon(mask)[0] if polygon is None else polygon
    else:
        value = {"imageDataURL": encode_bitmask(mask)}
    common: dict[str, Any] = {
        "id": result_id(key, frame),
        "original_width": width,
        "original_height": height,
        "score": round(float(quality), 4),
        "meta": {SOURCE_KEY: source, **({"text": NEEDS_REVIEW} if source != "prompt" and quality < DOUBTFUL else {})},
    }
    return _drawn(control, media, frame, labels, value, common)


def box_results(
    control: Control,
    media: Media,
    *,
    key: str,
    frame: int,
    labels: Sequence[str],
    box_xyxy: Box,
    size_hw: tuple[int, int],
    quality: float | None,
    is_prompt: bool,
) -> tuple[dict[str, Any], ...]:
    """Return a dataset's box as results; see `mask_results`.

    Args:
        control: a rectangle tag.
        media, key, frame, labels: see `mask_results`.
        box_xyxy: (x0, y0, x1, y1) in pixels.
        size_hw: (height, width) of the frame.
        quality: 0..1; None: it is not known.
        is_prompt: its object's mask is to take its place; else both stay, and it needs an id of its own.
    """
    height, width = size_hw
    x0, y0, x1, y1 = box_xyxy
    place = {"x": x0 / width, "y": y0 / height, "width": (x1 - x0) / width, "height": (y1 - y0) / height}
    common: dict[str, Any] = {
        "id": result_id(key, frame) if is_prompt else f"box-{key}-{frame}",
        "original_width": width,
        "original_height": height,
        "meta": {OBJECT_KEY: key},
        **({} if quality is None else {"score": round(float(quality), 4)}),
    }
    value = {**{name: 100 * each for name, each in place.items()}, "rotation": 0}
    return _drawn(control, media, frame, labels, value, common)


def _drawn(
    control: Control,
    media: Media,
    frame: int,
    labels: Sequence[str],
    value: Mapping[str, Any],
    about: Mapping[str, Any],
) -> tuple[dict[str, Any], ...]:
    """Return what is drawn with a tag as results: one, and one more for each <Labels> tag beside the tag."""
    kind = control.shape
    common = {**about, "to_name": media.name_on(frame), "image_rotation": 0, "origin": "prediction"}
    if media.kind is MediaKind.FRAMES and not media.page_flag:
        # Without it the editor would put the region on its first page.
        common["item_index"] = frame
    if control.labels_tag is None:
        own = {f"{kind}labels": list(labels)} if labels else {}
        return ({**common, "from_name": control.name_on(frame), "type": f"{kind}labels", "value": {**value, **own}},)
    shape = {**common, "from_name": control.name_on(frame), "type": kind, "value": value}
    # After the shape: the editor makes the region of the first result with an id, and that needs the mask.
    beside = []
    for giver in control.sources:
        given = [label for label in labels if label in giver.labels or giver.is_open]
        name = PageName(giver.name, control.page_flag).on(frame)
        if given:
            beside.append({**common, "from_name": name, "type": "labels", "value": {**value, "labels": given}})
    return (shape, *beside)


def box_track_region(
    control: Control,
    media: Media,
    *,
    region_id: str,
    labels: Sequence[str],
    boxes: Mapping[int, Box | None],
    size_hw: tuple[int, int],
    clock: VideoClock,
    quality: float,
    human: Sequence[VideoKeyframe] = (),
) -> dict[str, Any]:
    """Return an object's boxes as one VideoRectangle result with a keyframe on every frame that has a box.

    After the last frame before a gap, and after the last of all, the box is switched off, so that none is shown where
    the object is absent or nothing is known. A human's keyframe stays on or off as it is; where it is off, the human
    ended the object, and no box follows until the human's next keyframe.

    Args:
        control: the VideoRectangle tag.
        media: the video.
        region_id: of the region that it replaces, or a new one.
        labels: as results hold them.
        boxes: the file's frame (from 0) -> (x0, y0, x1, y1) in pixels, or None where the object is absent.
        size_hw: (height, width) of the frames.
        clock: the file's frames -> the editor's.
        quality: 0..1; the region's score.
        human: keyframes that a human drew, moved or switched; they go back as they are.
    """
    height, width = size_hw
    drawn: dict[int, FractionBox] = {}
    humans = {keyframe.frame: keyframe for keyframe in human}
    ended = False
    for frame in sorted({*range(1, clock.frames_count + 1), *humans}):
        box = boxes.get(clock.index_of_video_frame(frame))
        if frame in humans:
            drawn[frame] = humans[frame].box
            ended = not humans[frame].enabled
        elif box is not None and not ended:
            x0, y0, x1, y1 = box
            drawn[frame] = FractionBox(x0 / width, y0 / height, (x1 - x0) / width, (y1 - y0) / height)
    sequence = []
    for frame, place in drawn.items():
        enabled = humans[frame].enabled if frame in humans else frame + 1 in drawn
        sequence.append(keyframe_result(VideoKeyframe(frame, enabled, place, frame in humans), clock))
    return {**box_track_result(control, media, region_id, labels, sequence, clock), "score": round(float(quality), 4)}


def box_track_result(
    control: Control,
    media: Media,
    region_id: str,
    labels: Sequence[str],
    sequence: Sequence[Mapping[str, Any]],
    clock: VideoClock,
) -> dict[str, Any]:
    """Return a VideoRectangle result of keyframes that `keyframe_result` wrote; the rest as in `box_track_region`."""
    value: dict[str, Any] = {
        "framesCount": clock.frames_count,
        "duration": round(clock.duration_s, 6),
        "sequence": list(sequence),
    }
    if labels:
        value["labels"] = list(labels)
    return {
        "id": region_id,
        "from_name": control.name,
        "to_name": media.name,
        "type": "videorectangle",
        "origin": "prediction",
        "value": value,
    }


def keyframe_result(keyframe: VideoKeyframe, clock: VideoClock) -> dict[str, Any]:
    """Return a box on a frame of a <Video> as its region's `sequence` holds it; `read_keyframes` reads it back."""
    place = keyframe.box
    written: dict[str, Any] = {
        "frame": keyframe.frame,
        "time": round(keyframe.frame / clock.frame_rate, 6),
        "enabled": keyframe.enabled,
        "rotation": place.rotation_deg,
        "x": 100 * place.x,
        "y": 100 * place.y,
        "width": 100 * place.width,
        "height": 100 * place.height,
    }
    by_us = not keyframe.by_human
    # Null stays in a human's: a track of ours is told by the key, though a human made all of it.
    written[CHECKSUM_KEY] = keyframe_checksum(keyframe.frame, keyframe.enabled, place) if by_us else None
    return written


def prediction(results: Iterable[Mapping[str, Any]], score: float | None, model_version: str) -> dict[str, Any]:
    """Return one entry of a /predict answer's `results`, which is also what a stored prediction takes."""
    answer: dict[str, Any] = {"result": list(results), "model_version": model_version}
    if score is not None:
        answer["score"] = round(float(score), 4)
    return answer
