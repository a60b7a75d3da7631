"""A task is opened with the networks that learnt from its project; what cannot be loaded keeps nobody from working."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from databases import empty_database
from fake_backend import make_settings
from safetensors.torch import load_file, save
from sqlalchemy import text
from synthetic import MovingDiscs

from tam_backend.engine import TrackAnything
from tam_backend.errors import BusyError, StoreError, WeightsError
from tam_backend.models import zoo
from tam_backend.problems import ProblemLog
from tam_backend.store.adapted_networks import AdaptedNetworks, Findings
from tam_backend.store.database import Database
from tam_backend.store.sessions import SessionKey, SessionStore
from tam_backend.tracking.tracks import KeptMask
from tam_backend.types import EncodedMask, Prompt
from tam_backend.workers.networks import Networks
from tam_backend.workers.project_networks import ProjectNetworks

KEY = SessionKey("7", "1", "media")
FINDINGS = Findings("Better.")
DISCS = MovingDiscs(frames=3)


class House:
    """A worker's networks over one database."""

    def __init__(self, folder: Path, tam: TrackAnything) -> None:
        self.database = Database(empty_database("sqlite", folder))
        self.adapted = AdaptedNetworks(self.database)
        self.store = SessionStore(self.database)
        self.problems = ProblemLog()
        self.networks = Networks(make_settings(folder, device="cpu"))
        self.base = tam
        self.own = ProjectNetworks(self.networks, self.adapted, self.store, self.problems, most=2)

    def learn(self, project: str = "7", change: float = 0.5, base: str = "") -> str:
        """Keep a tracker whose weights are those of the package but for one."""
        _, path = zoo.profile("compact").weights
        state = load_file(path)
        name = next(name for name, tensor in sorted(state.items()) if tensor.is_floating_point() and tensor.ndim == 4)
        state[name] = state[name] * change
        base = base or self.networks.version
        return self.adapted.add(project, base, "stamp", FINDINGS, {"tracker": save(state)}).name

    def track(self, version: str) -> None:
        """Store a mask that these networks made."""
        stored = self.store.open(KEY, frames=1, size_hw=(2, 3), weights=version)
        stored.put(0, {1: KeptMask(EncodedMask.of(np.ones((2, 3), np.bool_)), 0.9, "propagated")})
        stored.close()

    def version_of(self, key: SessionKey = KEY) -> str:
        tam, version = self.own.of(key, 60)
        assert (tam is self.networks.get(1)) == (version == self.networks.version)
        return version


@pytest.fixture
def house(tmp_path: Path, tam: TrackAnything, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(TrackAnything, "load", lambda *_, **__: tam)
    return House(tmp_path, tam)


def tracked(tam: TrackAnything) -> list[np.ndarray]:
    with tam.session(DISCS) as session:
        session.prompt(Prompt(object_id=1, frame=0, points=[(*DISCS.centre(0), True)]))
        return [result.masks[1] for result in session.propagate()]


def test_a_project_gets_its_own_networks_and_another_one_the_packages(house: House) -> None:
    assert house.version_of() == house.networks.version
    before = tracked(house.base)
    name = house.learn(change=0.0)
    assert house.version_of() == name
    own, _ = house.own.of(KEY, 1)
    assert own.models.version == name
    assert own.models.tracker_side == house.base.models.tracker_side
    assert not all(map(np.array_equal, tracked(own), before)), "they are other networks"
    assert all(map(np.array_equal, tracked(house.base), before)), "and change nothing of the package's"
    assert house.version_of(SessionKey("8", "1", "media")) == house.networks.version
    assert house.own.of(KEY, 1)[0] is own, "loaded once"


def test_a_session_keeps_the_networks_that_its_masks_are_of(house: House) -> None:
    first = house.learn()
    house.track(first)
    second = house.learn(change=0.25)
    assert house.version_of() == first
    assert house.version_of(SessionKey("7", "2", "media")) == second
    house.adapted.roll_back("7", house.networks.version)
    house.adapted.roll_back("7", house.networks.version)
    assert house.version_of() == house.networks.version, "nobody goes on with what was taken back"


def test_networks_that_learnt_from_another_version_of_the_packages_do_not_serve(house: House) -> None:
    house.learn(base="compact-0.1-00000000")
    assert house.version_of() == house.networks.version
    assert not house.problems.recent()


@pytest.mark.parametrize("damage", ["bytes", "another network"])
def test_damaged_weights_are_told_and_the_packages_serve(house: House, damage: str) -> None:
    name = house.learn()
    if damage == "bytes":
        house.track(name)  # nobody can ever go on with them
        with house.database.transaction() as connection:
            connection.execute(text("UPDATE adapted_weights SET file = :file"), {"file": b"none"})
    else:
        file = save({"nothing": torch.zeros(2)})
        house.adapted.add("7", house.networks.version, "stamp", FINDINGS, {"tracker": file})
    assert house.version_of() == house.networks.version
    [problem] = house.problems.recent()
    assert problem.where == "project 7, its own networks"
    assert problem.type == ("DamagedWeightsError" if damage == "bytes" else "WeightsError")


def flip_a_byte(house: House, name: str) -> None:
    """Damage what is stored of a version, as long as before."""
    number = int(name.rsplit(".", 1)[1])
    with house.database.transaction() as connection:
        stored = connection.execute(text("SELECT file FROM adapted_weights WHERE number = :number"), {"number": number})
        file = bytearray(stored.scalar_one())
        file[-1] ^= 1
        told = {"file": bytes(file), "number": number}
        connection.execute(text("UPDATE adapted_weights SET file = :file WHERE number = :number"), told)


def test_pages_tell_of_damaged_weights_what_tasks_are_opened_with(house: House) -> None:
    """Where they are found damaged first, by a page or by a click, makes no difference; nor what is in memory."""
    version = house.networks.version
    house.learn()
    name = house.learn(change=0.25)
    assert house.version_of() == name
    flip_a_byte(house, name)
    pages = AdaptedNetworks(house.database)
    assert pages.served("7", version) is None, "the package's serve, not the version before"
    assert [pages.serving(pages.versions("7"), version).state_of(each) for each in pages.versions("7")] == [
        "damaged: the package's networks serve",
        "promoted",
    ]
    house.own = ProjectNetworks(house.networks, pages, house.store, house.problems)
    assert house.version_of() == version


def test_networks_in_memory_serve_no_longer_than_what_is_stored_of_them_is_sound(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = house.learn()
    assert house.version_of() == name
    flip_a_byte(house, name)
    monkeypatch.setattr("time.monotonic", lambda: float("inf"))
    assert house.adapted.served("7", house.networks.version) is None
    assert house.version_of() == house.networks.version
    assert house.problems.recent()[0].type == "DamagedWeightsError"


def test_a_database_that_refuses_keeps_nobody_from_working(house: House) -> None:
    with house.database.transaction() as connection:
        connection.execute(text("DROP TABLE adapted_versions"))
    assert house.version_of() == house.networks.version
    assert house.problems.recent()[0].type == "StoreError"


def raising(error: Exception) -> Callable[..., None]:
    def fails(*_: object) -> None:
        raise error

    return fails


@pytest.mark.parametrize(
    ("owner", "call", "error"),
    [
        (TrackAnything, "adapted", OSError(28, "No space left on device")),
        (TrackAnything, "adapted", WeightsError("Weights tracker.safetensors cannot be read.")),
        (AdaptedNetworks, "versions", StoreError("The database is away.")),
    ],
    ids=["full disk", "unreadable file", "database"],
)
def test_masks_are_not_dropped_because_their_networks_cannot_be_had_for_a_moment(
    house: House, monkeypatch: pytest.MonkeyPatch, owner: type, call: str, error: Exception
) -> None:
    name = house.learn()
    house.track(name)

    with monkeypatch.context() as for_a_moment:
        for_a_moment.setattr(owner, call, raising(error))
        with pytest.raises(BusyError, match="task 1") as told:
            house.own.of(KEY, 1)
        assert "Try again" in told.value.remedy
        assert house.version_of(SessionKey("7", "2", "media")) == house.networks.version, "it has no masks to lose"
    assert {each.where for each in house.problems.recent()} == {"project 7, its own networks"}
    assert house.version_of() == name


def test_masks_of_the_packages_networks_go_on_whatever_the_projects_own_do(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.track(house.networks.version)
    house.learn()
    monkeypatch.setattr(AdaptedNetworks, "versions", raising(StoreError("The database is away.")))
    assert house.version_of() == house.networks.version


def test_only_the_last_few_projects_networks_are_kept(house: House) -> None:
    keys = [SessionKey(project, "1", "media") for project in "789"]
    for key in keys:
        house.learn(project=key.project)
    loaded = [house.own.of(key, 1)[0] for key in keys]
    assert house.own.of(keys[2], 1)[0] is loaded[2]
    assert house.own.of(keys[0], 1)[0] is not loaded[0]
