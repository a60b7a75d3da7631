"""Downloads from a real local server that breaks off, lies about lengths, ignores ranges and sends wrong bytes."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from tam_backend.errors import WeightsError
from tam_backend.models.downloads import MAX_FRUITLESS_TRIES, Partial, download
from tam_backend.models.published import PublishedFile
from tam_backend.models.sam_variants import check_sam_layout
from tam_backend.models.weights import recorded_fingerprint
from tam_backend.models.weights_store import WeightsStore

BODY = bytes(range(256)) * 4096  # 1 MiB
PIECE = 1 << 15  # what breaks off in the middle of a chunk of this size is asked for again


@dataclass
class Request:
    """What a client asked for."""

    path: str
    range: str | None
    if_range: str | None


Answer = Callable[["Handler", Request], None]


@dataclass
class WeightsServer:
    """Answers every request by the next of `answers`; the last one stays."""

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    """One connection to the server under `state`."""

    state: WeightsServer

    def do_GET(self) -> None:
        request = Request(self.path, self.headers.get("Range"), self.headers.get("If-Range"))
        self.state.requests.append(request)
        answers = self.state.answers
        with suppress(ConnectionError):  # a client that has seen enough
            (answers.pop(0) if len(answers) > 1 else answers[0])(self, request)
        self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        pass


def send(
    body: bytes = BODY,
    *,
    etag: str = '"one"',
    upto: int | None = None,
    length: int | None = None,
    ranges: bool = True,
    first: int | None = None,
) -> Answer:
    """Serve `body` properly, or: break off after `upto` bytes, announce `length`, ignore ranges, begin at `first`."""

    def answer(handler: Handler, request: Request) -> None:
        offset = 0
        if ranges and request.range and request.if_range in (None, etag):
            offset = int(request.range.removeprefix("bytes=").removesuffix("-"))
        if offset >= len(body) > 0 and offset:
            handler.send_response(416)
            handler.send_header("Content-Range", f"bytes */{len(body)}")
            handler.end_headers()
            return
        begin = first if first is not None and offset else offset
        rest = body[begin:]
        handler.send_response(206 if offset else 200)
        if offset:
            handler.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
        if etag:
            handler.send_header("ETag", etag)
        if length != -1:
            handler.send_header("Content-Length", str(len(rest) if length is None else length))
        handler.end_headers()
        handler.wfile.write(rest if upto is None else rest[:upto])

    return answer


def refuse(status: int) -> Answer:
    def answer(handler: Handler, request: Request) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


@pytest.fixture
def server() -> Iterator[WeightsServer]:
    state = WeightsServer()
    handler = type("BoundHandler", (Handler,), {"state": state})
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    state.url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, args=(0.02,))
    thread.start()
    yield state
    http.shutdown()
    thread.join()
    http.server_close()


@pytest.fixture
def part(tmp_path: Path) -> Partial:
    return Partial(tmp_path / "weights.pth.part")


def fetch(server: WeightsServer, part: Partial, *answers: Answer, size_bytes: int | None = len(BODY)) -> None:
    server.answers = list(answers)
    download(f"{server.url}/weights.pth", part, size_bytes=size_bytes, pause_s=0)


def test_a_download_reports_its_progress_up_to_the_whole(server: WeightsServer, part: Partial) -> None:
    server.answers = [send()]
    seen: list[tuple[int, int | None]] = []
    download(f"{server.url}/weights.pth", part, on_progress=lambda done, total: seen.append((done, total)))
    assert part.path.read_bytes() == BODY
    assert seen[0] == (0, len(BODY)) and seen[-1] == (len(BODY), len(BODY))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_a_dropped_connection_goes_on_where_it_broke_off(server: WeightsServer, part: Partial) -> None:
    fetch(server, part, send(upto=9 * PIECE), send(upto=6 * PIECE), send())
    assert part.path.read_bytes() == BODY
    assert [request.range for request in server.requests] == [None, f"bytes={9 * PIECE}-", f"bytes={15 * PIECE}-"]


def test_more_breaks_than_tries_are_no_failure_while_something_new_arrives(
    server: WeightsServer, part: Partial
) -> None:
    fetch(server, part, *[send(upto=100_000)] * (MAX_FRUITLESS_TRIES + 4), send())
    assert part.path.read_bytes() == BODY


def test_a_later_run_goes_on_with_what_an_earlier_one_left(server: WeightsServer, part: Partial) -> None:
    with pytest.raises(WeightsError, match="broke off"):
        fetch(server, part, send(upto=12 * PIECE + 5), refuse(503))
    assert part.size_bytes == 12 * PIECE
    fetch(server, part, send())
    assert part.path.read_bytes() == BODY
    assert server.requests[-1].range == f"bytes={12 * PIECE}-"


def test_a_file_that_changed_meanwhile_is_begun_again(server: WeightsServer, part: Partial) -> None:
    other = BODY[::-1]
    fetch(server, part, send(upto=300_000), send(other, etag='"two"'))
    assert part.path.read_bytes() == other


def test_without_a_version_nothing_is_stitched_together(server: WeightsServer, part: Partial) -> None:
    fetch(server, part, send(etag="", upto=300_000), send(etag=""))
    assert part.path.read_bytes() == BODY
    assert [request.range for request in server.requests] == [None, None]


def test_a_server_that_ignores_ranges_is_read_from_the_start(server: WeightsServer, part: Partial) -> None:
    fetch(server, part, send(upto=300_000), send(ranges=False))
    assert part.path.read_bytes() == BODY


def test_a_server_that_goes_on_elsewhere_is_not_believed(server: WeightsServer, part: Partial) -> None:
    fetch(server, part, send(upto=300_000), send(first=200_000), send())
    assert part.path.read_bytes() == BODY


def test_a_download_that_was_complete_already_ends_at_once(server: WeightsServer, part: Partial) -> None:
    fetch(server, part, send())
    fetch(server, part, send())
    assert part.path.read_bytes() == BODY
    assert server.requests[-1].range == f"bytes={len(BODY)}-"


def test_fewer_bytes_than_announced_are_never_a_whole_file(server: WeightsServer, part: Partial) -> None:
    with pytest.raises(WeightsError, match="broke off 5 times"):
        fetch(server, part, send(BODY[:1000], length=len(BODY), ranges=False), size_bytes=None)


def test_an_announced_size_that_is_wrong_is_refused_before_it_is_downloaded(
    server: WeightsServer, part: Partial
) -> None:
    with pytest.raises(WeightsError, match=r"1,000 bytes; the published file has 1,048,576"):
        fetch(server, part, send(length=1000))
    assert part.size_bytes == 0


def test_an_endless_answer_without_length_is_cut_off(server: WeightsServer, part: Partial) -> None:
    with pytest.raises(WeightsError, match="more bytes came"):
        fetch(server, part, send(BODY * 8, length=-1))
    assert part.size_bytes == 0


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_told_at_once(server: WeightsServer, part: Partial, status: int) -> None:
    with pytest.raises(WeightsError, match=str(status)):
        fetch(server, part, refuse(status))
    assert len(server.requests) == 1


def test_a_server_that_is_not_there_is_an_error_with_a_way_out(part: Partial) -> None:
    with pytest.raises(WeightsError, match="ConnectionError") as caught:
        download("http://127.0.0.1:9/weights.pth", part, pause_s=0)
    assert "--from FILE" in caught.value.remedy


def test_overload_is_waited_for(server: WeightsServer, part: Partial) -> None:
    fetch(server, part, refuse(503), refuse(429), send())
    assert part.path.read_bytes() == BODY


# --- what becomes of it: the folder of weights


def any_layout(path: Path, layout: str) -> None:
    """Take any file for one of the right layout."""


def published(server: WeightsServer, **changes: object) -> PublishedFile:
    known = {"check": any_layout, "size_bytes": len(BODY), "sha256": hashlib.sha256(BODY).hexdigest(), **changes}
    return PublishedFile("weights.pth", f"{server.url}/official/weights.pth", "vit_b", **known)  # type: ignore[arg-type]


def store(folder: Path, **changes: object) -> WeightsStore:
    return WeightsStore(folder / "weights", pause_s=0, **changes)  # type: ignore[arg-type]


def test_what_was_fetched_is_recorded_and_left_alone_afterwards(server: WeightsServer, tmp_path: Path) -> None:
    server.answers = [send()]
    path = store(tmp_path).fetch(published(server))
    assert path.read_bytes() == BODY
    assert recorded_fingerprint(path) == hashlib.sha256(BODY).hexdigest()
    assert store(tmp_path).is_there(published(server))
    assert sorted(each.name for each in path.parent.iterdir()) == ["manifest.json", "weights.pth"]


def test_a_fetched_file_that_was_damaged_is_not_taken_for_there(server: WeightsServer, tmp_path: Path) -> None:
    server.answers = [send()]
    path = store(tmp_path).fetch(published(server))
    path.write_bytes(BODY[:-1] + b"x")
    assert not store(tmp_path).is_there(published(server))


def test_wrong_bytes_of_the_right_length_are_refused_and_thrown_away(server: WeightsServer, tmp_path: Path) -> None:
    server.answers = [send(BODY[::-1])]
    with pytest.raises(WeightsError, match=r"refused\..*SHA-256"):
        store(tmp_path).fetch(published(server))
    assert list((tmp_path / "weights").iterdir()) == []


def test_a_login_page_instead_of_weights_is_refused(server: WeightsServer, tmp_path: Path) -> None:
    server.answers = [send(b"<html>Please log in</html>")]
    with pytest.raises(WeightsError, match="no intact PyTorch state dict"):
        store(tmp_path).fetch(published(server, check=check_sam_layout, size_bytes=None, sha256=None))


def test_tensors_of_another_network_are_refused_by_name(server: WeightsServer, tmp_path: Path) -> None:
    torch.save({"aardvark": torch.zeros(2)}, tmp_path / "other.pth")
    server.answers = [send((tmp_path / "other.pth").read_bytes())]
    with pytest.raises(WeightsError, match="not those of SAM vit_b: aardvark is unexpected"):
        store(tmp_path).fetch(published(server, check=check_sam_layout, size_bytes=None, sha256=None))


def test_mirrors_are_asked_first_and_the_official_address_last(server: WeightsServer, tmp_path: Path) -> None:
    server.answers = [refuse(404), send(BODY[::-1]), send()]
    mirrors = (f"{server.url}/first", f"{server.url}/second")
    assert store(tmp_path, mirrors=mirrors).fetch(published(server)).read_bytes() == BODY
    assert [request.path for request in server.requests] == [
        "/first/weights.pth",
        "/second/weights.pth",
        "/official/weights.pth",
    ]


def test_offline_nothing_is_asked_and_the_way_by_hand_is_told(server: WeightsServer, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="TAM_OFFLINE") as caught:
        store(tmp_path, offline=True).fetch(published(server))
    assert "--from FILE" in caught.value.remedy and server.url in caught.value.remedy
    assert server.requests == []


def test_a_disk_without_room_is_told_before_the_download(server: WeightsServer, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="are free"):
        store(tmp_path).fetch(published(server, size_bytes=10**18))
    assert server.requests == []


def test_two_at_once_do_not_mix_their_bytes(server: WeightsServer, tmp_path: Path) -> None:
    server.answers = [send()]

    def fetch_too(done: int, total: int | None) -> None:
        with pytest.raises(WeightsError, match="Another process"):
            store(tmp_path).fetch(published(server))

    assert store(tmp_path).fetch(published(server), fetch_too).read_bytes() == BODY
    assert len(server.requests) == 1


def test_a_folder_that_cannot_be_made_is_named(server: WeightsServer, tmp_path: Path) -> None:
    (tmp_path / "weights").write_text("a file")
    with pytest.raises(WeightsError, match="cannot be made"):
        store(tmp_path).fetch(published(server))


def test_a_file_brought_by_hand_is_checked_and_copied(server: WeightsServer, tmp_path: Path) -> None:
    brought = tmp_path / "anything.bin"
    brought.write_bytes(BODY)
    other = PublishedFile("other.pth", "http://127.0.0.1:9/other.pth", "vit_h", any_layout, size_bytes=5)
    path = store(tmp_path).take_any([other, published(server)], brought)
    assert path.name == "weights.pth" and path.read_bytes() == BODY
    assert brought.exists()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("weights.pth", BODY[:-1], "1,048,575 bytes, not 1,048,576"),
        ("weights.pth", BODY[::-1], "SHA-256"),
        ("anything.bin", BODY[::-1], "none of the published files weights.pth"),
        ("missing.pth", None, "There is no file"),
    ],
)
def test_a_wrong_file_brought_by_hand_is_refused(
    server: WeightsServer, tmp_path: Path, name: str, content: bytes | None, says: str
) -> None:
    brought = tmp_path / name
    if content is not None:
        brought.write_bytes(content)
    with pytest.raises(WeightsError, match=says):
        store(tmp_path).take_any([published(server)], brought)
    assert not (tmp_path / "weights").exists()
