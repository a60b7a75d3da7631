"""Two replicas behind a proxy that alternates, two Ray workers, PostgreSQL and a real Label Studio: one backend to all.

The loop of test_e2e_loop runs here once more. What is killed, or stops for longer than its lease, loses nothing and
writes nothing stale.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests
from cluster import Cluster, ready_workers, running_cluster, wait_for_workers
from labelling import DISCS, FRAME_CONFIGS, Project, import_video, write_video
from masks_of import mask_of
from synthetic import iou
from test_e2e_loop import (  # noqa: F401 - tests and fixtures of one backend, for a cluster
    by_place,
    click,
    jobs_of,
    project,
    proposed,
    pushed,
    secret_address,
    test_an_event_counts_only_at_the_secret_address,
    test_the_next_task_of_a_chain_begins_with_what_the_last_one_ended_with,
    test_what_annotators_submit_correct_and_erase_comes_back_as_predictions,
    until,
)

from demo.annotator import Annotator, TagNames
from demo.backend import BackendServer
from demo.errors import DemoError
from demo.label_studio import LabelStudio
from demo.processes import free_port

pytestmark = pytest.mark.e2e
RED = 1
CONFIG = FRAME_CONFIGS["BrushLabels"]
LEASE_S = 6
LONGER = replace(DISCS, frames=60, steps_xy=((2, 0.3), (-2, 0.3)), name="longer.mp4")


@pytest.fixture(scope="module")
def cluster(label_studio: LabelStudio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    settings = {"TAM_DRAFT_WAIT_S": "1", "TAM_LEASE_S": str(LEASE_S), "TAM_TRACKER_SIDE": "360"}
    with running_cluster(label_studio, tmp_path_factory.mktemp("cluster"), extra_env=settings) as running:
        yield running


@pytest.fixture
def backend(cluster: Cluster) -> BackendServer:
    """The cluster, in the place of the one backend of the other tests."""
    return cluster.backend


@pytest.fixture
def long_project(annotator: Annotator, cluster: Cluster, tmp_path: Path) -> Project:
    """A video that takes a while, connected through the proxy."""
    number = annotator.create_project("long", CONFIG)
    import_video(cluster.backend, write_video(tmp_path / LONGER.name, LONGER), number, "--max-frames", "0")
    [task] = annotator.tasks(number)
    ml_backend = annotator.connect_backend(number, cluster.backend.url)
    return Project(annotator, number, ml_backend, int(task["id"]), TagNames.of(CONFIG))


def metric(url: str, name: str) -> dict[str, float]:
    """Return worker -> what a metric says of it."""
    lines = requests.get(f"{url}/metrics", timeout=10).text.splitlines()
    found = [line.split('"') for line in lines if line.startswith(f"{name}{{worker=")]
    return {worker: float(rest.split()[-1]) for _, worker, rest in found}


def submitted(project: Project) -> int:  # noqa: F811 - the fixture's name is the argument's
    """Click, accept and submit, which starts a job; return the annotation's id."""
    answer = project.annotator.ask(project.ml_backend, project.task, [click(project, RED, "Red")])
    return project.annotator.save_annotation(project.task, answer)


def running_job(cluster: Cluster, task: int, beyond: int = 3) -> dict[str, Any]:
    """Wait for a task's job to be under way, and return what any replica says of it."""

    def under_way() -> dict[str, Any] | None:
        jobs = jobs_of(cluster.backend.url, task)
        return jobs[0] if jobs and jobs[0]["state"] == "running" and jobs[0]["frames_done"] > beyond else None

    return dict(until(under_way, 60))


def test_both_replicas_take_turns_and_label_studio_has_one_webhook(
    project: Project,  # noqa: F811 - see `submitted`
    cluster: Cluster,
) -> None:
    asked = set(cluster.proxy.asked)
    assert asked == set(cluster.proxy.replicas)
    project.annotator.ask(project.ml_backend, project.task, [click(project, RED, "Red")])
    hooks = project.annotator.webhooks(project.id)
    ours = [url for url in hooks if url.startswith(f"{cluster.backend.url}/webhook/")]
    assert len(ours) == 1, hooks
    for replica in cluster.proxy.replicas:
        assert requests.get(f"{replica}/ready", timeout=5).json() == {"status": "READY"}
        assert len(ready_workers(replica)) == 2


def test_a_job_goes_on_elsewhere_when_its_worker_is_killed(long_project: Project, cluster: Cluster) -> None:
    submitted(long_project)
    job = running_job(cluster, long_project.task, beyond=20)
    before = metric(cluster.proxy.replicas[0], "tam_worker_frames_total")
    killed = cluster.worker_of(long_project.task)
    stored = cluster.frames_stored(long_project.task)
    os.kill(cluster.worker_process(killed), signal.SIGKILL)
    _, found = pushed(long_project)
    assert {page for _, page in found} == set(range(LONGER.frames))
    assert min(iou(mask_of(region), LONGER.truth(page, RED)) for (_, page), region in found.items()) > 0.6
    [ended] = [each for each in jobs_of(cluster.backend.url, long_project.task) if each["id"] == job["id"]]
    assert ended["state"] == "done"
    assert 0 < stored < LONGER.frames
    [other] = [name for name in before if name != killed]
    wait_for_workers(cluster, 2)

    def tracked() -> float:
        return metric(cluster.proxy.replicas[0], "tam_worker_frames_total")[other] - before[other]

    # A replica knows of its workers' counts what they said a second or more ago.
    assert until(tracked, 30) <= LONGER.frames - stored, "what was stored is not tracked again"


def test_a_click_is_answered_while_workers_and_replicas_die(long_project: Project, cluster: Cluster) -> None:
    ask = long_project.annotator.ask
    ask(long_project.ml_backend, long_project.task, [click(long_project, RED, "Red")])
    clicks = metric(cluster.proxy.replicas[0], "tam_worker_clicks_total")
    os.kill(cluster.worker_process(max(clicks, key=lambda name: clicks[name])), signal.SIGKILL)
    assert ask(long_project.ml_backend, long_project.task, [click(long_project, RED, "Red")])
    wait_for_workers(cluster, 2)


def test_a_worker_that_was_away_for_longer_than_its_lease_writes_nothing_stale(
    long_project: Project, cluster: Cluster
) -> None:
    submitted(long_project)
    running_job(cluster, long_project.task)
    stopped = cluster.worker_of(long_project.task)
    process = cluster.worker_process(stopped)
    os.kill(process, signal.SIGSTOP)
    try:
        prediction, found = pushed(long_project)
        assert {page for _, page in found} == set(range(LONGER.frames))
    finally:
        os.kill(process, signal.SIGCONT)
    wait_for_workers(cluster, 2)
    time.sleep(LEASE_S)
    assert [each["id"] for each in long_project.annotator.predictions(long_project.task)] == [prediction]
    again = by_place(long_project.annotator.predictions(long_project.task)[0]["result"])
    assert {place: region["value"] for place, region in again.items()} == {
        place: region["value"] for place, region in found.items()
    }


def test_many_clicks_and_jobs_are_answered_or_told_to_come_again_and_health_is_quick(
    annotator: Annotator, cluster: Cluster, discs_video: Path
) -> None:
    first = annotator.create_project("many", CONFIG)
    import_video(cluster.backend, discs_video, first)
    data = annotator.task(int(annotator.tasks(first)[0]["id"]))["data"]
    tasks = []
    for number in range(10):
        project_id = annotator.create_project(f"many {number}", CONFIG)
        ml_backend = annotator.connect_backend(project_id, cluster.backend.url)
        for _ in range(2):
            task = annotator.create_task(project_id, data)
            tasks.append(Project(annotator, project_id, ml_backend, task, TagNames.of(CONFIG)))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(submitted, tasks))
    answers: list[tuple[int, str | None]] = []
    health_s: list[float] = []
    over = threading.Event()

    def look() -> None:
        while not over.is_set():
            for path in ("/health", "/ready"):
                for replica in cluster.proxy.replicas:
                    began_s = time.monotonic()
                    requests.get(f"{replica}{path}", timeout=10)
                    health_s.append(time.monotonic() - began_s)
            time.sleep(0.1)

    def ask(asked: Project) -> None:
        payload = {
            "tasks": [{"id": asked.task, "data": data}],
            "project": f"{asked.id}.1",
            "label_config": CONFIG,
            "params": {"context": {"result": [click(asked, RED, "Red")]}},
        }
        reply = requests.post(f"{cluster.backend.url}/predict", json=payload, timeout=110)
        answers.append((reply.status_code, reply.headers.get("Retry-After")))

    watcher = threading.Thread(target=look)
    watcher.start()
    askers = [threading.Thread(target=ask, args=(tasks[number % 20],)) for number in range(200)]
    for each in askers:
        each.start()
    for each in askers:
        each.join(120)
    over.set()
    watcher.join(20)
    assert len(answers) == 200
    assert {status for status, _ in answers} <= {200, 499, 503}, answers
    assert all(retry for status, retry in answers if status == 503)
    assert any(status == 200 for status, _ in answers)
    print(f"{Counter(status for status, _ in answers)}; /health and /ready took {max(health_s):.3f} s at most")
    assert sorted(health_s)[len(health_s) // 2] < 0.3
    for each in tasks:
        _, found = pushed(each)
        assert {page for _, page in found} == set(range(DISCS.frames))


def test_a_replica_that_is_killed_leaves_its_jobs_to_the_other_one(
    long_project: Project, cluster: Cluster, new_replica: Callable[[int], None]
) -> None:
    """Last: from here on a replica is another process."""
    submitted(long_project)
    job = running_job(cluster, long_project.task)
    owner = cluster.owner_of(job["id"])
    os.killpg(cluster.replicas[owner].process.pid, signal.SIGKILL)
    ask, clicks = long_project.annotator.ask, [click(long_project, RED, "Red")]
    try:
        asked = ask(long_project.ml_backend, long_project.task, clicks)
    except DemoError:  # it was given to the replica that was just dying
        asked = ask(long_project.ml_backend, long_project.task, clicks)
    assert asked, "the client's next try reaches the other replica"
    _, found = pushed(long_project)
    assert {page for _, page in found} == set(range(LONGER.frames))
    ended = next(each for each in jobs_of(cluster.backend.url, long_project.task) if each["id"] == job["id"])
    assert ended["state"] == "done"
    new_replica(owner)


@pytest.fixture
def new_replica(cluster: Cluster) -> Callable[[int], None]:
    """Tells that a replica's port is free again."""

    def check(number: int) -> None:
        port = int(cluster.replicas[number].env["TAM_PORT"])
        until(lambda: free_port(port) == port, 20)

    return check
