"""How well predictions agree with what was true: rank, separation, and calibration."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_BINS = 10


def rank_correlation(a: Floats, b: Floats) -> float:
    """Return Spearman's rho; ties share their mean rank; NaN if either is constant."""
    x, y = _ranks(a), _ranks(b)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def area_under_roc(score: Floats, positive: Bools) -> float:
    """Return the probability that a positive scores higher than a negative; NaN if there are not both."""
    hits, misses = int(positive.sum()), int((~positive).sum())
    if not hits or not misses:
        return float("nan")
    return float((_ranks(score)[positive].sum() - hits * (hits + 1) / 2) / (hits * misses))


def brier_score(probability: Floats, happened: Bools) -> float:
    """Return the mean squared difference of a probability from what happened; 0 is best."""
    return float(np.square(probability - happened).mean())


def calibration_error(probability: Floats, happened: Bools) -> float:
    """Return the expected calibration error: |mean probability - share that happened| in tenths of 0..1, weighted."""
    tenth = np.minimum((probability * _BINS).astype(int), _BINS - 1)
    differences = np.bincount(tenth, probability - happened, minlength=_BINS)
    return float(np.abs(differences).sum() / len(probability))


def _ranks(values: Floats) -> Floats:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: Floats = (ends - (counts - 1) / 2)[inverse]
    return ranks
