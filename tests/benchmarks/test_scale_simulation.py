"""The simulation of a cluster agrees with what queueing theory knows, and with what it says of itself."""

from __future__ import annotations

import random
import statistics
from math import ceil, factorial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.scale_simulation import (
    MACHINES,
    POLICIES,
    Cluster,
    Costs,
    Habits,
    Request,
    hashed,
    quantile,
    requests,
    simulate,
    work_share,
)

FINE = Costs(first_click_s=1, next_click_s=1, frame_s=0.001, open_s=0)


def mean_wait_of_mmc(workers: int, load: float) -> float:
    """Erlang's C: the mean wait for one of so many servers with a mean service of 1 s, first come, first served."""
    offered = workers * load
    waiting = offered**workers / factorial(workers) / (1 - load)
    must_wait = waiting / (sum(offered**each / factorial(each) for each in range(workers)) + waiting)
    return must_wait / (workers - offered)


@pytest.mark.parametrize(("workers", "load"), [(1, 0.5), (4, 0.7), (10, 0.7)])
def test_jobs_at_the_least_busy_worker_wait_as_long_as_erlang_says(workers: int, load: float) -> None:
    chance = random.Random(1)
    cluster = Cluster(workers, "least busy", FINE)
    now_s = 0.0
    for task in range(150_000):
        now_s += chance.expovariate(workers * load)
        cluster.take(Request(now_s, task, frames=ceil(chance.expovariate(1 / 1000))))
    waits = cluster.finish().jobs
    assert len(waits) == 150_000
    assert statistics.fmean(waits) == pytest.approx(mean_wait_of_mmc(workers, load), rel=0.1)


def test_clicks_of_equal_length_wait_half_as_long() -> None:
    """Pollaczek and Khinchine: load / (1 - load) / 2 services, for one worker."""
    chance = random.Random(1)
    cluster = Cluster(1, "rendezvous", FINE)
    now_s = 0.0
    for _ in range(60_000):
        now_s += chance.expovariate(0.6)
        cluster.take(Request(now_s, task=0))
    assert statistics.fmean(cluster.finish().clicks) == pytest.approx(0.6 / 0.4 / 2, rel=0.1)


def test_a_click_waits_for_a_frame_of_a_job_and_not_for_the_job() -> None:
    cluster = Cluster(1, "rendezvous", Costs(first_click_s=0.4, next_click_s=0.1, frame_s=0.25, open_s=0))
    cluster.take(Request(0, task=0, frames=100))
    cluster.take(Request(1.1, task=0))
    cluster.take(Request(1.1, task=0, same_frame=True))
    cluster.take(Request(2, task=0, frames=1))
    waits = cluster.finish()
    assert waits.clicks == pytest.approx([0.15, 0.55])
    assert waits.jobs == pytest.approx([0, 25 + 0.4 + 0.1 - 2])


def test_only_who_comes_to_another_worker_opens_the_task_anew() -> None:
    costs = Costs(first_click_s=1, next_click_s=0, frame_s=1, open_s=10)
    home, other = sorted(range(2), key=lambda each: hashed(7, each), reverse=True)
    cluster = Cluster(2, "two choices", costs)
    cluster.take(Request(0, task=7, frames=20))  # opened at home: busy until 30
    cluster.take(Request(1, task=7, frames=20))  # the other is free 29 s sooner: opened there, busy until 31
    cluster.take(Request(2, task=7, same_frame=True))  # stays where the task is, between two frames
    assert [cluster._workers[each].free_at_s for each in (home, other)] == [30, 31]
    assert cluster.finish().clicks == [0]


@given(
    arrivals=st.lists(st.tuples(st.floats(0, 5), st.integers(0, 3), st.integers(0, 9), st.booleans()), max_size=40),
    policy=st.sampled_from(POLICIES),
    workers=st.integers(1, 4),
)
def test_every_request_is_served_once_and_not_before_it_came(
    arrivals: list[tuple[float, int, int, bool]], policy: str, workers: int
) -> None:
    cluster = Cluster(workers, policy, MACHINES["cpu"])
    now_s = 0.0
    for pause_s, task, frames, same_frame in arrivals:
        now_s += pause_s
        cluster.take(Request(now_s, task, frames, same_frame))
    waits = cluster.finish()
    jobs = sum(frames > 0 for _, _, frames, _ in arrivals)
    assert (len(waits.jobs), len(waits.clicks)) == (jobs, len(arrivals) - jobs)
    assert all(wait >= 0 for wait in waits.jobs + waits.clicks)
    assert max(waits.clicks, default=0) <= MACHINES["cpu"].frame_s + len(arrivals) * 0.9


def test_a_worker_that_leaves_moves_only_its_own_tasks() -> None:
    before, after = (
        [max(workers, key=lambda each: hashed(task, each)) for task in range(500)] for workers in (range(5), range(4))
    )
    assert all(new == old for new, old in zip(after, before, strict=True) if old != 4)
    assert 60 < before.count(4) < 140


def test_annotators_take_the_share_of_a_worker_that_is_told() -> None:
    habits, seconds = Habits(), 100_000.0
    asked = list(requests(3, habits, seconds))
    costs = Costs(first_click_s=0.4, next_click_s=0.4, frame_s=0.1, open_s=0)
    work_s = sum(each.frames * costs.frame_s if each.frames else 0.4 for each in asked)
    assert work_s / seconds == pytest.approx(3 * work_share(costs, habits), rel=0.05)
    assert [each.at_s for each in asked] == sorted(each.at_s for each in asked)


def test_the_same_seed_gives_the_same_waits() -> None:
    first, second = (simulate(3, "two choices", MACHINES["cpu"], Habits(), 6, 2000, seed=4) for _ in range(2))
    assert first == second and first.clicks


def test_quantiles() -> None:
    assert [quantile([3, 1, 2], share) for share in (0, 0.5, 0.95, 1)] == [1, 2, 3, 3]
