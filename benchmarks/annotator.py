"""A simulated annotator: looks at a frame, clicks until its mask is good, and counts what that cost."""

from __future__ import annotations

from benchmarks.scores import BoolMask, region_similarity
from tam_backend import Prompt, Session
from tam_backend.adaptation.simulated_clicks import next_click

# People leave a mask alone that agrees so well with what they see (the IoU that clicks are counted to elsewhere, too).
GOOD = 0.85
# They click no more than that on one frame.
PATIENCE = 3
# They take back what is still mostly wrong then, rather than let it stand as their word.
USABLE = 0.5


def visit(session: Session, object_id: int, frame: int, truth: BoolMask) -> int:
    """Look at a tracked frame and click into its largest error until the mask is good, or patience ends.

    Clicks that ended in a mask that is mostly wrong, or worse than before, are taken back.

    Returns:
        What it cost, in clicks: one, where the mask was good and nothing was changed, since a look costs time, too.
    """
    mask = session.tracks[frame].masks[object_id]
    before = region_similarity(mask, truth)
    clicks = 0
    while clicks < PATIENCE and region_similarity(mask, truth) < GOOD:
        mask = _clicked(session, object_id, frame, truth, mask)
        clicks += 1
    if clicks and region_similarity(mask, truth) < max(before, USABLE):
        session.clear(object_id, frame)
    return max(clicks, 1)


def _clicked(session: Session, object_id: int, frame: int, truth: BoolMask, mask: BoolMask) -> BoolMask:
    """Return the mask after one more click. One that is to vanish, or has only negative clicks, is erased at once."""
    click = next_click(truth, mask)
    if click is None:
        return mask
    if not truth.any():
        return session.paint(object_id, frame, erase=mask).array
    # The middle of the pixel, in the coordinates of prompts.
    point = (click.x + 0.5, click.y + 0.5, click.positive)
    return session.prompt(Prompt(object_id=object_id, frame=frame, points=[point])).array
