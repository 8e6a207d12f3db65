"""Logistic regression on SHARP keywords: how far a few numbers of each magnetogram go.

Shapes: n samples, K keywords, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import InputError
from sffshards.forecasting.baselines.sharp_keywords import EXTENSIVE, KEYWORDS

__all__ = ["REGULARISATION", "forecast_regression"]

REGULARISATION = 0.01
"""scikit-learn's C, the inverse of the penalty's strength."""

_EXTENSIVE_COLUMNS = [KEYWORDS.index(name) for name in EXTENSIVE]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Scaling:
    """What follows from the training set alone."""

    least: NDArray[np.float64]
    """The least value above 0 of the extensive keywords."""
    median: NDArray[np.float64]
    """Of each feature, shape (F,)."""
    mean: NDArray[np.float64]
    """Of each feature with medians for what is missing, shape (F,)."""
    deviation: NDArray[np.float64]
    """Of each feature likewise, 1 where it is 0, shape (F,)."""

    def apply(self, keywords_nK: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give standardised features, shape (n, F)."""
        features_nF = _add_logarithms(keywords_nK, self.least)
        filled_nF = np.where(np.isnan(features_nF), self.median, features_nF)
        scaled_nF: NDArray[np.float64] = (filled_nF - self.mean) / self.deviation
        return scaled_nF


def forecast_regression(
    training_nK: NDArray[np.float64], labels: NDArray[np.integer], sets: Sequence[NDArray[np.float64]]
) -> list[NDArray[np.float64]]:
    """Fit to a training set and forecast others.

    Features are the keywords and the logarithms (base 10) of those that grow with a region's size, 0 taken for the
    least value above it; what is missing is given the median; all are standardised. All of this follows from the
    training set alone. Both classes weigh the same.

    Parameters
    ----------
    training_nK
        Keywords in the order of `sffshards.forecasting.baselines.sharp_keywords.KEYWORDS`, nan where missing.
    labels
        0 or 1, shape (n,).
    sets
        Keywords of each set to forecast, each of shape (its samples, K).

    Returns
    -------
    list of float64
        The probability of a flare, as if flares were as frequent as their absence, of each set.

    Raises
    ------
    InputError
        If the labels are all of one class, or a keyword is missing throughout.
    """
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(labels)) < 2:
        found = f"{len(labels)} samples, all of one class"
        raise InputError(
            "regression",
            expected="flares and times without",
            found=found,
            fix="leave out {keywords}, or give more data",
        )
    empty = [name for name, none in zip(KEYWORDS, np.isnan(training_nK).all(axis=0), strict=True) if none]
    if empty:
        found = f"none of {', '.join(empty)}"
        raise InputError(
            "regression", expected="keywords of training frames", found=found, fix="check the table's frames"
        )
    scaling = _fit_scaling(training_nK)
    model = LogisticRegression(C=REGULARISATION, class_weight="balanced", max_iter=10_000)
    model.fit(scaling.apply(training_nK), labels)
    return [np.asarray(model.predict_proba(scaling.apply(of))[:, 1], np.float64) for of in sets]


def _fit_scaling(training_nK: NDArray[np.float64]) -> _Scaling:
    extensive = training_nK[:, _EXTENSIVE_COLUMNS]
    least = np.nanmin(np.where(extensive > 0, extensive, np.inf), axis=0)
    least = np.where(np.isfinite(least), least, 1.0)
    features_nF = _add_logarithms(training_nK, least)
    median = np.nanmedian(features_nF, axis=0)
    filled_nF = np.where(np.isnan(features_nF), median, features_nF)
    deviation = filled_nF.std(axis=0)
    return _Scaling(
        least=least, median=median, mean=filled_nF.mean(axis=0), deviation=np.where(deviation > 0, deviation, 1.0)
    )


def _add_logarithms(keywords_nK: NDArray[np.float64], least: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.hstack([keywords_nK, np.log10(np.maximum(keywords_nK[:, _EXTENSIVE_COLUMNS], least))])
