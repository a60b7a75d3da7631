"""The profiles of SAM 2.1: their table, their files, and what happens without the package."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
import torch
from synthetic import MovingDiscs

from tam_backend.errors import MissingPackageError, WeightsError
from tam_backend.models import kinds, sam2_network, zoo
from tam_backend.models.sam2_network import check_sam2, empty_sam2, load_sam2, network_of
from tam_backend.models.sam2_variants import SAM2_VARIANTS

CPU = torch.device("cpu")
TINY = SAM2_VARIANTS["sam2.1-tiny"]

# Millions of weights of the whole network, as the authors say.
MILLIONS = {"sam2.1-tiny": 38.9, "sam2.1-small": 46.0, "sam2.1-base-plus": 80.8, "sam2.1-large": 224.4}


@pytest.fixture
def without_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if `sam2` were not installed."""
    found = kinds.find_spec
    monkeypatch.setattr(kinds, "find_spec", lambda name: None if name == "sam2" else found(name))


@pytest.mark.usefixtures("without_package")
@pytest.mark.parametrize("name", ["sam2.1-small", "sam2.1-small+xmem", "compact+sam2.1-large"])
def test_without_the_package_the_one_command_that_brings_it_is_told(name: str, tmp_path: Path) -> None:
    with pytest.raises(MissingPackageError, match="needs the package sam2") as caught:
        zoo.load(name, "cpu", tmp_path)
    assert caught.value.remedy == 'Install it: `pip install "tam-backend[sam2]"`.'
    with pytest.raises(MissingPackageError, match="package sam2 is needed"):
        check_sam2(tmp_path / "any.pt", TINY)


def test_nothing_of_the_package_is_imported_before_such_a_profile_is_loaded() -> None:
    code = (
        "import sys\n"
        "from tam_backend.models import official_networks, zoo\n"
        "for name in zoo.profile_names(): zoo.profile(name).installation()\n"
        "zoo.load('compact', 'cpu')\n"
        "assert not {'sam2', 'hydra', 'omegaconf', 'iopath'} & sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_weights_the_command_that_fetches_them_is_told(tmp_path: Path) -> None:
    pytest.importorskip("sam2", reason="an extra")
    with pytest.raises(WeightsError, match=r"needs sam2\.1_hiera_tiny\.pt in") as caught:
        zoo.load("sam2.1-tiny", "cpu", tmp_path)
    assert "tam-backend weights fetch sam2.1-tiny" in caught.value.remedy
    assert zoo.profile("sam2.1-tiny").fetched == (TINY.file,), "segmenter and tracker share one file"
    assert {file.name for file in zoo.profile("sam2.1-tiny+xmem").fetched} == {TINY.file.name, "XMem-s012.pth"}


@pytest.mark.parametrize("kind", SAM2_VARIANTS)
def test_a_network_is_as_large_as_its_authors_and_its_published_file_say(kind: str) -> None:
    pytest.importorskip("sam2", reason="an extra")
    network, file = empty_sam2(SAM2_VARIANTS[kind]), SAM2_VARIANTS[kind].file
    assert sum(weight.numel() for weight in network.parameters()) / 1e6 == pytest.approx(MILLIONS[kind], abs=0.1)
    tensors = network.state_dict().values()
    held = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    assert file.size_bytes is not None
    assert 200 < (file.size_bytes - held) / len(tensors) < 500, "bytes per tensor for its name, entry and alignment"


@pytest.fixture
def tiny_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every size be a network that is small enough for tests."""
    pytest.importorskip("sam2", reason="an extra")
    from benchmarks.lively_sam2 import tiny_config

    config = tiny_config()
    monkeypatch.setattr(sam2_network, "network_config", lambda variant: config)


@pytest.fixture
def tiny_file(tiny_network: None, tmp_path: Path) -> Iterator[Path]:
    """A checkpoint of the official layout, with random weights that move masks."""
    from benchmarks.lively_sam2 import enliven, tiny_sam2

    path = tmp_path / "weights" / TINY.file.name
    path.parent.mkdir()
    torch.save({"model": enliven(tiny_sam2()).state_dict()}, path)
    yield path


def test_a_checkpoint_is_loaded_to_the_last_tensor(tiny_file: Path) -> None:
    loaded, saved = load_sam2(tiny_file, TINY, CPU), torch.load(tiny_file, weights_only=True)["model"]
    assert all(torch.equal(tensor, saved[name]) for name, tensor in loaded.state_dict().items())
    assert not loaded.training and not any(weight.requires_grad for weight in loaded.parameters())
    check_sam2(tiny_file, TINY)


@pytest.mark.parametrize("look", [check_sam2, lambda path, variant: load_sam2(path, variant, CPU)])
def test_a_checkpoint_of_another_network_names_the_first_mismatch(tiny_file: Path, look) -> None:  # type: ignore[no-untyped-def]
    state = torch.load(tiny_file, weights_only=True)["model"]
    torch.save({"model": {name: each for name, each in state.items() if name != "no_mem_embed"}}, tiny_file)
    with pytest.raises(WeightsError, match=r"not those of sam2\.1-tiny: no_mem_embed is missing"):
        look(tiny_file, TINY)
    torch.save(state, tiny_file)
    with pytest.raises(WeightsError, match="not tensors by name"):
        look(tiny_file, TINY)


def test_nothing_in_a_checkpoint_is_run(tiny_file: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (tiny_file.with_name("exploded"),)

    torch.save({"model": {"no_mem_embed": Bomb()}}, tiny_file)
    with pytest.raises(WeightsError):
        load_sam2(tiny_file, TINY, CPU)
    assert not tiny_file.with_name("exploded").exists()


def test_a_configuration_makes_the_package_s_own_classes_only() -> None:
    with pytest.raises(WeightsError, match=r"asks for os\.system"):
        network_of({"_target_": "os.system", "command": "true"})


def test_segmenter_and_tracker_of_one_size_share_the_network(tiny_file: Path) -> None:
    models = zoo.load("sam2.1-tiny", "cpu", tiny_file.parent)
    assert models.segmenter._network is models.new_tracker()._network  # type: ignore[attr-defined]
    assert models.version.startswith("sam2.1-tiny-1.0-") and not models.refines
    assert zoo.load("sam2.1-tiny+compact", "cpu", tiny_file.parent).refines, "compact tells what it read"


@pytest.mark.parametrize("profile", ["sam2.1-tiny", "sam2.1-tiny+compact", "compact+sam2.1-tiny"])
def test_a_clip_is_tracked_by_the_command_line_with_a_checkpoint_of_the_official_layout(
    profile: str, tiny_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from tam_backend.cli import main

    images = tmp_path / "images"
    images.mkdir()
    for index, frame in enumerate(MovingDiscs(frames=4, starts_xy=((30, 40), (90, 60)), steps_xy=((4, 1), (-3, 0)))):
        cv2.imwrite(str(images / f"{index}.png"), frame[..., ::-1])
    prompts = {"objects": [{"id": 1, "label": "disc", "prompts": [{"frame": 0, "points": [[30, 40, 1]]}]}]}
    (tmp_path / "prompts.json").write_text(json.dumps(prompts))
    arguments = ["track", str(images), "--prompts", str(tmp_path / "prompts.json"), "--out", str(tmp_path / "out")]
    with pytest.MonkeyPatch.context() as patched, pytest.raises(SystemExit) as ended:
        patched.setattr(
            sys,
            "argv",
            [
                "tam-backend",
                *arguments,
                *("--profile", profile, "--weights-dir", str(tiny_file.parent), "--device", "cpu"),
            ],
        )
        main()
    assert not ended.value.code, capsys.readouterr()
    result = json.loads((tmp_path / "out/result.json").read_text())
    assert result["profile"] == profile
    frames = result["objects"][0]["frames"]
    assert [each["frame"] for each in frames] == [0, 1, 2, 3]
    assert all(0 <= each["quality"] <= 1 for each in frames)
    assert frames[0]["area"] > 0, "the click was answered"
