"""What every process of the backend is made of, whether it speaks HTTP or holds networks."""

from __future__ import annotations

from dataclasses import dataclass

from tam_backend.models.devices import let_threads_share_memory
from tam_backend.problems import ProblemLog
from tam_backend.server_secret import server_secret
from tam_backend.service.label_studio_access import LabelStudioAccess
from tam_backend.settings import Settings
from tam_backend.store.adapted_networks import AdaptedNetworks
from tam_backend.store.database import Database, sqlite_url
from tam_backend.store.holder import Holders
from tam_backend.store.learnt_access import LearntAccess
from tam_backend.store.problem_store import ProblemStore
from tam_backend.store.sealed import Seal
from tam_backend.store.sessions import SessionStore
from tam_backend.video.fetch import MediaFetcher
from tam_backend.video.library import VideoLibrary
from tam_backend.workers.in_process import InProcessWorkers
from tam_backend.workers.networks import Networks
from tam_backend.workers.project_networks import ProjectNetworks
from tam_backend.workers.ray_workers import RayWorkers
from tam_backend.workers.workers import Workers


@dataclass(frozen=True, eq=False)
class Parts:
    """The stores and the ways out, over one database.

    Args:
        database, holders, store, adapted, problems: see there.
        library: the videos that were imported.
        label_studio: the way to it.
        fetcher: opens what tasks show.
    """

    database: Database
    holders: Holders
    store: SessionStore
    adapted: AdaptedNetworks
    problems: ProblemLog
    library: VideoLibrary
    label_studio: LabelStudioAccess
    fetcher: MediaFetcher

    @classmethod
    def of(cls, settings: Settings) -> Parts:
        """Open them.

        Raises:
            StoreError: the database cannot be opened.
        """
        let_threads_share_memory()  # before there are any
        database = database_of(settings)
        holders = Holders(settings.data_dir / "running")
        problems = ProblemLog(shelf=ProblemStore(database))
        library = VideoLibrary.of(settings)
        secret = server_secret(settings.data_dir, settings.secret.get_secret_value())
        label_studio = LabelStudioAccess(settings, LearntAccess(database, Seal(secret)), problems)
        fetcher = MediaFetcher(
            settings,
            label_studio_url=lambda: label_studio.url,
            authorization=label_studio.authorization,
            own=library,
        )
        store = SessionStore(database, settings.lease_s, holders)
        return cls(database, holders, store, AdaptedNetworks(database), problems, library, label_studio, fetcher)


def database_of(settings: Settings) -> Database:
    """Open what outlives a restart.

    Raises:
        StoreError: it cannot be opened.
    """
    return Database(settings.database_url or sqlite_url(settings.data_dir / "tam.sqlite"))


def workers_of(settings: Settings, parts: Parts) -> Workers:
    """Return the workers that the settings ask for.

    Raises:
        ProfileError: the settings name no known profile, or Ray is not installed.
    """
    if settings.uses_ray:
        return RayWorkers(settings, worker_in_this_process, parts.store)
    return _in_process(settings, parts)


def worker_in_this_process(settings: Settings) -> InProcessWorkers:
    """Return a worker with parts of its own: what a process of a cluster is."""
    return _in_process(settings, Parts.of(settings))


def _in_process(settings: Settings, parts: Parts) -> InProcessWorkers:
    networks = Networks(settings)
    own = ProjectNetworks(networks, parts.adapted, parts.store, parts.problems)
    return InProcessWorkers(networks, parts.fetcher, parts.store, settings.max_sessions, own)
