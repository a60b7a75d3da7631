"""Datasets that would harm, or that are not what they say: refused, and the thing named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from written_by_hand import SIZE_HW, as_json, boxes_in, found, grey, indexed, picture, square, text

from tam_backend.dataset_in.readers import READERS, read_dataset
from tam_backend.errors import (
    InvalidInputError,
    MediaForbiddenError,
    MediaNotFoundError,
    MediaTooLargeError,
    TamError,
    UnreadableMediaError,
)

HEIGHT, WIDTH = SIZE_HW
ALL = HEIGHT * WIDTH


@pytest.mark.parametrize("form", READERS)
def test_a_folder_without_a_dataset_says_what_it_should_hold(tmp_path: Path, form: str) -> None:
    with pytest.raises(InvalidInputError, match="should hold"):
        read_dataset(tmp_path, form)
    with pytest.raises(MediaNotFoundError):
        read_dataset(tmp_path / "none", form)


def test_an_unknown_format_is_told_which_there_are(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="davis, coco, ytvis, yolo, mots, masks"):
        read_dataset(tmp_path, "voc")


def coco_with(tmp_path: Path, image: dict[str, Any] | None = None, annotation: dict[str, Any] | None = None) -> Path:
    """A dataset of one image and one annotation, with what is to be wrong in it."""
    picture(tmp_path / "data/images/one.jpg")
    sizes = {"height": HEIGHT, "width": WIDTH}
    runs = {"size": list(SIZE_HW), "counts": [0, ALL]}
    content = {
        "images": [{"id": 1, "file_name": "one.jpg", **sizes, **(image or {})}],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [{"id": 5, "image_id": 1, "category_id": 1, "segmentation": runs, **(annotation or {})}],
    }
    as_json(tmp_path / "data/annotations/a.json", content)
    return tmp_path / "data"


@pytest.mark.parametrize(
    "name", ["../secret.jpg", "/etc/passwd", "a/../../../secret.jpg", "link/secret.jpg", "x\0y.jpg"]
)
def test_images_outside_of_the_folder_are_refused(tmp_path: Path, name: str) -> None:
    root = coco_with(tmp_path, {"file_name": name})
    picture(tmp_path / "secret.jpg")
    (root / "images/link").symlink_to(tmp_path)
    with pytest.raises(MediaForbiddenError, match="not in the dataset"):
        found(read_dataset(root, "coco"))


def test_a_link_that_leads_out_is_refused_in_folders_too(tmp_path: Path) -> None:
    root = tmp_path / "data"
    indexed(root / "Annotations/480p/bear/00000.png", square(2))
    (root / "JPEGImages/480p/bear").mkdir(parents=True)
    (root / "JPEGImages/480p/bear/00000.jpg").symlink_to(picture(tmp_path / "secret.jpg"))
    with pytest.raises(MediaForbiddenError, match="not in the dataset"):
        found(read_dataset(root, "davis"))


@pytest.mark.parametrize(
    ("image", "annotation", "error", "says"),
    [
        ({"file_name": "two.jpg"}, {}, MediaNotFoundError, r"two\.jpg"),
        ({"height": 25}, {"segmentation": [[1, 1, 5, 1, 5, 5]]}, InvalidInputError, "32 x 25"),
        ({"height": 1 << 20, "width": 1 << 20}, {"segmentation": [[1, 1, 5, 1, 5, 5]]}, InvalidInputError, "1048576"),
        ({"height": 0}, {}, InvalidInputError, "32 x 0 pixels"),
        ({"height": "24"}, {}, InvalidInputError, '"height"'),
        ({"file_name": 7}, {}, InvalidInputError, '"file_name"'),
        ({"id": 2}, {}, InvalidInputError, "image 1"),
        ({}, {"category_id": 3}, InvalidInputError, "category 3"),
        ({}, {"track_id": -1}, InvalidInputError, "track_id"),
        ({}, {"track_id": 10**13}, InvalidInputError, "track_id"),
        ({}, {"track_id": "a"}, InvalidInputError, "track_id"),
        ({}, {"segmentation": {"size": [24, 33], "counts": [0, 24 * 33]}}, InvalidInputError, "32 x 24"),
        ({}, {"segmentation": {"size": [24, 32], "counts": [0, 1 << 60]}}, InvalidInputError, "annotation 5"),
        ({}, {"segmentation": {"size": [24, 32], "counts": "ooooooooooooooooooooooo0"}}, InvalidInputError, "damaged"),
        ({}, {"segmentation": {"size": [24, 32]}}, InvalidInputError, "no run lengths"),
        ({}, {"segmentation": [[1, 1, 1e9, 1, 5, 5]]}, InvalidInputError, "outside of its frame"),
        ({}, {"segmentation": "all of it"}, InvalidInputError, "annotation 5"),
    ],
)  # fmt: skip
def test_coco_that_is_wrong(
    tmp_path: Path, image: dict[str, Any], annotation: dict[str, Any], error: type[TamError], says: str
) -> None:
    with pytest.raises(error, match=says):
        found(read_dataset(coco_with(tmp_path, image, annotation), "coco"))


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"images": 3}', "[" * 100_000, '{"images": [1], "categories": []}']
)
def test_json_that_is_no_coco(tmp_path: Path, content: str) -> None:
    text(tmp_path / "annotations/a.json", content)
    with pytest.raises(InvalidInputError, match=r"a\.json"):
        read_dataset(tmp_path, "coco")


def test_two_images_of_one_id_are_refused(tmp_path: Path) -> None:
    root = coco_with(tmp_path)
    path = root / "annotations/a.json"
    content = json.loads(path.read_text())
    as_json(path, {**content, "images": content["images"] * 2})
    with pytest.raises(InvalidInputError, match="two images with the id 1"):
        found(read_dataset(root, "coco"))


def davis(tmp_path: Path) -> Path:
    for at in range(2):
        picture(tmp_path / f"JPEGImages/480p/bear/{at:05d}.jpg")
        indexed(tmp_path / f"Annotations/480p/bear/{at:05d}.png", square(2))
    return tmp_path


def test_masks_without_their_frame_are_named(tmp_path: Path) -> None:
    (davis(tmp_path) / "JPEGImages/480p/bear/00001.jpg").unlink()
    with pytest.raises(MediaNotFoundError, match=r"bear has masks without a picture.*00001\.png"):
        found(read_dataset(tmp_path, "davis"))


def test_a_mask_of_another_size_is_named(tmp_path: Path) -> None:
    indexed(davis(tmp_path) / "Annotations/480p/bear/00001.png", np.ones((12, 16)))
    with pytest.raises(InvalidInputError, match=r"bear/00001\.png is 16 x 12 pixels.*32 x 24"):
        found(read_dataset(tmp_path, "davis"))


def test_a_mask_in_colours_or_damaged_is_named(tmp_path: Path) -> None:
    path = davis(tmp_path) / "Annotations/480p/bear/00001.png"
    grey(path, np.zeros((*SIZE_HW, 3), np.uint8))
    with pytest.raises(InvalidInputError, match=r"00001\.png is a picture in colours"):
        found(read_dataset(tmp_path, "davis"))
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UnreadableMediaError, match=r"00001\.png"):
        found(read_dataset(tmp_path, "davis"))


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_huge_mask_is_refused_by_its_header(tmp_path: Path) -> None:
    path = davis(tmp_path) / "Annotations/480p/bear/00001.png"
    Image.new("1", (1 << 14, 1 << 13)).save(path)
    with pytest.raises(MediaTooLargeError, match=r"00001\.png"):
        found(read_dataset(tmp_path, "davis"))


@pytest.mark.parametrize("content", ["[]", '{"videos": [{"name": "bear"}]}', "{", '{"videos": 5}'])
def test_a_damaged_sidecar_is_named(tmp_path: Path, content: str) -> None:
    text(davis(tmp_path) / "attributes.json", content)
    with pytest.raises(InvalidInputError, match=r"attributes\.json"):
        read_dataset(tmp_path, "davis")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("1 2001 2 24 32", "Line 1"),
        ("1 2001 2 24 x aa", "Line 1"),
        ("1 0 2 24 32 `06", "out of range"),
        ("3 2001 2 24 32 `0", r"frames without a picture: 3"),
        ("1 2001 5 24 32 `0", "Class 5 in line 1"),
        ("1 2001 2 25 32 `0", "line 1 of seq/gt.txt is 32 x 25"),
        ("1 2001 2 24 32 zzz", "damaged"),
        ("1 2001 2 24 32 1", "line 1 of seq/gt.txt make"),
    ],
)
def test_mots_that_is_wrong(tmp_path: Path, line: str, says: str) -> None:
    picture(tmp_path / "train/seq/img1/000001.jpg")
    text(tmp_path / "train/seq/gt/gt.txt", line + "\n")
    with pytest.raises((InvalidInputError, MediaNotFoundError), match=says):
        found(read_dataset(tmp_path, "mots"))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("1,7,2,3,4,5", "Line 1"),
        ("1,7,2,3,4,x,1,2,1", "Line 1"),
        ("nan,7,2,3,4,5,1,2,1", "Line 1"),
        ("1,0,2,3,4,5,1,2,1", "out of range"),
        ("1,7,2,3,inf,5,1,2,1", "out of range"),
        ("1,7,2,3,4,5,1,9,1", "Class 9 in line 1 of seq/boxes.txt"),
        ("3,7,2,3,4,5,1,2,1", "frames without a picture: 3"),
    ],
)
def test_boxes_of_mots_that_are_wrong(tmp_path: Path, line: str, says: str) -> None:
    picture(tmp_path / "train/seq/img1/000001.jpg")
    text(tmp_path / "train/seq/gt/gt.txt", "")
    text(tmp_path / "train/seq/gt/boxes.txt", line + "\n")
    with pytest.raises((InvalidInputError, MediaNotFoundError), match=says):
        boxes_in(read_dataset(tmp_path, "mots"))


@pytest.mark.parametrize(
    ("yaml", "line", "says"),
    [
        ("train: images\nnames: [dog]", "0 0.1 0.1 0.2", "neither box nor polygon"),
        ("train: images\nnames: [dog]", "0 0.1 0.1 0.2 0.2 7 0.1", "outside of 0 to 1"),
        ("train: images\nnames: [dog]", "0 0.1 0.1 0.2 0.2 nan 0.1", "outside of 0 to 1"),
        ("train: images\nnames: [dog]", "dog 0.1 0.1 0.2 0.2 0.2 0.1", "not a class and numbers"),
        ("train: images\nnames: [dog]", "1 0.1 0.1 0.2 0.2 0.2 0.1", "class 1"),
        ("train: images", "", "names no classes"),
        ("train: images\nnames: {a: b}", "", "not number and name"),
        ("train: ../images\nnames: [dog]", "", "not in the dataset"),
        ("train: none\nnames: [dog]", "", "should hold"),
        ("train: list.txt\nnames: [dog]", "", "only folders"),
        ("- a", "", "says nothing of a dataset"),
        ("names: !!python/object/apply:os.system [ls]", "", "is no YAML"),
    ],
)
def test_yolo_that_is_wrong(tmp_path: Path, yaml: str, line: str, says: str) -> None:
    picture(tmp_path / "data/images/one.jpg")
    text(tmp_path / "data/labels/one.txt", line)
    text(tmp_path / "data/dataset.yaml", yaml)
    with pytest.raises(TamError, match=says):
        found(read_dataset(tmp_path / "data", "yolo"))


def test_folders_of_masks_that_tell_no_object_are_named(tmp_path: Path) -> None:
    grey(tmp_path / "masks/clip/dog/0.png", np.zeros(SIZE_HW, np.uint8))
    with pytest.raises(InvalidInputError, match="dog tells no object"):
        read_dataset(tmp_path, "masks")
    (tmp_path / "masks/clip/dog").rename(tmp_path / "masks/clip/1-dog")
    (tmp_path / "masks/clip/01-cat").mkdir()
    with pytest.raises(InvalidInputError, match="two folders of object 1"):
        read_dataset(tmp_path, "masks")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    image=st.dictionaries(st.sampled_from(["id", "file_name", "height", "width", "video_id", "frame_id"]), JSON),
    annotation=st.dictionaries(
        st.sampled_from(["id", "image_id", "category_id", "segmentation", "bbox", "track_id", "iscrowd", "quality"]),
        JSON,
    ),
)
def test_any_json_in_coco_is_read_or_refused(tmp_path: Path, image: dict[str, Any], annotation: dict[str, Any]) -> None:
    try:
        dataset = read_dataset(coco_with(tmp_path, image, annotation), "coco")
        shown, boxes = found(dataset), boxes_in(dataset)
    except TamError:
        return
    assert all(mask.shape == SIZE_HW for _, mask in shown.values())
    assert all(0 <= x0 <= x1 <= WIDTH and 0 <= y0 <= y1 <= HEIGHT for _, (x0, y0, x1, y1) in boxes.values())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    video=st.dictionaries(st.sampled_from(["id", "file_names", "height", "width"]), JSON),
    annotation=st.dictionaries(
        st.sampled_from(["id", "video_id", "category_id", "segmentations", "bboxes", "iscrowd"]), JSON
    ),
)
def test_any_json_in_youtube_vis_is_read_or_refused(
    tmp_path: Path, video: dict[str, Any], annotation: dict[str, Any]
) -> None:
    picture(tmp_path / "data/JPEGImages/clip/0.jpg")
    runs = {"size": list(SIZE_HW), "counts": [0, ALL]}
    content = {
        "videos": [{"id": 1, "file_names": ["clip/0.jpg"], "height": HEIGHT, "width": WIDTH, **video}],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [{"id": 5, "video_id": 1, "category_id": 1, "segmentations": [runs], **annotation}],
    }
    as_json(tmp_path / "data/instances.json", content)
    try:
        dataset = read_dataset(tmp_path / "data", "ytvis")
        shown, boxes = found(dataset), boxes_in(dataset)
    except TamError:
        return
    assert all(mask.shape == SIZE_HW for _, mask in shown.values())
    assert all(0 <= x0 <= x1 <= WIDTH and 0 <= y0 <= y1 <= HEIGHT for _, (x0, y0, x1, y1) in boxes.values())
