"""Which video gets the next click: orders of tasks compared on what was measured of each by itself.

What a visit brings does not depend on other videos, so the course of each is measured once, and every order is played
on these.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tam_backend.session.tasks_by_gain import after_looks

_RANDOM_ORDERS = 1000


@dataclass(frozen=True)
class State:
    """A video after some visits.

    Args:
        clicks: that were spent on it.
        score: J&F in percent.
        masks: how many it is the mean of.
        gain: what the doubt in its masks promises the next correction to mend.
        worst: its score in Label Studio, the quality of its worst tenth.
        keyframes: frames that were settled, the first one among them.
    """

    clicks: int
    score: float
    masks: int
    gain: float
    worst: float
    keyframes: int


Course = Sequence[State]
Order = Callable[[Sequence[Course], Sequence[int], Sequence[int], random.Random], int]
"""Courses, how many visits each has had, and which have any left (one at least) -> which of them is next."""


def by_gain(courses: Sequence[Course], visits: Sequence[int], left: Sequence[int], rng: random.Random) -> int:
    """The one whose next correction is expected to mend most, as `tasks_by_gain` orders."""
    del rng
    states = {each: courses[each][visits[each]] for each in left}
    return max(left, key=lambda each: after_looks(states[each].gain, states[each].keyframes))


def by_score(courses: Sequence[Course], visits: Sequence[int], left: Sequence[int], rng: random.Random) -> int:
    """The one with the worst tenth, as Label Studio shows tasks by their predictions' scores."""
    del rng
    return min(left, key=lambda each: courses[each][visits[each]].worst)


def in_turn(courses: Sequence[Course], visits: Sequence[int], left: Sequence[int], rng: random.Random) -> int:
    """One after the other, and from the start again."""
    del courses, rng
    return min(left, key=lambda each: visits[each])


def at_random(courses: Sequence[Course], visits: Sequence[int], left: Sequence[int], rng: random.Random) -> int:
    """Any."""
    del courses, visits
    return rng.choice(left)


def by_truth(courses: Sequence[Course], visits: Sequence[int], left: Sequence[int], rng: random.Random) -> int:
    """The one whose next visit really brings most for its clicks, which no one can know."""
    del rng

    def brings(each: int) -> float:
        before, after = courses[each][visits[each]], courses[each][visits[each] + 1]
        return (after.score - before.score) * before.masks / (after.clicks - before.clicks)

    return max(left, key=brings)


ORDERS: dict[str, Order] = {
    "gain": by_gain,
    "score": by_score,
    "in turn": in_turn,
    "truth": by_truth,
    "random": at_random,
}


def after_clicks(before: float, visits: Iterable[tuple[int, float]], clicks: int) -> tuple[float, ...]:
    """Return the score after 0 to `clicks` clicks; a visit counts when its last click is paid.

    Args:
        before: the score without any.
        visits: what each cost in clicks, one at least, and the score after it.
        clicks: how many there are to spend.

    >>> after_clicks(50, [(2, 60), (1, 70), (3, 90)], 5)
    (50, 50, 60, 70, 70, 70)
    """
    scores = [before]
    for cost, after in visits:
        scores += [*[scores[-1]] * (cost - 1), after]
    scores += [scores[-1]] * max(0, clicks + 1 - len(scores))
    return tuple(scores[: clicks + 1])


def spend(courses: Sequence[Course], order: Order, clicks: int, rng: random.Random) -> tuple[float, ...]:
    """Return the mean score over all masks of all videos after 0 to `clicks` clicks in some order."""
    visits = [0] * len(courses)
    played: list[tuple[int, float]] = []
    while sum(cost for cost, _ in played) < clicks:
        left = [each for each, course in enumerate(courses) if visits[each] + 1 < len(course)]
        if not left:
            break
        chosen = order(courses, visits, left, rng)
        before = courses[chosen][visits[chosen]]
        visits[chosen] += 1
        played.append((courses[chosen][visits[chosen]].clicks - before.clicks, _mean(courses, visits)))
    return after_clicks(_mean(courses, [0] * len(courses)), played, clicks)


def _mean(courses: Sequence[Course], visits: Sequence[int]) -> float:
    states = [course[each] for course, each in zip(courses, visits, strict=True)]
    return float(np.average([each.score for each in states], weights=[each.masks for each in states]))


def show_tasks(courses: Sequence[Course]) -> None:
    """Print what clicks bring in every order; at random in the mean of many, with their standard deviation."""
    clicks = 3 * len(courses)
    shown = [round(count) for count in np.linspace(0, clicks, 7)]
    spare = sum(course[-1].clicks for course in courses)
    print(f"\nJ&F over all masks of {len(courses)} videos after clicks in all; {spare} clicks were measured")
    print(f"{'next video':<11}" + "".join(f"{count:>7}" for count in shown) + "   mean over 1 click and more")
    for name, order in ORDERS.items():
        tries = range(_RANDOM_ORDERS if name == "random" else 1)
        played = np.array([spend(courses, order, clicks, random.Random(each)) for each in tries])
        means = played[:, 1:].mean(1)
        deviation = f" +- {means.std(ddof=1):.1f}" if len(tries) > 1 else ""
        print(
            f"{name:<11}"
            + "".join(f"{played[:, at].mean():>7.1f}" for at in shown)
            + f"{means.mean():>9.2f}{deviation}"
        )
