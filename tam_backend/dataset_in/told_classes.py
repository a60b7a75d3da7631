"""attributes.json, which our exports have beside the formats that have no place for classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tam_backend.dataset_in.inside import inside, read_json
from tam_backend.errors import InvalidInputError

SIDECAR = "attributes.json"


def told_classes(root: Path) -> dict[str, dict[int, str]]:
    """Return video -> object id -> class, as attributes.json or YouTube-VOS's meta.json tells; {} without either.

    Raises:
        InvalidInputError: a file of that name is not what it should be.
        MediaTooLargeError: it is too large.
    """
    sidecar, meta = inside(root, SIDECAR), inside(root, "meta.json")
    if sidecar.is_file():
        return _of_ours(read_json(sidecar), sidecar)
    return _of_youtube_vos(read_json(meta), meta) if meta.is_file() else {}


def _of_ours(read: Any, path: Path) -> dict[str, dict[int, str]]:
    try:
        return {
            str(video["name"]): {int(each["object_id"]): str(each["class"]) for each in video["objects"]}
            for video in read["videos"]
        }
    except (KeyError, TypeError, ValueError) as error:
        raise _foreign(path) from error


def _of_youtube_vos(read: Any, path: Path) -> dict[str, dict[int, str]]:
    """{"videos": {NAME: {"objects": {"1": {"category": ..}}}}}."""
    try:
        videos: Mapping[str, Any] = read["videos"]
        return {
            name: {int(number): str(each.get("category", "")) for number, each in video["objects"].items()}
            for name, video in videos.items()
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _foreign(path) from error


def _foreign(path: Path) -> InvalidInputError:
    return InvalidInputError(f"{path} does not tell the classes of videos.", "Take it away, or restore it.")
