"""Media of tasks, fetched from a real HTTP server that does not always behave."""

from __future__ import annotations

import base64
import io
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from video_making import make_video, plain_decode

from tam_backend.errors import (
    EmptyVideoError,
    FrameOutOfRangeError,
    InvalidInputError,
    MediaForbiddenError,
    MediaNotFoundError,
    MediaTimeoutError,
    MediaTooLargeError,
    NotFoundError,
    TamError,
    UnreadableMediaError,
)
from tam_backend.settings import Settings
from tam_backend.types import VideoSource
from tam_backend.video import FrameSubset, open_video
from tam_backend.video.addresses import AddressBook, LocalFile, RemoteFile, shown
from tam_backend.video.base import FrameSource
from tam_backend.video.fetch import MediaFetcher, OwnMedia

TOKEN = "Token 0123456789abcdef"

Page = Callable[[BaseHTTPRequestHandler], None]


class MediaServer:
    """A threaded HTTP server whose pages are functions; remembers what it was asked."""

    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.requests: list[tuple[str, str | None]] = []  # (path with query, Authorization)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append((self.path, self.headers.get("Authorization")))
                page = outer.pages.get(urlsplit(self.path).path)
                try:
                    page(self) if page else self.send_error(404)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def log_message(self, *args: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def port(self) -> int:
        return self.server.server_address[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def serve(self, path: str, body: bytes, content_type: str = "video/mp4", content_length: int | None = None) -> None:
        def page(request: BaseHTTPRequestHandler) -> None:
            request.send_response(200)
            request.send_header("Content-Type", content_type)
            request.send_header("Content-Length", str(len(body) if content_length is None else content_length))
            request.end_headers()
            request.wfile.write(body)

        self.pages[path] = page

    def redirect(self, path: str, target: str, status: int = 302) -> None:
        def page(request: BaseHTTPRequestHandler) -> None:
            request.send_response(status)
            request.send_header("Location", target)
            request.send_header("Content-Length", "0")
            request.end_headers()

        self.pages[path] = page

    def answer(self, path: str, status: int) -> None:
        self.pages[path] = lambda request: request.send_error(status)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def label_studio() -> Iterator[MediaServer]:
    server = MediaServer()
    yield server
    server.close()


@pytest.fixture
def elsewhere() -> Iterator[MediaServer]:
    server = MediaServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=10)


@pytest.fixture
def fetcher_for(tmp_path: Path, label_studio: MediaServer) -> Callable[..., MediaFetcher]:
    def make(*, own: OwnMedia | None = None, told: str = "", **settings: object) -> MediaFetcher:
        settings = {"label_studio_url": label_studio.url, "data_dir": tmp_path / "data", **settings}
        return MediaFetcher(
            Settings(**settings),  # type: ignore[arg-type]
            label_studio_url=lambda: told,
            authorization=lambda: {"Authorization": TOKEN},
            own=own,
        )

    return make


def png(shade: int, size_wh: tuple[int, int] = (12, 8)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size_wh, (shade, 0, 0)).save(file, "PNG")
    return file.getvalue()


def downloads(tmp_path: Path) -> list[Path]:
    return sorted(path for path in (tmp_path / "data" / "downloads").rglob("*") if path.is_file())


# Label Studio


def test_an_upload_is_fetched_from_label_studio_with_its_credentials(
    fetcher_for: Callable[..., MediaFetcher], label_studio: MediaServer, clip: Path
) -> None:
    label_studio.serve("/data/upload/8/9c-my clip.mp4", clip.read_bytes())
    label_studio.pages["/data/upload/8/9c-my%20clip.mp4"] = label_studio.pages["/data/upload/8/9c-my clip.mp4"]
    with fetcher_for().open_media("/data/upload/8/9c-my clip.mp4") as video:
        assert isinstance(video, VideoSource)
        assert (video.name, len(video), video.size_hw, video.fps) == ("9c-my_clip.mp4", 10, (48, 64), 25.0)
        np.testing.assert_array_equal(video[7], plain_decode(clip)[7])
        assert len(list(video)) == 10
        assert "9c-my_clip.mp4" in repr(video)
    assert label_studio.requests == [("/data/upload/8/9c-my%20clip.mp4", TOKEN)]


def test_local_storage_is_fetched_by_its_query(
    fetcher_for: Callable[..., MediaFetcher], label_studio: MediaServer, clip: Path
) -> None:
    label_studio.serve("/data/local-files/", clip.read_bytes())
    assert fetcher_for().open_media("/data/local-files/?d=media/a.mp4").name == "a.mp4"
    assert label_studio.requests == [("/data/local-files/?d=media/a.mp4", TOKEN)]


def test_localhost_and_127_0_0_1_are_one_host(
    fetcher_for: Callable[..., MediaFetcher], label_studio: MediaServer, clip: Path
) -> None:
    label_studio.serve("/data/upload/8/x.mp4", clip.read_bytes())
    fetcher_for().open_media(f"http://localhost:{label_studio.port}/data/upload/8/x.mp4").close()
    assert label_studio.requests == [("/data/upload/8/x.mp4", TOKEN)]


def test_label_studio_may_live_under_a_folder(
    fetcher_for: Callable[..., MediaFetcher], label_studio: MediaServer, clip: Path
) -> None:
    label_studio.serve("/ls/data/upload/8/x.mp4", clip.read_bytes())
    label_studio.serve("/ls/data/upload/8/y.mp4", clip.read_bytes())
    fetcher = fetcher_for(label_studio_url=f"{label_studio.url}/ls")
    fetcher.open_media("/data/upload/8/x.mp4").close()
    fetcher.open_media("/ls/data/upload/8/y.mp4").close()
    assert [request for request in label_studio.requests if request[1] == TOKEN] == label_studio.requests


def test_the_address_of_label_studio_can_be_learnt_unless_it_is_set(
    fetcher_for: Callable[..., MediaFetcher], label_studio: MediaServer, elsewhere: MediaServer, clip: Path
) -> None:
    label_studio.serve("/data/upload/8/x.mp4", clip.read_bytes())
    with pytest.raises(MediaNotFoundError, match="LABEL_STUDIO_URL"):
        fetcher_for(label_studio_url="").open_media("/data/upload/8/x.mp4")
    learnt = fetcher_for(label_studio_url="", told=f"{label_studio.url}/")
    learnt.open_media("/data/upload/8/x.mp4").close()
    fetcher_for(told=elsewhere.url).open_media("/data/upload/8/x.mp4").close()
    assert elsewhere.requests == []


@pytest.mark.parametrize("page", ["/api/users", "/data/../api/users", "/data/%2e%2e/api/users", "/user/logout"])
def test_credentials_go_to_no_other_page_of_label_studio(
    fetcher_for: Callable[..., MediaFetcher], label_studio: MediaServer, page: str
) -> None:
    with pytest.raises(MediaNotFoundError):
        fetcher_for().open_media(label_studio.url + page)
    assert [authorization for _, authorization in label_studio.requests] == [None]


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_of_label_studio_names_the_key(
    fetcher_for: Callable[..., MediaFetcher], label_studio: MediaServer, status: int
) -> None:
    label_studio.answer("/data/upload/8/x.mp4", status)
    with pytest.raises(MediaForbiddenError, match="LABEL_STUDIO_API_KEY"):
        fetcher_for().open_media("/data/upload/8/x.mp4")


def test_a_login_page_in_place_of_media_names_the_key(
    fetcher_for: Callable[..., MediaFetcher], label_studio: MediaServer
) -> None:
    label_studio.redirect("/data/upload/8/x.mp4", "/user/login")
    label_studio.serve("/user/login", b"<html>", "text/html; charset=utf-8")
    with pytest.raises(MediaForbiddenError, match="LABEL_STUDIO_API_KEY"):
        fetcher_for().open_media("/data/upload/8/x.mp4")
    assert [authorization for _, authorization in label_studio.requests] == [TOKEN, None]


@pytest.mark.parametrize("status", [404, 410, 500])
def test_an_upload_that_is_gone_is_not_found(
    fetcher_for: Callable[..., MediaFetcher], label_studio: MediaServer, status: int
) -> None:
    label_studio.answer("/data/upload/8/gone.mp4", status)
    with pytest.raises(MediaNotFoundError, match=r"/data/upload/8/gone\.mp4"):
        fetcher_for().open_media("/data/upload/8/gone.mp4")


# Cloud storage


@pytest.mark.parametrize("uri", ["s3://bucket/a/b c.mp4", "gs://bucket/clip.mp4", "azure-blob://box/clip.mp4"])
def test_cloud_storage_is_read_where_label_studio_presigns_it(
    fetcher_for: Callable[..., MediaFetcher], label_studio: MediaServer, elsewhere: MediaServer, clip: Path, uri: str
) -> None:
    label_studio.redirect("/tasks/31/presign/", f"{elsewhere.url}/signed.mp4?X-Amz-Signature=SECRET", 303)
    elsewhere.serve("/signed.mp4", clip.read_bytes())
    with fetcher_for().open_media(uri, task_id=31) as video:
        assert len(video) == 10
    ((asked, authorization),) = label_studio.requests
    encoded = parse_qs(urlsplit(asked).query)["fileuri"][0]
    assert base64.urlsafe_b64decode(encoded).decode() == uri
    assert authorization == TOKEN
    assert elsewhere.requests == [("/signed.mp4?X-Amz-Signature=SECRET", None)]


def test_a_task_s_file_is_brought_here_to_stay(
    fetcher_for: Callable[..., MediaFetcher],
    label_studio: MediaServer,
    elsewhere: MediaServer,
    clip: Path,
    tmp_path: Path,
) -> None:
    """From where Label Studio presigns it; one that is on this machine already stays where it is."""
    label_studio.redirect("/tasks/31/presign/", f"{elsewhere.url}/signed.mp4?sig=SECRET", 303)
    elsewhere.serve("/signed.mp4", clip.read_bytes())
    fetcher = fetcher_for(media_dirs=(clip.parent,))
    kept = fetcher.bring("s3://bucket/a.mp4", tmp_path / "kept", task_id=31)
    assert kept.read_bytes() == clip.read_bytes() and kept.is_relative_to(tmp_path / "kept")
    assert fetcher.bring(str(clip), tmp_path / "kept", task_id=31) == clip
    with pytest.raises(MediaForbiddenError, match="TAM_MEDIA_DIRS"):
        fetcher.bring("/etc/hostname", tmp_path / "kept", task_id=31)


def test_label_studio_may_also_hand_the_file_through(
    fetcher_for: Callable[..., MediaFetcher], label_studio: MediaServer, clip: Path
) -> None:
    label_studio.serve("/tasks/31/presign/", clip.read_bytes())
    fetcher_for().open_media("s3://bucket/clip.mp4", task_id=31).close()


def test_only_the_presigned_host_itself_is_trusted(
    fetcher_for: Callable[..., MediaFetcher], label_studio: MediaServer, elsewhere: MediaServer
) -> None:
    label_studio.redirect("/tasks/31/presign/", f"{elsewhere.url}/hop?sig=SECRET", 303)
    elsewhere.redirect("/hop", "http://169.254.169.254/latest/meta-data")
    with pytest.raises(MediaForbiddenError, match="TAM_MEDIA_HOSTS") as caught:
        fetcher_for().open_media("s3://bucket/clip.mp4", task_id=31)
    assert "SECRET" not in str(caught.value)


def test_an_expired_signature_is_told_without_the_signature(
    fetcher_for: Callable[..., MediaFetcher], label_studio: MediaServer, elsewhere: MediaServer
) -> None:
    label_studio.redirect("/tasks/31/presign/", f"{elsewhere.url}/signed.mp4?sig=SECRET", 303)
    elsewhere.answer("/signed.mp4", 403)
    with pytest.raises(MediaForbiddenError, match=r"s3://bucket/clip\.mp4") as caught:
        fetcher_for().open_media("s3://bucket/clip.mp4", task_id=31)
    assert "SECRET" not in str(caught.value) and "expired" in caught.value.remedy


def test_cloud_storage_needs_a_task(fetcher_for: Callable[..., MediaFetcher]) -> None:
    with pytest.raises(MediaNotFoundError, match=r"s3://bucket/a\.mp4"):
        fetcher_for().open_media("s3://bucket/a.mp4")


# Other hosts


def test_a_host_is_allowed_only_with_its_port(
    fetcher_for: Callable[..., MediaFetcher], elsewhere: MediaServer, clip: Path
) -> None:
    elsewhere.serve("/clip.mp4", clip.read_bytes())
    url = f"{elsewhere.url}/clip.mp4?token=SECRET"
    for hosts in ("", "127.0.0.1", f"127.0.0.1:{elsewhere.port + 1}", f"example.com:{elsewhere.port}"):
        with pytest.raises(MediaForbiddenError, match="TAM_MEDIA_HOSTS") as caught:
            fetcher_for(media_hosts=hosts).open_media(url)
        assert "SECRET" not in str(caught.value)
    assert elsewhere.requests == []
    for hosts in (f"cdn.example.com, 127.0.0.1:{elsewhere.port}", f"http://localhost:{elsewhere.port}"):
        fetcher_for(media_hosts=hosts, data_dir=clip.parent / hosts[-9:]).open_media(url).close()
    assert [authorization for _, authorization in elsewhere.requests] == [None, None]


def test_our_own_address_is_allowed(
    fetcher_for: Callable[..., MediaFetcher], elsewhere: MediaServer, clip: Path
) -> None:
    elsewhere.serve("/x.mp4", clip.read_bytes())
    fetcher_for(public_url=elsewhere.url).open_media(f"{elsewhere.url}/x.mp4").close()
    assert elsewhere.requests == [("/x.mp4", None)]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_a_forbidden_host_is_not_followed(
    fetcher_for: Callable[..., MediaFetcher], label_studio: MediaServer, elsewhere: MediaServer, status: int
) -> None:
    label_studio.redirect("/data/upload/8/x.mp4", f"{elsewhere.url}/inside", status)
    with pytest.raises(MediaForbiddenError, match="TAM_MEDIA_HOSTS"):
        fetcher_for().open_media("/data/upload/8/x.mp4")
    assert elsewhere.requests == []


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "//", "http://", "http://[::1"])
def test_a_redirect_out_of_http_is_not_followed(
    fetcher_for: Callable[..., MediaFetcher], label_studio: MediaServer, target: str
) -> None:
    label_studio.redirect("/tasks/31/presign/", target)
    with pytest.raises(TamError) as caught:
        fetcher_for().open_media("s3://bucket/clip.mp4", task_id=31)
    assert caught.value.status in (403, 422)


def test_credentials_do_not_cross_a_redirect(
    fetcher_for: Callable[..., MediaFetcher], label_studio: MediaServer, elsewhere: MediaServer, clip: Path
) -> None:
    label_studio.redirect("/data/upload/8/x.mp4", f"{elsewhere.url}/x.mp4")
    elsewhere.serve("/x.mp4", clip.read_bytes())
    fetcher_for(media_hosts=f"127.0.0.1:{elsewhere.port}").open_media("/data/upload/8/x.mp4").close()
    assert elsewhere.requests == [("/x.mp4", None)]


def test_at_most_five_redirects_are_followed(
    fetcher_for: Callable[..., MediaFetcher], label_studio: MediaServer, clip: Path
) -> None:
    for hop in range(7):
        label_studio.redirect(f"/hop{hop}", f"hop{hop + 1}")
    label_studio.serve("/hop7", clip.read_bytes())
    fetcher_for().open_media(f"{label_studio.url}/hop2").close()
    label_studio.requests.clear()
    with pytest.raises(UnreadableMediaError, match="more than 5"):
        fetcher_for().open_media(f"{label_studio.url}/hop1")
    assert len(label_studio.requests) == 6


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/clip.mp4",
        "gopher://127.0.0.1/clip.mp4",
        "http://user@evil.example/clip.mp4",
        "http://127.0.0.1@evil.example/clip.mp4",
        "//evil.example/clip.mp4",
        "data:text/html;base64,AAAA",
        "data:image/png,AAAA",
        "data:image/svg+xml;base64,AAAA",
        "http://[::1",
        "http:///clip.mp4",
        "javascript:alert(1)",
    ],
)
def test_other_schemes_and_hosts_are_refused(fetcher_for: Callable[..., MediaFetcher], url: str) -> None:
    with pytest.raises(TamError) as caught:
        fetcher_for().open_media(url)
    assert caught.value.status in (403, 422)


@given(value=st.text(max_size=60))
def test_any_text_is_either_located_or_refused_by_an_error_of_ours(value: str) -> None:
    book = AddressBook(Settings(label_studio_url="http://localhost:8080", media_dirs=("/nonexistent",)))
    try:
        place = book.locate(value, task_id=1)
    except TamError as error:
        assert error.status in (403, 404, 422)
    else:
        assert isinstance(place, RemoteFile) and urlsplit(place.url).hostname == "localhost"


def test_an_unknown_host_is_not_found(fetcher_for: Callable[..., MediaFetcher], elsewhere: MediaServer) -> None:
    port = elsewhere.port
    elsewhere.close()
    with pytest.raises(MediaNotFoundError, match="cannot be reached"):
        fetcher_for(media_hosts=f"127.0.0.1:{port}").open_media(f"http://127.0.0.1:{port}/clip.mp4?sig=SECRET")


def test_a_web_page_is_no_media(fetcher_for: Callable[..., MediaFetcher], elsewhere: MediaServer) -> None:
    elsewhere.serve("/watch", b"<html>", "text/html")
    with pytest.raises(UnreadableMediaError, match="web page"):
        fetcher_for(media_hosts=f"localhost:{elsewhere.port}").open_media(f"{elsewhere.url}/watch")


def test_another_status_is_told(fetcher_for: Callable[..., MediaFetcher], elsewhere: MediaServer) -> None:
    elsewhere.answer("/busy.mp4", 503)
    with pytest.raises(UnreadableMediaError, match="HTTP 503"):
        fetcher_for(media_hosts=f"localhost:{elsewhere.port}").open_media(f"{elsewhere.url}/busy.mp4")


@pytest.mark.parametrize("told", ["http://[::1", "localhost:8080", "http://", ""])
def test_an_address_of_label_studio_that_is_none_is_not_learnt(
    fetcher_for: Callable[..., MediaFetcher], told: str
) -> None:
    fetcher = fetcher_for(label_studio_url="", told=told)
    with pytest.raises(MediaNotFoundError, match="where it runs is not known"):
        fetcher.open_media("/data/upload/1/clip.mp4")


def test_the_log_tells_the_address_that_was_learnt(
    fetcher_for: Callable[..., MediaFetcher], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    fetcher = fetcher_for(label_studio_url="", told="http://ls.example:8080/")
    for _ in range(2):
        with pytest.raises(MediaForbiddenError):
            fetcher.open_media("http://elsewhere.example/x.mp4")
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert "http://ls.example:8080" in caplog.text


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (5, "is a number"), (True, "is a boolean"), (None, "is null"), ({"a": 1}, "is an object"),
        ([1, 2], "is a list with a number"), ([None], "is a list with null"), ([["x"]], "is a list with a list"),
        (["http://a/1.png", {}], "is a list with an object"),
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_by_its_kind(
    fetcher_for: Callable[..., MediaFetcher], value: object, kind: str
) -> None:
    with pytest.raises(InvalidInputError, match=kind):
        fetcher_for().open_media(value)  # type: ignore[arg-type]


# Limits


def test_an_announced_size_over_the_limit_is_not_downloaded(
    fetcher_for: Callable[..., MediaFetcher], label_studio: MediaServer, tmp_path: Path
) -> None:
    label_studio.serve("/data/upload/8/x.mp4", b"", content_length=5_000_000)
    with pytest.raises(MediaTooLargeError, match="TAM_MEDIA_MAX_MB"):
        fetcher_for(media_max_mb=1).open_media("/data/upload/8/x.mp4")
    assert downloads(tmp_path) == []


def test_an_endless_stream_is_cut_at_the_limit(
    fetcher_for: Callable[..., MediaFetcher], label_studio: MediaServer, tmp_path: Path
) -> None:
    def endless(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        while True:
            request.wfile.write(bytes(50_000))

    label_studio.pages["/data/upload/8/x.mp4"] = endless
    with pytest.raises(MediaTooLargeError):
        fetcher_for(media_max_mb=1).open_media("/data/upload/8/x.mp4")
    assert downloads(tmp_path) == []


def test_fewer_bytes_than_announced_are_no_file(
    fetcher_for: Callable[..., MediaFetcher], label_studio: MediaServer, clip: Path, tmp_path: Path
) -> None:
    label_studio.serve("/data/upload/8/x.mp4", clip.read_bytes(), content_length=clip.stat().st_size + 100)
    with pytest.raises(UnreadableMediaError, match="broke off"):
        fetcher_for().open_media("/data/upload/8/x.mp4")
    assert downloads(tmp_path) == []


def test_opening_takes_no_longer_than_its_caller_has(
    fetcher_for: Callable[..., MediaFetcher], label_studio: MediaServer
) -> None:
    label_studio.pages["/data/upload/8/x.png"] = lambda request: time.sleep(2)
    fetcher = fetcher_for()
    for value in ("/data/upload/8/x.png", ["/data/upload/8/x.png"]):
        began_s = time.monotonic()
        with pytest.raises(MediaTimeoutError, match=r"within 0\.3 s"):
            fetcher.open_media(value, timeout_s=0.3)
        assert time.monotonic() - began_s < 1.5
    with pytest.raises(MediaTimeoutError, match=r"within 0\.2 s"):
        fetcher_for(media_timeout_s=0.2).open_media("/data/upload/8/x.png", timeout_s=60)
    with pytest.raises(MediaTimeoutError):
        fetcher.open_media("/data/upload/8/x.png", timeout_s=-1)


def test_a_download_ends_well_within_what_label_studio_waits() -> None:
    assert Settings.model_fields["media_timeout_s"].default == 20


@pytest.mark.parametrize("where", ["headers", "body", "body of stated length"])
def test_a_slow_drip_is_cut_at_the_deadline(
    fetcher_for: Callable[..., MediaFetcher], label_studio: MediaServer, tmp_path: Path, where: str
) -> None:
    def drip(request: BaseHTTPRequestHandler) -> None:
        if where != "headers":
            request.send_response(200)
            if where == "body of stated length":
                request.send_header("Content-Length", "1000")
            request.end_headers()
        else:
            request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        for _ in range(100):
            request.wfile.write(b"a")
            request.wfile.flush()
            time.sleep(0.05)

    label_studio.pages["/data/upload/8/x.mp4"] = drip
    began_s = time.monotonic()
    with pytest.raises(MediaTimeoutError, match="TAM_MEDIA_TIMEOUT_S"):
        fetcher_for(media_timeout_s=0.4).open_media("/data/upload/8/x.mp4")
    assert time.monotonic() - began_s < 2
    assert downloads(tmp_path) == []


def test_a_silent_host_is_given_up_at_the_deadline(
    fetcher_for: Callable[..., MediaFetcher], label_studio: MediaServer
) -> None:
    label_studio.pages["/data/upload/8/x.mp4"] = lambda request: time.sleep(2)
    with pytest.raises(MediaTimeoutError):
        fetcher_for(media_timeout_s=0.3).open_media("/data/upload/8/x.mp4")


def test_garbage_is_unreadable_and_not_kept(
    fetcher_for: Callable[..., MediaFetcher], label_studio: MediaServer, clip: Path, tmp_path: Path
) -> None:
    fetcher = fetcher_for()
    label_studio.serve("/data/upload/8/x.mp4", b"not a video")
    with pytest.raises(UnreadableMediaError, match=r"x\.mp4"):
        fetcher.open_media("/data/upload/8/x.mp4")
    assert downloads(tmp_path) == []
    label_studio.serve("/data/upload/8/x.mp4", clip.read_bytes())
    fetcher.open_media("/data/upload/8/x.mp4").close()


# The cache


def test_a_file_is_downloaded_once_by_many_threads(
    fetcher_for: Callable[..., MediaFetcher], label_studio: MediaServer, clip: Path
) -> None:
    label_studio.serve("/data/upload/8/x.mp4", clip.read_bytes())
    fetcher = fetcher_for()
    lengths: list[int] = []

    def read() -> None:
        with fetcher.open_media("/data/upload/8/x.mp4") as video:
            lengths.append(len(video))

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lengths == [10] * 6
    assert len(label_studio.requests) == 1
    fetcher_for().open_media("/data/upload/8/x.mp4").close()
    assert len(label_studio.requests) == 1, "another process reuses the file"


def test_threads_that_wait_for_a_failing_download_share_its_error(
    fetcher_for: Callable[..., MediaFetcher], label_studio: MediaServer
) -> None:
    def slow_refusal(request: BaseHTTPRequestHandler) -> None:
        time.sleep(0.3)
        request.send_error(403)

    label_studio.pages["/data/upload/8/x.mp4"] = slow_refusal
    fetcher = fetcher_for()
    errors: list[TamError] = []

    def read() -> None:
        try:
            fetcher.open_media("/data/upload/8/x.mp4")
        except MediaForbiddenError as error:
            errors.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 4
    assert len(label_studio.requests) == 1


def test_the_cache_drops_what_was_used_longest_ago(
    fetcher_for: Callable[..., MediaFetcher], label_studio: MediaServer, clip: Path, tmp_path: Path
) -> None:
    size = clip.stat().st_size
    for name in "abcd":
        label_studio.serve(f"/data/upload/8/{name}.mp4", clip.read_bytes())
    fetcher = fetcher_for(cache_mb=(2 * size + 10) / 1e6)
    for name in ("a", "b", "a", "c"):
        fetcher.open_media(f"/data/upload/8/{name}.mp4").close()
    assert sorted(path.name for path in downloads(tmp_path)) == ["a.mp4", "c.mp4"]
    past = time.time() - 3600
    for path in downloads(tmp_path):
        os.utime(path.parent, (past, past + (path.name == "a.mp4")))
    fetcher_for(cache_mb=(2 * size + 10) / 1e6).open_media("/data/upload/8/d.mp4").close()
    assert sorted(path.name for path in downloads(tmp_path)) == ["a.mp4", "d.mp4"], "counted across a restart"


def test_an_open_video_is_not_evicted(
    fetcher_for: Callable[..., MediaFetcher], label_studio: MediaServer, clip: Path, tmp_path: Path
) -> None:
    for name in "ab":
        label_studio.serve(f"/data/upload/8/{name}.mp4", clip.read_bytes())
    fetcher = fetcher_for(cache_mb=10 / 1e6)
    with fetcher.open_media("/data/upload/8/a.mp4") as video:
        fetcher.open_media("/data/upload/8/b.mp4").close()
        np.testing.assert_array_equal(video[9], plain_decode(clip)[9])
    video.close()
    fetcher.open_media("/data/upload/8/b.mp4").close()
    assert [path.name for path in downloads(tmp_path)] == ["b.mp4"]


# Files of this machine


def test_files_are_read_only_inside_the_allowed_folders(
    fetcher_for: Callable[..., MediaFetcher], clip: Path, tmp_path: Path
) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    inside = allowed / "my clip.mp4"
    inside.write_bytes(clip.read_bytes())
    (allowed / "way_out.mp4").symlink_to(clip)
    (allowed / "way_in.mp4").symlink_to(inside)
    fetcher = fetcher_for(media_dirs=str(allowed))
    for value in (str(inside), f"file://{allowed}/my%20clip.mp4", str(allowed / "way_in.mp4")):
        with fetcher.open_media(value) as video:
            assert len(video) == 10
    outside = (str(clip), f"file://{clip}", f"{allowed}/../../{clip.name}", str(allowed / "way_out.mp4"), "/etc/passwd")
    for value in (*outside, "clip.mp4", f"{allowed}-not/x.mp4", "file://otherhost/clip.mp4"):
        with pytest.raises(MediaForbiddenError):
            fetcher.open_media(value)
    with pytest.raises(MediaForbiddenError, match="TAM_MEDIA_DIRS"):
        fetcher.open_media(str(tmp_path / "gone.mp4"))
    with pytest.raises(MediaNotFoundError, match=r"gone\.mp4"):
        fetcher.open_media(str(allowed / "gone.mp4"))


def test_a_folder_of_images_shows_no_link_that_leads_out(
    fetcher_for: Callable[..., MediaFetcher], tmp_path: Path
) -> None:
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    (tmp_path / "secret.png").write_bytes(png(9))
    (allowed / "1.png").write_bytes(png(1))
    (allowed / "2.png").symlink_to(tmp_path / "secret.png")
    with fetcher_for(media_dirs=str(allowed)).open_media(str(allowed)) as video:
        assert [int(frame[0, 0, 0]) for frame in video] == [1]


def test_an_allowed_folder_named_data_is_not_taken_for_label_studio(tmp_path: Path) -> None:
    book = AddressBook(Settings(label_studio_url="http://localhost:8080", media_dirs=("/",)))
    assert isinstance(book.locate("/data/upload/1/x.mp4"), RemoteFile)
    assert isinstance(book.locate("/data/avatars/x.png"), RemoteFile), "no such file here"
    assert isinstance(book.locate(str(tmp_path)), LocalFile)


# Images inside the task


def test_an_image_can_stand_in_the_task_itself(fetcher_for: Callable[..., MediaFetcher]) -> None:
    value = "data:image/png;base64," + base64.b64encode(png(77)).decode()
    with fetcher_for().open_media(value) as video:
        assert video[0][0, 0].tolist() == [77, 0, 0]


def test_an_image_in_the_task_has_limits_too(fetcher_for: Callable[..., MediaFetcher]) -> None:
    with pytest.raises(MediaTooLargeError):
        fetcher_for(media_max_mb=0.001).open_media("data:image/png;base64," + "A" * 2000)
    for text in ("!!!!", "A"):
        with pytest.raises(UnreadableMediaError, match="base64"):
            fetcher_for().open_media("data:image/png;base64," + text)
    with pytest.raises(UnreadableMediaError, match="image"):
        fetcher_for().open_media("data:image/png;base64,AAAA")


# Lists of frames


def test_frames_of_a_list_are_downloaded_when_they_are_read(
    fetcher_for: Callable[..., MediaFetcher], label_studio: MediaServer
) -> None:
    for index in range(5):
        label_studio.serve(f"/data/upload/8/f{index}.png", png(index), "image/png")
    with fetcher_for().open_media([f"/data/upload/8/f{index}.png" for index in range(5)]) as video:
        assert isinstance(video, VideoSource)
        assert (video.name, len(video), video.size_hw, video.fps) == ("f0.png", 5, (8, 12), None)
        assert "5 images" in repr(video)
        assert len(label_studio.requests) == 1
        assert video[3][0, 0, 0] == 3
        assert len(label_studio.requests) == 2
        assert [int(frame[0, 0, 0]) for frame in video] == list(range(5))
        assert len(label_studio.requests) == 5
        with pytest.raises(FrameOutOfRangeError):
            video[5]


def test_a_frame_of_another_size_is_scaled_and_a_broken_one_is_named(
    fetcher_for: Callable[..., MediaFetcher], label_studio: MediaServer
) -> None:
    label_studio.serve("/data/upload/8/a.png", png(1), "image/png")
    label_studio.serve("/data/upload/8/b.png", png(1, (13, 8)), "image/png")
    label_studio.serve("/data/upload/8/c.png", b"oops", "image/png")
    with fetcher_for().open_media([f"/data/upload/8/{name}.png" for name in "abc"]) as video:
        assert video[1].shape == video[0].shape
        assert isinstance(video, FrameSource)
        assert (video.own_size_hw(0), video.own_size_hw(1)) == (video.size_hw, (8, 13))
        for _ in range(2):
            with pytest.raises(UnreadableMediaError, match=r"c\.png"):
                video[2]
    assert [path for path, _ in label_studio.requests].count("/data/upload/8/c.png") == 2, "not kept"


def test_a_forbidden_frame_is_refused_before_anything_is_downloaded(
    fetcher_for: Callable[..., MediaFetcher], label_studio: MediaServer
) -> None:
    with pytest.raises(MediaForbiddenError):
        fetcher_for().open_media(["/data/upload/8/a.png", "http://evil.example/b.png"])
    assert label_studio.requests == []


def test_frames_may_be_local_files(fetcher_for: Callable[..., MediaFetcher], tmp_path: Path) -> None:
    for index in range(3):
        (tmp_path / f"{index}.png").write_bytes(png(index))
    with fetcher_for(media_dirs=str(tmp_path)).open_media([str(tmp_path / f"{i}.png") for i in (2, 0)]) as video:
        assert [int(frame[0, 0, 0]) for frame in video] == [2, 0]
        (tmp_path / "0.png").write_bytes(b"broken")
        with pytest.raises(UnreadableMediaError):
            video[1]
        assert (tmp_path / "0.png").exists(), "a file of the user is never removed"


def test_an_empty_list_is_an_empty_video(fetcher_for: Callable[..., MediaFetcher]) -> None:
    with pytest.raises(EmptyVideoError):
        fetcher_for().open_media([])


# Our own URLs


@dataclass
class OwnClip:
    """A library with one video, "clip"."""

    path: Path
    registered: bool = True

    def own_frame(self, url: str) -> tuple[str, int] | None:
        return ("clip", int(url.rpartition("/")[2])) if url.startswith("http://me/frames/") else None

    def own_video(self, url: str) -> str | None:
        return "clip" if url == "http://me/video" else None

    def open(self, video_id: str) -> VideoSource:
        if not self.registered:
            raise NotFoundError("No such video.")
        return open_video(self.path)


def test_our_own_frames_come_straight_from_the_video(
    fetcher_for: Callable[..., MediaFetcher], label_studio: MediaServer, clip: Path
) -> None:
    frames = plain_decode(clip)
    fetcher = fetcher_for(own=OwnClip(clip))
    with fetcher.open_media(["http://me/frames/2", "http://me/frames/7"]) as video:
        assert isinstance(video, FrameSubset) and video.indices == (2, 7)
        np.testing.assert_array_equal(video[1], frames[7])
    with fetcher.open_media("http://me/frames/3") as still:
        assert len(still) == 1
        np.testing.assert_array_equal(still[0], frames[3])
    with fetcher.open_media("http://me/video") as whole:
        assert len(whole) == 10
    with pytest.raises(FrameOutOfRangeError):
        fetcher.open_media(["http://me/frames/10"])
    with pytest.raises(MediaForbiddenError):
        fetcher.open_media(["http://me/frames/2", "http://you/frames/2"])
    assert label_studio.requests == []


@pytest.mark.parametrize("value", [["http://me/frames/1"], "http://me/frames/1", "http://me/video"])
def test_a_video_that_is_not_registered_any_more_says_so(
    fetcher_for: Callable[..., MediaFetcher], clip: Path, value: str | list[str]
) -> None:
    with pytest.raises(NotFoundError):
        fetcher_for(own=OwnClip(clip, registered=False)).open_media(value)


def test_addresses_are_shown_without_secrets() -> None:
    assert shown("https://user:pw@host:81/a/b.mp4?sig=SECRET#x") == "https://host:81/a/b.mp4"
    assert shown("/data/local-files/?d=a/b.mp4&token=SECRET") == "/data/local-files/?d=a/b.mp4"
    assert shown("data:image/png;base64,SECRET") == "a data: image"
    assert shown("http://[::1") == "a malformed address"
