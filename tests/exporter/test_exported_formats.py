"""Every format of dataset, read back by its own ecosystem's reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dataset_readers as readers
import numpy as np
import pytest
from annotated_studio import AnnotatedStudio
from exported_discs import CONFIG, DISCS, RED, assert_same, disc_regions, export, mask_region, truth
from synthetic import iou

from tam_backend.export.overlay_video import OverlayWriter
from tam_backend.export.trust import Trust


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


def test_boxes_that_another_model_put_on_a_video_are_nobodys(studio: AnnotatedStudio, tmp_path: Path) -> None:
    clip = tmp_path / "clips" / "discs.mp4"
    clip.parent.mkdir()
    with OverlayWriter(clip, DISCS.size_hw, 24) as writer:
        for picture in DISCS:
            writer.write(picture, {})
    studio.config = VIDEO_CONFIG
    said, moved = box_track("t", (1, 10), (5, 50)), box_track("t", (1, 10), (5, 55))
    task = studio.add_task({"video": str(clip)}, [{**moved, "origin": "prediction"}], predicted=[said])
    studio.tasks[task]["annotations"][0]["parent_prediction"] = task
    export(studio, tmp_path / "coco", "coco", [str(clip)])
    read = json.loads((tmp_path / "coco" / "annotations" / "instances_default.json").read_text())
    assert [each["provenance"] for each in read["annotations"]] == [*["propagated"] * 4, "human", "propagated"]


def test_a_video_that_cannot_be_opened_leaves_its_boxes_out_and_says_so(
    studio: AnnotatedStudio, tmp_path: Path
) -> None:
    studio.config = VIDEO_CONFIG
    regions = [box_track("t", (1, 10)), mask_region(0, DISCS.truth(0), "Red", "r")]
    studio.add_task({"frames": ["/f/0.jpg"], "video": "/nowhere/clip.mp4"}, regions)
    summary = export(studio, tmp_path / "coco")
    assert (summary.masks, summary.boxes) == (1, 0)
    assert any("clip-11-clip is left out" in each and "TAM_MEDIA_DIRS" in each for each in summary.left_out)
