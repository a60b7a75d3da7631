"""Every failure a user can cause, as one family: a sentence, a remedy and an HTTP status.

TamError
├── InvalidInputError            400  something in the request or the call is wrong
│   ├── InvalidPromptError       400  a prompt that cannot be understood (no content, NaN, unknown object)
│   │   └── PromptOffFrameError  400  a point or box lies outside the frame
│   ├── TooLittleError           400  too little to learn from: nothing failed, there is nothing to do yet
│   ├── FrameOutOfRangeError     400  no such frame in this video (also an IndexError)
│   ├── LabelConfigError         400  the labeling config offers nothing that can be predicted
│   ├── PayloadError             400  malformed JSON, or missing keys
│   │   └── RegionError          400  one region of a task cannot be used; the others can
│   └── PayloadTooLargeError     413  the request body is over the limit
├── UnauthorizedError            401  wrong or missing credentials, or a bad signature
├── NotFoundError                404  no such job, video or frame
├── MediaError                   422  the video or image of a task
│   ├── MediaNotFoundError       404  it does not exist there
│   ├── MediaForbiddenError      403  settings do not allow that scheme, host or path
│   ├── MediaTooLargeError       413  over the size limit
│   ├── MediaStoreError          503  the store of imported videos cannot be reached, or refuses us
│   ├── MediaTimeoutError        504  it did not arrive in time
│   ├── UnreadableMediaError     422  it is no video or image that can be decoded
│   └── EmptyVideoError          422  it has no frame
├── ProfileError                 400  an unknown profile
│   ├── MissingPackageError      503  the profile needs a Python package that is not installed
│   └── WeightsError             503  weights missing, corrupted, or of another network
│       └── DamagedWeightsError  503  a project's own are not what was written; to try again does not help
├── DeviceError                  503  a device that is not there
├── CancelledError               499  the caller cancelled or hung up
├── BusyError                    503  somebody else is at it, or it is not ready yet
│   ├── OverloadedError          503  too many requests wait already
│   └── WorkerLostError          503  the worker ended in the middle, or does not answer
├── AdaptationError              500  the process that lets networks learn ended before it was done
├── OutputError                  507  results cannot be written: the disk is full, or it is not allowed
├── StoreError                   503  the database of sessions and jobs cannot be read or written
├── LabelStudioError             502  Label Studio refused or did not answer
│   └── LabelStudioRefusedError  502  it refused for good: asking again would not help
└── HttpError                    its  a failure that only HTTP knows, with a status of its own
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def printable(text: str) -> str:
    """Return a text that can be written anywhere: bytes of file names that are no UTF-8 as \\xe9.

    >>> printable("caf\\udce9.mp4")
    'caf\\\\xe9.mp4'
    """
    return "".join(_escaped(each) if "\ud800" <= each <= "\udfff" else each for each in text)


def _escaped(surrogate: str) -> str:
    code = ord(surrogate)
    # Python keeps the byte 0xe9 of a file name as U+DCE9 (PEP 383).
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


class TamError(Exception):
    """The root of the family.

    Args:
        message: one sentence that names the thing that failed.
        remedy: one sentence that says what to do about it; may be empty.
    """

    status: int = 500

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(printable(message))
        self.message = printable(message)
        self.remedy = printable(remedy)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel whole between processes, whatever the arguments of a class are."""
        return _as_it_was, (type(self), self.message, dict(vars(self)))

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()


def _as_it_was(kind: type[TamError], message: str, attributes: Mapping[str, Any]) -> TamError:
    error = kind.__new__(kind, message)
    vars(error).update(attributes)
    return error


class InvalidInputError(TamError, ValueError):
    """Something in the request or the call is wrong."""

    status = 400


class InvalidPromptError(InvalidInputError):
    """A prompt that cannot be understood: no content, not a number, an unknown object."""


class PromptOffFrameError(InvalidPromptError):
    """A point or a box lies outside the frame."""


class TooLittleError(InvalidInputError):
    """There is too little to learn from: nothing failed, there is nothing to do yet."""


class FrameOutOfRangeError(InvalidInputError, IndexError):
    """There is no such frame in this video."""


class LabelConfigError(InvalidInputError):
    """The labeling config is not XML, or offers nothing that can be predicted."""


class PayloadError(InvalidInputError):
    """Malformed JSON, or keys that are missing from it."""


class RegionError(PayloadError):
    """One region of a task cannot be used; the others can.

    Args:
        region_id: Label Studio's.
        message, remedy: see `TamError`.
    """

    def __init__(self, region_id: str, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.region_id = region_id


class PayloadTooLargeError(InvalidInputError):
    """The request body is over the limit of the settings."""

    status = 413


class UnauthorizedError(TamError):
    """Wrong or missing credentials, or a signature that does not fit."""

    status = 401


class NotFoundError(TamError):
    """There is no such job, video or frame."""

    status = 404


class MediaError(TamError):
    """Something is wrong with the video or image of a task."""

    status = 422


class MediaNotFoundError(MediaError):
    """The video or image does not exist where the task says."""

    status = 404


class MediaForbiddenError(MediaError):
    """The settings do not allow that scheme, host or path."""

    status = 403


class MediaTooLargeError(MediaError):
    """The video or image is over the size limit of the settings."""

    status = 413


class MediaStoreError(MediaError):
    """The store of imported videos (TAM_MEDIA_STORE) cannot be reached, or refuses what is asked of it."""

    status = 503


class MediaTimeoutError(MediaError):
    """The video or image did not arrive within the time limit of the settings."""

    status = 504


class UnreadableMediaError(MediaError):
    """The file is no video or image that can be decoded."""


class EmptyVideoError(MediaError):
    """The video, or the folder of images, has no frame."""


class ProfileError(TamError):
    """No profile has that name."""

    status = 400


class MissingPackageError(ProfileError):
    """The profile needs a Python package that is not installed."""

    status = 503


class WeightsError(ProfileError):
    """Weights are missing, corrupted, or of another network."""

    status = 503


class DamagedWeightsError(WeightsError):
    """Weights that are not what was written, where they are kept for good: to try again does not help."""


class DeviceError(TamError):
    """The device asked for is not on this machine."""

    status = 503


class CancelledError(TamError):
    """The caller cancelled, or hung up."""

    status = 499


class BusyError(TamError):
    """Too many requests wait already."""

    status = 503


class OverloadedError(BusyError):
    """Too many requests work or wait already."""


class WorkerLostError(BusyError):
    """The worker that was asked has ended, or does not answer; what it stored is kept, and another one can go on.

    Args:
        message, remedy: see `TamError`.
        has_ended: whether that is known: one that does not answer may only be slow.
    """

    def __init__(self, message: str, remedy: str = "", *, has_ended: bool = False) -> None:
        super().__init__(message, remedy)
        self.has_ended = has_ended


class AdaptationError(TamError):
    """The process that lets networks learn from a project ended before it was done; it was killed, or has a fault."""

    status = 500


class OutputError(TamError):
    """Results cannot be written: the disk is full, or the folder may not be written to."""

    status = 507


class StoreError(TamError):
    """The database of sessions and jobs cannot be opened, read or written."""

    status = 503


class LabelStudioError(TamError):
    """Label Studio refused a call, or did not answer."""

    status = 502


class LabelStudioRefusedError(LabelStudioError):
    """Label Studio refused a call for good: no such task, or data that it does not take."""


class HttpError(TamError):
    """A failure that only HTTP knows: no such route, a method it does not have, a body that never came.

    Args:
        status: of the reply; one class stands for 405, 408, 415 and the like.
        message, remedy: see `TamError`.
    """

    def __init__(self, status: int, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.status = status
