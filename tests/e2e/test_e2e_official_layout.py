"""SAM with XMem and Cutie, and SAM 2.1, behind a real Label Studio, on random weights in the published layouts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from labelling import DISCS, FRAME_CONFIGS, Project, import_video, write_video
from masks_of import label_of, mask_of
from synthetic import iou

from benchmarks.lively_weights import lively_network
from demo.annotator import Annotator, TagNames
from demo.backend import BackendServer, running_backend
from demo.label_studio import LabelStudio
from tam_backend.labelstudio.encoding import encode_bitmask
from tam_backend.models.sam2_variants import SAM2_VARIANTS
from tam_backend.models.sam_variants import SAM_VARIANTS

pytestmark = pytest.mark.e2e
RED = 1


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """MobileSAM with random weights, and trackers that follow colours, put by hand where fetched ones would be."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    torch.save(SAM_VARIANTS["mobile_sam"].build().state_dict(), folder / "mobile_sam.pt")
    torch.save(lively_network().state_dict(), folder / "XMem-s012.pth")
    if find_spec("cutie"):
        from benchmarks.lively_cutie import lively_cutie

        torch.save(lively_cutie("small").state_dict(), folder / "cutie-small-mega.pth")
    yield folder
    for file in folder.iterdir():  # 400 MB
        file.unlink()


@pytest.fixture(scope="module", params=["xmem", "cutie-small"])
def official(
    request: pytest.FixtureRequest, label_studio: LabelStudio, weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BackendServer]:
    if request.param == "cutie-small":
        pytest.importorskip("cutie", reason="an extra")
    settings = {
        "TAM_PROFILE": f"mobile-sam+{request.param}",
        "TAM_WEIGHTS_DIR": str(weights),
        "TAM_TRACKER_SIDE": "240",
        "TAM_DEVICE": "cpu",
    }
    with running_backend(label_studio, tmp_path_factory.mktemp("official"), extra_env=settings) as running:
        yield running


def project_on(annotator: Annotator, backend: BackendServer, video: Path) -> Project:
    config = FRAME_CONFIGS["BitmaskLabels"]
    made = annotator.create_project("official layout", config)
    import_video(backend, video, made)
    [task] = annotator.tasks(made)
    ml_backend = annotator.connect_backend(made, backend.url)
    return Project(annotator, made, ml_backend, int(task["id"]), TagNames.of(config))


def clicked_corrected_propagated(project: Project) -> list[dict[str, Any]]:
    """Click the red disc, replace the answer by its true mask, propagate; return what was tracked."""
    page = project.page(0)
    clicked = page.click(project.tags.clicks, DISCS.centre(0, RED), "Red")
    [answered] = project.annotator.ask(project.ml_backend, project.task, [clicked])
    assert label_of(answered) == "Red"
    assert 0 < mask_of(answered).mean() < 1, "random weights, but a mask"

    corrected = {"imageDataURL": encode_bitmask(DISCS.truth(0, RED)), "bitmasklabels": ["Red"]}
    project.annotator.save_draft(project.task, [{**answered, "value": corrected, "origin": "prediction-changed"}])
    propagate = page.click(project.tags.clicks, DISCS.centre(0, RED), "Propagate")
    return project.annotator.ask(project.ml_backend, project.task, [propagate])


def test_a_click_is_answered_by_sam_and_propagate_by_the_tracker_from_a_humans_mask(
    annotator: Annotator, official: BackendServer, discs_video: Path
) -> None:
    regions = clicked_corrected_propagated(project_on(annotator, official, discs_video))
    assert {region["item_index"] for region in regions} == set(range(1, DISCS.frames))
    overlaps = [iou(mask_of(region), DISCS.truth(region["item_index"], RED)) for region in regions]
    assert sum(overlaps) / len(overlaps) > 0.5, overlaps  # it knows colours at stride 4, not discs


def test_sam_2_1_answers_a_click_and_tracks_a_humans_mask(
    label_studio: LabelStudio, annotator: Annotator, tmp_path: Path
) -> None:
    pytest.importorskip("sam2", reason="an extra")
    from benchmarks.lively_sam2 import enliven
    from tam_backend.models.sam2_network import network_config, network_of

    variant, few = SAM2_VARIANTS["sam2.1-tiny"], replace(DISCS, frames=3)  # a frame of 1024 pixels takes seconds
    checkpoint = tmp_path / variant.file.name
    torch.save({"model": enliven(network_of(network_config(variant))).state_dict()}, checkpoint)
    settings = {"TAM_PROFILE": variant.kind, "TAM_WEIGHTS_DIR": str(tmp_path), "TAM_DEVICE": "cpu"}
    with running_backend(label_studio, tmp_path / "backend", extra_env=settings) as backend:
        project = project_on(annotator, backend, write_video(tmp_path / "few.mp4", few))
        regions = clicked_corrected_propagated(project)
    assert {region["item_index"] for region in regions} == {1, 2}
    checkpoint.unlink()  # 156 MB
