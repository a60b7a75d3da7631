"""How well quality predicts the true IoU, and the fit of its coefficients: `python -m benchmarks.calibration CLIPS...`.

Clips are tracked as they are and corrupted (`benchmarks.tracked_samples`). A clip is always judged by coefficients that
were fitted on the other clips.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.clips import find_clips
from benchmarks.predictions import area_under_roc, brier_score, calibration_error, rank_correlation
from benchmarks.tracked_samples import VARIANTS, Samples, collect
from tam_backend.quality.evidence import AbsenceEvidence, shares, signs
from tam_backend.quality.model import COEFFICIENTS, FALLBACK, LogisticModel, QualityModels, family, fit, load, save

Floats = NDArray[np.float64]

DOUBTFUL = 0.7
# Chosen among a dozen sets by the very figures printed here, which flatters them a little. Jumps, strays and outline
# added nothing beside these; similarities misled on clips not fitted on.
USED = ("expected_iou", "margin", "band_entropy", "core_entropy", "agreement", "mass_outside")
EVIDENCE = tuple(signs())
QUALITY_SIGNS = {name: sign for name, sign in signs().items() if name in USED}
COLUMNS = [EVIDENCE.index(name) for name in QUALITY_SIGNS]
ABSENCE_USED = ("peak", "haze", "missing")
ABSENCE = tuple(signs(AbsenceEvidence))
ABSENCE_SIGNS = {name: sign for name, sign in signs(AbsenceEvidence).items() if name in ABSENCE_USED}
ABSENCE_COLUMNS = [ABSENCE.index(name) for name in ABSENCE_SIGNS]


@dataclass(frozen=True)
class Row:
    """One predictor on some masks.

    Args:
        name: of the predictor.
        masks: how many.
        rank_correlation: Spearman's, with the true IoU.
        doubtful_auc: area under the ROC of "IoU < 0.7".
        error: mean absolute difference from the true IoU.
    """

    name: str
    masks: int
    rank_correlation: float
    doubtful_auc: float
    error: float


def even(clip: NDArray[np.str_]) -> Floats:
    """Return how much each mask counts in a fit: a clip counts with the root of its masks, so that no clip rules."""
    _, inverse, counts = np.unique(clip, return_inverse=True, return_counts=True)
    importance: Floats = (1 / np.sqrt(counts))[inverse]
    return importance


def fit_quality(samples: Samples, chosen: NDArray[np.bool_] | None = None) -> LogisticModel:
    """Fit the IoU of masks that are not empty on some of the samples (default: all)."""
    used = samples.found if chosen is None else samples.found & chosen
    values, importance = samples.evidence[used][:, COLUMNS], even(samples.clip[used])
    return fit(values, samples.iou[used], QUALITY_SIGNS, log_odds=shares(), importance=importance)


def fit_absence(samples: Samples, chosen: NDArray[np.bool_] | None = None) -> LogisticModel:
    """Fit the probability that an empty mask is right on some of the samples (default: all)."""
    used = ~samples.found if chosen is None else ~samples.found & chosen
    values, importance = samples.absence[used][:, ABSENCE_COLUMNS], even(samples.clip[used])
    right = samples.absent[used].astype(np.float64)
    return fit(values, right, ABSENCE_SIGNS, log_odds=shares(AbsenceEvidence), importance=importance)


def cross_validated(samples: Samples, predict: Callable[[NDArray[np.bool_]], Floats]) -> Floats:
    """Return a prediction for every sample, of a model that saw no frame of its clip.

    Args:
        samples: of some clips.
        predict: (N,) bool, which samples may be learnt from -> (N,) predictions.
    """
    answer = np.full(len(samples), np.nan)
    for clip in np.unique(samples.clip):
        own = samples.clip == clip
        answer[own] = predict(~own)[own]
    return answer


def quality_predictions(samples: Samples) -> dict[str, Floats]:
    """Return (N,) predictions by the names of the predictors."""
    values = samples.evidence[:, COLUMNS]
    return {
        "mean probability": samples.mean_probability,
        "expected IoU": samples.evidence[:, EVIDENCE.index("expected_iou")],
        "quality": cross_validated(samples, lambda others: fit_quality(samples, others).predict_all(values)),
    }


def rows(samples: Samples, predictions: Mapping[str, Floats], chosen: NDArray[np.bool_]) -> list[Row]:
    """Judge every predictor on the chosen samples."""
    iou = samples.iou[chosen]
    return [
        Row(
            name,
            len(iou),
            rank_correlation(predicted[chosen], iou),
            area_under_roc(-predicted[chosen], iou < DOUBTFUL),
            float(np.abs(predicted[chosen] - iou).mean()),
        )
        for name, predicted in predictions.items()
    ]


def report(samples: Samples) -> None:
    """Print all tables."""
    predictions = quality_predictions(samples)
    clean = samples.variant == "clean"
    for title, chosen in (
        ("all", samples.found),
        ("tracked as they are", samples.found & clean),
        ("corrupted", samples.found & ~clean),
    ):
        if not chosen.any():
            continue
        doubtful = 100 * float((samples.iou[chosen] < DOUBTFUL).mean())
        print(f"\n{title}: {chosen.sum()} masks of {len(set(samples.clip[chosen]))} clips, {doubtful:.0f} % doubtful")
        print(f"{'predictor':<24}{'Spearman':>9}{'AUC':>7}{'|error|':>9}")
        for row in rows(samples, predictions, chosen):
            print(f"{row.name:<24}{row.rank_correlation:>9.3f}{row.doubtful_auc:>7.3f}{row.error:>9.3f}")
    print(f"\n{'Spearman by clip':<24}" + "".join(f"{name:>22}" for name in predictions))
    for clip in np.unique(samples.clip[samples.found]):
        own = samples.found & (samples.clip == clip)
        figures = "".join(f"{row.rank_correlation:>22.3f}" for row in rows(samples, predictions, own))
        print(f"{clip + f' ({own.sum()})':<24}{figures}")
    _report_absence(samples)


def absence_predictions(samples: Samples) -> dict[str, Floats]:
    """Return (N,) probabilities that a mask is rightly empty, by the names of the predictors."""
    values = samples.absence[:, ABSENCE_COLUMNS]
    return {
        "1 - largest probability": samples.mean_probability,
        "quality": cross_validated(samples, lambda others: fit_absence(samples, others).predict_all(values)),
    }


def _report_absence(samples: Samples) -> None:
    predictions = absence_predictions(samples)
    clean = samples.variant == "clean"
    for title, chosen in (
        ("all", ~samples.found),
        ("tracked as they are", ~samples.found & clean),
        ("corrupted", ~samples.found & ~clean),
    ):
        if not chosen.any():
            continue
        right = samples.absent[chosen]
        print(f"\nempty masks, {title}: {len(right)}, of them rightly {right.sum()} ({right.mean():.3f})")
        print(f"{'predictor':<24}{'AUC':>7}{'Brier':>8}{'error':>8}{'mean':>7}")
        for name, predicted in predictions.items():
            p = predicted[chosen]
            figures = (
                f"{area_under_roc(p, right):>7.3f}{brier_score(p, right):>8.3f}{calibration_error(p, right):>8.3f}"
            )
            print(f"{name:<24}{figures}{p.mean():>7.3f}")
    print(f"\n{'empty masks by clip':<24}{'all':>6}{'rightly':>9}" + "".join(f"{name:>25}" for name in predictions))
    for clip in np.unique(samples.clip[~samples.found]):
        own = ~samples.found & (samples.clip == clip)
        means = "".join(f"{predicted[own].mean():>25.3f}" for predicted in predictions.values())
        print(f"{clip:<24}{own.sum():>6}{samples.absent[own].sum():>9}{means}")


def main(arguments: Iterable[str] | None = None) -> None:
    """Track, judge, and write the coefficients if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="clips, folders of clips, or DAVIS-like data sets")
    parser.add_argument("--profile", default="compact")
    parser.add_argument("--cache", type=Path, default=Path(".cache/calibration"), help="what was tracked is kept there")
    parser.add_argument("--variants", nargs="+", choices=[each.name for each in VARIANTS], help="default: all")
    parser.add_argument("--both-ways", action="store_true", help="forth and back in every variant, at twice the price")
    parser.add_argument("--processes", type=int, default=2, help="clips that are tracked at once, a thread each")
    parser.add_argument(
        "--fit",
        choices=("family", "all"),
        nargs="?",
        const="family",
        help="write the coefficients into the package: of the profile's family, or those for any other tracker too",
    )
    options = parser.parse_args(None if arguments is None else list(arguments))

    torch.set_num_threads(1)
    variants = [each for each in VARIANTS if each.name in (options.variants or [known.name for known in VARIANTS])]
    clips = find_clips(options.folders)
    samples = collect(options.profile, clips, options.cache, variants, options.processes, options.both_ways)
    report(samples)
    if options.fit:
        fitted = QualityModels(fit_quality(samples), fit_absence(samples))
        families = [family(options.profile), *([FALLBACK] if options.fit == "all" else [])]
        save(load(COEFFICIENTS) | dict.fromkeys(families, fitted), COEFFICIENTS)


if __name__ == "__main__":
    main()
