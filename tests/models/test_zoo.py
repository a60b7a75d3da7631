from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tam_backend.errors import DeviceError, ProfileError, WeightsError
from tam_backend.models import zoo
from tam_backend.models.kind_registry import EMBEDDED_DIR
from tam_backend.models.protocols import Models


def test_zoo_lists_and_describes_profiles_without_importing_torch() -> None:
    code = (
        "import sys; from tam_backend.models import zoo; p = zoo.profile('compact');"
        "assert p.installation().ready and p.version and zoo.profile_names();"
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_unknown_profile_lists_the_known_ones() -> None:
    with pytest.raises(ProfileError, match="compact"):
        zoo.load("colossal")


@pytest.mark.skipif(torch.cuda.is_available(), reason="speaks of machines without a GPU")
def test_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(DeviceError, match="cuda"):
        zoo.load("compact", "cuda")


def test_version_names_profile_release_and_weights(compact: Models) -> None:
    assert re.fullmatch(r"compact-0\.2-[0-9a-f]{8}", compact.version)
    assert compact.version == zoo.profile("compact").version == compact.segmenter.name


def test_a_name_that_is_segmenter_and_tracker_stands_for_the_pair() -> None:
    assert zoo.profile("compact+compact") == zoo.profile("compact")
    assert zoo.profile("compact").needs == "nothing: the weights (14 MB) come with the package"


def test_version_changes_with_the_recorded_weights(tmp_path: Path) -> None:
    profile = _profile_in(tmp_path)
    assert profile.version == zoo.profile("compact").version
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    manifest["sha256"]["compact_tracker.safetensors"] = "0" * 64
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert profile.version != zoo.profile("compact").version


def test_profile_without_its_weights_says_which_file_is_missing_and_what_to_do(tmp_path: Path) -> None:
    profile = _profile_in(tmp_path)
    (tmp_path / "compact_tracker.safetensors").unlink()
    installation = profile.installation()
    assert not installation.ready
    assert "compact_tracker.safetensors" in installation.reason
    assert installation.remedy
    with pytest.raises(WeightsError, match="compact_tracker"):
        profile.build(torch.device("cpu"))


def test_each_load_is_a_fresh_instance(compact: Models) -> None:
    again = zoo.load("compact", "cpu")
    assert again.segmenter is not compact.segmenter
    assert compact.new_tracker() is not compact.new_tracker()
    assert (again.profile, again.version, again.device.type) == ("compact", compact.version, "cpu")


def _profile_in(folder: Path) -> zoo.Profile:
    shutil.copytree(EMBEDDED_DIR, folder, dirs_exist_ok=True)
    profile = zoo.profile("compact")
    segmenter, tracker = (
        dataclasses.replace(part, weights=tuple(folder / path.name for path in part.weights)) for part in profile.parts
    )
    return zoo.Profile(profile.name, segmenter, tracker)
