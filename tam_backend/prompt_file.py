"""prompts.json of `tam-backend track`: which objects, and what a human says of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tam_backend.errors import InvalidPromptError
from tam_backend.export import MaskFile, read_mask_file
from tam_backend.types import Prompt

_IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff"}


class _FilePrompt(BaseModel):
    model_config = ConfigDict(extra="forbid")

    frame: int = Field(ge=0)
    points: list[tuple[float, float, Literal[0, 1]]] | None = None
    box: tuple[float, float, float, float] | None = None
    mask: str | None = None


class _FileObject(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: int = Field(ge=1, le=255)
    label: str | None = None
    prompts: list[_FilePrompt] = Field(min_length=1)


class _PromptFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    objects: list[_FileObject] = Field(min_length=1)


def _say_nothing(note: str) -> None:
    """Take a note and drop it."""
    _ = note


def read_prompts(path: Path, on_note: Callable[[str], None] = _say_nothing) -> tuple[Prompt, ...]:
    """Read a prompts.json, or an image that is the mask of frame 0 (of each object that `read_mask_file` finds in it).

    The file is `{"objects": [{"id": 1, "label": "dog", "prompts": [{"frame": 0, "points": [[x, y, 1]], "box":
    [x0, y0, x1, y1], "mask": "path.png"}]}]}`; pixels of the original frame, 1 positive and 0 negative. Mask paths are
    relative to the file, or to the working directory.

    Args:
        path: the file.
        on_note: called with a sentence where it had to be decided how a mask file is to be read.

    Raises:
        InvalidPromptError: the file is missing or does not fit; the message names the place in it.
    """
    if not path.is_file():
        raise InvalidPromptError(f"There is no prompts file {path}.", "Give a prompts.json or the mask of frame 0.")
    if path.suffix.lower() in _IMAGE_SUFFIXES:
        masks = _read_masks(path, on_note).objects
        if not masks:
            raise InvalidPromptError(f"{path} shows no object: all of it is background.", "Give a mask with one.")
        return tuple(Prompt(object_id=object_id, frame=0, mask=mask) for object_id, mask in masks.items())
    try:
        content = _PromptFile.model_validate_json(_text(path))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InvalidPromptError(
            f"{path}: {place}: {first['msg']}.",
            'It should look like {"objects": [{"id": 1, "prompts": [{"frame": 0, "points": [[x, y, 1]]}]}]}.',
        ) from error
    ids = [each.id for each in content.objects]
    if len(set(ids)) < len(ids):
        raise InvalidPromptError(f"{path}: two objects have the same id.", "Give each object an id of its own.")
    return tuple(_prompt(path, each, prompt, on_note) for each in content.objects for prompt in each.prompts)


def _text(path: Path) -> str:
    """Read JSON as other programs write it: UTF-8 with or without a byte order mark, UTF-16, UTF-32."""
    content = path.read_bytes()
    try:
        return content.decode(json.detect_encoding(content))
    except UnicodeDecodeError as error:
        raise InvalidPromptError(f"{path} is no Unicode text: {error.reason}.", "Save it as UTF-8.") from error


def _read_masks(path: Path, on_note: Callable[[str], None]) -> MaskFile:
    masks = read_mask_file(path)
    if masks.note:
        on_note(masks.note)
    return masks


def _prompt(path: Path, file_object: _FileObject, prompt: _FilePrompt, on_note: Callable[[str], None]) -> Prompt:
    mask = None
    if prompt.mask is not None:
        beside = path.parent / prompt.mask
        mask = _read_masks(beside if beside.exists() else Path(prompt.mask), on_note).mask_of(file_object.id)
    return Prompt(
        object_id=file_object.id,
        frame=prompt.frame,
        points=[(x, y, bool(positive)) for x, y, positive in prompt.points or ()],
        box=prompt.box,
        mask=mask,
        label=file_object.label or "",
    )
