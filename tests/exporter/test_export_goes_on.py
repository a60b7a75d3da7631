"""Exports that are cut off, given again, or meet each other."""

from __future__ import annotations

import os
from pathlib import Path
from unittest.mock import patch

import dataset_readers as readers
import numpy as np
import pytest
from annotated_studio import AnnotatedStudio
from exported_discs import DISCS, RED, disc_regions, export, mask_region

from tam_backend.errors import BusyError, InvalidInputError, LabelStudioError, OutputError
from tam_backend.export.dataset_folder import PART, DatasetFolder
from tam_backend.export.formats import FORMATS
from tam_backend.out_folder import WRITTEN_LIST


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
