"""Jobs: how each of them ends, who can stop it, and what is remembered of it."""

import threading
from pathlib import Path

import pytest
from fake_backend import FakeBackend
from flask.testing import FlaskClient

from tam_backend.errors import CancelledError, MediaNotFoundError, NotFoundError
from tam_backend.jobs.registry import JobRegistry
from tam_backend.jobs.store import JobStore
from tam_backend.store.database import Database, sqlite_url


def jobs_in(folder: Path, keep: int = 50) -> JobRegistry:
    return JobRegistry(JobStore(Database(sqlite_url(folder / "jobs.sqlite")), keep=keep))


@pytest.fixture
def registry(tmp_path: Path) -> JobRegistry:
    return jobs_in(tmp_path)


def test_job_that_does_all_its_frames_is_done(registry: JobRegistry) -> None:
    with registry.start(7, "1.2", frames_total=3) as job:
        assert (registry.running, registry.get(job.id).state) == (1, "running")
        for frame in (2, 3, 4):
            job.advance(frame)
    view = registry.get(job.id).as_json()
    assert (registry.running, view["state"], view["frame"], view["frames_done"]) == (0, "done", 4, 3)
    assert view["ended_at"] >= view["started_at"]


def test_job_that_ran_out_of_time_is_stopped_and_says_so(registry: JobRegistry) -> None:
    with registry.start(7, "1.2", 3) as job:
        job.stopped("60 s are used up at frame 2.")
    assert (job.state, job.message) == ("stopped", "60 s are used up at frame 2.")


def test_cancelled_job_is_cancelled_whether_its_worker_raises_or_just_leaves(registry: JobRegistry) -> None:
    with registry.start(7, "1.2", 3) as leaves:
        leaves.cancel()
        assert leaves.cancel_requested
    with pytest.raises(CancelledError), registry.start(7, "1.2", 3) as raises:
        raise CancelledError("The client hung up.")
    assert (leaves.state, raises.state, raises.message) == ("cancelled", "cancelled", "The client hung up.")


def test_failed_job_tells_the_sentence_and_the_remedy(registry: JobRegistry) -> None:
    with pytest.raises(MediaNotFoundError), registry.start(7, "1.2", 3) as job:
        raise MediaNotFoundError("No clip.", "Upload it.")
    assert (job.state, job.message) == ("failed", "No clip. Upload it.")


def test_unexpectedly_failed_job_tells_no_internals(registry: JobRegistry) -> None:
    with pytest.raises(KeyError), registry.start(7, "1.2", 3) as job:
        raise KeyError("password")
    assert (job.state, job.message) == ("failed", "Something unexpected went wrong (KeyError).")


def test_interrupted_process_counts_as_cancelled(registry: JobRegistry) -> None:
    with pytest.raises(KeyboardInterrupt), registry.start(7, "1.2", 3) as job:
        raise KeyboardInterrupt
    assert job.state == "cancelled"


def test_ended_job_cannot_be_cancelled_any_more(registry: JobRegistry) -> None:
    with registry.start(7, "1.2", 0) as job:
        pass
    job.cancel()
    assert (job.state, job.cancel_requested) == ("done", False)


def test_old_jobs_are_forgotten_but_their_frames_still_count(tmp_path: Path) -> None:
    registry = jobs_in(tmp_path, keep=2)
    with registry.start("long", "1.2", 9):
        for task in range(5):
            with registry.start(task, "1.2", 1) as job:
                job.advance(0)
        assert [job.task_id for job in registry.all()] == [4, 3, "long"], "a running job is never forgotten"
    assert registry.frames_propagated == 5


def test_shutdown_asks_every_running_job_to_end(registry: JobRegistry) -> None:
    with registry.start(1, "1.2", 1) as first, registry.start(2, "1.2", 1) as second:
        registry.interrupt_all()
        assert first.cancel_requested and second.cancel_requested


def test_unknown_job_is_not_found(registry: JobRegistry) -> None:
    with pytest.raises(NotFoundError):
        registry.get("nope")


def test_many_threads_lose_no_frame(tmp_path: Path) -> None:
    registry = jobs_in(tmp_path, keep=3)

    def work() -> None:
        for task in range(20):
            with registry.start(task, "1.2", 2) as job:
                job.advance(0)
                job.advance(1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (registry.frames_propagated, registry.running, len(registry.all())) == (320, 0, 3)


def test_jobs_are_listed_and_read_over_http(client: FlaskClient, backend: FakeBackend) -> None:
    with backend.jobs.start(7, "1.2", 3) as job:
        job.advance(0)
        listed = client.get("/jobs").json["jobs"]
        assert [(view["id"], view["task"], view["frames_done"]) for view in listed] == [(job.id, 7, 1)]
        assert client.get(f"/jobs/{job.id}").json["state"] == "running"


def test_deleting_a_running_job_asks_it_to_end(client: FlaskClient, backend: FakeBackend) -> None:
    with backend.jobs.start(7, "1.2", 3) as job:
        reply = client.delete(f"/jobs/{job.id}")
        assert (reply.status_code, reply.json["cancel_requested"], job.cancel_requested) == (202, True, True)
    assert client.delete(f"/jobs/{job.id}").json["state"] == "cancelled"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_unknown_job_answers_404(client: FlaskClient, method: str) -> None:
    assert client.open("/jobs/nope", method=method).status_code == 404
