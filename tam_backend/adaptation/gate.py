"""Whether a network is better beyond doubt: gains on the same frames, and how far chance alone could have made them."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
from numpy.typing import NDArray

from tam_backend.adaptation.judging import Scores
from tam_backend.adaptation.outcome import Comparison, NetworkVerdict

LEAST_JUDGED = 4
"""With fewer judged frames nothing is promoted: their spread says nothing."""
LEAST_GAIN = 0.5
"""Points that a network must gain on held-out videos; less is not worth another version."""
MOST_HARM = 1.0
"""Points that it may lose on the general validation set."""
FEW_STEPS = 40
"""With fewer a network that is refused may only have had too little time; docs/adaptation.md, "What it brings"."""

# Two candidates are tried on the same videos, so that each is held to half of the usual 5 %.
_TAIL = 0.025
_NORMAL_QUANTILE = 1.96
_DRAWS = 2000
# Neighbouring frames fail together: a video counts as so many runs of frames at most, and runs are drawn, not frames.
_RUNS = 6
# From so many videos on, videos are drawn as well.
_DRAWN_VIDEOS = 3


def compare(before: Scores, after: Scores) -> Comparison | None:
    """Compare two networks on the frames that both were judged on; every video counts the same.

    Args:
        before, after: video -> frame -> 0..1.

    Returns:
        Percents and points; None where no frame is shared. With fewer than `LEAST_JUDGED` runs of frames the interval
        is unbounded.
    """
    frames = {name: sorted(before[name].keys() & after[name].keys()) for name in sorted(before.keys() & after.keys())}
    frames = {name: judged for name, judged in frames.items() if judged}
    if not frames:
        return None
    means = [
        100 * float(np.mean([np.mean([scores[name][at] for at in judged]) for name, judged in frames.items()]))
        for scores in (before, after)
    ]
    gains = [np.array([100 * (after[name][at] - before[name][at]) for at in judged]) for name, judged in frames.items()]
    low, high = _interval(gains)
    return Comparison(means[0], means[1], low, high, sum(len(each) for each in gains))


def verdict(
    what: str,
    held_out: tuple[Scores, Scores],
    general: tuple[Scores, Scores],
    iterations: int = 0,
    *,
    time_was_short: bool = False,
) -> NetworkVerdict:
    """Decide about one network.

    Args:
        what: how people call it: "the tracker", "the segmenter".
        held_out: scores before and after, on videos that it did not learn from.
        general: the same on the general validation set.
        iterations: that it learnt.
        time_was_short: whether it would have learnt more, had there been the time.
    """
    here, elsewhere = compare(*held_out), compare(*general)
    by_video = {name: compare({name: held_out[0][name]}, {name: held_out[1].get(name, {})}) for name in held_out[0]}
    videos = tuple((name, each.gain) for name, each in by_video.items() if each is not None)
    promote, reason = _decided(what, here, elsewhere)
    reason += _said_of_steps(iterations, in_haste=not promote and time_was_short and iterations < FEW_STEPS)
    return NetworkVerdict(promote, reason, here, elsewhere, videos, iterations)


def _said_of_steps(iterations: int, *, in_haste: bool) -> str:
    steps = f"{iterations} step" if iterations == 1 else f"{iterations} steps"
    if not in_haste:
        return f" It learnt {steps}."
    return (
        f" It learnt only {steps} before the time was over, and with fewer than {FEW_STEPS} a network may be worse than"
        " with none: give it more (--minutes, TAM_ADAPT_MINUTES)."
    )


def _decided(what: str, here: Comparison | None, elsewhere: Comparison | None) -> tuple[bool, str]:
    kept = f"{what[0].upper()}{what[1:]} stays as it was"
    if here is None or here.judged < LEAST_JUDGED:
        return False, (
            f"{kept}: on the held-out videos only {0 if here is None else here.judged} masks could be judged, "
            f"and it takes {LEAST_JUDGED}; correct or confirm more frames."
        )
    figures = f"{here.before:.1f} before, {here.after:.1f} after, on {here.judged} frames of held-out videos"
    if here.gain < LEAST_GAIN:
        way = "worse" if here.gain < 0 else "no better"
        return False, f"{kept}: what it learnt makes it {way} on this project's other videos ({figures})."
    if here.low <= 0:
        return False, (
            f"{kept}: the gain of {here.gain:.1f} points may be chance ({figures}; "
            f"the interval of the gain begins at {here.low:.1f})."
        )
    if elsewhere is None:
        return False, f"{kept}: its harm to other videos could not be measured."
    if elsewhere.gain < -MOST_HARM:
        return False, (
            f"{kept}: it gained {here.gain:.1f} points here, but lost {-elsewhere.gain:.1f} on other videos, "
            f"where it may lose {MOST_HARM:.0f}."
        )
    return True, f"{what[0].upper()}{what[1:]} is better: {figures} (gain at least {here.low:.1f} points)."


def _interval(gains: Sequence[NDArray[np.float64]]) -> tuple[float, float]:
    """Return the bounds of the mean gain, the videos' means averaged, in points."""
    runs = [np.array_split(each, min(len(each), _RUNS)) for each in gains]
    count = sum(len(each) for each in runs)
    if count < LEAST_JUDGED:
        return -np.inf, np.inf
    rng = np.random.default_rng(0)
    drawn = np.stack([_drawn_means(each, rng) for each in runs])  # videos x draws
    if len(drawn) >= _DRAWN_VIDEOS:
        picked = rng.integers(len(drawn), size=drawn.shape)
        drawn = np.take_along_axis(drawn, picked, 0)
    mean = float(np.mean([each.mean() for each in gains]))
    low, high = np.quantile(drawn.mean(0), (_TAIL, 1 - _TAIL))
    wider = _student_quantile(count - 1) / _NORMAL_QUANTILE * sqrt(count / (count - 1))
    return mean - wider * (mean - float(low)), mean + wider * (float(high) - mean)


def _drawn_means(runs: Sequence[NDArray[np.float64]], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return (draws,): the mean over as many runs as there are, drawn with replacement."""
    sums, sizes = np.array([each.sum() for each in runs]), np.array([len(each) for each in runs])
    picked = rng.integers(len(runs), size=(_DRAWS, len(runs)))
    return np.asarray(sums[picked].sum(1) / sizes[picked].sum(1), np.float64)


def _student_quantile(freedom: int) -> float:
    """Return Student's 97.5 % quantile: the bootstrap of a few runs is too sure of itself.

    Abramowitz and Stegun, "Handbook of Mathematical Functions", 26.7.5, to the second order.
    """
    z = _NORMAL_QUANTILE
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
