"""Datasets as their publishers lay them out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco
from written_by_hand import SIZE_HW, as_json, assert_shows, boxes_in, found, grey, indexed, picture, square, text

from tam_backend.dataset_in.inside import read_json
from tam_backend.dataset_in.read_videos import EMPTY, IGNORED, NO_BOXES
from tam_backend.dataset_in.readers import read_dataset

HEIGHT, WIDTH = SIZE_HW


def code(mask: np.ndarray) -> str:
    return coco.encode(np.asfortranarray(mask, np.uint8))["counts"].decode()


def test_davis_2017_at_480p(tmp_path: Path) -> None:
    for at in range(3):
        picture(tmp_path / f"JPEGImages/480p/bear/{at:05d}.jpg")
    indexed(tmp_path / "Annotations/480p/bear/00000.png", square(2) + 2 * square(20))
    indexed(tmp_path / "Annotations/480p/bear/00002.png", 2 * square(10) + 255 * square(20))
    dataset = read_dataset(tmp_path, "davis")
    assert dataset.classes == ("",)
    expected = {("bear", 0, 1): ("", square(2)), ("bear", 0, 2): ("", square(20)), ("bear", 2, 2): ("", square(10))}
    assert_shows(dataset, expected)
    assert dataset.left_out == {IGNORED: 1}
    [video] = dataset.videos()
    assert [frame.index for frame in video.frames()] == [0, 2], "a frame without a PNG is not annotated"


def test_davis_2016_has_one_object_in_white(tmp_path: Path) -> None:
    picture(tmp_path / "JPEGImages/480p/bear/00000.jpg")
    grey(tmp_path / "Annotations/480p/bear/00000.png", np.uint8(255) * square(3).astype(np.uint8))
    assert_shows(read_dataset(tmp_path, "davis"), {("bear", 0, 1): ("", square(3))})


@pytest.mark.parametrize("sizes", [("480p", "Full-Resolution"), ("720p",)])
def test_the_full_resolution_of_davis_is_read_where_there_are_several(tmp_path: Path, sizes: tuple[str, ...]) -> None:
    for size, left in zip(reversed(sizes), (9, 1), strict=False):
        picture(tmp_path / f"JPEGImages/{size}/bear/00000.jpg")
        indexed(tmp_path / f"Annotations/{size}/bear/00000.png", square(left))
    assert_shows(read_dataset(tmp_path, "davis"), {("bear", 0, 1): ("", square(9))})


def test_youtube_vos_names_classes_in_meta_json(tmp_path: Path) -> None:
    for at in (0, 5):
        picture(tmp_path / f"JPEGImages/0a1b/{at:05d}.jpg")
        indexed(tmp_path / f"Annotations/0a1b/{at:05d}.png", 3 * square(at))
    meta = {"videos": {"0a1b": {"objects": {"3": {"category": "penguin", "frames": ["00000", "00005"]}}}}}
    as_json(tmp_path / "meta.json", meta)
    dataset = read_dataset(tmp_path, "davis")
    assert dataset.classes == ("penguin",)
    assert_shows(dataset, {("0a1b", 0, 3): ("penguin", square(0)), ("0a1b", 1, 3): ("penguin", square(5))})


def coco_file(tmp_path: Path, annotations: list[dict], **more: object) -> Path:
    """Two images of train2017, of classes 7 (cat) and 9 (dog)."""
    for number in (11, 12):
        picture(tmp_path / f"train2017/{number:012d}.jpg")
    images = [
        {"id": number, "file_name": f"{number:012d}.jpg", "height": HEIGHT, "width": WIDTH} for number in (11, 12)
    ]
    categories = [{"id": 7, "name": "cat"}, {"id": 9, "name": "dog"}]
    content = {"images": images, "categories": categories, "annotations": annotations, **more}
    return as_json(tmp_path / "annotations/instances_train2017.json", content)


def test_plain_coco_has_images_by_themselves(tmp_path: Path) -> None:
    runs = {"size": [HEIGHT, WIDTH], "counts": code(square(20))}
    plain = {"size": [HEIGHT, WIDTH], "counts": [2, 3, HEIGHT * WIDTH - 5]}
    path = coco_file(
        tmp_path,
        [
            {"id": 1, "image_id": 11, "category_id": 7, "segmentation": [[2, 4, 8, 4, 8, 10, 2, 10]], "iscrowd": 0},
            {"id": 2, "image_id": 11, "category_id": 9, "segmentation": runs, "iscrowd": 0},
            {"id": 3, "image_id": 12, "category_id": 9, "segmentation": plain},
            {"id": 4, "image_id": 12, "category_id": 9, "segmentation": plain, "iscrowd": 1},
            {"id": 5, "image_id": 12, "category_id": 9, "segmentation": [], "bbox": [1, 2, 3, 4]},
            {
                "id": 6, "image_id": 12, "category_id": 9,
                "segmentation": {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]},
            },
        ],
    )  # fmt: skip
    column = np.zeros(SIZE_HW, bool)
    column[2:5, 0] = True
    text(tmp_path / "annotations/captions_train2017.json", "{}")
    for given in (tmp_path, path):
        dataset = read_dataset(given, "coco")
        assert dataset.classes == ("cat", "dog")
        assert_shows(
            dataset,
            {
                ("000000000011", 0, 1): ("cat", square(2)),
                ("000000000011", 0, 2): ("dog", square(20)),
                ("000000000012", 0, 1): ("dog", column),
            },
        )
        assert +dataset.left_out == {IGNORED: 1, EMPTY: 1}
        assert boxes_in(dataset) == {("000000000012", 0, 2): ("dog", (1, 2, 4, 6))}


def test_a_box_of_coco_keeps_its_track_and_what_hangs_over_the_edge_is_cut_off(tmp_path: Path) -> None:
    box = {"image_id": 11, "category_id": 7, "track_id": 5}
    coco_file(
        tmp_path,
        [
            {"id": 1, "bbox": [-4, 2, 10, 100], "score": 0.5, **box},
            {"id": 2, "bbox": [-4, 2, 3, 4], **box},
            {"id": 3, **box},
        ],
    )
    dataset = read_dataset(tmp_path, "coco")
    assert boxes_in(dataset) == {("000000000011", 0, 5): ("cat", (0, 2, 6, HEIGHT))}
    assert +dataset.left_out == {NO_BOXES: 2}


def test_a_single_file_of_coco_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = coco_file(tmp_path, [{"id": 1, "image_id": 11, "category_id": 7, "segmentation": [[2, 4, 8, 4, 8, 10]]}])
    read = []
    monkeypatch.setattr("tam_backend.dataset_in.coco_in.read_json", lambda path: read.append(path) or read_json(path))
    assert len(found(read_dataset(path, "coco"))) == 1
    assert len(read) == 1


def test_youtube_vis_has_a_track_for_each_annotation(tmp_path: Path) -> None:
    names = [f"clip/{frame:05d}.jpg" for frame in range(3)]
    for name in names:
        picture(tmp_path / "train/JPEGImages" / name)
    sizes = {"height": HEIGHT, "width": WIDTH}
    runs = {"size": [HEIGHT, WIDTH], "counts": code(square(2))}
    track = {"video_id": 1, "iscrowd": 0, **sizes}
    content = {
        "categories": [{"id": 7, "name": "dog"}, {"id": 9, "name": "cat"}],
        "videos": [{"id": 1, "file_names": names, "length": 3, **sizes}],
        "annotations": [
            {"id": 4, "category_id": 7, "segmentations": [runs, None, runs], "bboxes": [[2, 4, 6, 6]] * 3, **track},
            {"id": 6, "category_id": 9, "segmentations": [None] * 3, "bboxes": [None, [1, 2, 3, 4], [0] * 4], **track},
            {"id": 8, "category_id": 9, "segmentations": [runs, None, None], **{**track, "iscrowd": 1}},
        ],
    }  # fmt: skip
    as_json(tmp_path / "train/instances.json", content)
    for given in (tmp_path, tmp_path / "train", tmp_path / "train/instances.json"):
        dataset = read_dataset(given, "ytvis")
        assert dataset.classes == ("cat", "dog")
        assert_shows(dataset, {("clip", 0, 4): ("dog", square(2)), ("clip", 2, 4): ("dog", square(2))})
        assert +dataset.left_out == {IGNORED: 1, NO_BOXES: 1}
        assert boxes_in(dataset) == {("clip", 1, 4): ("dog", (2, 4, 8, 10)), ("clip", 1, 6): ("cat", (1, 2, 4, 6))}


def test_coco_with_videos_and_tracks_keeps_them(tmp_path: Path) -> None:
    for name in ("a/1.jpg", "a/2.jpg", "b/1.jpg"):
        picture(tmp_path / "images" / name)
    sizes = {"height": HEIGHT, "width": WIDTH}
    frames = [(1, "a/2.jpg", 1, 1), (2, "a/1.jpg", 1, 0), (3, "b/1.jpg", 2, 0)]
    images = [
        {"id": number, "file_name": name, "video_id": video, "frame_id": frame, **sizes}
        for number, name, video, frame in frames
    ]
    annotations = [
        {"id": at, "image_id": image, "category_id": 1, "track_id": track,
         "segmentation": {"size": list(SIZE_HW), "counts": code(square(left))}}
        for at, (image, track, left) in enumerate([(1, 30, 5), (2, 30, 2), (2, 30, 15), (3, 31, 8)])
    ]  # fmt: skip
    videos = [{"id": 1, "name": "first"}, {"id": 2, "name": "second"}]
    content = {"videos": videos, "images": images, "categories": [{"id": 1, "name": "dog"}], "annotations": annotations}
    as_json(tmp_path / "annotations/instances.json", content)
    expected = {
        ("first", 0, 30): ("dog", square(2) | square(15)),
        ("first", 1, 30): ("dog", square(5)),
        ("second", 0, 31): ("dog", square(8)),
    }
    assert_shows(read_dataset(tmp_path, "coco"), expected)


def test_mots_challenge(tmp_path: Path) -> None:
    folder = tmp_path / "train" / "MOTS20-02"
    for frame in (1, 2):
        picture(folder / f"img1/{frame:06d}.jpg")
    lines = [(1, 2003, 2, square(2)), (1, 10000, 10, square(20)), (2, 1001, 1, square(9)), (2, 2003, 2, square(3))]
    gt = "".join(f"{frame} {number} {kind} {HEIGHT} {WIDTH} {code(mask)}\n" for frame, number, kind, mask in lines)
    text(folder / "gt/gt.txt", gt)
    dataset = read_dataset(tmp_path, "mots")
    expected = {
        ("MOTS20-02", 0, 2003): ("pedestrian", square(2)),
        ("MOTS20-02", 1, 1001): ("car", square(9)),
        ("MOTS20-02", 1, 2003): ("pedestrian", square(3)),
    }
    assert_shows(dataset, expected)
    assert dataset.left_out == {IGNORED: 1}
    text(folder / "gt/boxes.txt", "1,7,2,3,4,5,1,1,1\n2,1,0,0,9,9,1,1,1\n2,3,-5,0,9,9,1,2,1\n2,9,90,0,9,9,1,1,1\n")
    dataset = read_dataset(tmp_path, "mots")
    # Object 1 of class 1, and 3 of class 2, are those that the masks call 1001 and 2003, which have masks there.
    assert boxes_in(dataset) == {("MOTS20-02", 0, 7): ("car", (2, 3, 6, 8))}
    assert +dataset.left_out == {IGNORED: 1, NO_BOXES: 1}
    assert found(read_dataset(folder, "mots")).keys() == expected.keys(), "one sequence alone"


def test_kitti_mots_counts_frames_from_zero(tmp_path: Path) -> None:
    for frame in (0, 1):
        picture(tmp_path / f"image_02/0002/{frame:06d}.png")
    text(tmp_path / "instances_txt/0002.txt", f"0 1005 1 {HEIGHT} {WIDTH} {code(square(4))}\n")
    assert_shows(read_dataset(tmp_path, "mots"), {("0002", 0, 1005): ("car", square(4))})


def test_yolo_of_ultralytics(tmp_path: Path) -> None:
    picture(tmp_path / "images/train/one.jpg")
    picture(tmp_path / "images/val/two.jpg")
    text(
        tmp_path / "data.yaml",
        "path: ../datasets/pets\ntrain: images/train\nval: [images/val]\nnames:\n  0: cat\n  1: dog\n",
    )
    corners = [(2, 4), (7, 4), (7, 9), (2, 9)]
    numbers = " ".join(f"{(x + 0.25) / WIDTH:.6f} {(y + 0.25) / HEIGHT:.6f}" for x, y in corners)
    text(tmp_path / "labels/train/one.txt", f"1 {numbers}\n\n0 0.5 0.5 0.2 0.2\n")
    dataset = read_dataset(tmp_path, "yolo")
    assert dataset.classes == ("cat", "dog")
    assert_shows(dataset, {("one", 0, 1): ("dog", square(2))})
    assert boxes_in(dataset) == {("one", 0, 2): ("cat", (12.8, 9.6, 19.2, 14.4))}
    assert not +dataset.left_out
    assert [list(video.frames()) for video in dataset.videos()][1] == [], "an image without a text is not annotated"


@pytest.mark.parametrize("white", [1, 255])
def test_a_picture_for_each_object(tmp_path: Path, white: int) -> None:
    for at in (0, 1):
        picture(tmp_path / f"images/clip/{at}.jpg")
    grey(tmp_path / "masks/clip/4-dog/1.png", np.uint8(white) * square(5).astype(np.uint8))
    grey(tmp_path / "masks/clip/2/0.png", np.uint8(white) * square(6).astype(np.uint8))
    dataset = read_dataset(tmp_path, "masks")
    assert dataset.classes == ("", "dog")
    assert_shows(dataset, {("clip", 1, 4): ("dog", square(5)), ("clip", 0, 2): ("", square(6))})
