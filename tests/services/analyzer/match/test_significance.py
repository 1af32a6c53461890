"""p by the null in strata of firings, and Benjamini-Hochberg's q."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import false_discovery_control

from services.analyzer.match.significance import p_values, q_values


def test_with_one_stratum_p_is_the_share_of_null_values_as_high_plus_one_over_plus_one() -> None:
    rng = np.random.default_rng(0)
    best_r, null = rng.random(30).round(1), rng.random((4, 30)).round(1)
    p = p_values(best_r, null, np.full(30, 12), np.ones(30, bool))
    expected = [(1 + (null >= r).sum()) / (1 + null.size) for r in best_r]
    np.testing.assert_allclose(p, expected, rtol=1e-12)


def test_a_feature_is_compared_with_those_of_about_its_firings() -> None:
    # Rare features reach .5 by chance, frequent ones .05.
    rng = np.random.default_rng(1)
    firings = np.repeat([10, 1000], 1000)
    null = rng.random((5, 2000)) * np.repeat([0.5, 0.05], 1000)
    p = p_values(np.full(2000, 0.2), null, firings, np.ones(2000, bool))
    assert p[:1000].min() == pytest.approx(0.6, abs=0.05)
    assert p[1000:].max() < 0.01


def test_under_the_null_p_is_uniform() -> None:
    rng = np.random.default_rng(2)
    firings = rng.integers(10, 5000, 3000)
    values = rng.exponential(1.0, (11, 3000)) / np.sqrt(firings)
    p = p_values(values[0], values[1:], firings, np.ones(3000, bool))
    for share in (0.05, 0.3, 0.7):
        assert (p <= share).mean() == pytest.approx(share, abs=0.03)


def test_rare_features_have_no_p_and_those_without_a_partner_the_highest() -> None:
    best_r = np.array([np.nan, 0.9, np.nan])
    null = np.array([[0.1, 0.2, 0.3], [0.0, 0.1, 0.3]])
    p = p_values(best_r, null, np.array([50, 50, 2]), np.array([True, True, False]))
    assert p[0] == 1
    assert p[1] == pytest.approx(1 / 5)
    assert np.isnan(p[2])
    assert np.isnan(p_values(best_r, null[:0], np.ones(3, int), np.ones(3, bool))).all()


def test_q_equals_scipys_benjamini_hochberg_and_skips_what_was_not_tested() -> None:
    rng = np.random.default_rng(3)
    p = rng.random(200) ** 3
    p[::7] = np.nan
    q = q_values(p)
    tested = ~np.isnan(p)
    np.testing.assert_allclose(q[tested], false_discovery_control(p[tested]), rtol=1e-12)
    assert np.isnan(q[~tested]).all()
    assert len(q_values(np.full(3, np.nan))) == 3
