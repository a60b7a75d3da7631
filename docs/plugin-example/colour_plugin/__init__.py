"""Two kinds for tam_backend, as small as can be: `colour` segments by colour, `still` tracks what does not move.

This module says what there is. It must not import torch: `tam-backend profiles` reads it. The networks are built when
a profile is loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tam_backend.models.kinds import Loading, SegmenterKind, TrackerKind

if TYPE_CHECKING:
    from tam_backend.models.protocols import Segmenter, TrackerFactory


def _segmenter(weights: tuple[Path, ...], loading: Loading) -> Segmenter:
    from colour_plugin.colour_segmenter import ColourSegmenter  # noqa: PLC0415 - torch is slow to import

    return ColourSegmenter(loading.version)


def _tracker(weights: tuple[Path, ...], loading: Loading) -> TrackerFactory:
    from colour_plugin.still_tracker import StillTracker  # noqa: PLC0415 - torch is slow to import

    return lambda: StillTracker(loading.device)


SEGMENTER = SegmenterKind(
    name="colour",
    description="pixels of the colour that was clicked",
    speed="a few milliseconds",
    license="Apache-2.0",
    goes_with="still",  # the tracker of the profile that is listed; the others work too
    refines=False,
    build=_segmenter,
)

TRACKER = TrackerKind(
    name="still",
    description="every mask stays where it was",
    speed="a few milliseconds",
    license="Apache-2.0",
    explains=False,  # it has no memory to read from
    build=_tracker,
)
