"""From a project of Label Studio to datasets, each read back by its own ecosystem's reader."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import dataset_readers as readers
import numpy as np
import pytest
from annotated_studio import TOKEN, AnnotatedStudio, serving
from synthetic import MovingDiscs, iou

from tam_backend.errors import BusyError, InvalidInputError, LabelStudioError, OutputError
from tam_backend.export.dataset_folder import PART, DatasetFolder
from tam_backend.export.formats import FORMATS
from tam_backend.export.overlay_video import OverlayWriter
from tam_backend.export.trust import Trust
from tam_backend.exporter import ExportRequest, ExportSummary, class_map, export_project
from tam_backend.labelstudio.client import LabelStudioClient
from tam_backend.labelstudio.encoding import encode_bitmask, encode_brush
from tam_backend.labelstudio.submitted import Choice
from tam_backend.out_folder import WRITTEN_LIST
from tam_backend.settings import Settings
from tam_backend.types import BoolMask
from tam_backend.video.fetch import MediaFetcher

DISCS = MovingDiscs(frames=6, height=60, width=80, radius=9, starts_xy=((20, 20), (60, 40)), steps_xy=((3, 1), (-2, 0)))
CONFIG = """<View>
  <Image name="pages" valueList="$frames"/>
  <{kind} name="shapes" toName="pages"><Label value="Red"/><Label value="Blue"/></{kind}>
  <PolygonLabels name="outlines" toName="pages"><Label value="Red"/><Label value="Blue"/></PolygonLabels>
  <RectangleLabels name="prompts" toName="pages" smart="true"><Label value="Red"/></RectangleLabels>
  <Choices name="seen" toName="pages" perRegion="true"><Choice value="whole"/><Choice value="part"/></Choices>
</View>"""
RED, BLUE = 1, 2


@pytest.fixture
def studio() -> Iterator[AnnotatedStudio]:
    with serving(AnnotatedStudio(CONFIG.format(kind="BrushLabels"))) as served:
        yield served


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    """The frames as files, whose paths stand in tasks."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index, picture in enumerate(DISCS):
        cv2.imwrite(str(folder / f"discs_{index}.jpg"), picture[..., ::-1])
    return [str(folder / f"discs_{index}.jpg") for index in range(DISCS.frames)]


def mask_region(
    frame: int, mask: BoolMask, label: str, region_id: str, kind: str = "BrushLabels", **more: Any
) -> dict[str, Any]:
    is_brush = kind == "BrushLabels"
    drawn = {"rle": encode_brush(mask), "format": "rle"} if is_brush else {"imageDataURL": encode_bitmask(mask)}
    return {
        "id": region_id,
        "from_name": "shapes",
        "to_name": "pages",
        "type": kind.lower(),
        "original_width": mask.shape[1],
        "original_height": mask.shape[0],
        "image_rotation": 0,
        "item_index": frame,
        "value": {**drawn, kind.lower(): [label]},
        **more,
    }


def disc_regions(frames: range, first: int = 0, kind: str = "BrushLabels", **more: Any) -> list[Any]:
    """The discs as we propagate them: with our ids; frame 0 answers a click."""
    return [
        mask_region(
            frame - first, DISCS.truth(frame, disc), label, f"tam-{label.lower()}-{frame - first}f", kind,
            origin="prediction", score=0.9 - 0.1 * frame,
            meta={"tam_source": "propagated" if frame else "prompt"}, **more,
        )
        for disc, label in ((RED, "Red"), (BLUE, "Blue"))
        for frame in frames
    ]  # fmt: skip


def export(
    studio: AnnotatedStudio, out: Path, form: str = "coco", pictures: list[str] | None = None, **more: Any
) -> ExportSummary:
    client = LabelStudioClient(studio.url, TOKEN)
    folders = (Path(pictures[0]).parent,) if pictures else ()
    fetcher = MediaFetcher(Settings(media_dirs=folders, data_dir=out.parent / "data"))
    request = ExportRequest(3, form, **more)
    return export_project(client, request, out, lambda value, task: fetcher.open_media(value, task_id=task))


def truth(frames: range = range(DISCS.frames)) -> dict[tuple[int, int], BoolMask]:
    return {(frame, disc): DISCS.truth(frame, disc) for frame in frames for disc in (RED, BLUE)}


def assert_same(found: readers.Masks, expected: dict[tuple[int, int], BoolMask]) -> None:
    by_place = {(frame, object_id): mask for (_, frame, object_id), mask in found.items()}
    assert by_place.keys() == expected.keys()
    for place, mask in expected.items():
        assert np.array_equal(by_place[place], mask), place


@pytest.mark.parametrize("kind", ["BrushLabels", "BitmaskLabels"])
def test_davis_coco_mots_and_masks_hold_the_same_pixels(studio: AnnotatedStudio, tmp_path: Path, kind: str) -> None:
    studio.config = CONFIG.format(kind=kind)
    studio.add_task({"frames": [f"/f/clip_{n}.jpg" for n in range(DISCS.frames)]}, disc_regions(range(6), kind=kind))
    for form in ("davis", "coco", "ytvis", "mots", "masks"):
        summary = export(studio, tmp_path / form, form)
        assert (summary.videos, summary.frames, summary.objects, summary.masks) == (1, 6, 2, 12)
        assert summary.left_out == ()
    in_davis, lengths = readers.davis(tmp_path / "davis")
    assert_same(in_davis, truth())
    assert lengths == {"clip_0-11": 6}
    in_coco, read = readers.coco(tmp_path / "coco" / "annotations" / "instances_default.json")
    assert_same(in_coco, truth())
    assert {each["name"]: each["id"] for each in read.dataset["categories"]} == {"Red": 1, "Blue": 2}
    assert_same(readers.object_masks(tmp_path / "masks" / "masks"), truth())
    lines = readers.mots(tmp_path / "mots" / "train" / "clip_0-11")
    assert_same({("", line.frame - 1, line.track % 1000): line.mask for line in lines}, truth())
    tracks = readers.youtube_vis(tmp_path / "ytvis" / "train" / "instances.json")
    found = {("", at, each["id"]): mask for each in tracks for at, mask in enumerate(each["masks"]) if mask is not None}
    assert_same(found, truth())


def test_yolo_is_read_by_supervision_and_keeps_masks_and_classes(
    studio: AnnotatedStudio, tmp_path: Path, pictures: list[str]
) -> None:
    import supervision as sv

    studio.add_task({"frames": pictures}, disc_regions(range(6)))
    export(studio, tmp_path / "yolo", "yolo", pictures, frames="jpg")
    folder = tmp_path / "yolo"
    dataset = sv.DetectionDataset.from_yolo(
        str(folder / "images" / "train"),
        str(folder / "labels" / "train"),
        str(folder / "dataset.yaml"),
        force_masks=True,
    )
    assert dataset.classes == ["Red", "Blue"]
    assert len(dataset) == DISCS.frames
    for path, _, found in dataset:
        frame = int(Path(path).stem.rpartition("_")[2])
        for mask, class_id in zip(found.mask, found.class_id, strict=True):
            assert iou(mask, DISCS.truth(frame, class_id + 1)) >= 0.98


def test_coco_is_read_by_supervision(studio: AnnotatedStudio, tmp_path: Path, pictures: list[str]) -> None:
    import supervision as sv

    studio.add_task({"frames": pictures}, disc_regions(range(6)))
    export(studio, tmp_path / "coco", "coco", pictures, frames="png")
    folder = tmp_path / "coco"
    dataset = sv.DetectionDataset.from_coco(
        str(folder / "images"), str(folder / "annotations" / "instances_default.json"), force_masks=True
    )
    for path, image, found in dataset:
        frame = int(Path(path).stem)
        assert image.shape[:2] == DISCS.size_hw
        for mask, class_id in zip(found.mask, found.class_id, strict=True):
            assert np.array_equal(mask, DISCS.truth(frame, class_id + 1))


def test_coco_polygons_overlap_with_their_masks(studio: AnnotatedStudio, tmp_path: Path) -> None:
    ring = DISCS.truth(0, RED) & ~DISCS.truth(0, RED)[:, ::-1]
    ring[18:22, 18:22] = False
    regions = [*disc_regions(range(3)), mask_region(4, ring, "Red", "tam-red-4f")]
    studio.add_task({"frames": [f"/f/clip_{n}.jpg" for n in range(6)]}, regions)
    summary = export(studio, tmp_path / "coco", polygons=True)
    found, read = readers.coco(tmp_path / "coco" / "annotations" / "instances_default.json")
    kinds = {type(each["segmentation"]) for each in read.dataset["annotations"] if each["image_id"] < 4}
    assert kinds == {list}
    for (_, frame, object_id), mask in found.items():
        assert iou(mask, ring if frame == 4 else DISCS.truth(frame, object_id)) >= 0.98
    assert any("holes" in each for each in summary.left_out)


def test_an_overlay_is_a_video_of_all_frames(studio: AnnotatedStudio, tmp_path: Path, pictures: list[str]) -> None:
    from tam_backend import open_video

    studio.add_task({"frames": pictures}, disc_regions(range(6)))
    export(studio, tmp_path / "overlay", "overlay", pictures)
    with open_video(tmp_path / "overlay" / "discs_0-11.mp4") as video:
        assert len(video) == DISCS.frames
        assert np.abs(video[0].astype(int) - DISCS[0]).max() > 60


def test_chained_tasks_are_one_video_whose_objects_keep_their_ids(studio: AnnotatedStudio, tmp_path: Path) -> None:
    """Also where the second part was drawn by hand, and its ids know nothing of the first part's."""

    def data(part: int, pages: range, before: int | None, after: int | None) -> dict[str, Any]:
        chain = {"part": part, "parts": 2, "previous_task": before, "next_task": after}
        return {"frames": [f"/f/clip_{n}.jpg" for n in pages], "video": "/v/My%20clip.mp4", "chain": chain}

    by_hand = [
        mask_region(frame - 3, DISCS.truth(frame, disc), label, f"{label}{frame}")
        for frame in range(3, 6)
        for disc, label in ((BLUE, "Blue"), (RED, "Red"))
    ]
    studio.add_task(data(1, range(3), None, 12), disc_regions(range(3)))
    studio.add_task(data(2, range(3, 6), 11, None), by_hand)
    for tasks in ((), (12,)):
        summary = export(studio, tmp_path / f"davis{tasks}", "davis", tasks=tasks)
        assert (summary.videos, summary.objects) == (1, 2)
        found, lengths = readers.davis(tmp_path / f"davis{tasks}")
        assert lengths == {"My-clip-11": 6}
        assert_same(found, truth())


def test_frames_of_a_task_nobody_labelled_are_left_out_and_labelled_empty_ones_stay(
    studio: AnnotatedStudio, tmp_path: Path
) -> None:
    chain = {"part": 1, "parts": 3, "previous_task": None, "next_task": 12}
    studio.add_task({"frames": ["a_0.jpg", "a_1.jpg", "a_2.jpg"], "chain": chain}, disc_regions(range(2)))
    studio.add_task({"frames": ["a_3.jpg"], "chain": {**chain, "part": 2, "previous_task": 11, "next_task": 13}})
    summary = export(studio, tmp_path / "davis", "davis")
    assert summary.frames == 3
    assert sorted(path.name for path in (tmp_path / "davis").rglob("*.png")) == ["00000.png", "00001.png", "00002.png"]
    assert any("lacks the parts 3" in each for each in summary.left_out)
    assert any("Nothing to export in task 12" in each for each in summary.left_out)


def test_ground_truth_comes_first_then_the_newest_and_each_annotator_can_have_a_video(
    studio: AnnotatedStudio, tmp_path: Path
) -> None:
    def drawn(frame: int) -> list[Any]:
        return [mask_region(0, DISCS.truth(frame, RED), "Red", "r")]

    number = studio.add_task({"frames": ["/f/a.jpg"]}, drawn(0), drawn(1))
    first, second = studio.tasks[number]["annotations"]
    third = studio.annotation(999, drawn(2), "2026-03-01", completed_by={"id": 2}, was_cancelled=True)
    studio.tasks[number]["annotations"].append(third)

    def exported(name: str, **choice: Any) -> list[int]:
        export(studio, tmp_path / name, "masks", choice=Choice(**choice))
        found = readers.object_masks(tmp_path / name / "masks")
        return [next(n for n in range(3) if np.array_equal(mask, DISCS.truth(n, RED))) for mask in found.values()]

    assert exported("newest") == [1]
    assert exported("skipped", status="skipped") == [2]
    first["ground_truth"] = True
    assert exported("truth") == [0]
    second["completed_by"] = 2
    assert exported("ben", annotators=frozenset({2})) == [1]
    assert exported("every", every=True) == [0, 1]
    studio.tasks[number]["predictions"] = [{"id": 5, "result": drawn(2), "created_at": "2026"}]
    assert exported("predicted", taken="predictions") == [2]
    assert exported("both", taken="both") == [0]


def test_polygons_are_masks_and_prompts_are_none(studio: AnnotatedStudio, tmp_path: Path) -> None:
    corners = [[25, 25], [75, 25], [75, 75], [25, 75]]
    outline = {
        **mask_region(1, DISCS.truth(0), "Red", "p"), "from_name": "outlines", "type": "polygonlabels",
        "value": {"points": corners, "polygonlabels": ["Red"]},
    }  # fmt: skip
    prompt = {
        **outline, "id": "q", "from_name": "prompts", "type": "rectanglelabels",
        "value": {"x": 1, "y": 1, "width": 9, "height": 9, "rotation": 0, "rectanglelabels": ["Red"]},
    }  # fmt: skip
    studio.add_task({"frames": ["a.jpg", "b.jpg"]}, [outline, prompt])
    summary = export(studio, tmp_path / "masks", "masks")
    expected = np.zeros(DISCS.size_hw, bool)
    expected[15:45, 20:60] = True
    [mask] = readers.object_masks(tmp_path / "masks" / "masks").values()
    assert np.array_equal(mask, expected)
    assert any("prompts" in each for each in summary.left_out)


def test_attributes_labels_provenance_and_quality_travel(studio: AnnotatedStudio, tmp_path: Path) -> None:
    region = mask_region(0, DISCS.truth(0), "Red", "r", origin="prediction-changed", meta={"text": ["look again"]})
    seen = {**region, "from_name": "seen", "type": "choices", "value": {**region["value"], "choices": ["part"]}}
    studio.add_task({"frames": ["a.jpg", "b.jpg"]}, [region, seen, *disc_regions(range(1, 2))])
    export(studio, tmp_path / "coco")
    read = json.loads((tmp_path / "coco" / "annotations" / "instances_default.json").read_text())
    by_place = {(each["image_id"], each["labels"][0]): each for each in read["annotations"]}
    first = by_place[1, "Red"]
    assert first["attributes"] == {"seen": ["part"], "note": ["look again"]}
    assert (first["provenance"], first["quality"]) == ("human", None)
    assert (by_place[2, "Red"]["provenance"], by_place[2, "Red"]["quality"]) == ("propagated", 0.8)
    assert by_place[2, "Red"]["track_id"] == first["track_id"], "drawn by hand and tracked: one object"
    export(studio, tmp_path / "davis", "davis")
    [video] = json.loads((tmp_path / "davis" / "attributes.json").read_text())["videos"]
    assert video["objects"][0] == {"object_id": 1, "class": "Red", "labels": ["Red"]}
    assert {
        "frame": 0,
        "object_id": 1,
        "provenance": "human",
        "quality": None,
        "attributes": first["attributes"],
    } in video["shown"]


def test_doubtful_masks_are_crowds_in_coco_void_in_davis_ignored_in_mots_and_gone_elsewhere(
    studio: AnnotatedStudio, tmp_path: Path
) -> None:
    studio.add_task({"frames": [f"/f/clip_{n}.jpg" for n in range(6)]}, disc_regions(range(6)))
    sure = {place: mask for place, mask in truth().items() if place[0] <= 2}  # 0.9, 0.8, 0.7, and then less
    for form in ("coco", "davis", "mots", "masks", "ytvis", "yolo"):
        summary = export(studio, tmp_path / form, form, trust=Trust(min_quality=0.65))
        assert summary.ignored == 6
    found, read = readers.coco(tmp_path / "coco" / "annotations" / "instances_default.json")
    assert_same(found, sure)
    assert sum(each["iscrowd"] for each in read.dataset["annotations"]) == 6
    assert_same(readers.davis(tmp_path / "davis")[0], sure)
    lines = readers.mots(tmp_path / "mots" / "train" / "clip_0-11")
    assert {line.frame for line in lines if line.track == 10_000} == {4, 5, 6}
    assert_same(readers.object_masks(tmp_path / "masks" / "masks"), sure)
    assert "doubtful" in " ".join(summary.left_out)
    texts = sorted((tmp_path / "yolo" / "labels" / "train").iterdir())
    assert [len(path.read_text().splitlines()) for path in texts] == [2, 2, 2, 0, 0, 0]


def test_only_confirmed_leaves_the_frames_that_a_human_saw_to(studio: AnnotatedStudio, tmp_path: Path) -> None:
    corrected = mask_region(3, DISCS.truth(3), "Red", "tam-red-3f", origin="prediction-changed")
    others = [each for each in disc_regions(range(6)) if each["id"] != "tam-red-3f"]
    studio.add_task({"frames": [f"/f/clip_{n}.jpg" for n in range(6)]}, [*others, corrected])
    export(studio, tmp_path / "davis", "davis", trust=Trust(only_confirmed=True))
    found, lengths = readers.davis(tmp_path / "davis")
    assert lengths == {"clip_0-11": 2}
    assert_same(found, {place: mask for place, mask in truth().items() if place in ((0, 1), (0, 2), (3, 1))})


def test_classes_are_renamed_merged_and_left_out(studio: AnnotatedStudio, tmp_path: Path) -> None:
    studio.add_task({"frames": ["a.jpg"]}, disc_regions(range(1)))
    merged = export(studio, tmp_path / "merged", class_of=class_map(["Red=disc", "Blue=disc"]))
    assert merged.classes == {"disc": 2}
    less = export(studio, tmp_path / "less", class_of=class_map(["Red="]))
    assert less.classes == {"Blue": 1}
    assert any("classes that are left out" in each for each in less.left_out)
    with pytest.raises(InvalidInputError, match="LABEL=CLASS"):
        class_map(["Red"])


def test_splits_hold_whole_videos_and_the_seed_decides(studio: AnnotatedStudio, tmp_path: Path) -> None:
    for number in range(10):
        studio.add_task({"frames": [f"/f/clip{number}.jpg"]}, disc_regions(range(1)))

    def parts(name: str, seed: int) -> dict[str, list[str]]:
        summary = export(studio, tmp_path / name, "davis", split=(0.8, 0.1, 0.1), seed=seed)
        assert summary.splits == {"train": 8, "val": 1, "test": 1}
        folder = tmp_path / name / "ImageSets" / "2017"
        return {path.stem: path.read_text().split() for path in folder.iterdir()}

    first = parts("a", 0)
    assert sorted(name for part in first.values() for name in part) == sorted(f"clip{n}-{11 + n}" for n in range(10))
    assert parts("b", 0) == first
    assert parts("c", 1) != first


def test_frames_that_are_files_are_linked_and_damaged_ones_are_left_out(
    studio: AnnotatedStudio, tmp_path: Path, pictures: list[str]
) -> None:
    Path(pictures[4]).write_bytes(b"no picture")
    studio.add_task({"frames": pictures}, disc_regions(range(6)))
    summary = export(studio, tmp_path / "davis", "davis", pictures, frames="jpg")
    folder = tmp_path / "davis" / "JPEGImages" / "Full-Resolution" / "discs_0-11"
    assert sorted(path.stem for path in folder.iterdir()) == ["00000", "00001", "00002", "00003", "00005"]
    assert (folder / "00002.jpg").samefile(pictures[2])
    _, lengths = readers.davis(tmp_path / "davis")
    assert lengths == {"discs_0-11": 5}
    assert any("Frame 4" in each for each in summary.left_out)
    export(studio, tmp_path / "png", "davis", pictures, frames="png")
    written = cv2.imread(str(next((tmp_path / "png").rglob("JPEGImages/*/*/00002.png"))))
    assert np.array_equal(written, cv2.imread(pictures[2]))


def test_damaged_regions_are_named_and_the_others_are_exported(studio: AnnotatedStudio, tmp_path: Path) -> None:
    broken = mask_region(0, DISCS.truth(0), "Red", "broken")
    broken["value"]["rle"] = [1, 2, 3]
    studio.add_task({"frames": ["a.jpg"]}, [broken, mask_region(0, DISCS.truth(0, BLUE), "Blue", "b")])
    summary = export(studio, tmp_path / "coco")
    assert summary.masks == 1
    assert any('"broken"' in each for each in summary.left_out)


def test_a_refused_key_stops_the_export_and_the_same_command_goes_on(studio: AnnotatedStudio, tmp_path: Path) -> None:
    for number in range(4):
        studio.add_task({"frames": [f"/f/clip{number}.jpg"]}, disc_regions(range(1)))
    studio.refuse_after = 7  # project, list of tasks, then two calls a task
    with pytest.raises(LabelStudioError, match="goes on") as caught:
        export(studio, tmp_path / "out", "davis")
    assert "LABEL_STUDIO_API_KEY" in caught.value.remedy
    assert [path.name for path in (tmp_path / "out").iterdir()] == [PART], "nothing is shown before it is whole"
    studio.refuse_after = None
    written = []
    with patch.object(
        type(FORMATS["davis"]), "write", autospec=True, side_effect=type(FORMATS["davis"]).write
    ) as write:
        summary = export(studio, tmp_path / "out", "davis")
        written = [call.args[1].name for call in write.call_args_list]
    assert written == ["clip2-13", "clip3-14"]
    assert summary.videos == 4
    assert len(readers.davis(tmp_path / "out")[1]) == 4
    assert not (tmp_path / "out" / PART).exists()


def test_a_video_that_was_annotated_anew_meanwhile_is_made_anew(studio: AnnotatedStudio, tmp_path: Path) -> None:
    first = studio.add_task({"frames": ["/f/a.jpg"]}, disc_regions(range(1)))
    studio.add_task({"frames": ["/f/b.jpg"]}, disc_regions(range(1)))
    studio.refuse_after = 5
    with pytest.raises(LabelStudioError):
        export(studio, tmp_path / "out", "masks")
    studio.refuse_after = None
    newer = [mask_region(0, DISCS.truth(5, RED), "Red", "tam-red-0f")]
    studio.tasks[first]["annotations"].append(studio.annotation(500, newer, "2027-01-01"))
    export(studio, tmp_path / "out", "masks")
    found = readers.object_masks(tmp_path / "out" / "masks")
    assert np.array_equal(found["a-11", 0, 1], DISCS.truth(5, RED))
    assert ("a-11", 0, 2) not in found


def test_an_earlier_export_is_replaced_whole_and_files_of_others_are_refused(
    studio: AnnotatedStudio, tmp_path: Path
) -> None:
    studio.add_task({"frames": ["/f/a.jpg"]}, disc_regions(range(1)))
    export(studio, tmp_path / "out", "davis")
    export(studio, tmp_path / "out", "coco")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"annotations", WRITTEN_LIST}
    (tmp_path / "out" / "annotations" / "mine.json").write_text("{}")
    with pytest.raises(InvalidInputError, match=r"annotations/mine\.json"):
        export(studio, tmp_path / "out", "davis")
    assert (tmp_path / "out" / "annotations" / "instances_default.json").is_file()


def test_two_exports_into_one_folder_do_not_mix(studio: AnnotatedStudio, tmp_path: Path) -> None:
    studio.add_task({"frames": ["/f/a.jpg"]}, disc_regions(range(1)))
    with DatasetFolder(tmp_path / "out", {}), pytest.raises(BusyError, match="Another export"):
        export(studio, tmp_path / "out")
    assert export(studio, tmp_path / "out").videos == 1


def test_a_full_disk_is_told_with_the_remedy(studio: AnnotatedStudio, tmp_path: Path) -> None:
    studio.add_task({"frames": ["/f/a.jpg"]}, disc_regions(range(1)))
    full = OSError(28, os.strerror(28))
    with (
        patch.object(type(FORMATS["davis"]), "write", side_effect=full),
        pytest.raises(OutputError, match="Make room, and give the same command again"),
    ):
        export(studio, tmp_path / "out", "davis")
    assert export(studio, tmp_path / "out", "davis").videos == 1


def test_nothing_to_export_is_said(studio: AnnotatedStudio, tmp_path: Path) -> None:
    studio.add_task({"frames": ["/f/a.jpg"]})
    with pytest.raises(InvalidInputError, match="Nothing to export in task 11"):
        export(studio, tmp_path / "out")


def test_many_objects_fit_into_coco_but_not_into_davis(studio: AnnotatedStudio, tmp_path: Path) -> None:
    tiny = np.zeros((20, 20), bool)
    regions = []
    for number in range(255):
        mask = tiny.copy()
        mask[number // 20, number % 20] = True
        regions.append(mask_region(0, mask, "Red", f"tam-{number}-0f"))
    studio.add_task({"frames": ["/f/a.jpg"]}, regions)
    studio.add_task({"frames": ["/f/b.jpg"]}, disc_regions(range(1)))
    summary = export(studio, tmp_path / "davis", "davis")
    assert summary.videos == 1
    assert any("a-11 is left out" in each and "Export it as COCO" in each for each in summary.left_out)
    assert export(studio, tmp_path / "coco").objects == 257


VIDEO_CONFIG = """<View>
  <Image name="pages" valueList="$frames"/>
  <BrushLabels name="shapes" toName="pages"><Label value="Red"/></BrushLabels>
  <Video name="clip" value="$video" frameRate="24"/>
  <VideoRectangle name="track" toName="clip"/>
  <Labels name="track_label" toName="clip"><Label value="Red"/></Labels>
</View>"""


def box_track(region_id: str, *keyframes: tuple[int, float]) -> dict[str, Any]:
    """Boxes of 20 % of the frame, (frame from 1, left edge in percent)."""
    sequence = [
        {"frame": frame, "enabled": True, "rotation": 0, "x": x, "y": 10, "width": 20, "height": 20}
        for frame, x in keyframes
    ]
    value = {"framesCount": DISCS.frames, "duration": 0.25, "labels": ["Red"], "sequence": sequence}
    return {"id": region_id, "from_name": "track", "to_name": "clip", "type": "videorectangle", "value": value}


def test_boxes_on_a_video_are_tracks_on_its_frames_beside_the_masks_of_the_pages(
    studio: AnnotatedStudio, tmp_path: Path
) -> None:
    clip = tmp_path / "clips" / "discs.mp4"
    clip.parent.mkdir()
    with OverlayWriter(clip, DISCS.size_hw, 24) as writer:
        for picture in DISCS:
            writer.write(picture, {})
    studio.config = VIDEO_CONFIG
    regions = [box_track("t", (1, 10), (5, 50)), mask_region(0, DISCS.truth(0), "Red", "r")]
    studio.add_task({"frames": ["/f/0.jpg"], "video": str(clip)}, regions)
    summary = export(studio, tmp_path / "coco", "coco", [str(clip)])
    assert (summary.videos, summary.masks, summary.boxes) == (2, 1, 6)
    read = json.loads((tmp_path / "coco" / "annotations" / "instances_default.json").read_text())
    [pages, video] = read["videos"]
    assert (pages["name"], video["name"], video["length"]) == ("discs-11", "discs-11-clip", 6)
    boxes = [each for each in read["annotations"] if each["video_id"] == video["id"]]
    assert [each["bbox"] for each in boxes[:3]] == [[8, 6, 16, 12], [16, 6, 16, 12], [24, 6, 16, 12]]
    assert [each["provenance"] for each in boxes] == ["human", *["propagated"] * 3, "human", "propagated"]
    assert len({each["track_id"] for each in boxes}) == 1
    assert all(each["segmentation"] == [] for each in boxes)
    summary = export(studio, tmp_path / "mots", "mots", [str(clip)])
    lines = (tmp_path / "mots" / "train" / "discs-11-clip" / "gt" / "boxes.txt").read_text().splitlines()
    assert lines[0] == "1,1,8,6,16,12,1,3,1"
    assert len(lines) == DISCS.frames


def test_a_video_that_cannot_be_opened_leaves_its_boxes_out_and_says_so(
    studio: AnnotatedStudio, tmp_path: Path
) -> None:
    studio.config = VIDEO_CONFIG
    regions = [box_track("t", (1, 10)), mask_region(0, DISCS.truth(0), "Red", "r")]
    studio.add_task({"frames": ["/f/0.jpg"], "video": "/nowhere/clip.mp4"}, regions)
    summary = export(studio, tmp_path / "coco")
    assert (summary.masks, summary.boxes) == (1, 0)
    assert any("clip-11-clip is left out" in each and "TAM_MEDIA_DIRS" in each for each in summary.left_out)


def run(studio: AnnotatedStudio, *options: str, key: str = TOKEN) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    return subprocess.run(
        [sys.executable, "-m", "tam_backend", "export", "--url", studio.url, "--api-key", key, "--project", *options],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"COLUMNS": "200", "PATH": "", "PYTHONPATH": ":".join(sys.path), "TAM_DATA_DIR": "/nonexistent"},
    )


def test_the_command_line_says_what_is_in_the_dataset_and_what_is_not(studio: AnnotatedStudio, tmp_path: Path) -> None:
    studio.add_task({"frames": ["/f/a.jpg"]}, disc_regions(range(1)))
    studio.add_task({"frames": ["/f/b.jpg"]})
    out = str(tmp_path / "out")
    done = run(studio, "3", "--format", "davis", "--out", out, "--class", "Blue=", "--annotator", "Ann@example.com")
    assert done.returncode == 0, done.stderr
    assert "1 videos, 1 frames, 1 objects, 1 masks." in done.stderr
    assert "Objects by class: Red 1." in done.stderr
    assert "Nothing to export in task 12" in done.stderr
    assert out in done.stderr
    assert_same(readers.davis(tmp_path / "out")[0], {(0, 1): DISCS.truth(0, RED)})


@pytest.mark.parametrize(
    ("options", "key", "says"),
    [
        (("4",), TOKEN, "Check the id of the project"),
        (("3",), "0" * 40, "the same command goes on"),
        (("3", "--split", "half"), TOKEN, "--split"),
        (("3", "--min-quality", "7"), TOKEN, "Give 0 to 1"),
        (("3", "--annotator", "nobody@example.com"), TOKEN, "Known are ann@example.com, ben@example.com"),
        (("3", "--task", "99"), TOKEN, "no task 99"),
    ],
)
def test_what_cannot_be_exported_is_told_in_a_sentence(
    studio: AnnotatedStudio, tmp_path: Path, options: tuple[str, ...], key: str, says: str
) -> None:
    studio.add_task({"frames": ["/f/a.jpg"]}, disc_regions(range(1)))
    done = run(studio, *options, "--format", "coco", "--out", str(tmp_path / "out"), key=key)
    assert done.returncode == 2
    assert says in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_all_pages_of_a_project_are_listed(studio: AnnotatedStudio) -> None:
    for number in range(5):
        studio.add_task({"frames": [f"/f/{number}.jpg"]})
    client = LabelStudioClient(studio.url, TOKEN)
    assert [task for task, _ in client.tasks_data(3, page_size=2)] == [11, 12, 13, 14, 15]
    assert client.users() == {"ann@example.com": 1, "ben@example.com": 2}


def test_a_page_with_polygons_only_can_be_exported(studio: AnnotatedStudio, tmp_path: Path) -> None:
    studio.config = (
        '<View><Image name="pages" value="$image"/>'
        '<PolygonLabels name="outlines" toName="pages"><Label value="Red"/></PolygonLabels></View>'
    )
    outline = {
        **mask_region(0, DISCS.truth(0), "Red", "p"), "from_name": "outlines", "type": "polygonlabels",
        "value": {"points": [[25, 25], [75, 25], [75, 75]], "polygonlabels": ["Red"]},
    }  # fmt: skip
    studio.add_task({"image": "/f/photo.jpg"}, [outline])
    assert export(studio, tmp_path / "coco").masks == 1
    assert [key[0] for key in readers.coco(tmp_path / "coco" / "annotations" / "instances_default.json")[0]] == [
        "photo-11"
    ]
