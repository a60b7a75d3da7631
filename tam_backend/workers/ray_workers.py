"""Workers on a Ray cluster: one actor for each GPU or share of CPUs, found by name, each with networks of its own.

Ray places them, starts them again and carries the calls. Who may write what is settled by the database alone. Needs the
extra `ray`; nothing here imports it before a cluster is asked for.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import Any

from sqlalchemy.engine import make_url

from tam_backend import __version__
from tam_backend.errors import (
    BusyError,
    CancelledError,
    InvalidInputError,
    OverloadedError,
    ProfileError,
    TamError,
    WorkerLostError,
)
from tam_backend.models import zoo
from tam_backend.settings import Settings
from tam_backend.store.sessions import SessionStore
from tam_backend.workers.borrowed import BorrowedView
from tam_backend.workers.choice import chosen
from tam_backend.workers.in_process import InProcessWorkers
from tam_backend.workers.remote import Presence, RemoteWorker
from tam_backend.workers.workers import Cancelled, View, Work, WorkerState

logger = logging.getLogger(__name__)

_LOOK_S = 1.0
# One that was not heard in so many looks may have gone, however short the lease is.
_MISSED_LOOKS = 4
_CPUS_PER_WORKER = 4
_STOPS_WITHIN_S = 5.0
_HEAD_ANSWERS_WITHIN_S = 5.0
# Frames and masks go through it, a few megabytes at a time; Ray's own choice is a third of the memory.
_OBJECT_STORE_BYTES = 512 * 1024 * 1024
_QUICK = frozenset({"presence", "give_up", "keep", "end", "unreadable"})
_STEPS = frozenset({"step", "results"})

Make = Callable[[Settings], InProcessWorkers]
"""Builds what works in a worker's process, from the settings; found there by its name."""


@dataclass(eq=False)
class _Seen:
    """A worker as it was seen last.

    Args:
        handle: Ray's.
        presence: what it answered.
        at_s: when it did.
        lent: how often it is lent to this process now.
        others: how many calls of other processes were there when it answered.
    """

    handle: Any
    presence: Presence
    at_s: float
    lent: int = 0
    others: int = field(init=False)

    def __post_init__(self) -> None:
        self.answered(self.presence, self.at_s)

    def answered(self, presence: Presence, now_s: float) -> None:
        """Take what it says of itself; what it does for this process is known better here, as of now."""
        self.presence, self.at_s = presence, now_s
        self.others = max(0, presence.state.waiting - self.lent)

    @property
    def waiting(self) -> int:
        """How many calls are at work or wait there."""
        return self.others + self.lent


class RayWorkers:
    """See `workers.Workers`. Thread-safe.

    Args:
        settings: say which cluster, and what a worker is to be like.
        make: builds a worker's inside.
        store: tells who holds a session.

    Raises:
        ProfileError: Ray is not installed.
    """

    def __init__(self, settings: Settings, make: Make, store: SessionStore) -> None:
        self._ray = installed_ray()
        self._settings = settings
        self._make = make
        self._store = store
        self._seen: dict[str, _Seen] = {}
        self._own: list[Any] = []
        self._namespace = namespace_of(settings)
        self._asked: dict[str, tuple[Any, Any]] = {}  # name -> the question that waits for its answer, and the worker
        self._failure = ""
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._looked = threading.Event()

    @property
    def at_once(self) -> int:
        """One propagation on each worker."""
        return max(1, len(self._present()))

    def start(self) -> None:
        """Connect to the cluster, or start one, in the background."""
        threading.Thread(target=self._keep_looking, name="look-for-workers", daemon=True).start()

    def close(self) -> None:
        """Leave the cluster; workers that this process started end."""
        self._closed.set()
        stop_workers(self._ray, self._own)
        self._ray.shutdown()

    def states(self) -> Sequence[WorkerState]:
        """Return what the workers said of themselves in the last seconds."""
        present = self._present()
        if not present and self._failure:
            return [WorkerState("ray", os.getpid(), self._settings.device, ready=False, failure=self._failure)]
        return [seen.presence.state for _, seen in sorted(present.items())]

    @contextmanager
    def lent(self, view: View, timeout_s: float, work: Work) -> Iterator[BorrowedView]:
        """Lend a view; see `Workers.lent`."""
        name, seen = self._one_for(view, work, timeout_s)
        try:
            yield BorrowedView(_RayLine(self._ray, name, seen.handle, partial(self._is_present, name)), view, timeout_s)
        except WorkerLostError as error:
            if error.has_ended:
                with self._lock:
                    if self._seen.get(name) is seen:
                        del self._seen[name]  # until it answers again
            raise
        finally:
            with self._lock:
                seen.lent -= 1

    def _one_for(self, view: View, work: Work, timeout_s: float) -> tuple[str, _Seen]:
        """Choose a worker, and count it as lent."""
        holder = None if work == "click" else self._store.holder_of(view.key)
        deadline_s = time.monotonic() + timeout_s
        while True:
            present = self._present()
            processes = {seen.presence.process: name for name, seen in present.items()}
            usable = _usable({name: seen.presence.state for name, seen in present.items()})
            with self._lock:  # until it counts: who chooses beside must see it
                waiting = {name: present[name].waiting for name in usable}
                name = chosen(view, work, waiting, processes.get(holder.process_name) if holder else None)
                if name is not None:
                    present[name].lent += 1
                    return name, present[name]
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise BusyError(
                    f"There is no worker: {self._failure or 'none has come yet'}.",
                    "Start one: tam-backend worker, of this version, profile, database and TAM_SECRET.",
                )
            self._looked.clear()
            self._looked.wait(min(left_s, _LOOK_S))

    def _present(self) -> dict[str, _Seen]:
        oldest_s = time.monotonic() - max(self._settings.lease_s / 3, _MISSED_LOOKS * _LOOK_S)
        with self._lock:
            return {name: seen for name, seen in self._seen.items() if seen.at_s >= oldest_s}

    def _is_present(self, name: str) -> bool:
        return name in self._present()

    def _keep_looking(self) -> None:
        wanted: int | None = None
        while not self._closed.is_set():
            try:
                if wanted is None:
                    wanted = connect(self._settings)
                while len(self._own) < wanted:
                    self._own.append(start_worker(self._settings, self._make, beside=wanted))
                self._look()
                self._failure = ""
            except Exception as error:  # whatever it is: the next look may go well, and people see it meanwhile
                message = error.message if isinstance(error, TamError) else f"{type(error).__name__}: {error}"
                if message != self._failure:
                    logger.warning("The Ray cluster cannot be used: %s", message, exc_info=True)
                self._failure = message
            self._looked.set()
            self._closed.wait(_LOOK_S)

    def _look(self) -> None:
        ray = self._ray
        listed = ray.util.list_named_actors(all_namespaces=True)
        names = {each["name"] for each in listed if each["namespace"] == self._namespace}
        for name in names - self._asked.keys():
            try:
                handle = ray.get_actor(name, namespace=self._namespace)
                self._asked[name] = (_remote(handle, "presence").remote(), handle)
            except (ValueError, ray.exceptions.RayError) as error:  # noqa: PERF203 - it ended just now; there are few
                logger.info("Worker %s cannot be asked: %s", name, type(error).__name__)
        # A worker that hangs has one question waiting, not one more at each look: Ray holds only so many.
        asked = {reference: name for name, (reference, _) in self._asked.items()}
        answered, _ = ray.wait(list(asked), num_returns=len(asked), timeout=_LOOK_S) if asked else ([], [])
        for reference in answered:
            self._take_answer(asked[reference], time.monotonic())
        with self._lock:
            for name in self._seen.keys() - names:
                del self._seen[name]
        for name in self._asked.keys() - names:
            del self._asked[name]

    def _take_answer(self, name: str, now_s: float) -> None:
        reference, handle = self._asked.pop(name)
        try:
            presence = self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            logger.info("Worker %s does not answer: %s", name, type(error).__name__)
            with self._lock:
                self._seen.pop(name, None)
            return
        with self._lock:
            before = self._seen.get(name)
            if before is not None and before.presence.process == presence.process:
                before.answered(presence, now_s)
            else:
                self._seen[name] = _Seen(handle, presence, now_s)


class _RayLine:
    """A way to one worker; see `borrowed.Line`."""

    def __init__(self, ray: ModuleType, name: str, handle: Any, is_present: Callable[[], bool]) -> None:
        self._ray = ray
        self._name = name
        self._handle = handle
        self._is_present = is_present

    def ask(self, what: str, *args: Any, limit_s: float, cancelled: Cancelled | None = None, **named: Any) -> Any:
        """Call, and wait; see `Line.ask`."""
        exceptions = self._ray.exceptions
        deadline_s = time.monotonic() + limit_s
        try:
            reference = _remote(self._handle, what).remote(*args, **named)
            while not self._ray.wait([reference], timeout=0.1 if cancelled else 1.0)[0]:
                if cancelled is not None and cancelled():
                    raise CancelledError("The client hung up before it had its answer.")
                if time.monotonic() > deadline_s or not self._is_present():
                    raise self._lost("does not answer", has_ended=False)
            return self._ray.get(reference)
        except exceptions.PendingCallsLimitExceeded as error:
            raise OverloadedError(
                f"Too many requests wait for worker {self._name} already.", "Try again in a moment, or add workers."
            ) from error
        except exceptions.RayTaskError as error:
            raise (error.cause if isinstance(error.cause, Exception) else error) from None
        except exceptions.RayError as error:
            raise self._lost("has ended", has_ended=True) from error

    def tell(self, what: str, *args: Any) -> None:
        """Call without waiting."""
        try:
            _remote(self._handle, what).remote(*args)
        except self._ray.exceptions.RayError as error:
            logger.info("Worker %s cannot be told to %s: %s", self._name, what, type(error).__name__)

    def _lost(self, what: str, *, has_ended: bool) -> WorkerLostError:
        remedy = "Try again: another one goes on with what is stored."
        return WorkerLostError(f"Worker {self._name} {what}.", remedy, has_ended=has_ended)


def connect(settings: Settings) -> int:
    """Connect this process to the cluster of the settings, or start one here; return how many workers it should start.

    Raises:
        BusyError: there is no such cluster.
    """
    ray = installed_ray()
    common: dict[str, Any] = {"namespace": namespace_of(settings), "log_to_driver": True, "configure_logging": False}
    if settings.ray_address:
        check_head(settings.ray_address)
        try:
            ray.init(address=settings.ray_address, **common)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise BusyError(
                f"There is no Ray cluster at {settings.ray_address}: {error}.",
                "Start one: ray start --head. RAY_AUTH_TOKEN must be the same on all machines (docs/scale.md).",
            ) from error
        return settings.worker_count or 0
    ray.init(
        address="local",
        include_dashboard=False,
        object_store_memory=_OBJECT_STORE_BYTES,
        _node_ip_address="127.0.0.1",
        **common,
    )
    return settings.worker_count or _as_many_as_fit(ray.cluster_resources())


def namespace_of(settings: Settings) -> str:
    """Return the name under which workers are found: by those of the same networks, package, database and secret."""
    where: object = str(settings.data_dir.resolve())
    if settings.database_url:
        database = make_url(settings.database_url)
        where = (database.host, database.port, database.database)
    secret = settings.secret.get_secret_value()
    known_by = repr((__version__, zoo.profile(settings.profile).version, settings.tracker_side, where, secret))
    return f"tam-{hashlib.blake2b(known_by.encode(), digest_size=8).hexdigest()}"


def start_worker(settings: Settings, make: Make, node_id: str | None = None, beside: int = 1) -> Any:
    """Start one worker and return its handle; it ends with this process.

    Args:
        settings: of the worker.
        make: builds its inside.
        node_id: Ray's name of the machine that it must run on; None = any.
        beside: so many workers share what that machine, or the cluster, has.
    """
    ray = installed_ray()
    resources = _resources(ray, node_id)
    share = max(1.0, resources.get("CPU", 1.0) // beside)
    cpus = settings.worker_cpus or settings.model_threads or min(_CPUS_PER_WORKER, share)
    gpus = settings.worker_gpus
    if gpus is None:
        gpus = 0.0 if settings.device == "cpu" else min(1.0, resources.get("GPU", 0.0) / beside)
    own = settings.model_copy(update={"model_threads": settings.model_threads or max(1, int(cpus))})
    name = f"tam-worker-{socket.gethostname()[:32]}-{secrets.token_hex(3)}"
    threads = settings.max_waiting + 8
    options: dict[str, Any] = {
        "name": name,
        "num_cpus": cpus,
        "num_gpus": gpus,
        "max_restarts": -1,
        "max_concurrency": threads,
        "max_pending_calls": 4 * threads,
    }
    if node_id is not None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: PLC0415 - see the docstring

        options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(node_id, soft=False)
    actor = ray.remote(concurrency_groups={"steps": threads, "quick": 8})(RemoteWorker)
    return actor.options(**options).remote(name, partial(make, own), settings.max_waiting)


def stop_workers(ray: ModuleType, handles: Sequence[Any]) -> None:
    """Have workers write what waits to be written, then end them, within a few seconds."""
    asked = [_remote(each, "close").remote() for each in handles]
    if asked:
        ray.wait(asked, num_returns=len(asked), timeout=_STOPS_WITHIN_S)
    for each in handles:
        ray.kill(each)


def check_head(address: str) -> None:
    """Look for the head of a cluster: Ray itself would look for a quarter of an hour.

    Raises:
        InvalidInputError: it is no address.
        BusyError: nothing answers there.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise InvalidInputError(f"{address!r} is no address of a Ray cluster.", "Give it as in head.example:6379.")
    try:
        socket.create_connection((host, int(port)), timeout=_HEAD_ANSWERS_WITHIN_S).close()
    except OSError as error:
        raise BusyError(
            f"Nothing answers at {address}, where the head of the Ray cluster should be: {error}.",
            "Start it: ray start --head; or see TAM_RAY_ADDRESS.",
        ) from error


def installed_ray() -> ModuleType:
    """Return Ray. Raises ProfileError where it is not installed."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing of ours is told to anybody
    os.environ.setdefault("RAY_DISABLE_FAILURE_SIGNAL_HANDLER", "1")  # SIGTERM is gunicorn's: Ray's way is a crash
    logging.getLogger("ray._private.worker").setLevel(logging.ERROR)  # that it leaves SIGTERM alone is as it should be
    if "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ:
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # by itself Ray 2.60 decides so only after it has looked
    try:
        import ray  # noqa: PLC0415 - see the docstring
    except ImportError as error:
        raise ProfileError(
            "Ray is not installed, which several workers need.", "Install it: pip install 'tam-backend[ray]'."
        ) from error
    module: ModuleType = ray
    return module


def _resources(ray: ModuleType, node_id: str | None) -> Mapping[str, float]:
    """Return what a machine has, or the cluster."""
    found: Mapping[str, float] = ray.cluster_resources()
    if node_id is not None:
        found = next((each["Resources"] for each in ray.nodes() if each["NodeID"] == node_id), found)
    return found


def _usable(states: Mapping[str, WorkerState]) -> list[str]:
    """Return the workers to choose from: those with networks, else those that may still have some, else all."""
    ready = [name for name, state in states.items() if state.ready]
    return ready or [name for name, state in states.items() if not state.failure] or list(states)


def _as_many_as_fit(resources: Mapping[str, float]) -> int:
    return int(resources.get("GPU", 0.0)) or max(1, int(resources.get("CPU", 1.0)) // _CPUS_PER_WORKER)


def _remote(handle: Any, what: str) -> Any:
    group = "quick" if what in _QUICK else "steps" if what in _STEPS else "_default"
    method = getattr(handle, what)
    return method if group == "_default" else method.options(concurrency_group=group)
