"""The library: stable ids, honest look-ups, decoders that close, and URLs nobody can forge."""

from __future__ import annotations

import os
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from tam_backend.errors import MediaNotFoundError, NotFoundError, UnreadableMediaError
from tam_backend.video import library as library_module
from tam_backend.video import local_videos
from tam_backend.video.library import VideoLibrary


def make_clip(folder: Path, frames: int = 4, size_hw: tuple[int, int] = (48, 64)) -> Path:
    """A folder of PNGs whose frame i is a flat grey of 10 * (i + 1)."""
    folder.mkdir(parents=True)
    for index in range(frames):
        cv2.imwrite(str(folder / f"{index:03d}.png"), np.full((*size_hw, 3), 10 * (index + 1), np.uint8))
    return folder


@pytest.fixture
def library(tmp_path: Path) -> VideoLibrary:
    return VideoLibrary(tmp_path / "data")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "clip")


def test_registered_video_is_found_again_by_another_library_on_the_same_folder(tmp_path: Path, clip: Path) -> None:
    record = VideoLibrary(tmp_path / "data").register(clip)
    assert VideoLibrary(tmp_path / "data").get(record.id) == record
    assert (record.frames, record.size_hw, record.fps) == (4, (48, 64), None)


def test_registering_an_unchanged_video_again_gives_the_same_id(library: VideoLibrary, clip: Path) -> None:
    assert library.register(clip).id == library.register(clip).id


def test_relative_path_means_the_same_video(library: VideoLibrary, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(clip.parent)
    assert library.register(Path("clip")) == library.register(clip)


@pytest.mark.parametrize("video_id", ["0123456789abcdef", "../secret", "", "0123456789ABCDEF", "x" * 1000])
def test_unknown_id_is_not_found(library: VideoLibrary, video_id: str) -> None:
    with pytest.raises(NotFoundError):
        library.get(video_id)


def test_vanished_video_is_named(library: VideoLibrary, clip: Path) -> None:
    record = library.register(clip)
    clip.rename(clip.with_name("elsewhere"))
    with pytest.raises(MediaNotFoundError, match="clip is not there"):
        library.get(record.id)


def test_changed_video_is_refused_rather_than_shown_with_other_frames(library: VideoLibrary, clip: Path) -> None:
    record = library.register(clip)
    cv2.imwrite(str(clip / "999.png"), np.zeros((48, 64, 3), np.uint8))
    os.utime(clip, (1, 1))
    with pytest.raises(UnreadableMediaError, match="has changed"):
        library.get(record.id)


def test_picture_overwritten_in_place_is_a_change_too(library: VideoLibrary, clip: Path) -> None:
    before = (clip / "002.png").stat()
    record = library.register(clip)
    cv2.imwrite(str(clip / "002.png"), np.full((48, 64, 3), 200, np.uint8))
    os.utime(clip / "002.png", ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    with pytest.raises(UnreadableMediaError, match="has changed"):
        library.get(record.id)
    assert library.register(clip).id != record.id


def test_change_of_a_folder_that_is_being_read_is_noticed_within_a_second(library: VideoLibrary, clip: Path) -> None:
    record = library.register(clip)
    assert library.get(record.id) == library.get(record.id) == record
    os.utime(clip / "002.png", (1, 1))
    time.sleep(1.05)
    with pytest.raises(UnreadableMediaError, match="has changed"):
        library.get(record.id)


def test_folder_that_changed_while_it_was_read_can_be_imported_again_at_once(
    library: VideoLibrary, tmp_path: Path, clip: Path
) -> None:
    library.get(library.register(clip).id)
    os.utime(clip / "002.png", (1, 1))
    again = VideoLibrary(tmp_path / "data").register(clip)  # `tam-backend import` is another process
    assert library.get(again.id) == again


def test_what_is_no_picture_does_not_change_the_video(library: VideoLibrary, clip: Path) -> None:
    record = library.register(clip)
    (clip / "notes.txt").write_text("blurred from 2 on")
    assert library.get(record.id) == record


def test_registering_what_is_not_there_names_it(library: VideoLibrary, tmp_path: Path) -> None:
    with pytest.raises(MediaNotFoundError, match=r"nothing\.mp4"):
        library.register(tmp_path / "nothing.mp4")


def test_frame_is_decoded_by_its_index(library: VideoLibrary, clip: Path) -> None:
    record = library.register(clip)
    assert library.frame(record.id, 2)[0, 0].tolist() == [30, 30, 30]


@pytest.mark.parametrize("index", [-1, 4, 10**8])
def test_frame_beyond_the_video_is_not_found(library: VideoLibrary, clip: Path, index: int) -> None:
    record = library.register(clip)
    with pytest.raises(NotFoundError, match="has no frame"):
        library.frame(record.id, index)


class CountingSource:
    """A video that knows whether it was closed, and can be made to dawdle."""

    def __init__(self) -> None:
        self.closed = 0
        self.reading = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    name, size_hw, fps = "counting", (2, 2), None

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> np.ndarray:
        self.reading.set()
        assert self.go_on.wait(5)
        assert not self.closed, "read after close"
        return np.zeros((2, 2, 3), np.uint8)

    def close(self) -> None:
        self.closed += 1

    def __enter__(self) -> CountingSource:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[CountingSource]]:
    """Every source that the library opened, by file name."""
    sources: dict[str, list[CountingSource]] = {}

    def open_counting(path: Path) -> CountingSource:
        return sources.setdefault(Path(path).name, []).append(CountingSource()) or sources[Path(path).name][-1]

    for module in (library_module, local_videos):
        monkeypatch.setattr(module, "open_video", open_counting)
    return sources


def register_all(library: VideoLibrary, folder: Path, names: str) -> dict[str, str]:
    for name in names:
        (folder / name).touch()
    return {name: library.register(folder / name).id for name in names}


def test_video_is_opened_once_for_many_frames(
    library: VideoLibrary, tmp_path: Path, opened: dict[str, list[CountingSource]]
) -> None:
    ids = register_all(library, tmp_path, "a")
    for index in range(4):
        library.frame(ids["a"], index)
    assert [source.closed for source in opened["a"]] == [1, 0], "one to register, one kept open"


def test_least_recently_used_video_is_closed(tmp_path: Path, opened: dict[str, list[CountingSource]]) -> None:
    library = VideoLibrary(tmp_path / "data", open_limit=2)
    ids = register_all(library, tmp_path, "abc")
    for name in "abac":
        library.frame(ids[name], 0)
    assert {name: sources[-1].closed for name, sources in opened.items()} == {"a": 0, "b": 1, "c": 0}


def test_video_in_use_is_closed_only_when_its_reader_is_done(
    tmp_path: Path, opened: dict[str, list[CountingSource]]
) -> None:
    library = VideoLibrary(tmp_path / "data", open_limit=1)
    ids = register_all(library, tmp_path, "ab")
    library.frame(ids["a"], 0)
    slow = opened["a"][-1]
    slow.go_on.clear()
    slow.reading.clear()
    with ThreadPoolExecutor() as pool:
        reader = pool.submit(library.frame, ids["a"], 1)
        assert slow.reading.wait(5)
        library.frame(ids["b"], 0)
        assert slow.closed == 0
        slow.go_on.set()
        reader.result(5)
    assert (slow.closed, opened["b"][-1].closed) == (0, 1), "the one that nobody read had to go"
    library.frame(ids["b"], 0)
    assert slow.closed == 1


def test_closing_the_library_closes_its_videos(
    library: VideoLibrary, tmp_path: Path, opened: dict[str, list[CountingSource]]
) -> None:
    ids = register_all(library, tmp_path, "a")
    library.frame(ids["a"], 0)
    library.close()
    assert opened["a"][-1].closed == 1


def test_many_threads_read_right_frames_while_videos_come_and_go(tmp_path: Path) -> None:
    library = VideoLibrary(tmp_path / "data", open_limit=1)
    ids = [library.register(make_clip(tmp_path / name)).id for name in "abc"]
    with ThreadPoolExecutor(6) as pool:
        jobs = [(pool.submit(library.frame, ids[i % 3], i % 4), i % 4) for i in range(48)]
        for job, index in jobs:
            assert job.result(20)[0, 0, 0] == 10 * (index + 1)


def test_secret_is_readable_by_its_owner_only_and_shared_by_processes(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        urls = set(pool.map(lambda _: VideoLibrary(tmp_path / "data").frame_url("http://h", "0" * 16, 0), range(16)))
    assert len(urls) == 1
    assert stat.S_IMODE((tmp_path / "data" / "secret").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["secret"]


def test_own_urls_are_read_back(library: VideoLibrary, clip: Path) -> None:
    record = library.register(clip)
    assert library.own_frame(library.frame_url("http://localhost:9090", record.id, 3)) == (record.id, 3)
    assert library.own_video(library.video_url("http://localhost:9090/", record.id)) == record.id


@pytest.mark.parametrize("base", ["http://backend:9090", "https://proxy.example/tam/backend", ""])
def test_own_urls_are_known_under_any_address_of_this_server(library: VideoLibrary, clip: Path, base: str) -> None:
    record = library.register(clip)
    assert library.own_frame(library.frame_url(base, record.id, 0)) == (record.id, 0)


def test_own_frame_of_a_vanished_video_is_an_error_not_a_stranger(library: VideoLibrary, clip: Path) -> None:
    record = library.register(clip)
    url = library.frame_url("", record.id, 0)
    clip.rename(clip.with_name("elsewhere"))
    assert library.own_frame(url) == (record.id, 0)
    with pytest.raises(MediaNotFoundError):
        library.open(record.id)


def test_signature_of_one_frame_opens_no_other_and_not_the_video(library: VideoLibrary, clip: Path) -> None:
    record = library.register(clip)
    signature = library.frame_url("", record.id, 0).partition("sig=")[2]
    assert library.own_frame(f"/frames/{record.id}/1.jpg?sig={signature}") is None
    assert library.own_video(f"/videos/{record.id}/clip?sig={signature}") is None


def test_another_installation_signs_otherwise(library: VideoLibrary, clip: Path, tmp_path: Path) -> None:
    record = library.register(clip)
    assert library.own_frame(VideoLibrary(tmp_path / "other").frame_url("", record.id, 0)) is None


def test_name_with_slashes_and_spaces_survives_the_url(library: VideoLibrary, tmp_path: Path) -> None:
    record = library.register(make_clip(tmp_path / "my clip #1?%2F"))
    assert library.own_video(library.video_url("http://h", record.id)) == record.id


@given(
    st.one_of(
        st.text(),
        st.builds("http://h/frames/{}/{}.jpg?sig={}".format, st.text(), st.integers(), st.text()),
        st.sampled_from(["http://[::1", "/frames/0123456789abcdef/0.jpg?sig=\ud800", "/frames/../../secret"]),
    )
)
def test_no_text_is_taken_for_an_own_url(shared_library: VideoLibrary, url: str) -> None:
    assert shared_library.own_frame(url) is None
    assert shared_library.own_video(url) is None


@pytest.fixture(scope="module")
def shared_library(tmp_path_factory: pytest.TempPathFactory) -> VideoLibrary:
    return VideoLibrary(tmp_path_factory.mktemp("library"))


def test_processes_with_separate_folders_agree_when_they_are_given_one_secret(tmp_path: Path, clip: Path) -> None:
    first, second = (VideoLibrary(tmp_path / name, secret=SecretStr("s" * 32)) for name in ("a", "b"))
    assert first.frame_url("http://h", "0" * 16, 3) == second.frame_url("http://h", "0" * 16, 3)
    assert first.webhook_secret == second.webhook_secret != VideoLibrary(tmp_path / "a").webhook_secret
    kept = VideoLibrary(tmp_path / "c")
    url = kept.frame_url("http://h", "0" * 16, 3)
    moved = SecretStr((tmp_path / "c" / "secret").read_text())
    assert VideoLibrary(tmp_path / "d", secret=moved).frame_url("http://h", "0" * 16, 3) == url
