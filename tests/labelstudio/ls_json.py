"""JSON as Label Studio 1.23.2 sends it, for the tests of this room."""

import numpy as np

from tam_backend.labelstudio.config_xml import parse_config
from tam_backend.labelstudio.encoding import encode_bitmask, encode_brush
from tam_backend.labelstudio.recommended_config import recommended_config

HW = (100, 200)
CONFIG = parse_config(recommended_config(["Dog", "Cat"], video=True))
VIDEO = next(media for media in CONFIG.media if media.name == "video")
BITMASK_CONFIG = parse_config(recommended_config(["Dog", "Cat"], masks="bitmask"))


def blob(x0, y0, x1, y1, hw=HW):
    """A rectangular mask, in pixels."""
    mask = np.zeros(hw, dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


def common(region_id, tag, kind, frame, value, **more):
    return {
        "id": region_id,
        "from_name": tag,
        "to_name": "frames",
        "type": kind,
        "original_width": HW[1],
        "original_height": HW[0],
        "image_rotation": 0,
        "item_index": frame,
        "value": value,
        **more,
    }


def point(region_id, x, y, label="Dog", frame=0, positive=True):
    """A smart click at x, y in percent."""
    value = {"x": x, "y": y, "width": 0.25, "labels": [label], "keypointlabels": [label]}
    return common(region_id, "point", "keypointlabels", frame, value, is_positive=positive)


def box(region_id, x, y, width, height, label="Dog", frame=0, rotation=0):
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": rotation, "rectanglelabels": [label]}
    return common(region_id, "box", "rectanglelabels", frame, value)


def brush(region_id, mask, label="Dog", frame=0, origin="manual", **more):
    value = {"format": "rle", "rle": encode_brush(mask), "brushlabels": [label]}
    return common(region_id, "mask", "brushlabels", frame, value, origin=origin, **more)


def bitmask(region_id, mask, label="Dog", frame=0):
    value = {"imageDataURL": encode_bitmask(mask), "bitmasklabels": [label]}
    return common(region_id, "mask", "bitmasklabels", frame, value)


def video_box(region_id, sequence, label="Dog"):
    """Keyframes as (frame from 1, x, y, width, height in percent)."""
    keys = ("frame", "x", "y", "width", "height")
    items = [{**dict(zip(keys, item, strict=True)), "enabled": True, "rotation": 0} for item in sequence]
    value = {"framesCount": 30, "duration": 1.25, "labels": [label], "sequence": items}
    return {"id": region_id, "from_name": "track", "to_name": "video", "type": "videorectangle", "value": value}


def task(draft=None, annotations=(), **more):
    """A task with the results of one draft and of annotations, each newer than the one before; the draft is newest."""
    drafts = (
        [] if draft is None else [{"id": 1, "result": draft, "annotation": None, "updated_at": "2030-01-01T00:00:00Z"}]
    )
    return {
        "id": 7,
        "data": {"frames": ["f0", "f1", "f2"], "video": "v.mp4", "fps": 25},
        "drafts": drafts,
        "annotations": [
            {"id": 10 + i, "result": result, "was_cancelled": False, "updated_at": f"2025-01-0{i + 1}T00:00:00.5Z"}
            for i, result in enumerate(annotations)
        ],
        "predictions": [],
        **more,
    }


def click(*results):
    return {"result": list(results)}
