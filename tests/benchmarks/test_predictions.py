"""Rank, separation and calibration of predictions against cases computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.predictions import area_under_roc, brier_score, calibration_error, rank_correlation


def test_rank_correlation_sees_order_alone() -> None:
    a = np.array([0.1, 0.2, 0.3, 0.4])
    assert rank_correlation(a, np.exp(9 * a)) == pytest.approx(1)
    assert rank_correlation(a, -a) == pytest.approx(-1)
    assert np.isnan(rank_correlation(a, np.ones(4)))


def test_area_under_roc_is_the_share_of_pairs_in_order() -> None:
    score, positive = np.array([0.9, 0.4, 0.5, 0.1]), np.array([True, True, False, False])
    assert area_under_roc(score, positive) == pytest.approx(3 / 4)
    assert area_under_roc(np.ones(4), positive) == pytest.approx(1 / 2)
    assert np.isnan(area_under_roc(score, np.ones(4, bool)))


def test_brier_score_is_the_mean_square() -> None:
    assert brier_score(np.array([0.8, 0.4]), np.array([True, False])) == pytest.approx((0.04 + 0.16) / 2)


def test_who_says_nine_tenths_and_is_right_half_the_time_errs_by_two_fifths() -> None:
    half = np.array([True, False] * 10)
    assert calibration_error(np.full(20, 0.9), half) == pytest.approx(0.4)
    assert calibration_error(np.full(20, 0.5), half) == pytest.approx(0)
    # A tenth too high here and a tenth too low there do not make up for each other.
    probability = np.array([0.6] * 10 + [0.35] * 10)
    happened = np.array([True] * 5 + [False] * 5 + [True] * 4 + [False] * 6)
    assert calibration_error(probability, happened) == pytest.approx((0.1 + 0.05) / 2)
    assert calibration_error(np.array([1.0]), np.array([True])) == 0
