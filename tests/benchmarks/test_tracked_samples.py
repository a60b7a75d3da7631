"""Clips at working sizes, disturbed; samples of them, kept in files; and the fit to samples."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from benchmarks.calibration import absence_predictions, cross_validated, main, quality_predictions
from benchmarks.clips import AnnotatedClip, find_clips
from benchmarks.footage import Disturbance, Shelf
from benchmarks.tracked_samples import Samples, Variant, collect
from tam_backend.quality import model as quality_model
from tam_backend.quality.evidence import AbsenceEvidence, signs
from tam_backend.quality.model import FALLBACK
from tam_backend.tracking.scaling import Scaling

LENGTH = 12


@pytest.fixture
def clips(tmp_path: Path) -> list[AnnotatedClip]:
    """Two clips of a bright and of a dim disc that moves 3 pixels a frame; it is drawn on every frame."""
    for name, brightness in (("bright", 230), ("dim", 120)):
        for kind in ("JPEGImages", "Annotations"):
            (tmp_path / "clips" / name / kind).mkdir(parents=True)
        for index in range(LENGTH):
            mask = np.zeros((72, 96), np.uint8)
            cv2.circle(mask, (30 + 3 * index, 36), 16, 1, -1)
            frame = np.where(mask[..., None] > 0, np.uint8(brightness), np.uint8(30)).repeat(3, 2)
            cv2.imwrite(str(tmp_path / "clips" / name / "JPEGImages" / f"{index:05d}.jpg"), frame)
            cv2.imwrite(str(tmp_path / "clips" / name / "Annotations" / f"{index:05d}.png"), mask)
    return find_clips([tmp_path / "clips"])


def disturbance(kind: str, clips: list[AnnotatedClip]) -> Disturbance:
    scaling = Scaling(clips[0].size_hw, 36, torch.device("cpu"))
    rng = np.random.default_rng(0)
    return Disturbance(Shelf(), clips[0], scaling, kind, clips[1], range(LENGTH), rng)


def test_frames_and_truth_are_at_the_working_size(clips: list[AnnotatedClip]) -> None:
    shown = disturbance("", clips)(0)
    assert shown.pixels.shape == (36, 48, 3)
    assert shown.ids is not None
    assert np.count_nonzero(shown.ids == 1) == pytest.approx(np.pi * 8**2, rel=0.1)
    assert shown.pixels[shown.ids == 1].mean() > 200
    assert shown.pixels[shown.ids == 0].mean() < 60


@pytest.mark.parametrize("kind", ["cut", "pan", "patch", "blur"])
def test_only_the_middle_third_is_disturbed(kind: str, clips: list[AnnotatedClip]) -> None:
    plain, changed = disturbance("", clips), disturbance(kind, clips)
    same = [bool((plain(at).pixels == changed(at).pixels).all()) for at in range(LENGTH)]
    assert same == [True] * 4 + [False] * 4 + [True] * 4


def test_after_a_cut_nothing_of_the_object_is_left(clips: list[AnnotatedClip]) -> None:
    shown = disturbance("cut", clips)(5)
    assert shown.away
    assert shown.ids is not None
    assert not shown.ids.any()
    assert shown.pixels.max() < 150


def test_a_pan_moves_the_object_out_of_the_frame_and_back(clips: list[AnnotatedClip]) -> None:
    show = disturbance("pan", clips)
    whole = np.count_nonzero(disturbance("", clips)(0).ids)
    areas = []
    for at in range(3, 9):
        shown = show(at)
        assert shown.ids is not None
        areas.append(np.count_nonzero(shown.ids))
        # What the mask says is what is to be seen: the other scene's disc is dimmer.
        assert np.count_nonzero(shown.pixels[..., 0] > 180) == pytest.approx(areas[-1], abs=0.15 * whole)
    assert areas[0] > 0.9 * whole
    assert min(areas[1:5]) == 0
    assert areas[-1] > 0.9 * whole


def test_a_patch_hides_what_it_covers(clips: list[AnnotatedClip]) -> None:
    show = disturbance("patch", clips)
    half, all_of_it = show(6).ids, show(5).ids
    assert half is not None
    assert all_of_it is not None
    assert half.any()
    assert not all_of_it.any()


def test_samples_are_tracked_once_and_then_read(clips: list[AnnotatedClip], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    variants = [Variant("clean", 48), Variant("cut", 48, disturbance="cut", backward=True)]
    samples = collect("compact", clips, cache, variants)
    assert set(samples.clip) == {"bright", "dim"}
    clean = samples.variant == "clean"
    # Every frame but the first and the last one.
    assert clean.sum() == 2 * (LENGTH - 2)
    assert samples.iou[clean].mean() > 0.8
    assert not samples.absent[clean].any()
    assert samples.absent[~clean].sum() == 2 * 4
    assert np.isnan(samples.absence[samples.found]).all()
    written = {file: file.stat().st_mtime_ns for file in cache.iterdir()}
    again = collect("compact", clips, cache, variants)
    assert {file: file.stat().st_mtime_ns for file in cache.iterdir()} == written
    assert np.array_equal(samples.iou, again.iou)
    assert len(collect("compact", clips, cache, variants[:1], both_ways=True)) == 2 * clean.sum()


def drawn(count: int = 900) -> Samples:
    """Masks whose IoU their probabilities foretell, a third of them empty: of those, the hazy ones wrongly."""
    rng = np.random.default_rng(1)
    sure = rng.uniform(0.5, 0.99, count)
    found = rng.random(count) < 2 / 3
    gone = ~found & (rng.random(count) < sure)
    evidence = np.full((count, len(signs())), np.nan)
    evidence[:, list(signs()).index("expected_iou")] = sure
    absence = np.full((count, len(signs(AbsenceEvidence))), np.nan)
    absence[:, list(signs(AbsenceEvidence)).index("peak")] = (1 - sure) / 4
    return Samples(
        clip=rng.choice(["a", "b", "c"], count),
        variant=rng.choice(["clean", "cut"], count),
        iou=np.where(found, sure**2, gone),
        absent=gone,
        found=found,
        mean_probability=np.where(found, sure, 1 - (1 - sure) / 4),
        evidence=evidence,
        absence=absence,
    )


def test_no_clip_is_judged_by_what_was_learnt_of_itself() -> None:
    samples = drawn()
    learnt_of = cross_validated(samples, lambda others: np.full(len(samples), float(others.sum())))
    for clip in "abc":
        own = samples.clip == clip
        assert (learnt_of[own] == (~own).sum()).all()


def test_quality_is_nearer_to_the_truth_than_the_probabilities_it_is_made_of() -> None:
    samples = drawn()
    masks, empty = quality_predictions(samples), absence_predictions(samples)
    errors = {name: np.abs(p - samples.iou)[samples.found].mean() for name, p in masks.items()}
    assert errors["quality"] < errors["mean probability"] / 2
    right = samples.absent[~samples.found].mean()
    off = {name: abs(p[~samples.found].mean() - right) for name, p in empty.items()}
    assert off["quality"] < 0.05
    assert off["1 - largest probability"] > 0.1


def test_report_is_printed_and_coefficients_are_written_where_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    samples, path = drawn(), tmp_path / "coefficients.json"
    path.write_bytes(quality_model.COEFFICIENTS.read_bytes())
    before = quality_model.load(path)
    monkeypatch.setattr("benchmarks.calibration.find_clips", lambda folders: [])
    monkeypatch.setattr("benchmarks.calibration.collect", lambda *_: samples)
    monkeypatch.setattr("benchmarks.calibration.COEFFICIENTS", path)
    main(["clips"])
    assert quality_model.load(path) == before
    assert f"empty masks, all: {(~samples.found).sum()}" in capsys.readouterr().out
    main(["clips", "--fit"])
    after = quality_model.load(path)
    assert after["compact"] != before["compact"]
    assert after[FALLBACK] == before[FALLBACK]
    main(["clips", "--fit", "all"])
    assert quality_model.load(path)[FALLBACK] == after["compact"]
