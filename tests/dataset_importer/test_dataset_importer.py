"""A dataset becomes tasks with its masks, and an export of them is the same dataset."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import cv2
import dataset_readers
import numpy as np
import pytest
from annotated_studio import TOKEN, serving
from exported_discs import CONFIG, DISCS, assert_same, disc_regions, export, truth
from filled_studio import FilledStudio
from written_by_hand import SIZE_HW, as_json, grey, indexed, picture, square, text

from tam_backend.cli.choices import ArrivalName, BoxesName, ReadableFormatName
from tam_backend.dataset_importer import Arrival, DatasetArrival, DatasetReport, import_dataset, label_map
from tam_backend.dataset_in.readers import READERS, read_dataset
from tam_backend.errors import InvalidInputError, LabelConfigError, LabelStudioError, MediaNotFoundError
from tam_backend.labelstudio.client import LabelStudioClient
from tam_backend.labelstudio.config_xml import parse_config
from tam_backend.labelstudio.imported_masks import Boxes
from tam_backend.labelstudio.prompts import read_task
from tam_backend.labelstudio.starting_regions import starting_regions
from tam_backend.labelstudio.submitted import Choice
from tam_backend.video.images import read_image
from tam_backend.video.library import VideoLibrary


@pytest.fixture
def studio() -> Iterator[FilledStudio]:
    with serving(FilledStudio(CONFIG.format(kind="BrushLabels"))) as served:
        yield served


@pytest.fixture
def library(tmp_path: Path) -> VideoLibrary:
    return VideoLibrary(tmp_path / "data")


def arrive(
    studio: FilledStudio, library: VideoLibrary, path: Path, form: str, max_frames: int = 0, **more: Any
) -> DatasetReport:
    return import_dataset(
        read_dataset(path, form), DatasetArrival(3, form, max_frames=max_frames, **more), library=library,
        client=LabelStudioClient(studio.url, TOKEN), base_url="http://b", frames_folder=path.parent / "links",
    )  # fmt: skip


def exported_discs(studio: FilledStudio, tmp_path: Path, form: str) -> Path:
    """A dataset of ours with the two discs; the studio is as it was."""
    (tmp_path / "pictures").mkdir()
    pictures = [str(tmp_path / f"pictures/discs_{index}.png") for index in range(DISCS.frames)]
    for name, frame in zip(pictures, DISCS, strict=True):
        cv2.imwrite(name, frame[..., ::-1])
    studio.add_task({"frames": pictures}, disc_regions(range(6)))
    export(studio, tmp_path / "first", form, pictures, frames="png")
    studio.tasks.clear()
    return tmp_path / "first"


READ_BACK = {
    "davis": lambda root: dataset_readers.davis(root)[0],
    "coco": lambda root: dataset_readers.coco(root / "annotations" / "instances_default.json")[0],
    "masks": lambda root: dataset_readers.object_masks(root / "masks"),
}


@pytest.mark.parametrize("kind", ["BrushLabels", "BitmaskLabels"])
@pytest.mark.parametrize("arrival", ["predictions", "annotations"])
@pytest.mark.parametrize("form", READ_BACK)
def test_an_export_of_an_import_holds_the_same_masks(
    studio: FilledStudio, library: VideoLibrary, tmp_path: Path, form: str, arrival: Any, kind: str
) -> None:
    first = exported_discs(studio, tmp_path, form)
    studio.config = CONFIG.format(kind=kind)
    report = arrive(studio, library, first, form, arrival=arrival)
    assert not report.failed and not report.left_out
    [video] = report.imported
    assert (video.pages, video.objects, video.masks, len(video.task_ids)) == (6, 2, 12, 1)
    summary = export(studio, tmp_path / "second", form, choice=Choice(arrival))
    assert summary.classes == {"Red": 1, "Blue": 1}
    assert_same(READ_BACK[form](tmp_path / "second"), truth())


def test_a_long_video_is_a_chain_and_its_objects_stay_the_same(
    studio: FilledStudio, library: VideoLibrary, tmp_path: Path
) -> None:
    first = exported_discs(studio, tmp_path, "coco")
    [video] = arrive(studio, library, first, "coco", max_frames=4).imported
    tasks = [studio.tasks[number] for number in video.task_ids]
    assert [len(task["data"]["frames"]) for task in tasks] == [4, 2]
    assert tasks[0]["data"]["chain"]["next_task"] == video.task_ids[1]
    ids = [{result["id"] for result in task["predictions"][0]["result"]} for task in tasks]
    assert ids == [{f"tam-in{number}-{page}f" for number in (1, 2) for page in range(pages)} for pages in (4, 2)]
    export(studio, tmp_path / "second", "coco", choice=Choice("predictions"))
    assert_same(READ_BACK["coco"](tmp_path / "second"), truth())


def test_predictions_are_to_be_corrected_and_annotations_are_the_truth(
    studio: FilledStudio, library: VideoLibrary, tmp_path: Path
) -> None:
    first = exported_discs(studio, tmp_path, "coco")
    arrive(studio, library, first, "coco")
    assert {result["origin"] for result in studio.results()} == {"prediction"}
    [stored] = [each for task in studio.tasks.values() for each in task["predictions"]]
    assert (stored["model_version"], stored["score"]) == ("imported-coco", 0.4)
    arrive(studio, library, first, "coco", arrival="annotations")
    drawn = studio.results("annotations")
    assert {result["origin"] for result in drawn} == {"manual"}
    assert not any("meta" in result or "score" in result for result in drawn)
    [submitted] = [each for task in studio.tasks.values() for each in task["annotations"]]
    assert submitted["ground_truth"] is True


def davis(tmp_path: Path) -> Path:
    """Two videos: `bear` of three frames, the last without objects and the second not annotated, and `cow`."""
    root = tmp_path / "DAVIS"
    for name, frames in (("bear", 3), ("cow", 1)):
        for at in range(frames):
            picture(root / f"JPEGImages/480p/{name}/{at:05d}.jpg")
        indexed(root / f"Annotations/480p/{name}/00000.png", square(2) + 2 * square(20))
    indexed(root / "Annotations/480p/bear/00002.png", np.zeros(SIZE_HW))
    return root


def test_classes_get_the_labels_that_are_asked_for(studio: FilledStudio, library: VideoLibrary, tmp_path: Path) -> None:
    arrive(studio, library, davis(tmp_path), "davis", label_of=label_map(["=Blue"]))
    assert {result["value"]["brushlabels"][0] for result in studio.results()} == {"Blue"}


def test_masks_without_a_class_get_the_only_label_there_is(
    studio: FilledStudio, library: VideoLibrary, tmp_path: Path
) -> None:
    studio.config = studio.config.replace('<Label value="Blue"/>', "")
    arrive(studio, library, davis(tmp_path), "davis")
    assert {result["value"]["brushlabels"][0] for result in studio.results()} == {"Red"}


def test_classes_without_a_label_are_named_before_anything_is_made(
    studio: FilledStudio, library: VideoLibrary, tmp_path: Path
) -> None:
    with pytest.raises(LabelConfigError, match=r"masks without a class; it has Red, Blue.*--class =LABEL"):
        arrive(studio, library, davis(tmp_path), "davis")
    assert not studio.tasks


def test_an_object_whose_class_the_sidecar_forgets_leaves_no_task(
    studio: FilledStudio, library: VideoLibrary, tmp_path: Path
) -> None:
    root = davis(tmp_path)
    videos = [{"name": name, "objects": [{"object_id": 1, "class": "Red"}]} for name in ("bear", "cow")]
    as_json(root / "attributes.json", {"videos": videos})
    report = arrive(studio, library, root, "davis")
    assert [str(each.error).startswith("The project has no label for masks without") for each in report.failed] == [
        True,
        True,
    ]
    assert not studio.tasks


def test_a_project_without_a_tag_for_masks_is_refused(
    studio: FilledStudio, library: VideoLibrary, tmp_path: Path
) -> None:
    studio.config = CONFIG.format(kind="BrushLabels").replace('valueList="$frames"', 'value="$image"')
    with pytest.raises(LabelConfigError, match="--config"):
        arrive(studio, library, davis(tmp_path), "davis")


def test_a_class_that_is_left_out_is_counted(studio: FilledStudio, library: VideoLibrary, tmp_path: Path) -> None:
    root = tmp_path / "set"
    for folder, left in (("1-Red", 2), ("2-dog", 20)):
        picture(root / "images/clip/0.jpg")
        grey(root / f"masks/clip/{folder}/0.png", np.uint8(255) * square(left).astype(np.uint8))
    report = arrive(studio, library, root, "masks", label_of={"dog": ""})
    assert report.left_out == ("1 masks of classes that are left out.",)
    assert [result["id"] for result in studio.results()] == ["tam-in1-0f"]


def test_a_frame_without_objects_is_said_of_annotations_only(
    studio: FilledStudio, library: VideoLibrary, tmp_path: Path
) -> None:
    root = davis(tmp_path)
    wanted: dict[str, Any] = {"label_of": {"": "Red"}, "max_frames": 1}
    arrive(studio, library, root, "davis", **wanted)
    assert [len(task["predictions"]) for task in studio.tasks.values()] == [1, 0, 0, 1]
    studio.tasks.clear()
    arrive(studio, library, root, "davis", arrival="annotations", **wanted)
    results = [[len(each["result"]) for each in task["annotations"]] for task in studio.tasks.values()]
    assert results == [[2], [], [0], [2]]


def test_a_damaged_video_leaves_no_task_and_the_others_arrive(
    studio: FilledStudio, library: VideoLibrary, tmp_path: Path
) -> None:
    root = davis(tmp_path)
    indexed(root / "Annotations/480p/bear/00009.png", square(2))
    report = arrive(studio, library, root, "davis", label_of={"": "Red"})
    assert [each.name for each in report.imported] == ["cow"]
    [failed] = report.failed
    assert failed.path == "bear" and isinstance(failed.error, MediaNotFoundError)
    assert "00009.png" in failed.error.message
    assert len(studio.tasks) == 1


def test_an_import_that_was_cut_off_goes_on_where_it_was(
    studio: FilledStudio, library: VideoLibrary, tmp_path: Path
) -> None:
    root = davis(tmp_path)
    studio.refuses = "/api/predictions/"
    bear, cow = arrive(studio, library, root, "davis", max_frames=2, label_of={"": "Red"}).failed
    assert isinstance(bear.error, LabelStudioError)
    assert "tasks 11 to 12 of bear were made, but not all have their masks" in bear.error.message
    assert "same command again" in cow.error.remedy
    studio.refuses = ""
    for _ in range(2):
        report = arrive(studio, library, root, "davis", max_frames=2, label_of={"": "Red"})
        assert [(each.task_ids, each.is_new) for each in report.imported] == [((11, 12), False), ((13,), False)]
        assert sorted(studio.tasks) == [11, 12, 13]
        assert [len(task["predictions"]) for task in studio.tasks.values()] == [1, 0, 1]


def test_predictions_and_annotations_may_both_come_to_the_same_tasks_once(
    studio: FilledStudio, library: VideoLibrary, tmp_path: Path
) -> None:
    root = davis(tmp_path)
    arrive(studio, library, root, "davis", label_of={"": "Red"})
    for _ in range(2):
        arrive(studio, library, root, "davis", arrival="annotations", label_of={"": "Red"})
    held = [(len(task["predictions"]), len(task["annotations"])) for task in studio.tasks.values()]
    assert held == [(1, 1), (1, 1)]


@pytest.mark.parametrize("arrival", ["predictions", "annotations"])
def test_masks_that_other_options_would_make_otherwise_stay_and_it_says_so(
    studio: FilledStudio, library: VideoLibrary, tmp_path: Path, arrival: Arrival
) -> None:
    root = davis(tmp_path)
    arrive(studio, library, root, "davis", arrival=arrival, label_of={"": "Red"})
    before = studio.results(arrival)
    [said] = arrive(studio, library, root, "davis", arrival=arrival, label_of={"": "Blue"}).kept
    assert said.startswith("2 tasks hold other masks than this import would store")
    assert studio.results(arrival) == before


def test_a_video_that_is_cut_otherwise_gets_other_tasks(
    studio: FilledStudio, library: VideoLibrary, tmp_path: Path
) -> None:
    root = davis(tmp_path)
    for max_frames, tasks in ((0, 2), (2, 4)):  # cow has one frame either way
        first = arrive(studio, library, root, "davis", max_frames=max_frames, label_of={"": "Red"})
        assert any("tasks that show other frames" in each for each in first.kept) == (max_frames == 2)
        report = arrive(studio, library, root, "davis", max_frames=max_frames, label_of={"": "Red"})
        assert len(studio.tasks) == tasks
        assert report.kept == (), "the same again is nothing else"


@pytest.mark.parametrize("deleted", [11, 12])
def test_a_task_that_is_gone_is_made_anew_and_linked_with_those_that_are_there(
    studio: FilledStudio, library: VideoLibrary, tmp_path: Path, deleted: int
) -> None:
    root = davis(tmp_path)
    arrive(studio, library, root, "davis", arrival="annotations", max_frames=2, label_of={"": "Red"})
    del studio.tasks[deleted]
    again = arrive(studio, library, root, "davis", arrival="annotations", max_frames=2, label_of={"": "Red"})
    bear, cow = again.imported
    assert bear.task_ids == ((14, 12) if deleted == 11 else (11, 14))
    assert (bear.is_new, cow.is_new) == (True, False)
    assert sorted(studio.tasks) == sorted({11, 12, 13, 14} - {deleted}), "none is made twice"
    first, second = (studio.tasks[each]["data"]["chain"] for each in bear.task_ids)
    assert (first["next_task"], second["previous_task"]) == (bear.task_ids[1], bear.task_ids[0])
    assert [len(task["annotations"]) for task in studio.tasks.values()] == [1, 1, 1]
    [said] = again.kept
    assert said.startswith("1 videos of which some tasks were gone; only these were made anew")


def test_frames_in_a_folder_with_others_are_linked(studio: FilledStudio, library: VideoLibrary, tmp_path: Path) -> None:
    root = tmp_path / "coco"
    sizes = {"height": SIZE_HW[0], "width": SIZE_HW[1]}
    for number in range(4):
        grey(root / f"images/{number}.png", np.full(SIZE_HW, 10 * number, np.uint8))
    images = [
        {"id": number, "file_name": f"{number}.png", "video_id": number % 2, "frame_id": number, **sizes}
        for number in range(4)
    ]
    drawn = {"id": 1, "image_id": 3, "category_id": 1, "segmentation": [[2, 4, 8, 4, 8, 10, 2, 10]]}
    categories = [{"id": 1, "name": "Red"}]
    as_json(root / "annotations/a.json", {"images": images, "categories": categories, "annotations": [drawn]})
    for _ in range(2):  # again: the links are there already
        report = arrive(studio, library, root, "coco")
        assert [each.pages for each in report.imported] == [2, 2]
        urls = studio.tasks[report.imported[1].task_ids[0]]["data"]["frames"]
        shades = [int(library.frame(*library.own_frame(url) or ("", 0)).max()) for url in urls]
        assert shades == [10, 30]
    linked = sorted((tmp_path / "links").rglob("*.png"))
    assert len(linked) == 4 and int(read_image(linked[0]).max()) in (0, 10)


def test_images_by_themselves_are_tasks_by_themselves(
    studio: FilledStudio, library: VideoLibrary, tmp_path: Path
) -> None:
    root = tmp_path / "yolo"
    for name in ("a", "b"):
        picture(root / f"images/train/{name}.jpg")
        text(root / f"labels/train/{name}.txt", "0 0.1 0.1 0.5 0.1 0.5 0.5\n")
    text(root / "dataset.yaml", "train: images/train\nnames: [Red]\n")
    report = arrive(studio, library, root, "yolo")
    assert [(each.name, each.pages, each.masks) for each in report.imported] == [("a", 1, 1), ("b", 1, 1)]


BOXED = CONFIG.replace(
    "</View>", '<RectangleLabels name="boxes" toName="pages"><Label value="Red"/></RectangleLabels></View>'
)


def with_boxes(tmp_path: Path) -> Path:
    """A video of three frames: a red object with a mask, then boxes; and on the last one a blue box."""
    sizes = {"height": SIZE_HW[0], "width": SIZE_HW[1]}
    for at in range(3):
        picture(tmp_path / f"COCO/images/clip/{at}.jpg")
    images = [
        {"id": at, "file_name": f"clip/{at}.jpg", "video_id": 1, "frame_id": at, **sizes} for at in range(3)
    ]  # fmt: skip
    mask = {"segmentation": [[2, 4, 8, 4, 8, 10, 2, 10]]}
    shown = [
        (0, 7, 1, mask),
        (1, 7, 1, {"bbox": [3, 4, 6, 6]}),
        (2, 7, 1, {"bbox": [4, 4, 6, 6]}),
        (2, 8, 2, {"bbox": [20, 4, 6, 6]}),
    ]
    annotations = [
        {"id": at, "image_id": image, "track_id": track, "category_id": category, **what}
        for at, (image, track, category, what) in enumerate(shown)
    ]
    categories = [{"id": 1, "name": "Red"}, {"id": 2, "name": "Blue"}]
    as_json(
        tmp_path / "COCO/annotations/instances.json",
        {"videos": [{"id": 1, "name": "clip"}], "images": images, "categories": categories, "annotations": annotations},
    )
    return tmp_path / "COCO"


@pytest.mark.parametrize("arrival", ["predictions", "annotations"])
def test_boxes_without_a_mask_become_regions_of_the_same_object(
    studio: FilledStudio, library: VideoLibrary, tmp_path: Path, arrival: Any
) -> None:
    studio.config = BOXED.format(kind="BrushLabels")
    report = arrive(studio, library, with_boxes(tmp_path), "coco", arrival=arrival)
    [video] = report.imported
    assert (video.objects, video.masks, video.boxes) == (1, 1, 2)
    assert report.left_out == ("1 boxes without a mask, for which no rectangle tag of the project has a label.",)
    boxes = [each for each in studio.results(arrival) if each["type"] == "rectanglelabels"]
    assert [(each["from_name"], each["item_index"]) for each in boxes] == [("boxes", 1), ("boxes", 2)]
    place = [boxes[0]["value"][side] for side in ("x", "y", "width", "height")]
    assert place == pytest.approx([100 * 3 / 32, 100 * 4 / 24, 100 * 6 / 32, 100 * 6 / 24])
    assert {each["origin"] for each in boxes} == {"prediction" if arrival == "predictions" else "manual"}
    source = "predictions" if arrival == "predictions" else "annotations"
    export(studio, tmp_path / "again", "coco", choice=Choice(source))
    again = read_dataset(tmp_path / "again", "coco")
    shown = json.loads((tmp_path / "again/annotations/instances_default.json").read_text())["annotations"]
    assert again.classes and {each["object_id"] for each in shown} == {1}, "one object, as it was"
    assert [each["bbox"] for each in shown] == [[2, 4, 6, 6], [3, 4, 6, 6], [4, 4, 6, 6]]


def test_boxes_become_prompts_of_a_smart_tag_on_request(
    studio: FilledStudio, library: VideoLibrary, tmp_path: Path
) -> None:
    arrive(studio, library, with_boxes(tmp_path), "coco", boxes="prompts")
    [task] = studio.tasks.values()
    [stored] = task["predictions"]
    opened = {**task, "annotations": [{"id": 5, "result": stored["result"]}], "predictions": []}
    [only] = read_task(opened, None, parse_config(studio.config), propagate_label="Propagate").objects
    assert only.key == "in7"
    assert [(each.frame, each.control.name) for each in only.regions] == [(0, "shapes"), (1, "prompts"), (2, "prompts")]


def test_boxes_may_be_left_out(studio: FilledStudio, library: VideoLibrary, tmp_path: Path) -> None:
    studio.config = BOXED.format(kind="BrushLabels")
    report = arrive(studio, library, with_boxes(tmp_path), "coco", boxes="none")
    assert report.left_out == ("3 boxes without a mask.",)
    assert [each["type"] for each in studio.results()] == ["brushlabels"]


def test_where_all_that_was_to_be_seen_is_left_out_there_is_no_ground_truth_of_nothing(
    studio: FilledStudio, library: VideoLibrary, tmp_path: Path
) -> None:
    studio.config = BOXED.format(kind="BrushLabels")
    dataset = with_boxes(tmp_path)
    path = dataset / "annotations/instances.json"
    content = json.loads(path.read_text())
    content["annotations"] = [each for each in content["annotations"] if not each.get("segmentation")]
    path.write_text(json.dumps(content))
    arrive(studio, library, dataset, "coco", boxes="none", arrival="annotations")
    assert studio.results("annotations") == []
    assert [each for task in studio.tasks.values() for each in task["annotations"]] == []


def test_imported_boxes_are_what_a_propagate_can_begin_with(
    studio: FilledStudio, library: VideoLibrary, tmp_path: Path
) -> None:
    studio.config = BOXED.format(kind="BrushLabels")
    arrive(studio, library, with_boxes(tmp_path), "coco")
    [task] = studio.tasks.values()
    config = parse_config(studio.config)
    starts, unusable = starting_regions(task, (), config, config.media[0], "predictions")
    assert [(each.region.frame, each.track_key) for each in starts] == [(0, "in7"), (1, "in7"), (2, "in7")]
    assert not unusable


def test_what_is_no_pair_of_class_and_label_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="CLASS=LABEL"):
        label_map(["dog"])


def run(studio: FilledStudio, tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    return subprocess.run(
        [sys.executable, "-m", "tam_backend", "import", "--url", studio.url, "--api-key", TOKEN, "--project", "3",
         *options],
        capture_output=True, text=True, timeout=120, check=False,
        env={"COLUMNS": "200", "PATH": "", "PYTHONPATH": ":".join(sys.path), "TAM_DATA_DIR": str(tmp_path / "data")},
    )  # fmt: skip


def test_the_command_line_says_what_arrived(studio: FilledStudio, tmp_path: Path) -> None:
    root = str(davis(tmp_path))
    done = run(studio, tmp_path, root, "--format", "davis", "--class", "=Red", "--as", "annotations")
    assert done.returncode == 0, done.stderr
    assert "bear: 3 frames, 2 objects, 2 masks, task 11" in done.stderr
    assert "cow: 1 frames, 2 objects, 2 masks, task 12" in done.stderr
    assert len(studio.results("annotations")) == 4


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--format", "davis"), "--class =LABEL"),
        (("--format", "coco"), "annotations/instances_train.json"),
        (("--format", "davis", "--stride", "2"), "Leave out --fps"),
        (("--format", "davis", "--class", "Red"), "CLASS=LABEL"),
    ],
)
def test_what_cannot_be_imported_is_told_in_a_sentence(
    studio: FilledStudio, tmp_path: Path, options: tuple[str, ...], says: str
) -> None:
    done = run(studio, tmp_path, str(davis(tmp_path)), *options)
    assert done.returncode == 2
    assert says in " ".join(done.stderr.split())
    assert not studio.tasks


def test_the_command_line_has_every_format_and_arrival() -> None:
    assert [each.value for each in ReadableFormatName] == list(READERS)
    assert [each.value for each in ArrivalName] == ["predictions", "annotations"]
    assert [each.value for each in BoxesName] == list(get_args(Boxes))
