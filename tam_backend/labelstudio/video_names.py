"""What a task's video is called wherever people read of it: in datasets, on the command line, on pages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tam_backend.export.dataset import safe_name
from tam_backend.labelstudio.config import LabelingConfig

# What a file of a frame is called, or a folder that a number or a fingerprint is the name of.
_FRAME = re.compile(r"((frame|image|img|page)[-_ ]?)?\d+", re.IGNORECASE)
_NUMBERED = re.compile(r"\d+|[0-9a-f]{16,}", re.IGNORECASE)


def video_name(task: int, data: Mapping[str, Any], config: LabelingConfig) -> str:
    """Return the name of a video, unique in its project and fit for a file.

    It is that of the video's file; else what `name` in the task's data says, which `tam-backend import` writes for a
    folder of images; else that of the folder of its pages. With none of them it is the task alone.

    Args:
        task: the first one that it was cut into.
        data: of that task.
        config: says which of them are shown.
    """
    said = data.get("name")
    known = _stem(data.get("video")) or (said.strip() if isinstance(said, str) else "")
    shown = (media.value(data) for media in config.media)
    name = known or next(filter(None, map(_stem, shown)), "")
    return f"{safe_name(name) if name else 'task'}-{task}"


def _stem(value: Any) -> str:
    """Call what a task shows by its file, pages by their folder; "" if neither says anything."""
    address = value[0] if isinstance(value, list) and value else value
    if not isinstance(address, str) or address.startswith("data:"):
        return ""
    try:
        parts = urlsplit(address)
    except ValueError:
        return ""
    path = parse_qs(parts.query).get("d", [parts.path])[0]  # of a file of Label Studio's local storage
    folder, _, file = unquote(path).rstrip("/").rpartition("/")
    stem, _, ending = file.rpartition(".")
    name = stem or ending
    if not isinstance(value, list) or not _FRAME.fullmatch(name):
        return name
    above = folder.rpartition("/")[2]
    return "" if _NUMBERED.fullmatch(above) else above
