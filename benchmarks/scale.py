"""How much more two workers do than one: `python -m benchmarks.scale [--workers 1 2] [--jobs 8]`.

Each round starts a Ray cluster on this machine with so many workers of one thread each, and has the same jobs tracked
as the backend's own background work does: as many side by side as there are workers, each on the worker that has the
least to do. Rounds alternate between the numbers of workers; jobs per minute are medians over the rounds. The first job
of each worker, which loads the networks, is not counted. With `--in-process` the embedded default is measured too,
and with `--processes` so many of it side by side that know nothing of each other: what the machine has to give.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Barrier
from pathlib import Path

import av
import numpy as np

from tam_backend.service.parts import Parts, workers_of
from tam_backend.settings import Settings
from tam_backend.store.sessions import SessionKey
from tam_backend.types import Prompt
from tam_backend.workers.workers import View, Workers

_HEIGHT, _WIDTH, _RADIUS, _FPS = 480, 854, 60, 25
_NETWORKS_S = 300.0
IN_PROCESS = 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--in-process", action="store_true")
    parser.add_argument("--processes", type=int, nargs="*", default=[])
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--profile", default="compact")
    arguments = parser.parse_args()
    kinds = [*([IN_PROCESS] if arguments.in_process else []), *arguments.workers]
    taken: dict[int, list[float]] = {kind: [] for kind in kinds}
    apart: dict[int, list[float]] = {count: [] for count in arguments.processes}
    with tempfile.TemporaryDirectory() as folder:
        video = write_disc(Path(folder) / "disc.mp4", arguments.frames)
        for number in range(arguments.rounds):
            for kind in kinds if number % 2 == 0 else reversed(kinds):
                seconds = measure(Path(folder) / f"{number}-{kind}", video, kind, arguments.jobs, arguments.profile)
                taken[kind].append(60 * arguments.jobs / seconds)
            for count, rates in apart.items():
                seconds = measure_apart(Path(folder) / f"{number}-apart-{count}", video, count, arguments.jobs)
                rates.append(60 * arguments.jobs / seconds)
    medians = {kind: statistics.median(each) for kind, each in taken.items()}
    load = os.getloadavg()[0]
    print(
        f"{arguments.jobs} jobs of {arguments.frames} frames, {_WIDTH}x{_HEIGHT}, {arguments.profile}, load {load:.1f}"
    )
    for kind, median in medians.items():
        name = "in this process, one thread" if kind == IN_PROCESS else f"{kind} worker(s) of one thread"
        of_all = ", ".join(f"{each:.2f}" for each in taken[kind])
        base = medians[kinds[0]]
        print(f"{name:28} {median:7.2f} jobs/min   {median / base:5.2f}   ({of_all})")
    for count, each in apart.items():
        median, of_all = statistics.median(each), ", ".join(f"{rate:.2f}" for rate in each)
        base = statistics.median(next(iter(apart.values())))
        print(f"{f'{count} process(es), nothing shared':28} {median:7.2f} jobs/min   {median / base:5.2f}   ({of_all})")


def measure(folder: Path, video: Path, workers: int, jobs: int, profile: str) -> float:
    """Return the seconds that jobs take; `workers` is IN_PROCESS for none of Ray's."""
    settings = Settings(
        data_dir=folder,
        media_dirs=(video.parent,),
        profile=profile,
        workers="1" if workers == IN_PROCESS else f"ray:{workers}",
        model_threads=1,
        worker_cpus=0.5,  # so that Ray finds room for them all, however many cores there are
    )
    parts = Parts.of(settings)
    crew = workers_of(settings, parts)
    crew.start()
    try:
        _wait_for(crew, max(1, workers))
        _do(crew, video, range(-max(1, workers), 0))
        began_s = time.perf_counter()
        _do(crew, video, range(jobs))
        return time.perf_counter() - began_s
    finally:
        crew.close()
        parts.holders.close()


def measure_apart(folder: Path, video: Path, processes: int, jobs: int) -> float:
    """Return the seconds that jobs take in so many processes of one thread, each with its share of them."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(processes + 1)
    shares = [range(jobs)[number::processes] for number in range(processes)]
    crew = [
        context.Process(target=_do_apart, args=(folder / str(number), video, share, barrier))
        for number, share in enumerate(shares)
    ]
    for each in crew:
        each.start()
    barrier.wait(_NETWORKS_S)
    began_s = time.perf_counter()
    for each in crew:
        each.join()
    if any(each.exitcode for each in crew):
        raise SystemExit("A process failed; what it printed says why.")
    return time.perf_counter() - began_s


def _do_apart(folder: Path, video: Path, numbers: Sequence[int], barrier: Barrier) -> None:
    settings = Settings(data_dir=folder, media_dirs=(video.parent,), model_threads=1)
    parts = Parts.of(settings)
    crew = workers_of(settings, parts)
    crew.start()
    _wait_for(crew, 1)
    _do(crew, video, range(-1, 0))
    barrier.wait(_NETWORKS_S)
    _do(crew, video, numbers)
    crew.close()
    parts.holders.close()


def write_disc(path: Path, frames: int) -> Path:
    """Write a video of a disc that moves over noise."""
    rng = np.random.default_rng(3)
    ground = rng.integers(80, 170, (_HEIGHT, _WIDTH, 3), dtype=np.uint8)
    rows, columns = np.mgrid[:_HEIGHT, :_WIDTH]
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=_FPS)
        stream.width, stream.height, stream.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
        for index in range(frames):
            picture = ground.copy()
            picture[(columns - _centre_x(index)) ** 2 + (rows - _HEIGHT / 2) ** 2 <= _RADIUS**2] = (210, 40, 30)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return path


def _centre_x(frame: int) -> float:
    return 150 + 4.0 * frame


def _wait_for(crew: Workers, count: int) -> None:
    deadline_s = time.monotonic() + _NETWORKS_S
    while sum(each.ready for each in crew.states()) < count:
        if time.monotonic() > deadline_s:
            raise SystemExit(f"{count} workers did not come: {crew.states()}")
        time.sleep(0.1)


def _do(crew: Workers, video: Path, numbers: Sequence[int]) -> None:
    """Track so many tasks, all showing the same video."""

    def track(number: int) -> None:
        view = View(SessionKey("1", str(number), "disc"), str(video))
        prompts = [Prompt(1, 0, points=[(_centre_x(0), _HEIGHT / 2, True)])]
        with (
            crew.lent(view, _NETWORKS_S, "background") as opened,
            opened.tracking_in_background(prompts) as tracking,
        ):
            while not tracking.done:
                tracking.advance()
            for _ in tracking.results():
                pass  # what is pushed to Label Studio comes to this process

    with ThreadPoolExecutor(crew.at_once) as pool:
        list(pool.map(track, numbers))


if __name__ == "__main__":
    main()
