from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tam_backend.errors import WeightsError
from tam_backend.models.kind_registry import EMBEDDED_DIR
from tam_backend.models.segmenters.click_network import ClickNetwork
from tam_backend.models.weights import fingerprint, load_strictly, load_verified, recorded_fingerprint

SEGMENTER = EMBEDDED_DIR / "compact_segmenter.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("compact_segmenter.safetensors", "manifest.json"):
        shutil.copy(EMBEDDED_DIR / name, tmp_path / name)
    return tmp_path


def test_embedded_weights_are_the_recorded_ones_and_small() -> None:
    files = sorted(EMBEDDED_DIR.glob("*.safetensors"))
    assert {path.name: fingerprint(path) for path in files} == {path.name: recorded_fingerprint(path) for path in files}
    assert sum(path.stat().st_size for path in files) <= 16 * 2**20
    assert all(path.with_suffix(".md").is_file() for path in files)


def test_loaded_network_has_the_tensors_of_the_file(folder: Path) -> None:
    network = ClickNetwork()
    load_verified(network, folder / SEGMENTER.name)
    for name, tensor in load_file(SEGMENTER).items():
        assert torch.equal(network.state_dict()[name], tensor.float()), name


def test_one_flipped_bit_is_refused(folder: Path) -> None:
    path = folder / SEGMENTER.name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="SHA-256"):
        load_verified(ClickNetwork(), path)


def test_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(SEGMENTER.read_bytes()[:100_000])
    with pytest.raises(WeightsError, match="no intact safetensors"):
        load_strictly(ClickNetwork(), path)


def test_pickle_is_refused_and_never_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "exploded",)  # type: ignore[return-value]

    path = tmp_path / "evil.safetensors"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(WeightsError):
        load_strictly(ClickNetwork(), path)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("embed8.bias"), "embed8.bias is missing"),
        (lambda state: state.update(aardvark=torch.zeros(1)), "aardvark is unexpected"),
        (lambda state: state.update({"embed8.bias": torch.zeros(7)}), r"embed8.bias has shape \(7,\), not \(32,\)"),
    ],
)
def test_weights_of_another_network_name_the_first_mismatch(change, message: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    state = load_file(SEGMENTER)
    change(state)
    save_file(state, tmp_path / "other.safetensors")
    with pytest.raises(WeightsError, match=message):
        load_strictly(ClickNetwork(), tmp_path / "other.safetensors")


def test_missing_files_are_named(folder: Path, tmp_path: Path) -> None:
    (folder / SEGMENTER.name).unlink()
    with pytest.raises(WeightsError, match=SEGMENTER.name):
        load_verified(ClickNetwork(), folder / SEGMENTER.name)
    with pytest.raises(WeightsError, match=r"nothing\.safetensors"):
        load_strictly(ClickNetwork(), tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("content", ["", "[]", json.dumps({"sha256": {}})])
def test_manifest_that_does_not_know_the_file_is_an_error(content: str, folder: Path) -> None:
    (folder / "manifest.json").write_text(content)
    with pytest.raises(WeightsError, match="records no SHA-256"):
        recorded_fingerprint(folder / SEGMENTER.name)


def test_missing_manifest_is_an_error(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    with pytest.raises(WeightsError, match="manifest"):
        recorded_fingerprint(folder / SEGMENTER.name)
