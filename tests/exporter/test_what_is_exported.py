"""Which annotations, videos, frames and masks of a project become a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import dataset_readers as readers
import numpy as np
import pytest
from annotated_studio import TOKEN, AnnotatedStudio
from exported_discs import BLUE, DISCS, RED, assert_same, disc_regions, export, mask_region, truth

from tam_backend.errors import InvalidInputError
from tam_backend.export.trust import Trust
from tam_backend.exporter import class_map
from tam_backend.labelstudio.client import LabelStudioClient
from tam_backend.labelstudio.submitted import Choice


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


def test_an_ordinary_polygon_that_would_take_all_memory_is_left_out_and_counted(
    studio: AnnotatedStudio, tmp_path: Path
) -> None:
    def outline(region_id: str, points: list[list[float]]) -> dict[str, Any]:
        return {
            **mask_region(0, DISCS.truth(0), "Red", region_id), "from_name": "outlines", "type": "polygonlabels",
            "value": {"points": points, "polygonlabels": ["Red"]},
        }  # fmt: skip

    zigzag = [[at / 1000, 100 * (at % 2)] for at in range(100_000)]
    drawn = [outline("ragged", zigzag), outline("far out", [[25, 25], [1e8, 25], [75, 75]])]
    studio.add_task({"frames": ["a.jpg"]}, drawn)
    summary = export(studio, tmp_path / "masks", "masks")
    assert len(readers.object_masks(tmp_path / "masks" / "masks")) == 1
    assert any("too ragged" in each for each in summary.left_out)


def test_only_confirmed_leaves_the_frames_that_a_human_saw_to(studio: AnnotatedStudio, tmp_path: Path) -> None:
    corrected = mask_region(3, DISCS.truth(3), "Red", "tam-red-3f", origin="prediction-changed")
    others = [each for each in disc_regions(range(6)) if each["id"] != "tam-red-3f"]
    [answers_a_box] = [each for each in others if each["id"] == "tam-blue-5f"]
    answers_a_box["meta"] = {"tam_source": "started"}
    studio.add_task({"frames": [f"/f/clip_{n}.jpg" for n in range(6)]}, [*others, corrected])
    export(studio, tmp_path / "davis", "davis", trust=Trust(only_confirmed=True))
    found, lengths = readers.davis(tmp_path / "davis")
    assert lengths == {"clip_0-11": 2}
    assert_same(found, {place: mask for place, mask in truth().items() if place in ((0, 1), (0, 2), (3, 1))})


def test_other_models_predictions_that_were_made_annotations_in_bulk_are_not_confirmed(
    studio: AnnotatedStudio, tmp_path: Path
) -> None:
    """Label Studio's action copies them as they are: without an origin, which the editor would have written."""
    copied = [mask_region(frame, DISCS.truth(frame), "Red", f"other-{frame}") for frame in range(3)]
    changed = mask_region(3, DISCS.truth(3), "Red", "other-3", origin="prediction-changed")
    task = studio.add_task({"frames": [f"/f/clip_{n}.jpg" for n in range(4)]}, [*copied, changed])
    studio.tasks[task]["annotations"][0]["parent_prediction"] = 12
    export(studio, tmp_path / "all", "davis")
    assert readers.davis(tmp_path / "all")[1] == {"clip_0-11": 4}
    export(studio, tmp_path / "confirmed", "davis", trust=Trust(only_confirmed=True))
    assert readers.davis(tmp_path / "confirmed")[1] == {"clip_0-11": 1}


def test_what_was_made_an_annotation_in_bulk_and_saved_in_the_editor_is_compared_with_its_prediction(
    studio: AnnotatedStudio, tmp_path: Path
) -> None:
    """The editor calls all of it "manual"."""
    said = [mask_region(frame, DISCS.truth(frame), "Red", f"other-{frame}") for frame in range(3)]
    saved = [{**each, "origin": "manual"} for each in said]
    saved[1] = mask_region(1, DISCS.truth(2), "Red", "other-1", origin="manual")
    task = studio.add_task({"frames": [f"/f/clip_{n}.jpg" for n in range(3)]}, saved, predicted=said)
    studio.tasks[task]["annotations"][0]["parent_prediction"] = task
    export(studio, tmp_path / "confirmed", "davis", trust=Trust(only_confirmed=True))
    assert readers.davis(tmp_path / "confirmed")[1] == {"clip_0-11": 1}


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
    assert any("Frames 4 of discs_0-11 (1) are left out" in each for each in summary.left_out)
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


def test_nothing_to_export_is_said(studio: AnnotatedStudio, tmp_path: Path) -> None:
    studio.add_task({"frames": ["/f/a.jpg"]})
    with pytest.raises(InvalidInputError, match="Nothing to export in task 11"):
        export(studio, tmp_path / "out")


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


def test_a_region_on_a_page_that_its_task_lacks_is_not_taken_for_one_of_the_next_task(
    studio: AnnotatedStudio, tmp_path: Path
) -> None:
    chain = {"part": 1, "parts": 2, "previous_task": None, "next_task": 12}
    studio.add_task({"frames": ["a_0.jpg"], "chain": chain}, disc_regions(range(3)))
    second = {**chain, "part": 2, "previous_task": 11, "next_task": None}
    studio.add_task({"frames": ["a_1.jpg"], "chain": second}, [])
    summary = export(studio, tmp_path / "davis", "davis")
    assert (summary.frames, summary.masks) == (2, 2)
    assert any("a page that its task does not have. (4 times)" in each for each in summary.left_out)


def test_half_a_character_in_a_note_harms_nothing(studio: AnnotatedStudio, tmp_path: Path) -> None:
    region = mask_region(0, DISCS.truth(0), "Red", "r", meta={"text": ["\ud83d"]})
    studio.add_task({"frames": ["a.jpg"]}, [region])
    for form in ("coco", "davis"):
        assert export(studio, tmp_path / form, form).masks == 1
