"""What our own exports write, read again: the same masks, ids and classes on the same frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from annotated_studio import AnnotatedStudio, serving
from exported_discs import CONFIG, DISCS, disc_regions, export, truth, write_pictures
from synthetic import iou

from tam_backend.dataset_in.read_videos import ReadVideo
from tam_backend.dataset_in.readers import READERS, read_dataset
from tam_backend.video.images import read_image


@pytest.fixture
def studio() -> Iterator[AnnotatedStudio]:
    with serving(AnnotatedStudio(CONFIG.format(kind="BrushLabels"))) as served:
        yield served


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    return write_pictures(tmp_path / "pictures", "png")


def exported(studio: AnnotatedStudio, tmp_path: Path, pictures: list[str], form: str) -> ReadVideo:
    """The one video of an export in this format."""
    studio.add_task({"frames": pictures}, disc_regions(range(6)))
    export(studio, tmp_path / "out", form, pictures, frames="png")
    dataset = read_dataset(tmp_path / "out", form)
    assert set(dataset.classes) >= {"Red", "Blue"} and "" not in dataset.classes
    [video] = dataset.videos()
    assert not +dataset.left_out
    return video


@pytest.mark.parametrize("form", sorted(set(READERS) - {"yolo"}))
def test_masks_ids_and_classes_are_the_same_bit_for_bit(
    studio: AnnotatedStudio, tmp_path: Path, pictures: list[str], form: str
) -> None:
    video = exported(studio, tmp_path, pictures, form)
    assert len(video.files) == DISCS.frames
    for _ in range(2):  # anew with each call
        found = {
            (frame.index, each.object_id % 1000): (each.mask.array, each.label)
            for frame in video.frames()
            for each in frame.masks
        }
        assert found.keys() == truth().keys()
        for place, mask in truth().items():
            assert np.array_equal(found[place][0], mask), place
            assert found[place][1] == ("Red", "Blue")[place[1] - 1]


def test_polygons_overlap_with_their_masks(studio: AnnotatedStudio, tmp_path: Path, pictures: list[str]) -> None:
    video = exported(studio, tmp_path, pictures, "yolo")
    assert len(video.files) == DISCS.frames
    for frame in video.frames():
        assert [each.label for each in frame.masks] == ["Red", "Blue"]
        for disc, each in enumerate(frame.masks, start=1):
            assert iou(each.mask.array, DISCS.truth(frame.index, disc)) >= 0.98


def test_frames_are_the_pictures_of_the_export(studio: AnnotatedStudio, tmp_path: Path, pictures: list[str]) -> None:
    video = exported(studio, tmp_path, pictures, "coco")
    for index, file in enumerate(video.files):
        assert np.array_equal(read_image(file), DISCS[index])


def test_quality_comes_along_in_coco(studio: AnnotatedStudio, tmp_path: Path, pictures: list[str]) -> None:
    video = exported(studio, tmp_path, pictures, "coco")
    assert [frame.masks[0].quality for frame in video.frames()] == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
