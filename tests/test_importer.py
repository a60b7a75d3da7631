"""Importing: the right frames as pages, chains that hold, and no video lost to another's failure."""

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from video.video_making import make_video

from tam_backend.errors import (
    InvalidInputError,
    LabelStudioError,
    MediaForbiddenError,
    MediaNotFoundError,
    UnreadableMediaError,
)
from tam_backend.export import OverlayWriter
from tam_backend.export.dataset import safe_name
from tam_backend.importer import ImportReport, import_videos
from tam_backend.labelstudio.config import MediaKind
from tam_backend.labelstudio.config_xml import parse_config
from tam_backend.labelstudio.recommended_config import recommended_config
from tam_backend.labelstudio.video_names import video_name
from tam_backend.planned_tasks import FrameSelection, plan_tasks
from tam_backend.settings import Settings
from tam_backend.types import Timeline
from tam_backend.video.fetch import MediaFetcher
from tam_backend.video.library import VideoLibrary
from tam_backend.video.video_records import VideoRecord

BASE = "http://localhost:9090"


def record(frames: int = 120, fps: float | None = 24.0) -> VideoRecord:
    return VideoRecord("0" * 16, "clip.mp4", fps is None, "/videos/clip.mp4", frames, (72, 128), fps)


def chosen(selection: FrameSelection, frames: int = 120, fps: float | None = 24.0) -> list[int]:
    return [index for task in plan_tasks(record(frames, fps), selection) for index in task.frame_indices]


def test_all_frames_are_chosen_unless_told_otherwise() -> None:
    assert chosen(FrameSelection()) == list(range(120))


def test_stride_takes_every_kth_frame() -> None:
    assert chosen(FrameSelection(stride=50)) == [0, 50, 100]


def test_fps_takes_frames_by_the_clock() -> None:
    assert chosen(FrameSelection(fps=2), frames=48) == [0, 12, 24, 36]
    assert chosen(FrameSelection(fps=10), frames=13, fps=25.0) == [0, 3, 5, 8, 10]


def test_fps_goes_by_the_frames_own_times_where_they_are_uneven() -> None:
    starts_s = np.concatenate((np.arange(100) * 0.02, 2 + np.arange(50) * 0.5))
    [task] = plan_tasks(record(150, 5.5), FrameSelection(fps=2, max_frames=0), Timeline(starts_s, 27))
    assert task.frame_indices == (0, 25, 50, 75, *range(100, 150))
    assert task.stride == 3


def test_fps_of_a_steady_video_stays_exact_whenever_it_begins() -> None:
    for begin_s in (0.0, 1.0):
        steady = Timeline(begin_s + np.arange(120) / 24, begin_s + 5)
        [task] = plan_tasks(record(), FrameSelection(fps=8, max_frames=0), steady)
        assert task.frame_indices == tuple(range(0, 120, 3))


def test_more_fps_than_the_video_has_takes_every_frame_once() -> None:
    assert chosen(FrameSelection(fps=60), frames=10) == list(range(10))


def test_long_video_is_cut_into_a_chain_of_tasks() -> None:
    tasks = plan_tasks(record(), FrameSelection(max_frames=50))
    assert [(task.part, task.parts, task.frame_indices[0], len(task.frame_indices)) for task in tasks] == [
        (1, 3, 0, 50),
        (2, 3, 50, 50),
        (3, 3, 100, 20),
    ]


def test_max_frames_of_zero_never_cuts() -> None:
    [task] = plan_tasks(record(5000), FrameSelection(max_frames=0))
    assert (len(task.frame_indices), task.parts) == (5000, 1)


def test_default_max_frames_is_what_the_editor_carries() -> None:
    assert [len(task.frame_indices) for task in plan_tasks(record(132), FrameSelection())] == [50, 50, 32]


@given(
    frames=st.integers(1, 400),
    video_fps=st.floats(1, 120),
    fps=st.none() | st.floats(0.1, 240),
    stride=st.integers(1, 50),
    max_frames=st.integers(0, 60),
)
def test_every_selection_is_ascending_within_the_video_and_cut_without_loss(
    frames: int, video_fps: float, fps: float | None, stride: int, max_frames: int
) -> None:
    selection = FrameSelection(fps, 1 if fps else stride, max_frames)
    tasks = plan_tasks(record(frames, video_fps), selection)
    indices = [index for task in tasks for index in task.frame_indices]
    assert indices == sorted(set(indices))
    assert indices[0] == 0
    assert indices[-1] < frames
    assert all(1 <= len(task.frame_indices) <= (max_frames or frames) for task in tasks)
    assert [task.part for task in tasks] == list(range(1, tasks[0].parts + 1))


def test_images_have_no_frames_per_second() -> None:
    with pytest.raises(InvalidInputError, match=r"clip\.mp4 is a folder of images"):
        plan_tasks(record(fps=None), FrameSelection(fps=2))


@pytest.mark.parametrize(
    "values",
    [{"fps": 0}, {"fps": -1}, {"fps": float("nan")}, {"stride": 0}, {"max_frames": -1},
     {"fps": 2, "stride": 2}],
)  # fmt: skip
def test_senseless_selection_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        FrameSelection(**values)


class RecordingLabelStudio:
    """Keeps tasks as Label Studio would; can lose its connection after some calls."""

    def __init__(self, fails_from_call: int = 10**9) -> None:
        self.tasks: dict[int, dict[str, Any]] = {}
        self.calls = 0
        self.fails_from_call = fails_from_call

    def create_tasks(self, project_id: int, data: Sequence[Mapping[str, Any]]) -> list[int]:
        self._call()
        assert project_id == 5
        ids = [100 + len(self.tasks) + offset for offset in range(len(data))]
        self.tasks |= {task_id: dict(item) for task_id, item in zip(ids, data, strict=True)}
        return ids

    def update_task_data(self, task_id: int, data: Mapping[str, Any]) -> None:
        self._call()
        self.tasks[task_id] = dict(data)

    def _call(self) -> None:
        self.calls += 1
        if self.calls >= self.fails_from_call:
            raise LabelStudioError("Label Studio does not answer.", "Start it.")


@pytest.fixture
def library(tmp_path: Path) -> VideoLibrary:
    return VideoLibrary(tmp_path / "data")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Seven images as a video."""
    folder = tmp_path / "clip"
    folder.mkdir()
    for index in range(7):
        cv2.imwrite(str(folder / f"{index}.png"), np.full((24, 32, 3), index, np.uint8))
    return folder


def run(
    paths: list[Path], library: VideoLibrary, client: RecordingLabelStudio, max_frames: int = 0, **more: Any
) -> ImportReport:
    return import_videos(
        paths, 5, library=library, client=client, base_url=BASE, selection=FrameSelection(max_frames=max_frames), **more
    )


def shown(library: VideoLibrary, address: str) -> Path:
    """The file that one of our addresses of a whole video stands for."""
    video_id = library.own_video(address)
    assert video_id is not None
    return library.borrow(video_id).path


def test_task_holds_signed_urls_of_its_frames_in_order(library: VideoLibrary, clip: Path) -> None:
    client = RecordingLabelStudio()
    [imported] = run([clip], library, client).imported
    [task_id] = imported.task_ids
    data = client.tasks[task_id]
    assert [library.own_frame(url) for url in data["frames"]] == [(imported.record.id, index) for index in range(7)]
    assert all(url.startswith(f"{BASE}/frames/") for url in data["frames"])
    assert set(data) == {"name", "frames"}, "no video for a folder of images, no chain for a single task"
    assert data["name"] == clip.name
    pages = parse_config(recommended_config(["Object"]))
    assert video_name(task_id, data, pages) == f"{safe_name(clip.name)}-{task_id}", "its frames tell none"


def test_video_file_is_in_the_task_too(library: VideoLibrary, clip: Path, tmp_path: Path) -> None:
    client = RecordingLabelStudio()
    image = tmp_path / "clip" / "3.png"
    [imported] = run([image], library, client).imported
    assert shown(library, client.tasks[imported.task_ids[0]]["video"]) == image


def test_tasks_of_a_video_file_fit_the_recommended_config_with_video_boxes(
    library: VideoLibrary, tmp_path: Path
) -> None:
    client = RecordingLabelStudio()
    with OverlayWriter(tmp_path / "clip.mp4", (48, 64), fps=12.5) as writer:
        for _ in range(4):
            writer.write(np.zeros((48, 64, 3), np.uint8), {})
    [imported] = run([tmp_path / "clip.mp4"], library, client, max_frames=3).imported
    page = parse_config(recommended_config(["Car"], video=True))
    for task_id in imported.task_ids:
        [video] = [media for media in page.media if media.kind is MediaKind.VIDEO]
        assert video.frame_rate_for(client.tasks[task_id]) == 12.5
        assert shown(library, str(video.value(client.tasks[task_id]))) == tmp_path / "clip.mp4"


def test_chained_tasks_know_their_place_and_their_neighbours(library: VideoLibrary, clip: Path) -> None:
    client = RecordingLabelStudio()
    [imported] = run([clip], library, client, max_frames=3).imported
    first, second, third = imported.task_ids
    chain = {"parts": 3, "stride": 1}
    assert [client.tasks[task_id]["chain"] for task_id in imported.task_ids] == [
        {**chain, "part": 1, "first_frame": 0, "previous_task": None, "next_task": second},
        {**chain, "part": 2, "first_frame": 3, "previous_task": first, "next_task": third},
        {**chain, "part": 3, "first_frame": 6, "previous_task": second, "next_task": None},
    ]
    assert [len(client.tasks[task_id]["frames"]) for task_id in imported.task_ids] == [3, 3, 1]


def test_bad_video_is_named_and_the_others_arrive(library: VideoLibrary, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("no video")
    report = run([tmp_path / "gone.mp4", clip, tmp_path / "notes.mp4"], library, RecordingLabelStudio())
    assert [imported.file for imported in report.imported] == [clip]
    assert [type(failure.error) for failure in report.failed] == [MediaNotFoundError, UnreadableMediaError]
    assert ["gone.mp4" in str(report.failed[0].error), "notes.mp4" in str(report.failed[1].error)] == [True, True]


@pytest.fixture
def web(tmp_path: Path, clip: Path) -> Iterator[str]:
    """A web server that has the address /clip.mp4."""
    (tmp_path / "web").mkdir()
    with OverlayWriter(tmp_path / "web" / "clip.mp4", (48, 64), fps=25) as writer:
        for shade in range(6):
            writer.write(np.full((48, 64, 3), 40 * shade, np.uint8), {})
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path / "web"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def from_web(
    library: VideoLibrary, tmp_path: Path, host: str, *sources: str
) -> tuple[ImportReport, RecordingLabelStudio]:
    label_studio = RecordingLabelStudio()
    fetcher = MediaFetcher(Settings(data_dir=tmp_path / "data", media_hosts=(host,)))
    report = import_videos(
        sources, 5, library=library, client=label_studio, base_url="http://b", selection=FrameSelection(),
        download=lambda address: fetcher.download(address, tmp_path / "imported"),
    )  # fmt: skip
    return report, label_studio


def test_a_video_on_the_web_is_imported_and_stays(library: VideoLibrary, tmp_path: Path, web: str) -> None:
    host = web.removeprefix("http://")
    for _ in range(2):
        report, label_studio = from_web(library, tmp_path, host, f"{web}/clip.mp4?name=a%20b")
        assert [(done.pages, done.record.name) for done in report.imported] == [(6, "clip.mp4")]
    assert len(list((tmp_path / "imported").glob("*/clip.mp4"))) == 1, "the same content is kept once"
    assert shown(library, label_studio.tasks[100]["video"]) == report.imported[0].file
    (tmp_path / "web" / "clip.mp4").write_bytes(b"another file now")
    report, _ = from_web(library, tmp_path, host, f"{web}/clip.mp4")
    assert len(report.failed) == 1
    assert shown(library, label_studio.tasks[100]["video"]).exists(), "what was imported goes on showing the older one"


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("{web}/none.mp4", MediaNotFoundError),
        ("{web}/", UnreadableMediaError),
        ("http://elsewhere.example/clip.mp4", MediaForbiddenError),
        ("ftp://elsewhere.example/clip.mp4", MediaForbiddenError),
        ("s3://bucket/clip.mp4", MediaNotFoundError),
    ],
)
def test_an_address_that_cannot_be_imported_is_named_as_it_was_given(
    library: VideoLibrary, tmp_path: Path, web: str, address: str, error: type[Exception]
) -> None:
    address = address.format(web=web)
    report, label_studio = from_web(library, tmp_path, web.removeprefix("http://"), address)
    [failed] = report.failed
    assert (failed.path, type(failed.error), label_studio.tasks) == (address, error, {})
    assert "download it yourself" in failed.error.remedy


def test_a_file_address_is_the_file(library: VideoLibrary, tmp_path: Path, web: str) -> None:
    report, _ = from_web(library, tmp_path, "x", (tmp_path / "web" / "clip.mp4").as_uri())
    assert [done.pages for done in report.imported] == [6]


def test_a_name_that_is_no_utf_8_goes_into_the_address(library: VideoLibrary, tmp_path: Path, web: str) -> None:
    clip = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4"))
    (tmp_path / "web" / "clip.mp4").rename(clip)
    record = library.register(clip)
    address = library.video_url("http://b", record.id)
    assert "/caf%E9.mp4?" in address
    assert shown(library, address) == clip


def test_a_video_that_browsers_cannot_play_is_imported_with_a_note(library: VideoLibrary, tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.avi", codec="mpeg4", frames=6)
    client = RecordingLabelStudio()
    [imported] = run([path], library, client).imported
    assert (imported.file, imported.pages) == (path, 6)
    [note] = imported.notes
    assert "clip.avi is MPEG-4 Part 2 in AVI" in note and "--transcode" in note


def test_its_copy_is_imported_in_its_place_and_made_once(library: VideoLibrary, tmp_path: Path) -> None:
    path = make_video(tmp_path / "clip.avi", codec="mpeg4", frames=6)
    client = RecordingLabelStudio()
    doings: list[str] = []
    for _ in range(2):
        [imported] = run(
            [path], library, client, transcode_to=tmp_path / "copies", on_progress=lambda _, doing: doings.append(doing)
        ).imported
    assert imported.file.name == "clip.mp4" and imported.file.is_relative_to(tmp_path / "copies")
    assert doings.count("copying as H.264") == 1
    assert client.tasks[100]["video"] == client.tasks[101]["video"]
    assert shown(library, client.tasks[100]["video"]) == imported.file
    assert "its copy in H.264" in imported.notes[0]


def test_folders_pictures_and_what_browsers_play_have_no_notes(
    library: VideoLibrary, clip: Path, tmp_path: Path
) -> None:
    paths = [clip, clip / "0.png", make_video(tmp_path / "clip.mp4", frames=3)]
    report = run(paths, library, RecordingLabelStudio(), transcode_to=tmp_path / "copies")
    assert [(done.file, done.notes) for done in report.imported] == [(path, ()) for path in paths]


def test_tasks_that_could_not_be_linked_are_named(library: VideoLibrary, clip: Path) -> None:
    [failure] = run([clip], library, RecordingLabelStudio(fails_from_call=3), max_frames=3).failed
    assert "tasks 100 to 102 of clip were made, but not all were linked" in failure.error.message
    assert "does not answer" in failure.error.message


def test_label_studio_that_makes_too_few_tasks_is_found_out(library: VideoLibrary, clip: Path) -> None:
    class Forgetful(RecordingLabelStudio):
        def create_tasks(self, project_id: int, data: Sequence[Mapping[str, Any]]) -> list[int]:
            return super().create_tasks(project_id, data)[:-1]

    [failure] = run([clip], library, Forgetful(), max_frames=3).failed
    assert "made 2 tasks of clip; 3 were sent" in failure.error.message


def test_progress_is_told_before_each_slow_step(library: VideoLibrary, clip: Path) -> None:
    told: list[tuple[str, str]] = []
    run([clip], library, RecordingLabelStudio(), 3, on_progress=lambda path, doing: told.append((path.name, doing)))
    assert told == [("clip", "reading"), ("clip", "making 3 tasks"), ("clip", "linking the tasks")]
