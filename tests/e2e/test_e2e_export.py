"""From work in a real Label Studio to datasets of every format, each read back by its reader, and to tasks again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import dataset_readers as readers
import numpy as np
import pytest
from labelling import DISCS, FRAME_CONFIGS, Project, import_video
from masks_of import label_of, mask_of, masks_by_page
from synthetic import iou

from demo.annotator import Region
from demo.backend import BackendServer, console_script
from tam_backend.labelstudio.encoding import encode_bitmask, encode_brush
from tam_backend.types import BoolMask
from tam_backend.video import open_video

pytestmark = pytest.mark.e2e
RED, BLUE = 1, 2
CORRECTED = 6
FORMATS = ("davis", "coco", "ytvis", "yolo", "mots", "masks", "overlay")


def export(backend: BackendServer, project: int, form: str, out: Path, *options: str) -> str:
    """Run the real `tam-backend export`; return what it says."""
    done = subprocess.run(
        [console_script(), "export", "--project", str(project), "--format", form, "--out", str(out), *options],
        env={**os.environ, **backend.env, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr


def labelled(project: Project) -> list[Region]:
    """Click both discs, propagate, correct one mask, submit; return what was submitted."""
    ask, page = project.annotator.ask, project.page(0)
    clicked = []
    for disc, label in ((RED, "Red"), (BLUE, "Blue")):
        clicked += ask(
            project.ml_backend, project.task, [page.click(project.tags.clicks, DISCS.centre(0, disc), label)]
        )
    draft = project.annotator.save_draft(project.task, clicked)
    go = page.click(project.tags.clicks, DISCS.centre(0, RED), "Propagate")
    by_id = {each["id"]: each for each in (*clicked, *ask(project.ml_backend, project.task, [go]))}
    project.annotator.call("DELETE", f"/api/drafts/{draft}")
    submitted = [
        corrected(each) if each["item_index"] == CORRECTED and label_of(each) == "Red" else each
        for each in by_id.values()
    ]
    project.annotator.save_annotation(project.task, submitted)
    return submitted


def corrected(region: Region) -> Region:
    truth = DISCS.truth(CORRECTED, RED)
    shape = (
        {"imageDataURL": encode_bitmask(truth)} if "imageDataURL" in region["value"] else {"rle": encode_brush(truth)}
    )
    return {**region, "value": {**region["value"], **shape}, "origin": "prediction-changed"}


def flat(masks: dict[tuple[int, str], BoolMask]) -> dict[tuple[int, str], BoolMask]:
    """Without what lies under another mask: blue is the second object, and on top."""
    return {
        (frame, label): mask & ~masks[frame, "Blue"] if label == "Red" and (frame, "Blue") in masks else mask
        for (frame, label), mask in masks.items()
    }


def assert_same(found: dict[tuple[int, str], BoolMask], expected: dict[tuple[int, str], BoolMask]) -> None:
    assert found.keys() == expected.keys()
    for place, mask in expected.items():
        assert np.array_equal(found[place], mask), place


@pytest.mark.parametrize("kind", ["BrushLabels", "BitmaskLabels"])
def test_every_format_holds_the_masks_that_were_submitted_and_brings_them_into_another_project(
    new_project: Callable[[str], Project], backend: BackendServer, discs_video: Path, tmp_path: Path, kind: str
) -> None:
    import supervision as sv

    project = new_project(FRAME_CONFIGS[kind])
    masks = {(each["item_index"], label_of(each)): mask_of(each) for each in labelled(project)}
    assert len(masks) == 2 * DISCS.frames
    assert np.array_equal(masks[CORRECTED, "Red"], DISCS.truth(CORRECTED, RED))
    for form in FORMATS:
        told = export(backend, project.id, form, tmp_path / form, "--frames", "jpg")
        assert f"1 videos, {DISCS.frames} frames, 2 objects, {len(masks)} masks" in told
    name = f"discs-{project.task}"
    of_id = {1: "Red", 2: "Blue"}

    in_davis, lengths = readers.davis(tmp_path / "davis")
    assert lengths == {name: DISCS.frames}
    assert_same({(frame, of_id[number]): mask for (_, frame, number), mask in in_davis.items()}, flat(masks))
    frame = tmp_path / "davis" / "JPEGImages" / "Full-Resolution" / name / "00003.jpg"
    assert frame.is_file()

    in_coco, read = readers.coco(tmp_path / "coco" / "annotations" / "instances_default.json")
    assert_same({(frame, of_id[number]): mask for (_, frame, number), mask in in_coco.items()}, masks)
    made_by = {(each["image_id"] - 1, each["labels"][0]): each["provenance"] for each in read.dataset["annotations"]}
    assert made_by[CORRECTED, "Red"] == "human"
    assert made_by[0, "Red"] == "prompt"
    assert made_by[4, "Blue"] == "propagated"

    tracks = readers.youtube_vis(tmp_path / "ytvis" / "train" / "instances.json")
    in_tracks = {(at, of_id[each["category_id"]]): mask for each in tracks for at, mask in enumerate(each["masks"])}
    assert_same(in_tracks, masks)

    lines = readers.mots(tmp_path / "mots" / "train" / name)
    assert_same({(line.frame - 1, of_id[line.track % 1000]): line.mask for line in lines}, flat(masks))

    in_files = readers.object_masks(tmp_path / "masks" / "masks")
    assert_same({(frame, of_id[number]): mask for (_, frame, number), mask in in_files.items()}, masks)

    folder = tmp_path / "yolo"
    read_by_yolo = sv.DetectionDataset.from_yolo(
        str(folder / "images" / "train"),
        str(folder / "labels" / "train"),
        str(folder / "dataset.yaml"),
        force_masks=True,
    )
    for path, _, found in read_by_yolo:
        for mask, class_id in zip(found.mask, found.class_id, strict=True):
            place = int(Path(path).stem.rpartition("_")[2]), read_by_yolo.classes[class_id]
            assert iou(mask, masks[place]) >= 0.98
    with open_video(tmp_path / "overlay" / f"{name}.mp4") as film:
        assert (len(film), film.size_hw) == (DISCS.frames, DISCS.size_hw)
        shown = film[CORRECTED][masks[CORRECTED, "Blue"]].mean(axis=0)
    with open_video(discs_video) as film:
        plain = film[CORRECTED][masks[CORRECTED, "Blue"]].mean(axis=0)
    assert np.abs(shown - plain).max() > 20, "the mask is drawn on the film"

    for form, expected in (("davis", flat(masks)), ("coco", masks)):
        second = project.annotator.create_project(f"from {form}", FRAME_CONFIGS[kind])
        import_video(backend, tmp_path / form, second, "--format", form)
        [task] = project.annotator.tasks(second)
        [held] = project.annotator.predictions(int(task["id"]))
        assert_same(masks_by_page([held["result"]], DISCS.frames), expected)


def test_a_chain_of_tasks_is_one_video_again_and_predictions_can_be_exported(
    new_project: Callable[[str], Project], backend: BackendServer, discs_video: Path, tmp_path: Path
) -> None:
    project = new_project(FRAME_CONFIGS["BitmaskLabels"])
    import_video(backend, discs_video, project.id, "--max-frames", "4")
    first, second, third = (int(each["id"]) for each in project.annotator.tasks(project.id)[1:])

    def drawn(pages: range) -> list[Region]:
        return [
            {
                "id": f"hand-{frame}",
                "from_name": "shapes",
                "to_name": "pages",
                "type": "bitmasklabels",
                "original_width": DISCS.width,
                "original_height": DISCS.height,
                "image_rotation": 0,
                "item_index": frame - pages.start,
                "value": {"imageDataURL": encode_bitmask(DISCS.truth(frame, RED)), "bitmasklabels": ["Red"]},
            }
            for frame in pages
        ]

    project.annotator.save_annotation(first, drawn(range(4)))
    project.annotator.save_annotation(second, drawn(range(4, 8)))
    project.annotator.save_prediction(third, drawn(range(8, 10)), "compact", 0.9)

    told = export(backend, project.id, "davis", tmp_path / "submitted", "--task", str(second))
    assert f"Nothing to export in task {third}" in told
    masks, lengths = readers.davis(tmp_path / "submitted")
    assert lengths == {f"discs-{first}": 8}
    both = tmp_path / "both"
    export(
        backend, project.id, "davis", both, "--source", "both", "--task", str(first), "--annotator", "admin@example.com"
    )
    masks, lengths = readers.davis(both)
    assert lengths == {f"discs-{first}": 10}
    assert {number for _, _, number in masks} == {1}, "one object over the whole video"
    for (_, frame, _), mask in masks.items():
        # The backend, too, predicts the third task, from how the second one ends; the newest prediction counts.
        assert iou(mask, DISCS.truth(frame, RED)) > (0.6 if frame >= 8 else 0.999)
