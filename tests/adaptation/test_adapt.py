"""Adaptation from beginning to end, on made-up discs and for seconds."""

from __future__ import annotations

import errno
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from labeled_discs import labeled_discs
from torch import nn

from tam_backend.adaptation import adapt as adapt_module
from tam_backend.adaptation.adapt import adapt
from tam_backend.adaptation.courses import SEGMENTER, TRACKER, Course
from tam_backend.adaptation.gate import FEW_STEPS
from tam_backend.adaptation.labeled import LabeledVideo
from tam_backend.adaptation.outcome import AdaptationLimits, AdaptationOutcome, CompactWeights, Progress
from tam_backend.errors import CancelledError, InvalidInputError, OutputError, WeightsError
from tam_backend.models.kind_registry import EMBEDDED_DIR
from tam_backend.models.weights import load_verified

BASE = CompactWeights(EMBEDDED_DIR / SEGMENTER.file, EMBEDDED_DIR / TRACKER.file)
LIMITS = AdaptationLimits(seconds=1, threads=1)


def scored(course: Course, here: float, elsewhere: float) -> Course:
    """Return a course that finds other weights than the base's so much better here, and elsewhere."""
    base = course.loaded(EMBEDDED_DIR / course.file).state_dict()["to_logit.weight"].half().float()

    def score(network: nn.Module, labeled: LabeledVideo, stop: Callable[[], None]) -> Mapping[int, float]:
        stop()
        learnt = not torch.allclose(network.state_dict()["to_logit.weight"], base, atol=1e-9)
        gain = elsewhere if labeled.name in adapt_module.MEASURED else here
        return {at: 0.5 + learnt * gain + 0.001 * at for at in labeled.masks}

    return replace(course, score=score)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is beside the point take no time: the general clips, and judging, which finds nothing better."""
    monkeypatch.setattr(adapt_module, "general_clips", lambda names: [labeled_discs(name, [0, 6]) for name in names])
    monkeypatch.setattr(adapt_module, "SIDE", 64)
    for name, course in (("SEGMENTER", SEGMENTER), ("TRACKER", TRACKER)):
        monkeypatch.setattr(adapt_module, name, scored(course, here=0.0, elsewhere=0.0))


def adapted(folder: Path, **changed: object) -> AdaptationOutcome:
    given = {"videos": [labeled_discs(name) for name in ("one", "two", "three")], "base": BASE, "limits": LIMITS}
    return adapt(**{**given, "folder": folder, **changed})  # type: ignore[arg-type]


def test_nothing_is_promoted_where_nothing_is_better(tmp_path: Path) -> None:
    told: list[Progress] = []
    outcome = adapted(tmp_path, progress=told.append)
    assert not outcome.promote
    assert outcome.segmenter_weights is outcome.tracker_weights is None
    assert not list(tmp_path.glob("*.safetensors"))
    assert "The segmenter stays as it was" in outcome.reason
    assert "The tracker stays as it was" in outcome.reason
    assert sorted((*outcome.learnt_from, *outcome.held_out)) == ["one", "three", "two"]
    assert outcome.segmenter.iterations > 0
    assert all(0 <= each.share < 1 for each in told)
    doing = list(dict.fromkeys(each.doing for each in told))
    assert {"teaching the segmenter", "teaching the tracker"} <= set(doing)
    for when in ("before it learns", "after it learnt", "halfway to what it learnt"):
        assert f"measuring the segmenter {when}, on cup" in doing
    shares = [each.share for each in told]
    assert shares == sorted(shares), "it never goes back"


@pytest.mark.parametrize(("limits", "hurried"), [(LIMITS, True), (replace(LIMITS, seconds=600, iterations=1), False)])
def test_steps_and_time_are_told_and_where_there_was_too_little_of_it(
    tmp_path: Path, limits: AdaptationLimits, hurried: bool
) -> None:
    outcome = adapted(tmp_path, limits=limits)
    for found in (outcome.segmenter, outcome.tracker):
        assert f"{found.iterations} step" in found.reason
        few = found.iterations < FEW_STEPS and not found.promote  # how many they are, the machine tells
        assert ("give it more (--minutes" in found.reason) is (hurried and few)
    assert re.search(rf"was given {limits.seconds:.0f}: \d+ s to measure what was there before", outcome.notes[-1])


def test_frames_that_tell_are_drawn_of_both_networks_though_they_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapt_module, "TRACKER", scored(TRACKER, here=-0.1, elsewhere=0.0))
    outcome = adapted(tmp_path)
    assert not outcome.promote
    assert [each.network for each in outcome.pictures] == ["the segmenter"] * 3 + ["the tracker"] * 3
    assert {each.video for each in outcome.pictures} == set(outcome.held_out)
    losses = [each.after - each.before for each in outcome.pictures if each.network == "the tracker"]
    assert losses == pytest.approx([-10] * 3)
    assert all(each.jpeg.startswith(b"\xff\xd8") for each in outcome.pictures)


def test_what_is_better_is_promoted_alone_and_can_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapt_module, "SEGMENTER", scored(SEGMENTER, here=0.2, elsewhere=0.0))
    monkeypatch.setattr(adapt_module, "TRACKER", scored(TRACKER, here=-0.1, elsewhere=0.0))
    outcome = adapted(tmp_path)
    assert outcome.promote
    assert outcome.tracker_weights is None
    assert outcome.segmenter_weights == tmp_path / SEGMENTER.file
    assert outcome.segmenter.held_out is not None
    assert outcome.segmenter.held_out.gain == pytest.approx(20)
    load_verified(SEGMENTER.network(), outcome.segmenter_weights)


def test_what_does_harm_elsewhere_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, course in (("SEGMENTER", SEGMENTER), ("TRACKER", TRACKER)):
        monkeypatch.setattr(adapt_module, name, scored(course, here=0.2, elsewhere=-0.02))
    outcome = adapted(tmp_path)
    assert not outcome.promote
    assert "lost 2.0 on other videos" in outcome.reason
    assert not list(tmp_path.glob("*.safetensors"))


def test_the_base_is_left_as_it_is(tmp_path: Path) -> None:
    before = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (BASE.segmenter, BASE.tracker)]
    adapted(tmp_path)
    assert before == [hashlib.sha256(path.read_bytes()).hexdigest() for path in (BASE.segmenter, BASE.tracker)]


def test_one_video_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError) as error:
        adapted(tmp_path, videos=[labeled_discs("one")])
    assert error.value.remedy == "Label a second video."


def test_two_videos_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="one name"):
        adapted(tmp_path, videos=[labeled_discs("one"), labeled_discs("one")])


def test_empty_masks_are_left_out_and_said(tmp_path: Path) -> None:
    empty = labeled_discs("empty")
    masks = {at: np.zeros_like(mask) for at, mask in empty.masks.items()}
    videos = [labeled_discs("one"), labeled_discs("two"), LabeledVideo("empty", empty.video, masks)]
    outcome = adapted(tmp_path, videos=videos)
    left_out, time_told = outcome.notes
    assert left_out == "empty was left out: all its masks are empty."
    assert time_told.startswith("It took ")
    assert "empty" not in (*outcome.learnt_from, *outcome.held_out)


def test_real_networks_learn_and_are_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapt_module, "SEGMENTER", SEGMENTER)
    monkeypatch.setattr(adapt_module, "TRACKER", TRACKER)
    outcome = adapted(tmp_path, videos=[labeled_discs(name, [0, 2, 5, 9]) for name in ("one", "two")])
    for found, judged in ((outcome.segmenter, 4), (outcome.tracker, 3)):
        assert found.iterations > 0
        assert found.held_out is not None
        assert found.held_out.judged == judged
        assert found.held_out.before > 50
        assert found.general is not None
    assert not outcome.tracker.promote  # three judged frames are too few


def test_a_cancelled_adaptation_goes_on_when_it_is_started_again(tmp_path: Path) -> None:
    doing: list[Progress] = []
    with pytest.raises(CancelledError, match="cancelled"):
        adapted(
            tmp_path,
            progress=doing.append,
            cancelled=lambda: bool(doing) and doing[-1].doing == "teaching the tracker",
        )
    again: list[Progress] = []
    outcome = adapted(tmp_path, progress=again.append)
    assert outcome.segmenter.iterations > 0
    assert "teaching the segmenter" not in {each.doing for each in again}
    assert "measuring the tracker after it learnt, on cup" in {
        each.doing for each in again
    }  # the candidates; not the base again


def test_a_full_disk_is_said_and_nothing_is_promoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="the disk is full"):
        adapted(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_is_full_when_learnt_weights_are_written_is_said_with_where_it_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapt_module, "SEGMENTER", scored(SEGMENTER, here=0.2, elsewhere=0.0))
    whole = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if path.name == "compact_segmenter.part":
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="the disk is full") as error:
        adapted(tmp_path)
    assert "it goes on from its last checkpoint" in error.value.remedy
    assert not list(tmp_path.glob("*.safetensors"))
    assert not list(tmp_path.glob("*.part"))


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError):
        adapted(tmp_path / "file" / "folder")


def test_missing_weights_are_said(tmp_path: Path) -> None:
    with pytest.raises(WeightsError):
        adapted(tmp_path, base=replace(BASE, tracker=tmp_path / "none.safetensors"))


def test_threads_are_given_back(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    with pytest.raises(InvalidInputError):
        adapted(tmp_path, videos=[], limits=replace(LIMITS, threads=before + 1))
    assert torch.get_num_threads() == before
