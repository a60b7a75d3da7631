"""Videos in a store that several machines reach: a shared folder, and a real S3 server; each machine has a folder."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from flask import Flask
from s3_server import BUCKET, S3Server, breaking_line, s3_server, use_endpoint
from video_making import make_video, plain_decode

from tam_backend.errors import MediaNotFoundError, MediaStoreError, NotFoundError, UnreadableMediaError
from tam_backend.server.frames import frames_blueprint
from tam_backend.settings import Settings
from tam_backend.video.fetch import MediaFetcher
from tam_backend.video.library import VideoLibrary
from tam_backend.video.media_store import MediaStore


@pytest.fixture(scope="module")
def server() -> Iterator[S3Server]:
    with s3_server() as server:
        yield server


class Store:
    """A store under test, looked at from behind.

    Args:
        address: as in TAM_MEDIA_STORE.
    """

    def __init__(self, address: str, server: S3Server | None, folder: Path) -> None:
        self.address = address
        self._server = server
        self._folder = folder
        self._prefix = address.removeprefix(f"s3://{BUCKET}/") + "/"

    def names(self) -> list[str]:
        if self._server is None:
            return sorted(str(path.relative_to(self._folder)) for path in self._folder.rglob("*") if path.is_file())
        return [name.removeprefix(self._prefix) for name in self._server.names() if name.startswith(self._prefix)]

    def read(self, name: str) -> bytes:
        if self._server is None:
            return (self._folder / name).read_bytes()
        return self._server.read(self._prefix + name)

    def alter(self, name: str, content: bytes) -> None:
        if self._server is None:
            (self._folder / name).write_bytes(content)
        else:
            self._server.alter(self._prefix + name, content)

    @property
    def object(self) -> str:
        """The name of its only object."""
        [name] = [name for name in self.names() if name.startswith("objects/")]
        return name


@pytest.fixture(params=["folder", "file", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path, server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Store:
    folder = tmp_path / "shared media"
    folder.mkdir()
    use_endpoint(monkeypatch, server.url)
    if request.param == "s3":
        return Store(f"s3://{BUCKET}/{tmp_path.name}", server, folder)
    return Store(folder.as_uri() if request.param == "file" else str(folder), None, folder)


@pytest.fixture
def machine(tmp_path: Path, store: Store) -> Callable[[str], VideoLibrary]:
    """Makes the library of one machine: a data_dir of its own, and the common secret."""

    def make(name: str) -> VideoLibrary:
        data_dir = tmp_path / name
        data_dir.mkdir(exist_ok=True)
        (data_dir / "secret").write_text("one for all")
        return VideoLibrary.of(Settings(data_dir=data_dir, media_store=store.address))

    return make


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_video(tmp_path / "my clip.mp4", frames=10)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index in range(3):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((8, 12, 3), 10 * index, np.uint8))
    return folder


def test_what_one_machine_imports_is_served_and_opened_by_another(
    machine: Callable[[str], VideoLibrary], store: Store, clip: Path, tmp_path: Path
) -> None:
    frames = plain_decode(clip)
    here = machine("here")
    record = here.register(clip)
    frame_url, video_url = here.frame_url("", record.id, 3), here.video_url("", record.id)
    content = clip.read_bytes()
    clip.unlink()

    there = machine("there")
    app = Flask("replica")
    app.register_blueprint(frames_blueprint(there))
    client = app.test_client()
    shown = cv2.imdecode(np.frombuffer(client.get(frame_url).data, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(shown[..., ::-1].astype(int) - frames[3]).mean() < 12, "but for JPEG"
    assert client.get(video_url).data == content
    assert client.get(video_url, headers={"Range": "bytes=10-19"}).data == content[10:20]

    fetcher = MediaFetcher(Settings(data_dir=tmp_path / "there"), own=there)
    with fetcher.open_media([frame_url, there.frame_url("", record.id, 7)]) as video:
        np.testing.assert_array_equal(video[1], frames[7])
    with fetcher.open_media(video_url) as video:
        assert (len(video), video.name, video.fps) == (10, "my clip.mp4", 25)
    assert there.get(record.id) == record


def test_a_folder_of_images_arrives_too(machine: Callable[[str], VideoLibrary], store: Store, pictures: Path) -> None:
    (pictures / "notes.txt").write_text("no picture")
    odd = pictures / os.fsdecode(b"caf\xe9.png")
    (pictures / "2.png").rename(odd)
    record = machine("here").register(pictures)
    assert sorted(path.name for path in pictures.iterdir()) == ["0.png", "1.png", odd.name, "notes.txt"]
    there = machine("there")
    with there.open(record.id) as video:
        assert [int(frame[0, 0, 0]) for frame in video] == [0, 10, 20]
    assert there.get(record.id).is_folder and len(store.names()) == 2
    assert there.frame(record.id, 1)[0, 0].tolist() == [10, 10, 10]


def test_the_same_video_is_uploaded_once_whoever_imports_it(
    machine: Callable[[str], VideoLibrary], store: Store, clip: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "elsewhere" / clip.name
    copy.parent.mkdir()
    copy.write_bytes(clip.read_bytes())
    assert machine("here").register(clip) == machine("there").register(copy)
    assert len(store.names()) == 2, "the video, and what is said of it"
    renamed = clip.rename(clip.with_name("other.mp4"))
    assert machine("here").register(renamed).name == "other.mp4"
    assert len(store.names()) == 3
    assert store.object == f"objects/{hashlib.sha256(renamed.read_bytes()).hexdigest()}"


def test_two_imports_at_once_do_not_disturb_each_other(
    machine: Callable[[str], VideoLibrary], store: Store, clip: Path
) -> None:
    libraries = [machine(name) for name in ("here", "there", "here", "there")]
    with ThreadPoolExecutor() as pool:
        records = list(pool.map(lambda library: library.register(clip), libraries))
    assert len(set(records)) == 1
    assert len(store.names()) == 2 and store.read(store.object) == clip.read_bytes()


def test_an_import_leaves_the_file_as_it_is(machine: Callable[[str], VideoLibrary], store: Store, clip: Path) -> None:
    before = (clip.stat(), clip.read_bytes())
    machine("here").register(clip)
    assert before[0].st_ino == clip.stat().st_ino and before[0].st_mtime_ns == clip.stat().st_mtime_ns
    assert before[1] == clip.read_bytes()


def test_an_altered_folder_of_images_is_named_too(
    machine: Callable[[str], VideoLibrary], store: Store, pictures: Path
) -> None:
    record = machine("here").register(pictures)
    store.alter(store.object, store.read(store.object).replace(b"IDAT", b"JDAT"))
    with pytest.raises(UnreadableMediaError, match=r"^pictures was altered"):
        machine("there").open(record.id)


@pytest.mark.parametrize("altered", [b"", b"another video", None], ids=["emptied", "replaced", "cut short"])
def test_what_was_altered_in_the_store_is_never_decoded_and_an_import_mends_it(
    machine: Callable[[str], VideoLibrary], store: Store, clip: Path, altered: bytes | None, tmp_path: Path
) -> None:
    record = machine("here").register(clip)
    whole = store.read(store.object)
    store.alter(store.object, whole[:-1] if altered is None else altered)
    there = machine("there")
    with pytest.raises(UnreadableMediaError, match=r"my clip\.mp4 was altered or cut short in .*tam-backend import"):
        there.open(record.id)
    assert not list((tmp_path / "there" / "downloads").rglob("*.mp4"))
    machine("here").register(clip)
    there.open(record.id).close()


def test_what_cannot_be_decoded_here_is_fetched_anew(
    machine: Callable[[str], VideoLibrary], store: Store, clip: Path
) -> None:
    record = machine("here").register(clip)
    there = machine("there")
    with there.borrow(record.id) as path:
        path.write_bytes(b"a broken disk")
    with pytest.raises(UnreadableMediaError):
        there.open(record.id)
    there.open(record.id).close()


def test_an_entry_of_the_register_that_was_altered_is_refused(
    machine: Callable[[str], VideoLibrary], store: Store, clip: Path
) -> None:
    record = machine("here").register(clip)
    name = f"videos/{record.id}.json"
    store.alter(name, json.dumps({**json.loads(store.read(name)), "frames": 10**6}).encode())
    with pytest.raises(UnreadableMediaError, match=f"says of the video {record.id} was altered"):
        machine("there").get(record.id)


def test_a_video_that_is_gone_from_the_store_is_named(
    machine: Callable[[str], VideoLibrary], store: Store, clip: Path, server: S3Server
) -> None:
    record = machine("here").register(clip)
    nobody_s = VideoLibrary.of(Settings(data_dir=clip.parent / "x", media_store=store.address))
    with pytest.raises(NotFoundError, match="registered"):
        nobody_s.get("0123456789abcdef")
    if store.address.startswith("s3"):
        server.client.delete_object(Bucket=BUCKET, Key=f"{store.address.split('/')[-1]}/{store.object}")  # type: ignore[attr-defined]
    else:
        (clip.parent / "shared media" / store.object).unlink()
    with pytest.raises(MediaNotFoundError, match=r"my clip\.mp4 is not in .* any more\. Import .*tam-backend import"):
        machine("there").open(record.id)


def test_a_file_that_changes_while_it_is_imported_is_not_told_of(
    machine: Callable[[str], VideoLibrary], store: Store, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def put_late(self: MediaStore, file: Path, digest: str, name: str) -> None:
        file.write_bytes(file.read_bytes() + b"more")
        put(self, file, digest, name)

    put = MediaStore.put
    monkeypatch.setattr(MediaStore, "put", put_late)
    with pytest.raises(UnreadableMediaError, match="changed while it was imported"):
        machine("here").register(clip)
    assert not [name for name in store.names() if name.startswith("videos/")]


def test_videos_from_before_there_was_a_store_are_still_served(
    machine: Callable[[str], VideoLibrary], store: Store, clip: Path, tmp_path: Path
) -> None:
    record = VideoLibrary(tmp_path / "here").register(clip)
    assert machine("here").get(record.id) == record
    assert store.names() == []


# What is special about a folder


def test_a_folder_that_is_not_mounted_is_not_made(tmp_path: Path, clip: Path) -> None:
    library = VideoLibrary.of(Settings(data_dir=tmp_path / "data", media_store=str(tmp_path / "mount")))
    for use in (lambda: library.register(clip), lambda: library.get("0123456789abcdef")):
        with pytest.raises(MediaStoreError, match=r"There is no .*mount \(TAM_MEDIA_STORE\)\. Mount"):
            use()
    assert not (tmp_path / "mount").exists()


def test_what_a_killed_import_left_in_a_folder_is_swept_out_by_a_later_one(tmp_path: Path, clip: Path) -> None:
    (tmp_path / "store" / "parts").mkdir(parents=True)
    for name, age_s in (("left", 2 * 24 * 3600), ("under way", 5)):
        (tmp_path / "store" / "parts" / name).write_bytes(b"half")
        os.utime(tmp_path / "store" / "parts" / name, (time.time() - age_s,) * 2)
    VideoLibrary.of(Settings(data_dir=tmp_path / "data", media_store=str(tmp_path / "store"))).register(clip)
    assert [path.name for path in (tmp_path / "store" / "parts").iterdir()] == ["under way"]


@pytest.mark.parametrize("address", ["media", "ftp://host/x", "s3://", "s3://key:secret@bucket", "file://host/x"])
def test_an_address_that_is_no_store_is_refused_by_the_settings(address: str) -> None:
    with pytest.raises(ValueError, match="absolute folder"):
        Settings(media_store=address)


# What is special about S3


@pytest.fixture
def s3(server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., VideoLibrary]:
    def make(url: str = server.url, bucket: str = BUCKET) -> VideoLibrary:
        use_endpoint(monkeypatch, url)
        return VideoLibrary.of(Settings(data_dir=tmp_path / "data", media_store=f"s3://{bucket}/{tmp_path.name}"))

    return make


def test_an_upload_that_breaks_off_leaves_nothing_and_can_be_repeated(
    s3: Callable[..., VideoLibrary], server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Larger than two parts: noise does not compress.
    noisy = tmp_path / "noisy.mp4"
    make_video(noisy, frames=3)
    with noisy.open("ab") as file:  # bytes behind the last box: no decoder minds
        file.write(np.random.default_rng(1).bytes(18 << 20))
    before = server.names()
    with breaking_line(server.url, after_bytes=1 << 20) as line:
        library = s3(line)
        with pytest.raises(MediaStoreError, match=r"cannot be written to s3://media/"):
            library.register(noisy)
    assert server.names() == before
    record = s3().register(noisy)
    with s3().borrow(record.id) as path:
        assert path.read_bytes() == noisy.read_bytes()


def test_wrong_credentials_are_told_without_telling_them(
    s3: Callable[..., VideoLibrary], server: S3Server, clip: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "tam_backend")
    library = s3()
    server.check_credentials(True)
    try:
        for use in (lambda: library.register(clip), lambda: library.get("0123456789abcdef")):
            with pytest.raises(MediaStoreError, match=r"not allowed.*AWS_ACCESS_KEY_ID") as caught:
                use()
            assert "VERY-SECRET" not in str(caught.value)
    finally:
        server.check_credentials(False)
    assert "VERY-SECRET" not in caplog.text


def test_a_bucket_that_is_not_there_is_named(s3: Callable[..., VideoLibrary], clip: Path) -> None:
    library = s3(bucket="elsewhere")
    for use in (lambda: library.register(clip), lambda: library.get("0123456789abcdef")):
        with pytest.raises(MediaStoreError, match=r"There is no s3://elsewhere/.* make the bucket"):
            use()


def test_a_store_that_does_not_answer_is_named(s3: Callable[..., VideoLibrary]) -> None:
    library = s3("http://127.0.0.1:9")
    with pytest.raises(MediaStoreError, match=r"s3://media/.*: EndpointConnectionError\. .*AWS_ENDPOINT_URL"):
        library.get("0123456789abcdef")


def test_without_the_extra_the_command_that_installs_it_is_told(
    s3: Callable[..., VideoLibrary], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tam_backend.video.media_store.find_spec", lambda _: None)
    with pytest.raises(MediaStoreError, match=r'pip install "tam-backend\[s3\]"'):
        s3()


def test_looking_at_a_library_without_a_store_imports_no_client(tmp_path: Path) -> None:
    VideoLibrary.of(Settings(data_dir=tmp_path))
    program = "import sys, tam_backend.video.library\nassert not {'s3fs', 'fsspec', 'botocore'} & set(sys.modules)"
    assert os.spawnl(os.P_WAIT, sys.executable, sys.executable, "-c", program) == 0
