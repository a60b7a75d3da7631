"""How long clicks and jobs wait on 1 to 100 workers: `python -m benchmarks.scale_simulation [--machine gpu]`.

A simulation with measured times, not a measurement. Annotators click and propagate at random moments, whatever they
wait for; each has a task, and takes another one now and then. A worker serves clicks first, between two frames of the
job that it tracks, and jobs in the order in which they came. Three ways to choose the worker of a request are compared:

    rendezvous   always the one that the task's hash points at, which has its frames and embeddings at hand
    two choices  the same, but a job moves its task to the second that the hash points at, if that is free much sooner
    least busy   the one that is free first, which mostly has to open the task anew

Load is the share of time that workers would be busy if each task were open already. Times are from arrival until a
worker begins.
"""

from __future__ import annotations

import argparse
import hashlib
import heapq
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from math import ceil
from typing import Any

POLICIES = ("rendezvous", "two choices", "least busy")
WORKERS = (1, 2, 5, 20, 100)
LOADS = (0.3, 0.5, 0.7)
# A job stays where its task is unless the other worker is free so much sooner.
PATIENCE_S = 5.0


@dataclass(frozen=True)
class Costs:
    """What takes how long on one worker.

    Args:
        first_click_s: a click on a frame that has no embedding there yet.
        next_click_s: a further click on the same frame.
        frame_s: one frame of a job.
        open_s: what a worker that did not have the task takes longer, for the video and what is stored of it.
    """

    first_click_s: float
    next_click_s: float
    frame_s: float
    open_s: float


@dataclass(frozen=True)
class Habits:
    """What an annotator does.

    Args:
        click_every_s, job_every_s, task_every_s: mean seconds between clicks, between jobs, and between new tasks.
        same_frame: share of clicks that are on the frame of the one before.
        job_frames: mean length of a job; lengths are distributed exponentially.
    """

    click_every_s: float = 6.0
    job_every_s: float = 120.0
    task_every_s: float = 900.0
    same_frame: float = 0.6
    job_frames: float = 100.0


# compact on two cores of a CPU without bfloat16, and on an H100; measured, but for open_s, a guess.
MACHINES = {
    "cpu": Costs(first_click_s=0.4, next_click_s=0.1, frame_s=1 / 3.8, open_s=0.5),
    "gpu": Costs(first_click_s=0.04, next_click_s=0.01, frame_s=1 / 51, open_s=0.5),
}


@dataclass(frozen=True)
class Request:
    """Something that an annotator asks for.

    Args:
        at_s: when.
        task: which task; numbers are never used again.
        frames: of the job; 0: it is a click.
        same_frame: a click on the frame of the task's last one.
    """

    at_s: float
    task: int
    frames: int = 0
    same_frame: bool = False


@dataclass
class Waits:
    """Seconds that each request waited, in the order in which they were begun."""

    clicks: list[float] = field(default_factory=list)
    jobs: list[float] = field(default_factory=list)


@dataclass
class _Job:
    at_s: float
    left_s: float
    begun: bool = False


class Worker:
    """One worker, which is told of requests in the order in which they come.

    Args:
        frame_s: a job is interrupted for clicks only between frames.
        waits: where it notes how long each waited.
    """

    def __init__(self, frame_s: float, waits: Waits) -> None:
        self._frame_s = frame_s
        self._waits = waits
        self._now_s = 0.0
        self._clicks: deque[tuple[float, float]] = deque()
        self._jobs: deque[_Job] = deque()
        self.free_at_s = 0.0

    def click(self, at_s: float, takes_s: float) -> None:
        """Take a click."""
        self._advance(at_s)
        self._clicks.append((at_s, takes_s))
        self.free_at_s = max(self.free_at_s, at_s) + takes_s

    def job(self, at_s: float, takes_s: float) -> None:
        """Take a job."""
        self._advance(at_s)
        self._jobs.append(_Job(at_s, takes_s))
        self.free_at_s = max(self.free_at_s, at_s) + takes_s

    def finish(self) -> None:
        """Do all that is left."""
        self._advance(float("inf"))

    def _advance(self, until_s: float) -> None:
        while self._now_s < until_s and (self._clicks or self._jobs):
            if self._clicks:
                at_s, takes_s = self._clicks.popleft()
                self._waits.clicks.append(self._now_s - at_s)
                self._now_s += takes_s
            else:
                self._track(self._jobs[0], until_s)
        self._now_s = max(self._now_s, until_s)

    def _track(self, job: _Job, until_s: float) -> None:
        """Track until the job ends, or the first end of a frame after `until_s`."""
        if not job.begun:
            job.begun = True
            self._waits.jobs.append(self._now_s - job.at_s)
        takes_s = job.left_s
        if self._now_s + takes_s > until_s:
            takes_s = min(takes_s, ceil((until_s - self._now_s) / self._frame_s) * self._frame_s)
        self._now_s += takes_s
        job.left_s -= takes_s
        if job.left_s <= 1e-9:
            self._jobs.popleft()


@dataclass
class _Task:
    """Where a task was last, and which workers its hash points at."""

    ranked: Sequence[int]
    at: int | None = None


class Cluster:
    """Workers, and a way to choose among them.

    Args:
        workers: how many.
        policy: one of `POLICIES`.
        costs: of each request.
    """

    def __init__(self, workers: int, policy: str, costs: Costs) -> None:
        self.waits = Waits()
        self._workers = [Worker(costs.frame_s, self.waits) for _ in range(workers)]
        self._costs = costs
        self._choose: Callable[[_Task, Request], int] = {
            "rendezvous": lambda task, _: task.ranked[0],
            "two choices": self._of_two,
            "least busy": lambda *_: min(range(workers), key=self._free_at_s),
        }[policy]
        self._ranks = policy != "least busy"
        self._tasks: dict[int, _Task] = {}

    def take(self, request: Request) -> None:
        """Give a request to a worker."""
        task = self._tasks.get(request.task)
        if task is None:
            task = self._tasks[request.task] = _Task(self._ranked(request.task))
        chosen = self._choose(task, request)
        costs, worker = self._costs, self._workers[chosen]
        open_s = 0.0 if task.at == chosen else costs.open_s
        if request.frames:
            worker.job(request.at_s, open_s + request.frames * costs.frame_s)
        else:
            warm = request.same_frame and task.at == chosen
            worker.click(request.at_s, open_s + (costs.next_click_s if warm else costs.first_click_s))
        task.at = chosen

    def finish(self) -> Waits:
        """Do all that is left; return what was noted."""
        for worker in self._workers:
            worker.finish()
        return self.waits

    def _of_two(self, task: _Task, request: Request) -> int:
        stay = task.ranked[0] if task.at is None else task.at
        if not request.frames:
            return stay  # a click waits for no job
        sooner = min(task.ranked, key=self._free_at_s)
        gain_s = self._free_at_s(stay) - max(self._free_at_s(sooner), request.at_s)
        return sooner if gain_s > PATIENCE_S else stay

    def _free_at_s(self, worker: int) -> float:
        return self._workers[worker].free_at_s

    def _ranked(self, task: int) -> Sequence[int]:
        """Return the two workers whose hash together with the task is greatest, the greatest first."""
        if not self._ranks:
            return ()
        return heapq.nlargest(2, range(len(self._workers)), key=lambda each: hashed(task, each))


def hashed(task: int, worker: int) -> bytes:
    """Return a hash of the two together."""
    return hashlib.blake2b(f"{task} {worker}".encode(), digest_size=8).digest()


def work_share(costs: Costs, habits: Habits) -> float:
    """Return the share of one worker's time that one annotator takes."""
    click_s = habits.same_frame * costs.next_click_s + (1 - habits.same_frame) * costs.first_click_s
    return click_s / habits.click_every_s + habits.job_frames * costs.frame_s / habits.job_every_s


def requests(annotators: int, habits: Habits, seconds: float, seed: int = 0) -> Iterator[Request]:
    """Give what so many annotators ask for, in the order of time."""
    chance = random.Random(seed)
    kinds = {"click": habits.click_every_s, "job": habits.job_every_s, "task": habits.task_every_s}
    coming = [
        (chance.expovariate(1 / every_s), annotator, kind)
        for annotator in range(annotators)
        for kind, every_s in kinds.items()
    ]
    heapq.heapify(coming)
    tasks = list(range(annotators))
    while coming and coming[0][0] < seconds:
        at_s, annotator, kind = coming[0]
        heapq.heapreplace(coming, (at_s + chance.expovariate(1 / kinds[kind]), annotator, kind))
        task = tasks[annotator]
        if kind == "task":
            tasks[annotator] += annotators
        elif kind == "click":
            yield Request(at_s, task, same_frame=chance.random() < habits.same_frame)
        else:
            yield Request(at_s, task, frames=ceil(chance.expovariate(1 / habits.job_frames)))


def simulate(
    workers: int, policy: str, costs: Costs, habits: Habits, annotators: int, seconds: float, seed: int = 0
) -> Waits:
    """Return how long each request waited; see the module's text."""
    cluster = Cluster(workers, policy, costs)
    for request in requests(annotators, habits, seconds, seed):
        cluster.take(request)
    return cluster.finish()


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value that so large a share of all is not above; nan of none."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machine", choices=MACHINES, default="cpu", help="whose times; each can be given by itself")
    for option in (*fields(Costs), *fields(Habits)):
        parser.add_argument(f"--{option.name.replace('_', '-')}", type=float)
    parser.add_argument("--workers", type=int, nargs="+", default=WORKERS)
    parser.add_argument("--loads", type=float, nargs="+", default=LOADS, help="share of time that workers are busy")
    parser.add_argument("--hours", type=float, default=1.0, help="of simulated work")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    given = {name: value for name, value in vars(arguments).items() if value is not None}
    costs = replace(
        MACHINES[arguments.machine], **{each.name: given[each.name] for each in fields(Costs) if each.name in given}
    )
    habits = Habits(**{each.name: given[each.name] for each in fields(Habits) if each.name in given})
    share = work_share(costs, habits)
    print(f"{arguments.machine}: {costs}\n{habits}")
    print(f"One annotator takes {share:.3f} of a worker. Seconds of waiting, median / 95 %:\n")
    head = [f"{kind}, {policy}" for kind in ("clicks", "jobs") for policy in POLICIES]
    print("| workers | load | annotators |", " | ".join(head), "|")
    print("|---:" * (3 + len(head)) + "|")
    for workers in arguments.workers:
        for load in arguments.loads:
            annotators = max(1, round(load * workers / share))
            runs = [
                simulate(workers, policy, costs, habits, annotators, 3600 * arguments.hours, arguments.seed)
                for policy in POLICIES
            ]
            cells = [shown(run.clicks) for run in runs] + [shown(run.jobs) for run in runs]
            print(
                f"| {workers} | {annotators * share / workers:.2f} | {annotators} |", " | ".join(cells), "|", flush=True
            )


def _of(kind: type[Costs] | type[Habits], given: Mapping[str, Any]) -> dict[str, Any]:
    return {each.name: given[each.name] for each in fields(kind) if each.name in given}


def shown(waits: Sequence[float]) -> str:
    """Write the median and the 95th percentile."""
    return f"{quantile(waits, 0.5):.2f} / {quantile(waits, 0.95):.2f}"


if __name__ == "__main__":
    main()
