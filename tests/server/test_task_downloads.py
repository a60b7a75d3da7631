"""The masks of a stored session over real HTTP: each format holds what the store holds, whole or not at all."""

from __future__ import annotations

import base64
import http.client
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from zipfile import ZipFile

import dataset_readers as readers
import numpy as np
import pytest
from fake_backend import FakeBackend, make_settings
from live_servers import wait_for, werkzeug_server
from stored_task import ABSENT_FROM, DOUBTFUL, KEY, VIDEO, stored_task

from tam_backend.server.app import create_app
from tam_backend.server.pages.mask_archives import ARCHIVES, DOWNLOADABLE, Downloads, sending_limit_s
from tam_backend.types import BoolMask
from tam_backend.video.download_cache import DownloadCache

PAGE = "/tasks/7/12"


@pytest.fixture
def backend(tmp_path: Path) -> FakeBackend:
    backend = FakeBackend(tmp_path / "data")
    backend.store = stored_task(tmp_path)
    return backend


@pytest.fixture
def port(backend: FakeBackend, tmp_path: Path) -> Iterator[int]:
    with werkzeug_server(create_app(make_settings(tmp_path / "data"), backend)) as running:  # type: ignore[arg-type]
        yield running


def get(port: int, path: str, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers=headers)
        reply = connection.getresponse()
        return reply.status, reply.headers, reply.read()
    finally:
        connection.close()


def unpacked(port: int, form: str, folder: Path) -> Path:
    """Download a dataset, and return its folder."""
    status, headers, body = get(port, f"{PAGE}/masks/{form}.zip")
    assert (status, headers["content-type"]) == (200, "application/zip"), body
    assert int(headers["content-length"]) == len(body)
    assert headers["content-disposition"] == f"attachment; filename=task-12-{form}.zip"
    (folder / "whole.zip").write_bytes(body)
    with ZipFile(folder / "whole.zip") as zipped:
        zipped.extractall(folder)
    return folder / f"task-12-{form}"


def stored() -> dict[tuple[str, int, int], BoolMask]:
    """(video, frame, object) -> what `stored_task` stores."""
    return {
        ("task-12", frame, object_id): VIDEO.truth(frame, object_id)
        for frame in range(len(VIDEO))
        for object_id in (1, 2)
        if object_id == 2 or frame < ABSENT_FROM
    }


def flat(masks: dict[tuple[str, int, int], BoolMask]) -> dict[tuple[str, int, int], BoolMask]:
    over = {place: mask & ~masks[place[0], place[1], 2] if place[2] == 1 else mask for place, mask in masks.items()}
    return {place: mask for place, mask in over.items() if mask.any()}


def assert_same(found: dict[tuple[str, int, int], BoolMask], expected: dict[tuple[str, int, int], BoolMask]) -> None:
    assert found.keys() == expected.keys()
    for place, mask in expected.items():
        assert np.array_equal(found[place], mask), place


def test_coco_holds_the_masks_who_made_them_and_how_good_they_are(port: int, tmp_path: Path) -> None:
    masks, read = readers.coco(unpacked(port, "coco", tmp_path) / "annotations" / "instances_default.json")
    assert_same(masks, stored())
    told = {(each["image_id"] - 1, each["object_id"]): each for each in read.dataset["annotations"]}
    assert {each["name"] for each in read.dataset["categories"]} == {"Red", "Blue"}
    assert told[DOUBTFUL[0], 2]["quality"] == 0.42 and told[DOUBTFUL[0], 2]["provenance"] == "propagated"
    assert told[5, 1]["provenance"] == "prompt"
    assert len(read.dataset["images"]) == len(VIDEO)


def test_davis_and_masks_hold_the_same_masks(port: int, tmp_path: Path) -> None:
    in_davis, lengths = readers.davis(unpacked(port, "davis", tmp_path))
    assert_same(in_davis, flat(stored()))
    assert lengths == {"task-12": len(VIDEO)}
    assert_same(readers.object_masks(unpacked(port, "masks", tmp_path) / "masks"), stored())


@pytest.mark.parametrize("form", DOWNLOADABLE)
def test_the_page_offers_every_format_and_each_can_be_had(port: int, tmp_path: Path, form: str) -> None:
    page = get(port, PAGE)[2].decode()
    assert f'href="./12/masks/{form}.zip?view={KEY.view}"' in page
    folder = unpacked(port, form, tmp_path)
    assert any(path.is_file() for path in folder.rglob("*"))
    assert not any(path.name.startswith(".") for path in folder.rglob("*")), "nothing of our own bookkeeping"


def test_nothing_stays_on_the_server(port: int, tmp_path: Path) -> None:
    for _ in range(2):  # the first one's end lets the second one begin
        unpacked(port, "masks", tmp_path)
    assert list((tmp_path / "data" / ARCHIVES).iterdir()) == []


@pytest.fixture
def held(backend: FakeBackend, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Event, threading.Event]]:
    """(the making of a dataset has begun, it may go on)."""
    reached, go_on = threading.Event(), threading.Event()
    read = backend.store.encoded_masks

    def masks(key, frame):
        reached.set()
        assert go_on.wait(30)
        return read(key, frame)

    monkeypatch.setattr(backend.store, "encoded_masks", masks)
    yield reached, go_on
    go_on.set()


@pytest.fixture
def first(port: int, held: tuple[threading.Event, threading.Event]) -> Iterator[Callable[[], int]]:
    """A download that is being made; called, it goes on, and its status is returned."""
    reached, go_on = held
    status: list[int] = []
    thread = threading.Thread(target=lambda: status.append(get(port, f"{PAGE}/masks/coco.zip")[0]))
    thread.start()
    assert reached.wait(30)

    def end() -> int:
        go_on.set()
        thread.join(30)
        return status[0]

    yield end
    go_on.set()
    thread.join(30)


def test_the_cache_of_media_leaves_alone_what_is_being_made(first: Callable[[], int], tmp_path: Path) -> None:
    cache = DownloadCache.of(make_settings(tmp_path / "data", cache_mb=1e-6))
    for key in ("a", "b"):
        cache.borrow(key, key, lambda path: path.write_bytes(b"more than fits")).give_back()
    assert len(list((tmp_path / "data" / "downloads").iterdir())) == 1, "nothing but the media: all else is evicted"
    assert first() == 200


def test_a_server_that_starts_sweeps_out_what_killed_ones_left_and_nothing_that_is_being_made(
    first: Callable[[], int], backend: FakeBackend, tmp_path: Path
) -> None:
    folder = tmp_path / "data" / ARCHIVES
    [being_made] = folder.iterdir()
    (folder / "left" / "task-9-coco").mkdir(parents=True)
    (folder / "begun-just-now").mkdir()
    for old in (being_made, folder / "left"):
        os.utime(old, (0, 0))
    Downloads(backend.store, folder, 1)
    assert set(folder.iterdir()) == {being_made, folder / "begun-just-now"}
    assert first() == 200


def test_the_password_of_the_page_is_asked_for_here_too(backend: FakeBackend, tmp_path: Path) -> None:
    settings = make_settings(tmp_path / "data", basic_auth_user="ann", basic_auth_pass="secret")
    with werkzeug_server(create_app(settings, backend)) as port:  # type: ignore[arg-type]
        assert get(port, f"{PAGE}/masks/coco.zip")[0] == 401
        known = base64.b64encode(b"ann:secret").decode()
        assert get(port, f"{PAGE}/masks/coco.zip", Authorization=f"Basic {known}")[0] == 200


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (f"{PAGE}/masks/overlay.zip", b"cannot be downloaded as 'overlay'"),
        (f"{PAGE}/masks/..%2Fcoco.zip", b"There is nothing at"),
        ("/tasks/7/13/masks/coco.zip", b"Nothing is stored of task '13'"),
        (f"{PAGE}/masks/coco.zip?view=other", b"Nothing is stored"),
        ("/tasks/7/14/masks/coco.zip", b"Nothing has been tracked yet"),
    ],
)
def test_what_is_not_there_is_an_error_and_no_zip(backend: FakeBackend, port: int, path: str, says: bytes) -> None:
    backend.store.open(KEY.__class__("7", "14", "m"), frames=3, size_hw=(8, 8), weights="w").close()
    status, headers, body = get(port, path)
    assert (status, headers["content-type"]) == (404, "application/json")
    assert says in body


def test_more_objects_than_a_format_holds_are_refused_and_the_next_download_works(
    backend: FakeBackend, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tam_backend.export.davis.IGNORED_ID", 2)
    status, _, body = get(port, f"{PAGE}/masks/davis.zip")
    assert status == 400 and b"has 2 objects" in body
    assert get(port, f"{PAGE}/masks/coco.zip")[0] == 200


def test_a_disk_that_is_full_is_told(port: int, tmp_path: Path) -> None:
    (tmp_path / "data" / ARCHIVES).write_text("in the way")
    status, _, body = get(port, f"{PAGE}/masks/coco.zip")
    assert status >= 500 and b"TAM_DATA_DIR" in body


def test_a_second_download_waits_for_none_and_is_told_so(first: Callable[[], int], port: int) -> None:
    status, headers, body = get(port, f"{PAGE}/masks/coco.zip")
    assert status == 503 and b"Another download" in body
    assert headers["retry-after"]
    assert first() == 200


def test_one_that_nobody_waits_for_is_called_off(
    backend: FakeBackend, port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    gone = threading.Event()
    read = backend.store.encoded_masks

    def slow(key, frame):
        seen.append(frame)
        assert gone.wait(30)
        return read(key, frame)

    monkeypatch.setattr(backend.store, "encoded_masks", slow)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", f"{PAGE}/masks/coco.zip")
    wait_for(lambda: bool(seen), 30)
    connection.close()
    gone.set()
    monkeypatch.setattr(backend.store, "encoded_masks", read)
    # Its thread gives the turn to the next one, which would be refused otherwise.
    wait_for(lambda: get(port, f"{PAGE}/masks/coco.zip")[0] == 200, 30)
    assert len(seen) < len(VIDEO)
    assert list((tmp_path / "data" / ARCHIVES).iterdir()) == []


class Large(ZipFile):
    """One that no socket's buffers hold."""

    def close(self) -> None:
        if self.fp is not None:
            self.writestr("large", os.urandom(20_000_000))
        super().close()


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tam_backend.server.pages.mask_archives.ZipFile", Large)


@contextmanager
def stalled(port: int) -> Iterator[socket.socket]:
    """A client that takes the beginning of a zip, and then nothing."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(60)
        client.connect(("127.0.0.1", port))
        client.sendall(f"GET {PAGE}/masks/coco.zip HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert client.recv(100).startswith(b"HTTP/1.1 200")
        yield client


@pytest.mark.usefixtures("large")
def test_clients_that_stall_keep_nobody_else_away_until_they_are_many(port: int) -> None:
    with ExitStack() as clients:
        for _ in range(2):
            clients.enter_context(stalled(port))
        assert get(port, f"{PAGE}/masks/coco.zip")[0] == 200
        clients.enter_context(stalled(port))
        status, headers, body = get(port, f"{PAGE}/masks/coco.zip")
        assert status == 503 and b"are being sent" in body
        assert headers["retry-after"]
        assert get(port, PAGE)[0] == 200
    wait_for(lambda: get(port, f"{PAGE}/masks/coco.zip")[0] == 200, 30)


@pytest.mark.usefixtures("large")
def test_a_client_that_stalls_is_cut_off(backend: FakeBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limits_s = iter([0.2])
    monkeypatch.setattr("tam_backend.server.pages.task.sending_limit_s", lambda size: next(limits_s, 60.0))
    app = create_app(make_settings(tmp_path / "data", http_threads=2), backend)  # type: ignore[arg-type]
    with werkzeug_server(app) as port, stalled(port) as client:
        wait_for(lambda: get(port, f"{PAGE}/masks/coco.zip")[0] == 200, 30)
        received = 0
        while part := client.recv(1 << 16):
            received += len(part)
        assert received < 20_000_000


def test_who_is_slow_has_time_in_proportion() -> None:
    assert sending_limit_s(0) >= 30
    assert sending_limit_s(1_000_000_000) >= 8000, "1 Mbit/s"
