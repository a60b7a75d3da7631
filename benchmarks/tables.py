"""What was measured of clips, object by object, and its means: tables of one set of weights, or of two side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.scores import Score

CLICKS = (1, 3, 5)
_RESAMPLES = 10_000


@dataclass(frozen=True)
class TrackingRow:
    """One method on one object of one clip; J, F and J&F in percent, means over its judged frames."""

    clip: str
    object_id: int
    method: str
    frames: int
    region: float
    boundary: float
    mean: float


@dataclass(frozen=True)
class ClickRow:
    """IoU in percent after each of `CLICKS` clicks, mean over a clip's masks."""

    clip: str
    masks: int
    after: tuple[float, ...]


@dataclass(frozen=True)
class Estimate:
    """A mean and where it may lie: the interval holds 95 % of the means of clips drawn with replacement.

    Args:
        mean: weighted.
        low: NaN, as `high`, if there is a single clip.
        high: with few clips the interval is somewhat too narrow, as any bootstrap's.
    """

    mean: float
    low: float
    high: float

    @property
    def interval(self) -> str:
        """For tables, one decimal."""
        return "" if np.isnan(self.low) else f"[{self.low:.1f}, {self.high:.1f}]"


def estimate(values: Sequence[float], weights: Sequence[float], clips: Sequence[str]) -> Estimate:
    """Return the weighted mean of some values and its bootstrap interval.

    Whole clips are drawn: frames of a clip, and objects of one scene, succeed and fail together.

    Args:
        values: N, at least one.
        weights: N, above 0.
        clips: N names of the clips that the values are from.
    """
    value, weight = np.asarray(values, np.float64), np.asarray(weights, np.float64)
    names, clip_of = np.unique(np.asarray(clips), return_inverse=True)
    mean = float((weight * value).sum() / weight.sum())
    if len(names) == 1:
        return Estimate(mean, float("nan"), float("nan"))
    sums = np.bincount(clip_of, weight * value)
    totals = np.bincount(clip_of, weight)
    drawn = np.random.default_rng(0).integers(len(names), size=(_RESAMPLES, len(names)))
    means = sums[drawn].sum(1) / totals[drawn].sum(1)
    low, high = np.percentile(means, (2.5, 97.5))
    return Estimate(mean, float(low), float(high))


def tracking_rows(clip: str, method: str, scores: dict[int, list[Score]]) -> Iterator[TrackingRow]:
    """Sum up the objects of a clip that were judged at all."""
    for object_id, per_frame in scores.items():
        if per_frame:
            j, f = (100 * float(np.mean(values)) for values in zip(*per_frame, strict=True))
            yield TrackingRow(clip, object_id, method, len(per_frame), j, f, (j + f) / 2)


def _alike(rows: Sequence[TrackingRow]) -> dict[str, list[float]]:
    """Return the weights of the rows by what counts the same in a mean."""
    return {"objects": [1.0] * len(rows), "masks": [float(row.frames) for row in rows]}


def mean_over_objects(rows: Sequence[TrackingRow]) -> Estimate:
    """Return the mean J&F, every object counting the same."""
    return estimate([row.mean for row in rows], _alike(rows)["objects"], [row.clip for row in rows])


def mean_over_masks(rows: Sequence[TrackingRow]) -> Estimate:
    """Return the mean J&F, every judged mask counting the same."""
    return estimate([row.mean for row in rows], _alike(rows)["masks"], [row.clip for row in rows])


def click_means(rows: Sequence[ClickRow]) -> list[Estimate]:
    """Return the mean IoU after each of `CLICKS` clicks, every mask counting the same."""
    masks, clips = [row.masks for row in rows], [row.clip for row in rows]
    return [estimate([row.after[at] for row in rows], masks, clips) for at in range(len(CLICKS))]


def print_tracking(rows: Sequence[TrackingRow]) -> None:
    """Print the table, and for each method the means over objects and over masks."""
    print(f"{'clip':<18}{'object':>7} {'method':<30}{'masks':>7}{'J':>7}{'F':>7}{'J&F':>7}  95 %")
    for row in rows:
        figures = f"{row.region:>7.1f}{row.boundary:>7.1f}{row.mean:>7.1f}"
        print(f"{row.clip:<18}{row.object_id:>7} {row.method:<30}{row.frames:>7}{figures}")
    for method in dict.fromkeys(row.method for row in rows):
        own = [row for row in rows if row.method == method]
        clips, masks = [row.clip for row in own], sum(row.frames for row in own)
        for alike, weights in _alike(own).items():
            j, f, both = (
                estimate([getattr(row, part) for row in own], weights, clips) for part in ("region", "boundary", "mean")
            )
            figures = f"{j.mean:>7.1f}{f.mean:>7.1f}{both.mean:>7.1f}  {both.interval}"
            print(f"{'mean over ' + alike:<18}{len(own):>7} {method:<30}{masks:>7}{figures}")


def print_clicks(rows: Sequence[ClickRow]) -> None:
    """Print the table; the mean counts every mask the same."""
    print(f"{'clip':<18}{'masks':>7}   IoU after clicks:" + "".join(f"{n:>8}" for n in CLICKS))
    for row in rows:
        print(f"{row.clip:<18}{row.masks:>7}   {'':<17}" + "".join(f"{value:>8.1f}" for value in row.after))
    means = click_means(rows)
    masks = sum(row.masks for row in rows)
    print(f"{'mean over masks':<18}{masks:>7}   {'':<17}" + "".join(f"{each.mean:>8.1f}" for each in means))
    print(f"{'95 %':<18}{'':>7}   {'':<17}  " + "  ".join(each.interval for each in means))


def print_tracking_beside(rows: Sequence[TrackingRow], against: Sequence[TrackingRow]) -> None:
    """Print J&F of two sets of weights, object by object, and what the first has more, in pairs.

    Args:
        rows: of one method.
        against: of the same objects in the same order.
    """
    head = f"{'clip':<18}{'object':>7}{'masks':>7}"
    print(f"{head}{'against':>9}{'these':>9}{'more':>8}  95 %   ({rows[0].method}, J&F)")
    for row, other in zip(rows, against, strict=True):
        figures = f"{other.mean:>9.1f}{row.mean:>9.1f}{row.mean - other.mean:>+8.1f}"
        print(f"{row.clip:<18}{row.object_id:>7}{row.frames:>7}{figures}")
    clips, masks = [row.clip for row in rows], sum(row.frames for row in rows)
    for alike, weights in _alike(rows).items():
        new, old = ([row.mean for row in each] for each in (rows, against))
        more = estimate(np.subtract(new, old).tolist(), weights, clips)
        means = [estimate(each, weights, clips).mean for each in (old, new)]
        figures = f"{means[0]:>9.1f}{means[1]:>9.1f}{more.mean:>+8.1f}  {more.interval}"
        print(f"{'mean over ' + alike:<18}{len(rows):>7}{masks:>7}{figures}")


def print_clicks_beside(rows: Sequence[ClickRow], against: Sequence[ClickRow]) -> None:
    """Print the mean IoU after clicks of two sets of weights, clip by clip, and what the first has more, in pairs."""

    def columns(values: Iterable[float], signed: bool = False) -> str:
        return "  " + "".join(f"{value:>+7.1f}" if signed else f"{value:>7.1f}" for value in values)

    groups = "".join(f"  {name:<{7 * len(CLICKS)}}" for name in ("   against", "   these", "   more"))
    numbers = "  " + "".join(f"{n:>7}" for n in CLICKS)
    print(f"{'':<25}{groups}".rstrip())
    print(f"{'clip':<18}{'masks':>7}{numbers * 3}")
    pairs = []
    for row, other in zip(rows, against, strict=True):
        more = ClickRow(row.clip, row.masks, tuple(np.subtract(row.after, other.after).tolist()))
        pairs.append(more)
        print(f"{row.clip:<18}{row.masks:>7}{columns(other.after)}{columns(row.after)}{columns(more.after, True)}")
    old, new, difference = (click_means(each) for each in (against, rows, pairs))
    figures = columns(e.mean for e in old) + columns(e.mean for e in new) + columns((e.mean for e in difference), True)
    print(f"{'mean over masks':<18}{sum(row.masks for row in rows):>7}{figures}")
    print("more after " + ", ".join(f"{n}: 95 % {e.interval}" for n, e in zip(CLICKS, difference, strict=True)))
