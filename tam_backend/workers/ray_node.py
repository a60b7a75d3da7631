"""`tam-backend worker`: a machine joins a Ray cluster, and has workers there until it is told to stop."""

from __future__ import annotations

import logging
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from tam_backend.errors import BusyError, InvalidInputError
from tam_backend.settings import Settings
from tam_backend.workers.ray_workers import Make, check_head, connect, installed_ray, start_worker, stop_workers

logger = logging.getLogger(__name__)

# A machine that has joined just now is not known to its own processes at once.
_JOINS_WITHIN_S = 60.0
_STOPS_WITHIN_S = 10.0
_COMES_WITHIN_S = 30.0


def work(settings: Settings, make: Make, count: int) -> None:
    """Have workers on this machine, until SIGTERM or SIGINT.

    Args:
        settings: of the workers; name the cluster.
        make: builds a worker's inside.
        count: how many.

    Raises:
        InvalidInputError: no cluster is named.
        BusyError: there is none at that address, or this machine cannot join it.
        ProfileError: Ray is not installed.
    """
    ray = installed_ray()
    if not settings.ray_address:
        raise InvalidInputError("No Ray cluster is named.", "Give --address HOST:PORT, or set TAM_RAY_ADDRESS.")
    check_head(settings.ray_address)
    told_to_stop = threading.Event()
    with _joined(settings):
        node = ray.get_runtime_context().get_node_id()
        workers = [start_worker(settings, make, node, beside=count) for _ in range(count)]
        for number in (signal.SIGTERM, signal.SIGINT):  # Ray has set its own
            signal.signal(number, lambda *_: told_to_stop.set())
        _say_when_ready(ray, workers, told_to_stop)
        told_to_stop.wait()
        logger.info("Stopping: what was tracked is stored")
        stop_workers(ray, workers)
        ray.shutdown()


def _say_when_ready(ray: ModuleType, workers: list[object], told_to_stop: threading.Event) -> None:
    """Say of each worker that it is there, once it is: its networks may load for long after that."""
    for each in workers:
        asked = each.presence.remote()  # type: ignore[attr-defined]  # a handle of Ray
        began_s, is_told = time.monotonic(), False
        while not told_to_stop.is_set() and not ray.wait([asked], timeout=1)[0]:
            if not is_told and time.monotonic() - began_s > _COMES_WITHIN_S:
                is_told = True
                logger.warning("A worker has not begun yet: this machine has not the CPUs or the GPU that it asks for")
        if not told_to_stop.is_set():
            presence = ray.get(asked)
            logger.info("Worker %s is there, as process %d", presence.state.name, presence.state.process)


@contextmanager
def _joined(settings: Settings) -> Iterator[None]:
    """Connect to the cluster; where this machine is no part of it yet, make it one, for as long as the block lasts."""
    try:
        connect(settings)
    except BusyError as error:
        logger.info("%s This machine joins.", error.message)
    else:
        yield
        return
    command = Path(sys.executable).with_name("ray")
    program = str(command) if command.exists() else shutil.which("ray")
    if program is None:
        raise BusyError("Ray's own command is not there.", "Install it again: pip install 'tam-backend[ray]'.")
    node = subprocess.Popen(  # noqa: S603 - Ray's own program, and an address that was given by who runs us
        [program, "start", f"--address={settings.ray_address}", "--block", "--disable-usage-stats"],
        stdout=subprocess.DEVNULL,
    )
    try:
        _retry(lambda: connect(settings), node)
        yield
    finally:
        node.terminate()
        try:
            node.wait(_STOPS_WITHIN_S)
        except subprocess.TimeoutExpired:
            node.kill()


def _retry(connect_now: Callable[[], object], node: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + _JOINS_WITHIN_S
    while True:
        try:
            connect_now()
        except BusyError:  # noqa: PERF203 - it waits for seconds anyway
            if node.poll() is not None or time.monotonic() > deadline_s:
                raise
            time.sleep(1)
        else:
            return
