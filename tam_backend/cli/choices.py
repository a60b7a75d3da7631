"""What options may be: lists of names, as the floors below have them (tests hold that they are the same)."""

from __future__ import annotations

from enum import Enum


class MaskFormat(str, Enum):
    """The tags that hold masks in Label Studio."""

    BRUSH = "brush"
    BITMASK = "bitmask"
    POLYGON = "polygon"


class DatasetFormatName(str, Enum):
    """What datasets can be written as."""

    DAVIS = "davis"
    COCO = "coco"
    YTVIS = "ytvis"
    YOLO = "yolo"
    MOTS = "mots"
    MASKS = "masks"
    OVERLAY = "overlay"


class ReadableFormatName(str, Enum):
    """What datasets can be read as."""

    DAVIS = "davis"
    COCO = "coco"
    YTVIS = "ytvis"
    YOLO = "yolo"
    MOTS = "mots"
    MASKS = "masks"


class BoxesName(str, Enum):
    """What becomes of the boxes of a dataset that have no mask."""

    REGIONS = "regions"
    PROMPTS = "prompts"
    NONE = "none"


class ArrivalName(str, Enum):
    """As what the masks of a dataset arrive."""

    PREDICTIONS = "predictions"
    ANNOTATIONS = "annotations"


class Source(str, Enum):
    """What an export takes of a task."""

    ANNOTATIONS = "annotations"
    PREDICTIONS = "predictions"
    BOTH = "both"


class Status(str, Enum):
    """Which annotations an export takes."""

    SUBMITTED = "submitted"
    GROUND_TRUTH = "ground-truth"
    SKIPPED = "skipped"


class FrameFileKind(str, Enum):
    """As what the frames leave."""

    NONE = "none"
    JPG = "jpg"
    PNG = "png"
