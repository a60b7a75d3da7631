"""The profiles of SAM and XMem: refused with the command that gets their weights, run once these are there."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import StringIO
from pathlib import Path
from unittest.mock import patch

import cv2
import pytest
import torch
from segment_anything import sam_model_registry
from synthetic import MovingDiscs
from tiny_sam import lively_tiny_sam, tiny_sam

from benchmarks.lively_weights import calibrate, official_layout, random_state, wire
from tam_backend.cli import main
from tam_backend.errors import WeightsError
from tam_backend.export import load_mask
from tam_backend.models import published, zoo
from tam_backend.models.sam_variants import SAM_VARIANTS, SamVariant, check_sam_layout
from tam_backend.models.weights import record_fingerprint
from tam_backend.models.xmem.loading import published_xmem
from tam_backend.settings import get_settings

NAMES = ("sam-vit-h+xmem", "sam-vit-l+xmem", "sam-vit-b+xmem", "mobile-sam+xmem")


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("TAM_DATA_DIR", str(tmp_path))
    get_settings.cache_clear()
    yield tmp_path
    get_settings.cache_clear()


def run(*arguments: str) -> tuple[int, str]:
    """Run a command in this process; return its exit code and all that it says, on one line."""
    said = StringIO()
    with (
        patch.object(sys, "argv", ["tam-backend", *arguments]),
        redirect_stdout(said),
        redirect_stderr(said),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    return int(ended.value.code or 0), said.getvalue().replace("\n", " ")


def test_they_are_listed_after_the_default_without_importing_torch(data_dir: Path) -> None:
    assert zoo.profile_names()[: 1 + len(NAMES)] == ("compact", *NAMES)
    code = (
        "import sys; from tam_backend.models import zoo\n"
        "for name in zoo.profile_names(): zoo.profile(name).installation()\n"
        "assert 'torch' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", NAMES)
def test_without_weights_loading_fails_at_once_and_names_the_command(name: str, data_dir: Path) -> None:
    with pytest.raises(WeightsError, match=r"needs \w+\.pth? and XMem-s012\.pth") as caught:
        zoo.load(name, "cpu")
    assert f"tam-backend weights fetch {name}" in caught.value.remedy
    with pytest.raises(WeightsError, match=name.replace("+", r"\+")):
        _ = zoo.profile(name).version


def test_only_what_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "XMem-s012.pth").touch()
    reason = zoo.profile("sam-vit-b+xmem", tmp_path).installation().reason
    assert "sam_vit_b_01ec64.pth" in reason and "XMem" not in reason


def test_either_checkpoint_of_xmem_will_do(tmp_path: Path) -> None:
    for name in ("sam_vit_b_01ec64.pth", "XMem.pth"):
        (tmp_path / name).touch()
    assert zoo.profile("sam-vit-b+xmem", tmp_path).installation().ready
    (tmp_path / "XMem-s012.pth").touch()
    assert zoo.profile("sam-vit-b+xmem", tmp_path).weights[1].name == "XMem-s012.pth"
    assert {file.name for file in zoo.fetchable("sam-vit-b+xmem")} >= {"XMem.pth", "XMem-s012.pth"}


def test_the_version_follows_weights_that_were_put_there_by_hand(tmp_path: Path) -> None:
    for name in ("sam_vit_b_01ec64.pth", "XMem.pth"):
        (tmp_path / name).write_bytes(b"one")
    before = zoo.profile("sam-vit-b+xmem", tmp_path).version
    (tmp_path / "XMem.pth").write_bytes(b"two")
    assert zoo.profile("sam-vit-b+xmem", tmp_path).version != before


def test_fetched_weights_that_were_changed_afterwards_are_refused(tmp_path: Path) -> None:
    for name in ("sam_vit_b_01ec64.pth", "XMem-s012.pth"):
        (tmp_path / name).write_bytes(b"changed")
        record_fingerprint(tmp_path / name, "0" * 64)
    with pytest.raises(WeightsError, match="damaged or not the ones recorded"):
        zoo.load("sam-vit-b+xmem", "cpu", tmp_path)


def test_the_table_is_honest_about_what_is_known() -> None:
    sams = [variant.file for variant in SAM_VARIANTS.values()]
    assert all(file.url.endswith(f"/{file.name}") for file in (*sams, published.XMEM, published.XMEM_S012))
    assert all(file.size_bytes and file.sha256 and len(file.sha256) == 64 for file in sams)
    assert len({file.sha256 for file in sams}) == len(sams)


def test_profiles_tells_the_command_that_gets_each(data_dir: Path) -> None:
    code, said = run("profiles")
    assert code == 0
    assert all(f"tam-backend weights fetch {name}" in said for name in NAMES)


def test_serving_is_refused_before_it_begins(data_dir: Path) -> None:
    code, said = run("serve", "--profile", "sam-vit-b+xmem")
    assert code == 2
    assert "tam-backend weights fetch sam-vit-b+xmem" in said


def test_fetching_the_default_says_that_it_needs_nothing(data_dir: Path) -> None:
    code, said = run("weights", "fetch", "compact")
    assert code == 0
    assert "needs nothing" in said


def test_fetching_offline_says_how_to_bring_the_files(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAM_OFFLINE", "1")
    code, said = run("weights", "fetch", "sam-vit-b+xmem")
    assert code == 2
    assert "dl.fbaipublicfiles.com" in said and "--from" in said


def test_fetching_for_an_unknown_profile_lists_the_known_ones(data_dir: Path) -> None:
    code, said = run("weights", "fetch", "sam-vit-x")
    assert code == 2
    assert "sam-vit-b+xmem" in said


def test_a_wrong_file_brought_by_hand_is_refused_by_the_command(data_dir: Path) -> None:
    brought = data_dir / "sam_vit_b_01ec64.pth"
    brought.write_bytes(b"short")
    code, said = run("weights", "fetch", "sam-vit-b+xmem", "--from", str(brought))
    assert code == 2
    assert "5 bytes, not 375,042,383" in said


@pytest.fixture(scope="module")
def xmem_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of XMem's published layout that really move masks."""
    path = tmp_path_factory.mktemp("xmem") / "XMem-s012.pth"
    torch.save(random_state(official_layout()), path)
    network = published_xmem(path)
    calibrate(network)
    wire(network)
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture
def file_server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address under which it is served."""
    folder = tmp_path / "served"
    folder.mkdir()
    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder)))
    thread = threading.Thread(target=http.serve_forever, args=(0.02,))
    thread.start()
    yield folder, f"http://127.0.0.1:{http.server_address[1]}"
    http.shutdown()
    thread.join()
    http.server_close()


def test_a_row_in_the_table_of_variants_is_all_that_a_profile_takes_one_file_by_hand_and_one_fetched(
    data_dir: Path, file_server: tuple[Path, str], xmem_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = file_server
    torch.save(lively_tiny_sam().state_dict(), folder / "tiny.pth")
    tiny = published.PublishedFile("tiny.pth", "http://127.0.0.1:9/tiny.pth", "tiny", check_sam_layout)
    monkeypatch.setitem(SAM_VARIANTS, "tiny", SamVariant("tiny", tiny, tiny_sam))
    monkeypatch.setenv("TAM_WEIGHTS_MIRRORS", address)
    get_settings.cache_clear()

    code, said = run("weights", "fetch", "tiny+xmem", "--from", str(xmem_file))
    assert code == 0, said
    assert "needs tiny.pth in" in said, "what is still missing is told"
    code, said = run("weights", "fetch", "tiny+xmem")
    assert code == 0, said
    assert "XMem-s012.pth (is there)" in said and "is installed in" in said
    assert zoo.profile("tiny+xmem").installation().ready
    assert zoo.load("tiny+xmem", "cpu").version == zoo.profile("tiny+xmem").version


@pytest.mark.parametrize("network", ["tiny", pytest.param("vit_b", marks=pytest.mark.e2e)])
def test_a_clip_is_tracked_from_a_click_with_weights_of_the_published_layout(
    network: str, xmem_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, images = tmp_path / "weights", tmp_path / "images"
    weights.mkdir()
    images.mkdir()
    (weights / xmem_file.name).symlink_to(xmem_file)
    if network == "tiny":
        monkeypatch.setitem(SAM_VARIANTS, "vit_b", replace(SAM_VARIANTS["vit_b"], build=tiny_sam))
        torch.save(lively_tiny_sam().state_dict(), weights / "sam_vit_b_01ec64.pth")
    else:
        torch.save(sam_model_registry["vit_b"]().state_dict(), weights / "sam_vit_b_01ec64.pth")
    video = MovingDiscs(frames=3, starts_xy=((30, 40), (90, 60)), steps_xy=((4, 1), (-3, 0)))
    for index, frame in enumerate(video):
        cv2.imwrite(str(images / f"{index}.png"), frame[..., ::-1])
    prompts = {"objects": [{"id": 1, "label": "disc", "prompts": [{"frame": 0, "points": [[30, 40, 1]]}]}]}
    (tmp_path / "prompts.json").write_text(json.dumps(prompts))

    code, said = run(
        *("track", str(images), "--prompts", str(tmp_path / "prompts.json"), "--out", str(tmp_path / "out")),
        *("--profile", "sam-vit-b+xmem", "--weights-dir", str(weights), "--device", "cpu"),
    )
    assert code == 0, said
    result = json.loads((tmp_path / "out/result.json").read_text())
    assert result["profile"] == "sam-vit-b+xmem"
    assert [frame["frame"] for frame in result["objects"][0]["frames"]] == [0, 1, 2]
    masks = [load_mask(tmp_path / f"out/masks/{index:05}.png", 1) for index in range(3)]
    assert all(mask.shape == video.size_hw for mask in masks)
    assert masks[0].any(), "the click was answered"
