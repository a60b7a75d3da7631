"""Videos of one project become pages of another: each once, with the boxes that a team drew."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from video.video_making import make_video

from tam_backend.errors import InvalidInputError, LabelConfigError, LabelStudioError, UnreadableMediaError
from tam_backend.labelstudio.recommended_config import recommended_config
from tam_backend.planned_tasks import FrameSelection
from tam_backend.project_importer import ProjectReport, import_project
from tam_backend.settings import Settings
from tam_backend.video.fetch import MediaFetcher
from tam_backend.video.library import VideoLibrary

BASE = "http://localhost:9090"
OLD, NEW = 4, 5
FRAMES, FPS = 10, 24
VIDEOS = """<View>
  <Labels name="what" toName="film"><Label value="Red"/><Label value="Blue"/></Labels>
  <Video name="film" value="$clip"/>
  <VideoRectangle name="track" toName="film"/>
  <TimelineLabels name="when" toName="film"><Label value="Loud"/></TimelineLabels>
</View>"""


class TwoProjects:
    """What an import asks of Label Studio. `fails`: the names of calls that fail."""

    def __init__(self, target: str) -> None:
        self.configs = {OLD: VIDEOS, NEW: target}
        self.tasks: dict[int, dict[int, dict[str, Any]]] = {OLD: {}, NEW: {}}
        self.stored: dict[str, dict[int, list[dict[str, Any]]]] = {"annotations": {}, "predictions": {}}
        self.fails: set[str] = set()

    def get_project(self, project_id: int) -> Mapping[str, Any]:
        return {"label_config": self.configs[project_id]}

    def tasks_data(self, project_id: int) -> Iterator[tuple[int, Mapping[str, Any]]]:
        yield from self.tasks[project_id].items()

    def task_data(self, project_id: str, task_id: int) -> Mapping[str, Any]:
        return self.tasks[int(project_id)][task_id]

    def annotations(self, task_id: int) -> Sequence[Mapping[str, Any]]:
        return self.stored["annotations"].get(task_id, [])

    def predictions(self, task_id: int) -> Sequence[Mapping[str, Any]]:
        return self.stored["predictions"].get(task_id, [])

    def create_tasks(self, project_id: int, data: Sequence[Mapping[str, Any]]) -> list[int]:
        first = 100 * project_id + len(self.tasks[project_id])
        ids = list(range(first, first + len(data)))
        self.tasks[project_id].update(zip(ids, map(dict, data), strict=True))
        return ids

    def update_task_data(self, task_id: int, data: Mapping[str, Any]) -> None:
        self.may("update_task_data")
        self.tasks[task_id // 100][task_id] = dict(data)

    def create_prediction(self, task_id: int, prediction: Mapping[str, Any]) -> int:
        self.may("create_prediction")
        self.stored["predictions"].setdefault(task_id, []).append(dict(prediction))
        return 1

    def may(self, call: str) -> None:
        if call in self.fails:
            raise LabelStudioError("It does not answer.", "Start it.")

    @property
    def pages(self) -> list[dict[str, Any]]:
        return list(self.tasks[NEW].values())


Run = Callable[..., ProjectReport]


@pytest.fixture
def studio() -> TwoProjects:
    return TwoProjects(recommended_config(["Red", "Blue"], video=True))


@pytest.fixture
def library(tmp_path: Path) -> VideoLibrary:
    return VideoLibrary(tmp_path / "data")


@pytest.fixture
def media(tmp_path: Path) -> Path:
    """A folder that media may come from."""
    (tmp_path / "media").mkdir()
    return tmp_path / "media"


@pytest.fixture
def run(studio: TwoProjects, library: VideoLibrary, media: Path, tmp_path: Path) -> Run:
    fetcher = MediaFetcher(Settings(data_dir=tmp_path / "data", media_dirs=(media,)))

    def go(
        source: int = OLD,
        target: int = NEW,
        max_frames: int = 0,
        stride: int = 1,
        fps: float | None = None,
        **more: Any,
    ) -> ProjectReport:
        return import_project(
            source, target, library=library, client=studio, base_url=BASE,
            selection=FrameSelection(fps, stride, max_frames),
            bring=lambda value, task: fetcher.bring(value, tmp_path / "imported", task_id=task), **more,
        )  # fmt: skip

    return go


def clip(media: Path, name: str = "clip.mp4") -> str:
    return str(make_video(media / name, frames=FRAMES))


def keyframe(frame: int, x: float, enabled: bool = True) -> dict[str, Any]:
    place = {"x": x, "y": 20, "width": 30, "height": 40, "rotation": 0}
    return {"frame": frame, "time": frame / FPS, "enabled": enabled, **place}


def box(label: str = "Red", *keyframes: dict[str, Any], region_id: str = "drawn") -> dict[str, Any]:
    tags = {"id": region_id, "from_name": "track", "to_name": "film", "type": "videorectangle"}
    about = {"framesCount": FRAMES, "duration": FRAMES / FPS, "labels": [label]}
    return {**tags, "value": {**about, "sequence": list(keyframes or [keyframe(1, 10)])}}


def annotate(studio: TwoProjects, task: int, *results: dict[str, Any]) -> None:
    studio.stored["annotations"][task] = [{"id": 1, "result": list(results), "completed_by": 1}]


def test_a_video_becomes_pages_and_its_task_is_named_in_them(
    studio: TwoProjects, library: VideoLibrary, run: Run, media: Path
) -> None:
    [old] = studio.create_tasks(OLD, [{"clip": clip(media)}])
    report = run(max_frames=4)
    [found] = report.imported
    assert (found.task, found.video.pages, len(found.video.task_ids), found.boxes) == (old, FRAMES, 3, 0)
    assert [len(page["frames"]) for page in studio.pages] == [4, 4, 2]
    assert [page["chain"]["next_task"] for page in studio.pages] == [501, 502, None]
    assert {tuple(page["origin"].items()) for page in studio.pages} == {
        (("project", OLD), ("task", old), ("tag", "film"))
    }
    assert library.own_frame(studio.pages[1]["frames"][0]) == (found.video.record.id, 4)
    assert not report.failed and not report.left_out


def test_given_again_it_makes_only_what_is_new(studio: TwoProjects, run: Run, media: Path) -> None:
    studio.create_tasks(OLD, [{"clip": clip(media)}])
    run()
    studio.create_tasks(OLD, [{"clip": clip(media, "second.mp4")}])
    report = run()
    assert [found.video.record.name for found in report.imported] == ["second.mp4"]
    assert (report.earlier, len(studio.pages)) == (1, 2)
    assert run().earlier == 2
    assert len(studio.pages) == 2


def test_given_again_with_other_frames_it_says_that_those_tasks_stay(
    studio: TwoProjects, run: Run, media: Path
) -> None:
    studio.create_tasks(OLD, [{"clip": clip(media)}])
    run(max_frames=4)
    assert run(max_frames=4).kept == ()
    for other in ({"max_frames": 5}, {"max_frames": 4, "stride": 2}, {"max_frames": 4, "fps": 6}):
        report = run(**other)
        assert (report.earlier, len(studio.pages)) == (1, 3)
        [said] = report.kept
        assert said.startswith("1 videos were imported before with other frames")
        assert "Delete these tasks" in said


def test_what_was_cut_off_is_mended(studio: TwoProjects, run: Run, media: Path) -> None:
    [old] = studio.create_tasks(OLD, [{"clip": clip(media)}])
    annotate(studio, old, box())
    studio.fails = {"update_task_data"}
    assert "not all were linked" in run(max_frames=6).failed[0].error.message
    studio.fails = {"create_prediction"}
    assert "its boxes were not stored" in run(max_frames=6).failed[0].error.message
    assert [page["chain"]["next_task"] for page in studio.pages] == [501, None]
    assert [len(page["frames"]) for page in studio.pages] == [6, 4], "nothing else of their data was touched"
    studio.fails = set()
    for _ in range(2):
        assert not run(max_frames=6).failed
        assert {task: len(held) for task, held in studio.stored["predictions"].items()} == {500: 1}
    assert len(studio.pages) == 2


@pytest.mark.parametrize("missing", [500, 501, 502])
def test_a_chain_of_which_tasks_are_missing_is_told_and_left_alone(
    studio: TwoProjects, run: Run, media: Path, missing: int
) -> None:
    [old] = studio.create_tasks(OLD, [{"clip": clip(media)}])
    run(max_frames=4)
    annotate(studio, old, box())
    del studio.tasks[NEW][missing]
    before = dict(studio.tasks[NEW])
    report = run(max_frames=4)
    assert (report.earlier, report.imported, report.failed) == (0, (), ())
    assert report.left_out == ("1 videos of which some tasks are missing; delete the others to import anew.",)
    assert studio.tasks[NEW] == before and not studio.stored["predictions"]
    studio.tasks[NEW].clear()
    assert len(run(max_frames=4).imported) == 1, "as it was told"


def test_what_cannot_be_fetched_is_named_and_the_others_arrive(studio: TwoProjects, run: Run, media: Path) -> None:
    (media / "damaged.mp4").write_bytes(b"no video")
    clips = [{"clip": str(media / "damaged.mp4")}, {"clip": "http://elsewhere.example/a.mp4"}, {"clip": clip(media)}]
    damaged, away, _ = studio.create_tasks(OLD, [*clips, {"clip": ""}])[:3]
    report = run()
    assert [(each.path, type(each.error).__name__) for each in report.failed] == [
        (f"task {damaged}", UnreadableMediaError.__name__),
        (f"task {away}", "MediaForbiddenError"),
    ]
    assert "TAM_MEDIA_HOSTS" in report.failed[1].error.remedy
    assert report.left_out == ("1 tasks whose data name no video.",)
    assert len(report.imported) == len(studio.pages) == 1


def test_tracks_of_boxes_come_along_on_the_frames_that_they_were_on(studio: TwoProjects, run: Run, media: Path) -> None:
    studio.configs[OLD] = VIDEOS.replace('value="$clip"', 'value="$clip" frameRate="12"')
    [old] = studio.create_tasks(OLD, [{"clip": clip(media)}])
    annotate(studio, old, box("Blue", keyframe(1, 10), keyframe(3, 30, enabled=False)))
    [found] = run(max_frames=5).imported
    [stored] = studio.stored["predictions"][found.video.task_ids[0]]
    [track] = stored["result"]
    assert (found.boxes, stored["model_version"]) == (1, f"from-project-{OLD}")
    assert (track["id"], track["from_name"], track["to_name"]) == ("drawn", "track", "video")
    assert track["value"]["labels"] == ["Blue"] and track["value"]["framesCount"] == FRAMES
    shown = [(each["frame"], each["x"], each["enabled"]) for each in track["value"]["sequence"]]
    assert shown == [(1, 10, True), (5, 30, False)], "frame 3 at 12 a second is frame 5 at the file's 24"
    assert list(studio.stored["predictions"]) == [found.video.task_ids[0]], "once, not for each task of the chain"


@pytest.mark.parametrize(
    ("results", "config", "says"),
    [
        ([box()], recommended_config(["Red"]), "1 tracks of boxes: the project has no <Video> with boxes"),
        ([box("Blue"), box(region_id="b")], recommended_config(["Red"], video=True), "1 tracks of boxes whose label"),
        (
            [box(), {"id": "t", "from_name": "when", "to_name": "film", "type": "timelinelabels", "value": {}}],
            recommended_config(["Red"], video=True),
            "1 other results on a <Video>",
        ),
        ([{**box(), "value": {"labels": ["Red"]}}], recommended_config(["Red"]), "has no sequence of boxes"),
    ],
)
def test_what_cannot_come_along_is_counted(
    studio: TwoProjects, run: Run, media: Path, results: list[dict[str, Any]], config: str, says: str
) -> None:
    studio.configs[NEW] = config
    [old] = studio.create_tasks(OLD, [{"clip": clip(media)}])
    annotate(studio, old, *results)
    report = run()
    assert len(report.imported) == 1
    assert any(says in each for each in report.left_out), report.left_out


def test_tasks_that_have_pages_already_are_left_alone(studio: TwoProjects, run: Run, media: Path) -> None:
    studio.configs[OLD] = recommended_config(["Red"], video=True)
    studio.create_tasks(OLD, [{"video": clip(media), "fps": 24, "frames": ["http://b/frames/0.jpg"]}])
    report = run()
    assert report.left_out == ("1 tasks that show pages of frames already.",)
    assert not studio.pages


def test_every_video_tag_of_a_task_becomes_pages(studio: TwoProjects, run: Run, media: Path) -> None:
    studio.configs[OLD] = VIDEOS.replace("</View>", '<Video name="side" value="$other"/></View>')
    studio.create_tasks(OLD, [{"clip": clip(media), "other": clip(media, "side.mp4")}])
    run()
    assert [page["origin"]["tag"] for page in studio.pages] == ["film", "side"]
    assert run().earlier == 2


def test_projects_that_cannot_be_meant_are_refused(studio: TwoProjects, run: Run, media: Path) -> None:
    studio.create_tasks(OLD, [{"clip": clip(media)}])
    with pytest.raises(InvalidInputError, match="a project of their own"):
        run(target=OLD)
    with pytest.raises(InvalidInputError, match="no <Video>"):
        studio.configs[OLD] = recommended_config(["Red"])
        run()
    studio.configs |= {OLD: VIDEOS, NEW: VIDEOS}
    with pytest.raises(LabelConfigError, match="--config"):
        run()
    assert not studio.pages


@pytest.mark.parametrize("said", [None, "all", {"project": OLD}, {"project": OLD, "task": [1]}, {"task": 1}])
def test_an_origin_that_makes_no_sense_counts_as_none(studio: TwoProjects, run: Run, media: Path, said: Any) -> None:
    studio.create_tasks(OLD, [{"clip": clip(media)}])
    studio.create_tasks(NEW, [{"frames": ["http://b/1.jpg"], "origin": said}])
    assert len(run().imported) == 1
