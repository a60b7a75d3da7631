"""Many machines on one: PostgreSQL, a Ray cluster with two workers, two replicas, and a proxy before them."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import requests
from alternating_proxy import AlternatingProxy, alternating_proxy
from databases import empty_database

from demo.backend import BackendServer, console_script, running_backend
from demo.label_studio import LabelStudio
from demo.processes import ServerProcess, free_port
from tam_backend.store.holder import Holder

STARTS_WITHIN_S = 120


@dataclass(frozen=True)
class Cluster:
    """All that runs.

    Args:
        replicas: processes of the HTTP side.
        workers: processes of `tam-backend worker`.
        proxy: before the replicas.
        env: settings that all have in common.
    """

    replicas: Sequence[BackendServer]
    workers: Sequence[ServerProcess]
    proxy: AlternatingProxy
    env: Mapping[str, str]

    @property
    def backend(self) -> BackendServer:
        """The cluster as one backend, behind the proxy."""
        env = {**self.replicas[0].env, "TAM_PUBLIC_URL": self.proxy.url}
        return BackendServer(self.proxy.url, env, self.replicas[0].process)

    def worker_process(self, name: str) -> int:
        """Return the process that a worker is now: after a restart it is another one."""
        return self._processes()[name]

    def worker_of(self, task: int) -> str:
        """Return the worker that holds a task's session."""
        held = "SELECT owner FROM sessions WHERE task = %s ORDER BY owned_until DESC LIMIT 1"
        process = Holder.parse(self._one(held, str(task))).process
        return next(name for name, number in self._processes().items() if number == process)

    def frames_stored(self, task: int) -> int:
        """Return on how many frames of a task there are masks in the database."""
        counted = "SELECT count(DISTINCT frame) FROM session_masks JOIN sessions ON session = id WHERE task = %s"
        return int(self._one(counted, str(task)))

    def owner_of(self, job_id: str) -> int:
        """Return which of the replicas has a job."""
        process = Holder.parse(self._one("SELECT owner FROM jobs WHERE id = %s", job_id)).process
        return next(number for number, each in enumerate(self.replicas) if process in _family(each.process.pid))

    def _processes(self) -> dict[str, int]:
        workers = requests.get(f"{self.proxy.replicas[0]}/workers", timeout=10).json()["workers"]
        return {each["name"]: int(each["process"]) for each in workers}

    def _one(self, query: str, value: str) -> Any:
        with closing(psycopg.connect(self.env["TAM_DATABASE_URL"].replace("+psycopg", ""))) as connection:
            row = connection.execute(query, (value,)).fetchone()
        assert row is not None
        return row[0]


@contextmanager
def ray_head(env: Mapping[str, str], *, cpus: int) -> Iterator[str]:
    """Run a Ray cluster of one machine without any worker of ours, and yield its address."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    address = f"127.0.0.1:{free_port()}"
    command = [
        str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--disable-usage-stats",
        "--node-ip-address=127.0.0.1", f"--port={address.rpartition(':')[2]}", f"--num-cpus={cpus}",
        "--include-dashboard=false", f"--temp-dir={folder}", f"--object-store-memory={200 * 2**20}",
    ]  # fmt: skip
    process = ServerProcess("Ray", command, env, folder / "ray.log")
    try:
        deadline_s = time.monotonic() + STARTS_WITHIN_S
        while "Ray runtime started" not in process.log.read_text():
            assert process.alive(), process.log.read_text()
            assert time.monotonic() < deadline_s, process.log.read_text()
            time.sleep(0.2)
        yield address
    finally:
        process.stop()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running_cluster(
    label_studio: LabelStudio, folder: Path, *, workers: int = 2, replicas: int = 2, extra_env: Mapping[str, str]
) -> Iterator[Cluster]:
    """Start everything, wait until all workers are there, end it on leaving."""
    (folder / "media").mkdir()
    common = {
        "TAM_DATABASE_URL": empty_database("postgresql", folder),
        "TAM_SECRET": "one for all of them, and nobody else's",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(16),
        "TAM_MEDIA_STORE": str(folder / "media"),
        "TAM_WORKERS": "ray",
        "TAM_MODEL_THREADS": "1",
        "LABEL_STUDIO_URL": label_studio.url,
        "LABEL_STUDIO_API_KEY": label_studio.token,
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        **extra_env,
    }
    with ExitStack() as stack:
        address = stack.enter_context(ray_head(common, cpus=workers))
        common["TAM_RAY_ADDRESS"] = address
        processes = [_worker(stack, folder / f"worker-{number}", common, number) for number in range(workers)]
        # The proxy's address must be known before the replicas are: it is theirs, for browsers and for Label Studio.
        proxy = stack.enter_context(alternating_proxy([]))
        common["TAM_PUBLIC_URL"] = proxy.url
        servers = [
            stack.enter_context(running_backend(label_studio, folder / f"replica-{number}", extra_env=common))
            for number in range(replicas)
        ]
        proxy.replicas += [f"http://localhost:{each.env['TAM_PORT']}" for each in servers]
        cluster = Cluster(servers, processes, proxy, common)
        wait_for_workers(cluster, workers)
        yield cluster


def wait_for_workers(cluster: Cluster, count: int, limit_s: float = STARTS_WITHIN_S) -> None:
    """Return when every replica sees so many workers that are ready."""
    deadline_s = time.monotonic() + limit_s
    for replica in cluster.proxy.replicas:
        while len(ready_workers(replica)) != count:
            assert time.monotonic() < deadline_s, f"{replica} sees {ready_workers(replica)}"
            time.sleep(0.3)


def ready_workers(url: str) -> list[str]:
    """Return the workers that a replica calls ready."""
    text = requests.get(f"{url}/metrics", timeout=10).text
    return re.findall(r'tam_worker_ready\{worker="([^"]+)"\} 1\.0', text)


def _worker(stack: ExitStack, folder: Path, common: Mapping[str, str], number: int) -> ServerProcess:
    env = {**common, "TAM_DATA_DIR": str(folder)}
    process = ServerProcess(f"Worker {number}", [console_script(), "worker"], env, folder / "worker.log")
    stack.callback(process.stop)
    return process


def _family(process: int) -> list[int]:
    """Return a process and its children."""
    found = subprocess.run(["pgrep", "-P", str(process)], capture_output=True, text=True, check=False)
    return [process, *(int(each) for each in found.stdout.split())]
