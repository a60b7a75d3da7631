"""Frames over HTTP: right pixels, long caches, any origin, and nothing without a signature."""

import os
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import av
import cv2
import numpy as np
import pytest
from fake_backend import FakeBackend
from flask.testing import FlaskClient

from tam_backend.server.frames import MAX_RANGE_BYTES

EVIL = {"Origin": "https://label-studio.example"}


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A video file of 6 frames whose grey is 20 * (frame + 1)."""
    path = tmp_path / "my clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for index in range(6):
            image = np.full((48, 64, 3), 20 * (index + 1), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture
def video_id(backend: FakeBackend, clip: Path) -> str:
    return backend.library.register(clip).id


def frame_path(backend: FakeBackend, video_id: str, index: int) -> str:
    return backend.library.frame_url("", video_id, index)


def test_frame_is_the_decoded_frame_as_jpeg(client: FlaskClient, backend: FakeBackend, video_id: str) -> None:
    reply = client.get(frame_path(backend, video_id, 3))
    assert (reply.status_code, reply.mimetype) == (200, "image/jpeg")
    image = cv2.imdecode(np.frombuffer(reply.data, np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (48, 64, 3)
    assert abs(float(image.mean()) - 80) < 3


def test_colours_are_not_swapped(client: FlaskClient, backend: FakeBackend, tmp_path: Path) -> None:
    (tmp_path / "red").mkdir()
    cv2.imwrite(str(tmp_path / "red" / "0.png"), np.full((32, 32, 3), (0, 0, 255), np.uint8))
    record = backend.library.register(tmp_path / "red")
    jpeg = client.get(frame_path(backend, record.id, 0)).data
    blue, green, red = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR).mean(axis=(0, 1))
    assert red > 240
    assert max(blue, green) < 15


def test_frame_may_be_cached_for_good_and_is_then_not_sent_again(
    client: FlaskClient, backend: FakeBackend, video_id: str
) -> None:
    path = frame_path(backend, video_id, 0)
    first = client.get(path)
    assert "immutable" in first.headers["Cache-Control"]
    again = client.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert client.get(path, headers={"If-None-Match": '"other"'}).status_code == 200


def test_every_frame_has_its_own_etag(client: FlaskClient, backend: FakeBackend, video_id: str) -> None:
    etags = {client.get(frame_path(backend, video_id, index)).headers["ETag"] for index in range(6)}
    assert len(etags) == 6


def test_head_tells_the_size_without_the_picture(client: FlaskClient, backend: FakeBackend, video_id: str) -> None:
    path = frame_path(backend, video_id, 0)
    reply = client.head(path)
    assert (reply.status_code, reply.data) == (200, b"")
    assert reply.content_length == len(client.get(path).data)


@pytest.mark.parametrize("wrong", ["", "?sig=", "?sig=" + "0" * 32, "?sig=%ff", "?signature=x"])
def test_frame_without_its_signature_is_refused(client: FlaskClient, video_id: str, wrong: str) -> None:
    reply = client.get(f"/frames/{video_id}/0.jpg{wrong}")
    assert (reply.status_code, reply.json["error"]["type"]) == (401, "UnauthorizedError")


def test_not_modified_needs_the_signature_too(client: FlaskClient, video_id: str) -> None:
    reply = client.get(f"/frames/{video_id}/0.jpg", headers={"If-None-Match": "*"})
    assert reply.status_code == 401


def test_frame_beyond_the_end_is_not_found(client: FlaskClient, backend: FakeBackend, video_id: str) -> None:
    reply = client.get(frame_path(backend, video_id, 6))
    assert reply.status_code == 404
    assert "it has 6" in reply.json["error"]["message"]


def test_vanished_video_is_not_found(client: FlaskClient, backend: FakeBackend, video_id: str, clip: Path) -> None:
    clip.unlink()
    assert client.get(frame_path(backend, video_id, 0)).status_code == 404


def test_signed_frame_of_an_unknown_video_is_not_found(client: FlaskClient, backend: FakeBackend) -> None:
    assert client.get(frame_path(backend, "0" * 16, 0)).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/frames/../secret", "/frames/%2e%2e/secret", "/frames/..%2f..%2fsecret/0.jpg", "/videos/../../etc/passwd",
        "/frames/0123456789abcdef/-1.jpg", "/frames/0123456789abcdef/1e3.jpg", "/frames/0123456789abcdef/0.png",
        "/frames/0123456789abcdef/99999999999999999999.jpg", "/videos/0123456789abcdef/..%2f..%2fetc%2fpasswd",
        "/frames/%00/0.jpg",
    ],
)  # fmt: skip
def test_nothing_lies_beside_the_frames(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code in (401, 404)


def test_editor_of_any_origin_may_draw_the_frame(client: FlaskClient, backend: FakeBackend, video_id: str) -> None:
    assert client.get(frame_path(backend, video_id, 0), headers=EVIL).headers["Access-Control-Allow-Origin"] == "*"


def test_errors_can_be_read_from_any_origin_too(client: FlaskClient, backend: FakeBackend, video_id: str) -> None:
    for path in (f"/frames/{video_id}/0.jpg", frame_path(backend, video_id, 9), "/frames/x", "/videos/x/y"):
        assert client.get(path, headers=EVIL).headers["Access-Control-Allow-Origin"] == "*"


def test_preflight_is_answered(client: FlaskClient, backend: FakeBackend, video_id: str) -> None:
    reply = client.options(frame_path(backend, video_id, 0), headers=EVIL | {"Access-Control-Request-Method": "GET"})
    assert reply.status_code == 200
    assert "GET" in reply.headers["Access-Control-Allow-Methods"]


def test_other_routes_are_closed_to_other_origins(client: FlaskClient) -> None:
    for path in ("/", "/jobs", "/health", "/metrics"):
        assert "Access-Control-Allow-Origin" not in client.get(path, headers=EVIL).headers


def test_frames_and_videos_need_no_password_because_browsers_send_none(
    make_app: object, backend: FakeBackend, video_id: str
) -> None:
    guarded = make_app(basic_auth_user="ann", basic_auth_pass="pw").test_client()  # type: ignore[operator]
    assert guarded.get(frame_path(backend, video_id, 0)).status_code == 200
    assert guarded.get(backend.library.video_url("", video_id)).status_code == 200


def test_whole_video_is_served_under_its_name(
    client: FlaskClient, backend: FakeBackend, video_id: str, clip: Path
) -> None:
    url = backend.library.video_url("http://localhost:9090", video_id)
    assert urlsplit(url).path.endswith("/my%20clip.mp4")
    reply = client.get(url)
    assert (reply.status_code, reply.mimetype, reply.data) == (200, "video/mp4", clip.read_bytes())
    assert client.get(url, headers={"If-None-Match": reply.headers["ETag"]}).status_code == 304


def test_part_of_a_video_is_served_for_seeking(
    client: FlaskClient, backend: FakeBackend, video_id: str, clip: Path
) -> None:
    content = clip.read_bytes()
    url = backend.library.video_url("", video_id)
    for header, part in (("bytes=10-19", content[10:20]), ("bytes=10-", content[10:]), ("bytes=-5", content[-5:])):
        reply = client.get(url, headers={"Range": header})
        assert (reply.status_code, reply.data) == (206, part), header
    assert client.get(url, headers={"Range": f"bytes={len(content)}-"}).status_code == 416


def test_player_that_asks_for_the_rest_of_a_long_video_gets_a_part_that_holds_no_thread(
    client: FlaskClient, backend: FakeBackend, video_id: str, clip: Path
) -> None:
    size = clip.stat().st_size + 3 * MAX_RANGE_BYTES
    subprocess.run(["truncate", "-s", str(size), str(clip)], check=True)
    url = backend.library.video_url("", backend.library.register(clip).id)
    reply = client.get(url, headers={"Range": "bytes=100-"})
    assert reply.headers["Content-Range"] == f"bytes 100-{100 + MAX_RANGE_BYTES - 1}/{size}"
    assert len(reply.data) == MAX_RANGE_BYTES


def test_video_without_its_signature_is_refused(client: FlaskClient, backend: FakeBackend, video_id: str) -> None:
    signature = frame_path(backend, video_id, 0).partition("?")[2]
    assert client.get(f"/videos/{video_id}/my%20clip.mp4").status_code == 401
    assert client.get(f"/videos/{video_id}/my%20clip.mp4?{signature}").status_code == 401


def test_folder_of_images_has_no_video_file(client: FlaskClient, backend: FakeBackend, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "0.png"), np.zeros((32, 32, 3), np.uint8))
    url = backend.library.video_url("", backend.library.register(tmp_path / "images").id)
    assert client.get(url).status_code == 404


def test_a_file_whose_name_is_no_utf_8_is_served(client: FlaskClient, backend: FakeBackend, clip: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(clip.parent) + b"/caf\xe9.mp4"))
    clip.rename(odd)
    record = backend.library.register(odd)
    for address in (backend.library.video_url("", record.id), frame_path(backend, record.id, 2)):
        assert client.get(address).status_code == 200
    odd.unlink()
    reply = client.get(frame_path(backend, record.id, 2))
    assert reply.status_code == 404 and "caf\\xe9.mp4" in reply.get_json()["error"]["message"]


def test_a_video_is_of_the_type_that_it_is_whatever_it_is_called(
    client: FlaskClient, backend: FakeBackend, clip: Path
) -> None:
    for name in ("clip", "clip.ts", "clip.webm", "clip.mp4"):
        clip = clip.rename(clip.with_name(name))
        record = backend.library.register(clip)
        assert client.get(backend.library.video_url("", record.id)).mimetype == "video/mp4"
