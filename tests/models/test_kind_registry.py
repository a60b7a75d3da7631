"""The kinds of the package and of plug-ins: the docs' example installed and used, and what is said of bad ones."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from sources import ROOT

from tam_backend.errors import MissingPackageError, ProfileError
from tam_backend.models import zoo
from tam_backend.models.kind_registry import segmenter_kinds, tracker_kinds
from tam_backend.models.kinds import Package

EXAMPLE = ROOT / "docs/plugin-example"

AddPlugin = Callable[[str, str, str], None]


@pytest.fixture
def add_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AddPlugin:
    """Install a plug-in of one segmenter: its name, the object that its entry point leads to, its module's source."""
    monkeypatch.syspath_prepend(tmp_path)

    def add(name: str, target: str, source: str) -> None:
        module = target.partition(":")[0]
        (tmp_path / f"{module}.py").write_text(source)
        told = tmp_path / f"{module}-1.0.dist-info"
        told.mkdir()
        (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        (told / "entry_points.txt").write_text(f"[tam_backend.segmenters]\n{name} = {target}\n")

    return add


@pytest.fixture(scope="module")
def installed_example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the docs' example was installed into, as a user would."""
    folder = tmp_path_factory.mktemp("plugin")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    copy = tmp_path_factory.mktemp("source") / "plugin-example"  # a build leaves folders behind
    subprocess.run(["cp", "-r", str(EXAMPLE), str(copy)], check=True)
    subprocess.run([*pip, "--target", str(folder), str(copy)], check=True, timeout=120)
    return folder


def test_the_docs_example_is_installed_listed_and_tracks_a_clip_by_one_rule_with_all_others(
    installed_example: Path, tmp_path: Path
) -> None:
    frame = np.full((48, 64, 3), 60, np.uint8)
    frame[10:20, 10:30] = (250, 20, 20)
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"{index}.png"), frame[..., ::-1])
    code = """
import json, sys
from tam_backend.models import zoo
assert "colour+still" in zoo.profile_names() and "torch" not in sys.modules
from tam_backend import Point, Prompt, TrackAnything, open_video
told = {}
for name in ("colour+still", "compact+still", "colour+compact"):
    with open_video(sys.argv[1]) as video, TrackAnything.load(name, "cpu").session(video) as session:
        session.prompt(Prompt(object_id=1, frame=0, points=[Point(20, 15)]))
        results = list(session.propagate())
    told[name] = [[r.frame, int(r.masks[1].sum()), r.quality[1]] for r in results]
print(json.dumps(told))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={"PYTHONPATH": f"{installed_example}:{ROOT}", "PATH": "", "TAM_DATA_DIR": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [area for _, area, _ in told["colour+still"]] == [200, 200, 200]
    for results in told.values():
        assert [frame for frame, _, _ in results] == [0, 1, 2]
        assert all(0 <= quality <= 1 for _, _, quality in results)


def test_every_segmenter_goes_with_every_tracker() -> None:
    for segmenter in segmenter_kinds().by_name:
        for tracker in tracker_kinds().by_name:
            chosen = zoo.profile(f"{segmenter}+{tracker}")
            assert (chosen.segmenter.kind.name, chosen.tracker.kind.name) == (segmenter, tracker)
            assert chosen.name == (segmenter if segmenter == tracker else f"{segmenter}+{tracker}")
    assert all(zoo.profile(name).name == name for name in zoo.profile_names())


def test_the_package_s_own_kinds_are_complete_and_named_for_the_command_line() -> None:
    for kind in (*segmenter_kinds().by_name.values(), *tracker_kinds().by_name.values()):
        assert "+" not in kind.name and kind.description and kind.speed and kind.license
        assert bool(kind.embedded) != bool(kind.published), "weights come with the package or are fetched"
    assert {kind.goes_with for kind in segmenter_kinds().by_name.values()} <= tracker_kinds().by_name.keys()


@pytest.mark.parametrize("name", ["sam-vit-b", "sam-vit-b+", "+xmem", "sam-vit-b+xmem+xmem", "xmem+sam-vit-b", ""])
def test_what_is_no_pair_is_refused_with_the_names_of_both_sorts(name: str) -> None:
    with pytest.raises(ProfileError, match=r"There is no profile.*SEGMENTER\+TRACKER.*sam-vit-b.*Trackers: .*xmem"):
        zoo.profile(name)


@pytest.mark.parametrize(
    ("name", "target", "source", "says"),
    [
        ("broken", "broken_plugin:KIND", "import nothing_of_that_name", "broken_plugin:KIND cannot be imported"),
        ("absent", "absent_plugin:KIND", "", "absent_plugin:KIND cannot be imported: AttributeError"),
        ("odd", "odd_plugin:KIND", "KIND = 7", "is no SegmenterKind, but a int"),
        (
            "mine",
            "misnamed_plugin:KIND",
            "from tam_backend.models.kinds import SegmenterKind\n"
            "KIND = SegmenterKind(name='other', description='', build=lambda weights, loading: None)",
            "is called 'other'",
        ),
    ],
)
def test_a_bad_plug_in_is_named_and_leaves_the_others_alone(
    add_plugin: AddPlugin, name: str, target: str, source: str, says: str
) -> None:
    before = segmenter_kinds()
    add_plugin(name, target, source)
    assert segmenter_kinds().by_name.keys() == before.by_name.keys()
    assert says in segmenter_kinds().refused[name]
    with pytest.raises(ProfileError, match="plug-in"):
        zoo.profile(f"{name}+compact")
    assert zoo.profile("compact").installation().ready


def test_a_plug_in_cannot_take_the_place_of_an_own_kind(add_plugin: AddPlugin) -> None:
    add_plugin(
        "compact",
        "usurping_plugin:KIND",
        "from tam_backend.models.kinds import SegmenterKind\n"
        "KIND = SegmenterKind(name='compact', description='', build=lambda weights, loading: None)",
    )
    assert segmenter_kinds().by_name["compact"].description
    assert "a name that is taken" in segmenter_kinds().refused["compact"]


def test_a_segmenter_whose_tracker_is_not_there_is_listed_with_the_default_one(add_plugin: AddPlugin) -> None:
    add_plugin(
        "mine",
        "plug:kind",
        "from tam_backend.models.kinds import SegmenterKind\n"
        "kind = SegmenterKind(name='mine', description='x', build=print, goes_with='gone')\n",
    )
    assert "mine+compact" in zoo.profile_names()
    assert [zoo.profile(name).name for name in zoo.profile_names()] == list(zoo.profile_names())


def test_a_lone_module_or_one_below_nothing_is_not_the_package_that_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lone_file.py").write_text("raise RuntimeError('must not be imported')")
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("lone_file", "nowhere", "nowhere.below"):
        assert not Package("some-project", module, "pip install some-project").is_installed
    with pytest.raises(MissingPackageError, match="package some-project is needed"):
        Package("some-project", "lone_file", "pip install some-project").require()
