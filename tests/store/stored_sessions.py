"""A small video and sessions on it that are kept, for tests of the store in this process and in others."""

from __future__ import annotations

from colour_models import ColourModels
from synthetic import MovingDiscs

from tam_backend.engine import TrackAnything
from tam_backend.session.session import Session
from tam_backend.store.sessions import SessionKey, SessionStore
from tam_backend.types import Prompt

VIDEO = MovingDiscs(frames=40, starts_xy=((20, 20), (100, 70)), steps_xy=((1, 1), (-1, 0)))
KEY = SessionKey("7", "12", "media")


def click(object_id: int, frame: int, **more: object) -> Prompt:
    return Prompt(object_id, frame, points=[(*VIDEO.centre(frame, object_id), True)], **more)  # type: ignore[arg-type]


def opened(store: SessionStore, weights: str = "colour-1", key: SessionKey = KEY) -> Session:
    stored = store.open(key, frames=len(VIDEO), size_hw=VIDEO.size_hw, weights=weights)
    return TrackAnything(ColourModels().models()).session(VIDEO, stored)
