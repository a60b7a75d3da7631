"""The command line: what users type, and what they see."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
import pytest
from synthetic import MovingDiscs, iou

from tam_backend import open_video
from tam_backend.cli import main
from tam_backend.export import load_mask, mask_ids, save_index_mask
from tam_backend.labelstudio.config import MediaKind
from tam_backend.labelstudio.config_xml import parse_config
from tam_backend.settings import get_settings

VIDEO = MovingDiscs(frames=6, starts_xy=((30, 40), (90, 60)), steps_xy=((4, 1), (-3, 0)))


@dataclass
class Done:
    """What a user sees of a command that has ended."""

    returncode: int
    stdout: str
    stderr: str


def run(*arguments: str | Path) -> Done:
    """Run a command in this process, where torch is imported already."""
    out, err = StringIO(), StringIO()
    with (
        patch.object(sys, "argv", ["tam-backend", *map(str, arguments)]),
        redirect_stdout(out),
        redirect_stderr(err),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six JPEGs, and the truth of frame 0 as an indexed PNG."""
    folder = tmp_path_factory.mktemp("clip")
    (folder / "images").mkdir()
    for index, frame in enumerate(VIDEO):
        cv2.imwrite(str(folder / "images" / f"frame_{index}.jpg"), frame[..., ::-1])
    save_index_mask(folder / "first.png", {1: VIDEO.truth(0, 1), 2: VIDEO.truth(0, 2)})
    return folder


@pytest.fixture(scope="module")
def tracked(folder: Path) -> Path:
    """The main job, run once: two objects, one by a mask, the other by clicks on frame 2."""
    (x, y), (other_x, other_y) = VIDEO.centre(2, 2), VIDEO.centre(2, 1)
    prompts = {
        "objects": [
            {"id": 1, "label": "red", "prompts": [{"frame": 0, "mask": "first.png"}]},
            {"id": 2, "label": "blue", "prompts": [{"frame": 2, "points": [[x, y, 1], [other_x, other_y, 0]]}]},
        ]
    }
    (folder / "prompts.json").write_text(json.dumps(prompts))
    done = run("track", folder / "images", "--prompts", folder / "prompts.json", "--out", folder / "out", "--overlay")
    assert done.returncode == 0, done.stderr
    assert "6 frames, 2 object(s)" in done.stderr
    return folder / "out"


def test_track_writes_one_indexed_mask_per_frame_at_the_original_size(tracked: Path) -> None:
    masks = sorted((tracked / "masks").iterdir())
    assert [path.name for path in masks] == [f"{index:05d}.png" for index in range(6)]
    overlaps = [iou(load_mask(path, 1), VIDEO.truth(index, 1)) for index, path in enumerate(masks)]
    assert load_mask(masks[0], 1).shape == VIDEO.size_hw
    assert min(overlaps) > 0.5


def test_track_writes_the_report_of_the_contract(tracked: Path) -> None:
    report = json.loads((tracked / "result.json").read_text())
    assert report["profile"] == "compact"
    assert report["frames"] == 6
    assert report["size"] == [96, 128]
    assert set(report["timing"]) == {"total_s", "segment_s", "track_s", "decode_s"}
    assert [(each["id"], each["label"]) for each in report["objects"]] == [(1, "red"), (2, "blue")]
    for each in report["objects"]:
        assert [row["frame"] for row in each["frames"]] == list(range(6))
        for row in each["frames"]:
            assert set(row) == {"frame", "quality", "area", "refined", "source"}
            assert 0 <= row["quality"] <= 1
            assert row["area"] == np.count_nonzero(load_mask(tracked / "masks" / f"{row['frame']:05d}.png", each["id"]))
    assert [row["source"] for row in report["objects"][1]["frames"]][1:4] == ["propagated", "prompt", "propagated"]


def test_track_writes_a_playable_overlay(tracked: Path) -> None:
    with open_video(tracked / "overlay.mp4") as overlay:
        assert len(overlay) == 6
        assert overlay.size_hw == VIDEO.size_hw
        assert not np.array_equal(overlay[0], VIDEO[0])


def test_track_takes_a_mask_image_as_prompts_and_a_range_of_frames(folder: Path, tmp_path: Path) -> None:
    done = run(
        "track",
        folder / "images",
        "--prompts",
        folder / "first.png",
        "--out",
        tmp_path,
        "--frames",
        "1:3",
        "--no-refine",
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == ["00001.png", "00002.png"]
    assert [each["id"] for each in json.loads((tmp_path / "result.json").read_text())["objects"]] == [1, 2]


def test_size_sets_the_side_that_is_tracked_and_masks_keep_the_original_one(folder: Path, tmp_path: Path) -> None:
    done = run("track", folder / "images", "--prompts", folder / "first.png", "--out", tmp_path, "--size", "160")
    assert done.returncode == 0, done.stderr
    assert load_mask(tmp_path / "masks" / "00001.png", 1).shape == VIDEO.size_hw


def test_nothing_of_an_earlier_run_is_left_beside_the_new_masks(folder: Path, tmp_path: Path) -> None:
    for frames in ("0:4", "0:2"):
        done = run("track", folder / "images", "--prompts", folder / "first.png", "--out", tmp_path, "--frames", frames)
        assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == ["00000.png", "00001.png"]


def test_masks_that_somebody_drew_are_in_the_way_until_overwriting_is_asked_for(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    for name in ("00000.png", "00010.png"):
        save_index_mask(tmp_path / "masks" / name, {1: VIDEO.truth(0, 1)})
    before = {path.name: path.read_bytes() for path in (tmp_path / "masks").iterdir()}
    arguments = ["track", folder / "images", "--prompts", folder / "first.png", "--out", tmp_path, "--frames", "0:2"]
    done = run(*arguments)
    assert done.returncode == 2
    assert "masks/00000.png, masks/00010.png" in done.stderr and "--overwrite" in done.stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "masks").iterdir()} == before
    assert run(*arguments, "--overwrite").returncode == 0
    assert mask_ids(tmp_path / "masks" / "00000.png") == (1, 2), "a file of the same name is replaced"
    assert (tmp_path / "masks" / "00010.png").read_bytes() == before["00010.png"], "another one is not"


def test_a_run_that_is_refused_leaves_the_masks_of_the_one_before(folder: Path, tmp_path: Path) -> None:
    arguments = ["track", folder / "images", "--out", tmp_path, "--frames", "0:2", "--prompts"]
    assert run(*arguments, folder / "first.png").returncode == 0
    (tmp_path / "off.json").write_text('{"objects": [{"id": 1, "prompts": [{"frame": 0, "points": [[999, 9, 1]]}]}]}')
    assert run(*arguments, tmp_path / "off.json").returncode == 2
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == ["00000.png", "00001.png"]


def test_a_damaged_image_is_named_and_the_others_are_tracked(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "images", tmp_path / "images")
    (tmp_path / "images" / "frame_3.jpg").write_bytes(b"nothing of use")
    done = run("track", tmp_path / "images", "--prompts", folder / "first.png", "--out", tmp_path / "out", "--overlay")
    assert done.returncode == 0, done.stderr
    assert "Frame 3 was left out: frame_3.jpg is no image" in done.stderr
    assert sorted(path.name for path in (tmp_path / "out" / "masks").iterdir()) == [
        f"{frame:05d}.png" for frame in (0, 1, 2, 4, 5)
    ]
    report = json.loads((tmp_path / "out" / "result.json").read_text())
    assert [each["frame"] for each in report["left_out"]] == [3]
    assert [row["frame"] for row in report["objects"][0]["frames"]] == [0, 1, 2, 4, 5]


def test_names_that_are_no_utf_8_are_read_and_written(folder: Path, tmp_path: Path) -> None:
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    shutil.copytree(folder / "images", place / "images")
    for path in list((place / "images").iterdir()):
        path.rename(path.with_name(os.fsdecode(b"\xe9_") + path.name))
    shutil.copy(folder / "first.png", place / "first.png")
    done = run("track", place / "images", "--prompts", place / "first.png", "--out", place / "out", "--overlay")
    assert done.returncode == 0, done.stderr
    assert "caf\\xe9" in done.stderr and done.stderr.encode()
    with open_video(place / "out" / "overlay.mp4") as overlay:
        assert len(overlay) == 6
    to_project = ["--project", "1", "--url", "http://127.0.0.1:9", "--api-key", "k"]
    for missing in (["track", place / "no", "--prompts", "x", "--out", "y"], ["import", place / "no.mp4", *to_project]):
        done = run(*missing)
        assert done.returncode == 2 and "caf\\xe9" in done.stderr and done.stderr.encode()


def test_a_web_address_is_not_taken_for_a_file(tmp_path: Path) -> None:
    done = run("track", "https://example.com/a/clip.mp4", "--prompts", "x.json", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "https://example.com/a/clip.mp4 is a web address" in done.stderr and "Download it" in done.stderr


def test_a_mistake_in_the_environment_is_told_by_its_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAM_PORT", "abc")
    get_settings.cache_clear()
    done = run("track", folder / "images", "--prompts", folder / "first.png", "--out", folder / "never")
    get_settings.cache_clear()
    assert done.returncode == 2
    assert "TAM_PORT" in done.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [("TAM_ADAPT", "maybe"), ("TAM_ADAPT_MINUTES", "0.01"), ("TAM_ADAPT_MINUTES", "nan"), ("PORT", "abc")],
)
def test_every_mistaken_setting_is_told_by_its_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    for verb in (["report", "--project", "1"], ["weights", "fetch", "compact"]):
        get_settings.cache_clear()
        done = run(*verb)
        get_settings.cache_clear()
        assert done.returncode == 2
        assert f" {name}: " in done.stderr


@pytest.mark.parametrize("verb", ["adapt", "suggest", "propagate", "report", "export", "import"])
@pytest.mark.parametrize(
    ("given", "hint"),
    [("http://x/projects/5/", "address: 5."), ("5.0", ".../projects/N/"), ("five", ".../projects/N/"), ("-5", "N/")],
)
def test_what_is_no_projects_number_is_refused_with_a_hint(verb: str, given: str, hint: str) -> None:
    done = run(verb, f"--project={given}")
    said = " ".join(done.stderr.replace("│", " ").split())
    assert done.returncode == 2
    assert "is no project's number" in said and hint in said


@pytest.mark.parametrize(("given", "says"), [("nan", "is no number"), ("x", "is no number"), ("0.01", "not from 0.05")])
def test_minutes_that_cannot_be_are_told_apart(given: str, says: str) -> None:
    done = run("adapt", "--project", "5", "--minutes", given)
    assert done.returncode == 2
    assert says in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["track", "{folder}/images", "--prompts", "{folder}/first.png", "--out", "{folder}/first.png"], "--out"),
        (["track", "{folder}/nowhere.mp4", "--prompts", "{folder}/first.png", "--out", "{out}"], "nowhere.mp4"),
        (["track", "{folder}/first.json", "--prompts", "{folder}/first.png", "--out", "{out}"], "first.json"),
        (["track", "{folder}/images", "--prompts", "{folder}/none.json", "--out", "{out}"], "none.json"),
        (["track", "{folder}/images", "--prompts", "{folder}/first.png", "--out", "{out}", "--frames", "x"], "A:B"),
        (["track", "{folder}/images", "--prompts", "{folder}/first.png", "--out", "{out}", "--frames", "9:"], "0 to 5"),
        (["track", "{folder}/images", "--prompts", "{folder}/first.png", "--out", "{out}", "--profile", "big"], "big"),
        (["track", "{folder}/images", "--prompts", "{folder}/first.png", "--out", "{out}", "--device", "gpu9"], "gpu9"),
        (["track", "{folder}/images", "--prompts", "{folder}/first.png", "--out", "{out}", "--size", "20"], "96"),
    ],
)
def test_bad_input_ends_in_a_sentence_not_in_a_traceback(
    folder: Path, tmp_path: Path, arguments: list[str], says: str
) -> None:
    done = run(*(each.format(folder=folder, out=tmp_path / "out") for each in arguments))
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_profiles_lists_the_embedded_default_as_installed() -> None:
    done = run("profiles")
    assert done.returncode == 0
    assert "compact" in done.stdout
    assert "yes" in done.stdout


def test_help_is_quick_because_it_does_not_import_torch() -> None:
    script = (
        "import sys; from typer.testing import CliRunner; from tam_backend.cli import app; "
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False", done.stderr


def test_the_module_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tam_backend", "track"], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "INPUT" in done.stderr


def test_the_recommended_config_is_printed_with_the_labels_asked_for() -> None:
    done = run("import", "--config", "--label", "Rabbit", "--label", "Bird & Co", "--masks", "bitmask", "--video-boxes")
    config = parse_config(done.stdout)
    assert done.returncode == 0
    assert {media.kind for media in config.media} == {MediaKind.FRAMES, MediaKind.VIDEO}
    assert any(control.labels == ("Rabbit", "Bird & Co", "Propagate") for control in config.controls)


def test_the_recommended_config_may_have_labels_that_begin_another_object() -> None:
    done = run("import", "--config", "--label", "Rabbit", "--new-objects")
    labels = [control.labels for control in parse_config(done.stdout).controls]
    assert labels == [("Rabbit",), ("Rabbit", "New Rabbit", "Propagate"), ("Rabbit", "New Rabbit")]


def test_options_of_a_config_that_is_not_written_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAM_DATA_DIR", str(tmp_path))
    get_settings.cache_clear()
    to = ("--project", "1", "--url", "http://127.0.0.1:9", "--api-key", "k")
    said = run("import", "clip.mp4", "--label", "Dog", "--masks", "bitmask", *to).stderr
    get_settings.cache_clear()
    assert "its labeling config stays as it is: --label, --masks did nothing" in " ".join(said.split())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["import"], "nothing to import"),
        (["import", "clip.mp4"], "--project"),
        (["import", "clip.mp4", "--from-project", "1"], "nothing else"),
        (["import", "--from-project", "1"], "LABEL_STUDIO_URL"),
        (["import", "clip.mp4", "--project", "1"], "LABEL_STUDIO_URL"),
        (["import", "clip.mp4", "--project", "1", "--url", "ftp://x", "--api-key", "k"], "not an http"),
        (["import", "clip.mp4", "--project", "1", "--url", "http://127.0.0.1:9", "--api-key", "k"], "clip.mp4"),
        (["report", "--project", "1"], "LABEL_STUDIO_URL"),
        (["report", "--project", "1", "--url", "http://127.0.0.1:9", "--api-key", "k"], "cannot be reached"),
        (["serve", "--port", "70000"], "port"),
        (["serve", "--log-level", "loud"], "no log level"),
        (["serve", "--profile", "huge"], "huge"),
    ],
)
def test_an_import_a_report_or_a_server_that_cannot_be_is_refused_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], says: str
) -> None:
    monkeypatch.setenv("TAM_DATA_DIR", str(tmp_path))
    get_settings.cache_clear()
    done = run(*arguments)
    get_settings.cache_clear()
    assert done.returncode == 2
    assert says in done.stderr.replace("\n", " ")
