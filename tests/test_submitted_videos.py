"""What of a project is learnt from: what people drew, corrected or clicked and submitted, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from annotated_studio import TOKEN, AnnotatedStudio, serving
from exported_discs import BLUE, CONFIG, DISCS, RED, disc_regions, mask_region, write_pictures

from tam_backend.errors import CancelledError, InvalidInputError, LabelStudioError
from tam_backend.labelstudio.client import LabelStudioClient
from tam_backend.settings import Settings
from tam_backend.submitted_videos import SubmittedVideos, submitted_videos
from tam_backend.types import VideoSource
from tam_backend.video.fetch import MediaFetcher


@pytest.fixture
def studio() -> Iterator[AnnotatedStudio]:
    with serving(AnnotatedStudio(CONFIG.format(kind="BrushLabels"))) as served:
        yield served


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    return write_pictures(tmp_path / "pictures", "png")


def by_hand(*frames: int, disc: int = RED) -> list[dict[str, Any]]:
    label = {RED: "Red", BLUE: "Blue"}[disc]
    return [mask_region(frame, DISCS.truth(frame, disc), label, f"hand-{label}-{frame}") for frame in frames]


def emptied(*frames: int) -> list[dict[str, Any]]:
    return [mask_region(frame, DISCS.truth(frame) & False, "Red", f"empty-{frame}") for frame in frames]


def read(studio: AnnotatedStudio, pictures: list[str], **more: Any) -> SubmittedVideos:
    fetcher = MediaFetcher(Settings(media_dirs=(Path(pictures[0]).parent,), data_dir=Path(pictures[0]).parent / "data"))

    def open_media(value: Any, task: int) -> VideoSource:
        return fetcher.open_media(value, task_id=task)

    client = LabelStudioClient(studio.url, more.pop("key", TOKEN))
    more = {"most": 10} | more
    with submitted_videos(client, more.pop("project", 3), open_media, **more) as found:
        for each in found.videos:
            assert np.array_equal(each.video[2], DISCS[2]), "its frames are open"
        return found


def test_only_frames_that_a_human_confirmed_are_learnt_from(studio: AnnotatedStudio, pictures: list[str]) -> None:
    tracked = disc_regions(range(6))  # clicked on frame 0, tracked on the others
    corrected = [region for region in tracked if region["item_index"] != 3] + by_hand(3) + by_hand(3, disc=BLUE)
    studio.add_task({"frames": pictures}, corrected)
    studio.add_task({"frames": pictures}, by_hand(1, 4))
    first, second = read(studio, pictures).videos
    assert list(first.masks) == [0, 3]
    assert list(second.masks) == [1, 4]
    assert np.array_equal(first.masks[3] == 1, DISCS.truth(3, RED) & ~DISCS.truth(3, BLUE))
    assert np.array_equal(first.masks[3] == 2, DISCS.truth(3, BLUE))
    assert first.name != second.name


def test_an_object_that_nobody_vouches_for_is_not_taken_for_absent(
    studio: AnnotatedStudio, pictures: list[str]
) -> None:
    """Blue was clicked on one page only: elsewhere nobody said where it is."""
    studio.add_task({"frames": pictures}, [*by_hand(0, 2, 5), *by_hand(0, disc=BLUE)])
    studio.add_task({"frames": pictures}, by_hand(1, 4))
    first, _ = read(studio, pictures).videos
    assert list(first.masks) == [0, 2, 5]
    assert set(np.unique(first.masks[0])) == {0, 1}


def test_predictions_skipped_tasks_and_older_annotations_are_not_learnt_from(
    studio: AnnotatedStudio, pictures: list[str]
) -> None:
    studio.add_task({"frames": pictures}, by_hand(0, 1, 2), by_hand(3, 4))
    studio.add_task({"frames": pictures}, by_hand(1, 4))
    studio.add_task({"frames": pictures}, predicted=by_hand(1, 4))
    skipped = studio.add_task({"frames": pictures}, by_hand(1, 4))
    studio.tasks[skipped]["annotations"][0]["was_cancelled"] = True
    found = read(studio, pictures)
    assert [list(each.masks) for each in found.videos] == [[3, 4], [1, 4]]
    assert any("Nothing is submitted in 2 tasks" in each for each in found.left_out)


def test_masks_that_answer_a_detector_are_learnt_from_where_a_human_corrected_them(
    studio: AnnotatedStudio, pictures: list[str]
) -> None:
    answers = [{**each, "meta": {"tam_source": "started"}} for each in disc_regions(range(6))]
    corrected = [{**each, "origin": "prediction-changed"} if each["item_index"] in (2, 4) else each for each in answers]
    for result in (answers, corrected, corrected):
        studio.add_task({"frames": pictures}, result)
    found = read(studio, pictures)
    assert [list(each.masks) for each in found.videos] == [[2, 4]] * 2
    assert sum("nobody drew, corrected or clicked" in each for each in found.left_out) == 1


def test_other_models_predictions_that_were_made_annotations_in_bulk_are_not_learnt_from(
    studio: AnnotatedStudio, pictures: list[str]
) -> None:
    copied = by_hand(0, 1, 2)  # as other models say it: without an origin
    changed, drawn = (
        [{**each, "origin": origin} for each in by_hand(frame)]
        for frame, origin in ((3, "prediction-changed"), (5, "manual"))
    )
    for _ in range(2):
        task = studio.add_task({"frames": pictures}, [*copied, *changed, *drawn])
        studio.tasks[task]["annotations"][0]["parent_prediction"] = 12
    assert [list(each.masks) for each in read(studio, pictures).videos] == [[3, 5]] * 2


@pytest.mark.parametrize(
    ("regions", "says", "missing"),
    [
        ([], "there is none", "two videos"),
        ([by_hand(0, 1)], "there is one of them", "another video"),
        ([by_hand(0, 1), by_hand(2)], "there is one of them", "another video"),
        ([by_hand(0, 1), disc_regions(range(1, 6))], "nobody drew, corrected or clicked", "another video"),
        ([emptied(0, 1)] * 2, r"discs_0-11 was left out: all its masks are empty\.", "two videos"),
        ([by_hand(0, 1), [*disc_regions(range(1, 3)), *emptied(4, 5)]], "people drew, .* are empty", "another video"),
    ],
    ids=[
        "nothing",
        "one video",
        "one mask on the second",
        "tracked only",
        "empty masks",
        "tracked, and emptied by people",
    ],
)
def test_too_little_is_refused_with_what_is_missing(
    studio: AnnotatedStudio, pictures: list[str], regions: list[Any], says: str, missing: str
) -> None:
    for each in regions:
        studio.add_task({"frames": pictures}, each)
    with pytest.raises(InvalidInputError, match=says) as told:
        read(studio, pictures)
    assert f"Label and submit {missing}:" in told.value.remedy


def test_tasks_in_which_nothing_is_submitted_take_one_sentence_however_many_they_are(
    studio: AnnotatedStudio, pictures: list[str]
) -> None:
    for result in (by_hand(0, 1), by_hand(2, 3)):
        studio.add_task({"frames": pictures}, result)
    waiting = [studio.add_task({"frames": pictures}) for _ in range(7)]
    first_five = ", ".join(map(str, waiting[:5]))
    assert read(studio, pictures).left_out == (f"Nothing is submitted in 7 tasks ({first_five} ..).",)


def test_a_video_that_is_gone_is_named_and_the_others_are_learnt_from(
    studio: AnnotatedStudio, pictures: list[str]
) -> None:
    studio.add_task({"frames": [f"{pictures[0]}-gone"] * 6}, by_hand(0, 1))
    studio.add_task({"frames": pictures}, by_hand(0, 1))
    studio.add_task({"frames": pictures}, by_hand(2, 3))
    found = read(studio, pictures)
    assert len(found.videos) == 2
    assert any("gone" in each for each in found.left_out)


def test_the_stamp_changes_with_what_there_is_to_learn_from(studio: AnnotatedStudio, pictures: list[str]) -> None:
    studio.add_task({"frames": pictures}, by_hand(0, 1))
    studio.add_task({"frames": pictures}, by_hand(0, 1))
    before = read(studio, pictures).stamp
    assert read(studio, pictures).stamp == before
    studio.add_task({"frames": pictures}, by_hand(2, 3))
    assert read(studio, pictures).stamp != before


def test_of_many_videos_those_of_the_newest_tasks_are_opened_and_the_others_are_said(
    studio: AnnotatedStudio, pictures: list[str]
) -> None:
    studio.add_task({"frames": [f"{pictures[0]}-gone"] * 6}, by_hand(0, 1))
    studio.add_task({"frames": pictures}, by_hand(0, 1))
    studio.add_task({"frames": pictures}, by_hand(2, 3))
    studio.add_task({"frames": pictures})
    found = read(studio, pictures, most=2)
    assert [list(each.masks) for each in found.videos] == [[0, 1], [2, 3]]
    assert any("there is no room for 1 older ones" in each for each in found.left_out)
    assert not any("gone" in each for each in found.left_out), "nobody tried to open it"


def test_nothing_is_opened_where_the_stamp_is_known(studio: AnnotatedStudio, pictures: list[str]) -> None:
    for _ in range(2):
        studio.add_task({"frames": pictures}, by_hand(0, 1))
    stamp = read(studio, pictures).stamp
    client = LabelStudioClient(studio.url, TOKEN)

    def never(value: Any, task: int) -> VideoSource:
        raise AssertionError(task)

    with submitted_videos(client, 3, never, most=10, unless_stamp=stamp) as found:
        assert (found.videos, found.stamp) == ((), stamp)


def test_an_unknown_project_and_a_refused_key_are_told(studio: AnnotatedStudio, pictures: list[str]) -> None:
    with pytest.raises(LabelStudioError, match="There is no project 4"):
        read(studio, pictures, project=4)
    with pytest.raises(LabelStudioError, match="API key"):
        read(studio, pictures, key="0" * 40)


def test_reading_can_be_cancelled(studio: AnnotatedStudio, pictures: list[str]) -> None:
    studio.add_task({"frames": pictures}, by_hand(0, 1))
    with pytest.raises(CancelledError):
        read(studio, pictures, cancelled=lambda: True)
