"""Quality: evidence of a mask, the verdict on it, and the coefficients between them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tam_backend.models.protocols import MemoryReading, TrackingStep
from tam_backend.quality import model as quality_model
from tam_backend.quality.evidence import AbsenceEvidence, Evidence, FrameEvidence, Trace, signs
from tam_backend.quality.meter import QualityMeter, Verdict
from tam_backend.quality.model import FALLBACK, LogisticModel, QualityModels, fit, is_calibrated, models_for

HEIGHT, WIDTH, STRIDE = 96, 128, 16
PROFILES = ("compact", "xmem-sam-vit-b")


def disc(x: float = 60, y: float = 50, radius: float = 20) -> Tensor:
    """(H, W) float32, 1 inside."""
    yy, xx = torch.meshgrid(torch.arange(HEIGHT), torch.arange(WIDTH), indexing="ij")
    return ((xx - x) ** 2 + (yy - y) ** 2 < radius**2).float()


def step(*objects: Tensor, reading: MemoryReading | None = None, ids: tuple[int, ...] = ()) -> TrackingStep:
    """Each object's (H, W) probability; the background has the rest."""
    stacked = torch.stack(objects)
    probabilities = torch.cat([(1 - stacked.sum(0, keepdim=True)).clamp(min=0), stacked])
    return TrackingStep(ids or tuple(range(1, len(objects) + 1)), probabilities, reading)


def reading(*seen: Tensor, similarity: float = -0.5) -> MemoryReading:
    """Memory that explains every cell equally well and takes the (H, W) `seen` for the objects."""
    foreground = torch.nn.functional.avg_pool2d(torch.stack(seen)[:, None], STRIDE)[:, 0]
    cells = foreground[0].numel()
    shape = (len(seen), cells, 4)
    return MemoryReading(
        (HEIGHT // STRIDE, WIDTH // STRIDE),
        torch.full(shape, 0.25),
        torch.full(shape, similarity),
        torch.zeros(shape, dtype=torch.int64),
        foreground,
    )


def evidence(of: TrackingStep, channel: int = 1, before: Trace | None = None) -> Evidence:
    seen = FrameEvidence(of).observe(channel, before).evidence
    assert isinstance(seen, Evidence)
    return seen


def quality(*steps: TrackingStep, profile: str = "compact") -> float:
    """Of object 1 on the last of some frames."""
    meter = QualityMeter(profile)
    return [meter.measure(each) for each in steps][-1][1].quality


# What the evidence says


def test_the_expected_iou_is_the_ratio_of_expected_intersection_and_union() -> None:
    sure, doubtful = disc() * 1.0, disc() * 0.7
    assert evidence(step(sure)).expected_iou == pytest.approx(1)
    assert evidence(step(doubtful)).expected_iou == pytest.approx(0.7, abs=1e-4)
    halo = disc() * 0.9 + (disc(radius=25) - disc()) * 0.2
    inside, ring = float(disc().sum()), float((disc(radius=25) - disc()).sum())
    assert evidence(step(halo)).expected_iou == pytest.approx(0.9 * inside / (inside + 0.2 * ring), abs=1e-4)


def test_doubt_at_the_boundary_and_doubt_inside_are_told_apart() -> None:
    rim = disc() - disc(radius=18)
    soft_rim = evidence(step(disc() - 0.4 * rim))
    soft_core = evidence(step(disc() - 0.4 * disc(radius=14)))
    assert soft_rim.band_entropy > 0.3 > soft_core.band_entropy
    assert soft_core.core_entropy > 0.3 > soft_rim.core_entropy


def test_the_memory_agrees_with_a_mask_where_it_sees_the_object() -> None:
    same = evidence(step(disc(), reading=reading(disc())))
    elsewhere = evidence(step(disc(), reading=reading(disc(x=100, y=30))))
    assert same.agreement == pytest.approx(1, abs=0.02)
    assert elsewhere.agreement < 0.3
    assert same.mass_on_object > elsewhere.mass_on_object
    assert same.mass_outside < elsewhere.mass_outside
    assert same.similarity == pytest.approx(-0.5)
    assert same.similarity_lead == pytest.approx(0, abs=1e-5)


def test_jumps_are_measured_in_object_sizes() -> None:
    first = FrameEvidence(step(disc())).observe(1, None)
    assert first.trace is not None
    assert first.trace.area == float(disc().sum())
    assert first.trace.centre == pytest.approx((60, 50))
    assert isinstance(first.evidence, Evidence)
    assert math.isnan(first.evidence.area_jump)
    moved = evidence(step(disc(x=80)), before=first.trace)
    assert moved.centroid_jump == pytest.approx(20 / first.trace.area**0.5, abs=0.01)
    assert moved.area_jump == pytest.approx(0, abs=0.01)
    assert evidence(step(disc(radius=10)), before=first.trace).area_jump == pytest.approx(math.log(4), abs=0.05)
    assert evidence(step(disc(radius=2)), before=first.trace).area_jump == 3  # at most


def test_stray_parts_competition_and_ragged_outlines_show() -> None:
    whole = evidence(step(disc()))
    in_two = evidence(step(disc(x=30, radius=15) + disc(x=90, radius=15)))
    assert whole.stray_share == 0
    assert in_two.stray_share == pytest.approx(0.5, abs=0.01)
    assert whole.raggedness < in_two.raggedness
    assert whole.competition == 0
    assert evidence(step(disc() * 0.55, disc() * 0.4)).competition == pytest.approx(0.4)


def test_what_the_frame_does_not_tell_is_nan() -> None:
    seen = evidence(step(disc()))
    assert all(math.isnan(value) for value in (seen.agreement, seen.similarity, seen.area_jump, seen.centroid_jump))
    unread = reading(disc())
    joined = replace(unread, similarity=torch.full_like(unread.similarity, -torch.inf))
    assert math.isnan(evidence(step(disc(), reading=joined)).similarity)


# What the evidence says of an empty mask


def absence(of: TrackingStep, before: Trace | None = None) -> AbsenceEvidence:
    seen = FrameEvidence(of).observe(1, before).evidence
    assert isinstance(seen, AbsenceEvidence)
    return seen


def trace(of: TrackingStep, before: Trace | None = None) -> Trace:
    seen = FrameEvidence(of).observe(1, before).trace
    assert seen is not None
    return seen


def test_an_empty_mask_has_evidence_of_absence() -> None:
    seen = FrameEvidence(step(disc() * 0.3)).observe(1, None)
    assert seen.trace is None
    assert isinstance(seen.evidence, AbsenceEvidence)
    assert seen.evidence.peak == pytest.approx(0.3)
    assert math.isnan(seen.evidence.haze)
    assert math.isnan(seen.evidence.missing)


def test_the_last_mask_is_remembered_while_the_object_is_missing() -> None:
    last = trace(step(disc(radius=10) * 0.9))
    hazy = step(disc(radius=10) * 0.2)
    first = absence(hazy, last)
    assert first.haze == pytest.approx(math.log(0.2), abs=1e-3)
    assert first.missing == pytest.approx(math.log(2))
    later = trace(hazy, trace(hazy, last))
    assert later == replace(last, missing=2)
    assert absence(hazy, later).missing == pytest.approx(math.log(4))


# The verdict


# The fit to compact's present weights makes nothing of it beside the probabilities; it may not turn it round.
@pytest.mark.parametrize(("profile", "by"), [*zip(PROFILES, (0.0, 0.05), strict=True)])
def test_a_mask_that_the_memory_agrees_with_beats_one_that_it_does_not(profile: str, by: float) -> None:
    agreed = quality(step(disc(), reading=reading(disc())), profile=profile)
    assert agreed >= quality(step(disc(), reading=reading(disc(x=100, y=30))), profile=profile) + by


@pytest.mark.parametrize("profile", PROFILES)
def test_a_sure_mask_beats_a_doubtful_one(profile: str) -> None:
    frames = [step(disc() * sure, reading=reading(disc())) for sure in (0.98, 0.8, 0.6)]
    sure, doubtful, guess = (quality(frame, profile=profile) for frame in frames)
    assert sure > doubtful > guess


def test_no_measurement_that_speaks_for_a_mask_ever_harms_it() -> None:
    for model in (models_for(profile).mask for profile in PROFILES):
        typical = dict.fromkeys(signs(), 0.5)
        for name in model.names:
            levels = [model.predict({**typical, name: at}) for at in (0.0, 0.3, 0.5, 0.7, 1.0)]
            assert levels == sorted(levels, reverse=signs()[name] < 0), name


def test_an_absent_object_has_a_verdict_of_its_own() -> None:
    def after_one_mask(then: TrackingStep) -> Verdict:
        meter = QualityMeter("compact")
        meter.measure(step(disc() * 0.95, reading=reading(disc())))
        return meter.measure(then)[1]

    gone = after_one_mask(step(disc() * 0.001, reading=reading(disc() * 0.01)))
    unsure = after_one_mask(step(disc() * 0.45, reading=reading(disc() * 0.9)))
    assert gone.absent
    assert unsure.absent
    assert gone.quality > unsure.quality
    assert gone.quality > 0.6  # absent with confidence: not a low quality


def test_a_given_mask_is_not_judged_but_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    steady = LogisticModel(("centroid_jump",), (), (0.0,), (1.0,), (-1.0,), 2.0)
    models = QualityModels(steady, models_for("compact").absence)
    monkeypatch.setattr("tam_backend.quality.meter.models_for", lambda _: models)
    stayed, leapt = QualityMeter("compact"), QualityMeter("compact")
    assert stayed.measure(step(disc(x=20, y=20)), given=[1]) == {}
    assert leapt.measure(step(disc(x=100, y=70)), given=[1]) == {}
    here = step(disc(x=20, y=20))
    assert leapt.measure(here)[1].quality < stayed.measure(here)[1].quality == pytest.approx(1 / (1 + math.exp(-2)))


def test_an_object_that_comes_back_is_compared_with_nothing() -> None:
    meter = QualityMeter("compact")
    meter.measure(step(disc()))
    assert meter.measure(step(torch.zeros(HEIGHT, WIDTH)))[1].absent
    back = meter.measure(step(disc(x=20, y=20, radius=8)))
    assert back == QualityMeter("compact").measure(step(disc(x=20, y=20, radius=8)))


def test_the_order_of_objects_does_not_matter() -> None:
    one, two = disc(x=30, radius=15) * 0.9, disc(x=90, radius=18) * 0.7
    here = QualityMeter("compact").measure(step(one, two, reading=reading(one, two)))
    there = QualityMeter("compact").measure(step(two, one, reading=reading(two, one)))
    assert here[1].quality == pytest.approx(there[2].quality)
    assert here[2].quality == pytest.approx(there[1].quality)
    assert here[1].quality != pytest.approx(here[2].quality)


@pytest.mark.parametrize("profile", PROFILES)
def test_any_probabilities_give_a_number_from_0_to_1(profile: str) -> None:
    generator = torch.Generator().manual_seed(0)
    meter = QualityMeter(profile)
    for sharpness in (0.0, 1.0, 30.0):
        noise = torch.softmax(sharpness * torch.randn(3, HEIGHT, WIDTH, generator=generator), 0)
        odd = noise.clone()
        odd[:, ::7] = torch.nan
        for probabilities in (noise, odd, torch.full_like(noise, torch.nan)):
            read = reading(torch.rand(HEIGHT, WIDTH, generator=generator), torch.zeros(HEIGHT, WIDTH))
            for verdict in meter.measure(TrackingStep((3, 8), probabilities, read)).values():
                assert 0 <= verdict.quality <= 1


def test_a_single_pixel_is_judged() -> None:
    dot = torch.zeros(HEIGHT, WIDTH)
    dot[0, 0] = 0.9
    assert QualityMeter("compact").measure(step(dot, reading=reading(dot)))[1] == Verdict(
        pytest.approx(0.5, abs=0.5), absent=False
    )


# The coefficients


def drawn(count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Two measurements that matter, for and against, and one that does not; some unknown."""
    rng = np.random.default_rng(3)
    values = rng.normal((0.5, 2.0, 7.0), (0.2, 1.0, 3.0), (count, 3))
    target = 1 / (1 + np.exp(-(6 * (values[:, 0] - 0.5) - 1.0 * (values[:, 1] - 2))))
    values[rng.random((count, 3)) < 0.05] = np.nan
    return values, target


def test_a_fit_finds_what_the_data_were_made_with_and_finds_it_again() -> None:
    values, target = drawn()
    model = fit(values, target, {"for": 1, "against": -1, "idle": 0}, penalty=1e-4)
    assert np.corrcoef(model.predict_all(values), target)[0, 1] > 0.95
    assert model.weight[0] > 0.8
    assert model.weight[1] < -0.6
    assert abs(model.weight[2]) < 0.1
    assert model == fit(values, target, {"for": 1, "against": -1, "idle": 0}, penalty=1e-4)


def test_a_fit_respects_the_signs() -> None:
    values, target = drawn()
    assert fit(values, target, {"for": -1, "against": 1, "idle": 0}).weight[:2] == (0, 0)


def test_coefficients_come_back_from_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = LogisticModel(("peak", "other"), ("peak",), (0.1, 0.2), (1.0, 2.0), (-0.5, 0.0), 1.5)
    fallback, mine = QualityModels(model, model), QualityModels(model, replace(model, bias=-1.0))
    quality_model.save({"mine": mine, FALLBACK: fallback}, tmp_path / "some.json")
    monkeypatch.setattr(quality_model, "COEFFICIENTS", tmp_path / "some.json")
    quality_model.shipped.cache_clear()
    try:
        assert models_for("mine") == mine
        assert models_for("mine-large") == mine
        assert models_for("unheard-of") == fallback
        assert models_for("sam-vit-b+mine-large") == mine, "the evidence is the tracker's"
        assert models_for("mine+unheard-of") == fallback
        assert is_calibrated("sam-vit-b+mine") and not is_calibrated("mine+unheard-of")
    finally:
        quality_model.shipped.cache_clear()


def test_the_coefficients_in_the_package_know_the_measurements() -> None:
    for profile in ("compact", "none of ours"):
        models = models_for(profile)
        assert set(models.mask.names) <= set(signs())
        assert set(models.absence.names) <= set(signs(AbsenceEvidence))
        assert not any(name.startswith("similarity") for name in models.mask.names)  # its unit is the network's
        assert any(models.mask.weight)
        assert any(models.absence.weight)
