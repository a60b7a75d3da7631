"""Which masks are good enough to learn from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from tam_backend.errors import InvalidInputError
from tam_backend.export.dataset import LabelledFrame, Shown


@dataclass(frozen=True)
class Trust:
    """What is asked of a mask.

    Args:
        min_quality: 0..1; a mask that the model made and trusts less is ignored.
        only_confirmed: leave out frames on which no object was drawn, changed or clicked by a human; what was not
            confirmed on the others is ignored.

    Raises:
        InvalidInputError: a quality that cannot be.
    """

    min_quality: float = 0.0
    only_confirmed: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.min_quality <= 1:
            raise InvalidInputError(f"A quality of {self.min_quality:g} cannot be asked for.", "Give 0 to 1.")

    def applied(self, frames: Iterable[LabelledFrame]) -> Iterator[LabelledFrame]:
        """Yield the frames that are good enough, with what is doubtful on them marked as ignored."""
        for frame in frames:
            if self.only_confirmed and not any(map(is_confirmed, frame.shown)):
                continue
            yield replace(frame, shown=tuple(replace(each, ignored=not self._suffices(each)) for each in frame.shown))

    def _suffices(self, shown: Shown) -> bool:
        if is_confirmed(shown):
            return True
        return not self.only_confirmed and (shown.quality is None or shown.quality >= self.min_quality)


def is_confirmed(shown: Shown) -> bool:
    """Whether a human drew or changed it, or it answers a human's click and was accepted."""
    return shown.provenance in ("human", "prompt")
