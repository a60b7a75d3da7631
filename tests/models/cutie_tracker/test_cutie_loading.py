"""Published Cutie weights: strictly, safely, without downloads; state dicts of the layout come from the package."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.speed import scene
from tam_backend.errors import MissingPackageError, WeightsError
from tam_backend.models.cutie_tracker.cutie_loading import check_cutie, load_cutie
from tam_backend.models.cutie_tracker.cutie_tracker import CutieTracker
from tam_backend.models.cutie_tracker.package_network import make_network, network_config
from tam_backend.models.cutie_variants import CUTIE_VARIANTS

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def small_file(published_cutie: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "cutie-small-mega.pth"
    torch.save(published_cutie.state_dict(), path)
    return path


def test_a_network_is_made_without_a_download_and_the_package_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    from cutie.model.utils import resnet

    def fetched(*_: object, **__: object) -> None:
        raise AssertionError("ImageNet's weights were asked for")

    before = resnet.resnet18, resnet.resnet50
    monkeypatch.setattr(resnet.model_zoo, "load_url", fetched)
    network: Any = make_network("small")
    assert not network.training and not any(each.requires_grad for each in network.parameters())
    assert (resnet.resnet18, resnet.resnet50) == before


def test_both_sizes_are_the_packages_own_descriptions() -> None:
    base, small = network_config("base").model, network_config("small").model
    assert (base.pixel_encoder.type, small.pixel_encoder.type) == ("resnet50", "resnet18")
    assert base.object_transformer == small.object_transformer


def test_the_base_layout_takes_as_much_as_its_published_file(tmp_path: Path) -> None:
    network: Any = make_network("base")
    torch.save(network.state_dict(), tmp_path / "base.pth")
    size = (tmp_path / "base.pth").stat().st_size
    assert CUTIE_VARIANTS["cutie"].file.size_bytes == pytest.approx(size, rel=1e-3)


def test_loaded_weights_track(small_file: Path) -> None:
    tracker = CutieTracker(load_cutie(small_file, "small", CPU))
    shown = [scene(index, 1, 90) for index in range(2)]
    tracker.track(shown[0].image, shown[0].labels)
    assert (tracker.track(shown[1].image).probabilities.argmax(0) == 1).any()


def test_a_file_of_the_layout_passes_the_check_that_fetching_makes(small_file: Path) -> None:
    file = CUTIE_VARIANTS["cutie-small"].file
    file.check(small_file, file.layout)


def test_weights_of_the_other_size_name_the_first_tensor_that_does_not_fit(small_file: Path) -> None:
    with pytest.raises(WeightsError, match=r"not those of Cutie base: key_proj\.pix_feat_proj\.weight has shape"):
        load_cutie(small_file, "base", CPU)
    with pytest.raises(WeightsError, match="not those of Cutie base"):
        CUTIE_VARIANTS["cutie"].file.check(small_file, "cutie")


@pytest.mark.parametrize("missing", ["mask_decoder.pred.bias", "object_transformer.query_init.weight"])
def test_a_missing_tensor_is_named(published_cutie: Any, tmp_path: Path, missing: str) -> None:
    state = {name: tensor for name, tensor in published_cutie.state_dict().items() if name != missing}
    torch.save(state, tmp_path / "cut.pth")
    with pytest.raises(WeightsError, match=f"{missing} is missing"):
        check_cutie(tmp_path / "cut.pth", "small")


def test_nothing_in_a_file_is_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "exploded",)

    torch.save({"mask_decoder.pred.bias": Bomb()}, tmp_path / "bomb.pth")
    with pytest.raises(WeightsError):
        load_cutie(tmp_path / "bomb.pth", "small", CPU)
    assert not (tmp_path / "exploded").exists()


def test_without_the_package_the_command_that_brings_it_is_named(
    small_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name == "cutie" or name.startswith("cutie.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cutie", None)
    with pytest.raises(MissingPackageError) as caught:
        load_cutie(small_file, "small", CPU)
    assert "pip install 'tam-backend[cutie]'" in caught.value.remedy
