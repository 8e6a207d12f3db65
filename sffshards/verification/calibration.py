"""Calibration: maps from a forecaster's probabilities to reliable ones, fitted on a validation set."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import InputError
from sffshards.verification.contingency_tables import check_forecasts
from sffshards.verification.logistic_regression import fit_logistic_regression

_LEAST_PROBABILITY = 1e-12
"""Distance from 0 and 1 that probabilities are clipped to before their logit is taken."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlattCalibration:
    """A line in the logit: ``p -> sigmoid(slope * logit(p) + intercept)``; slope 1 and intercept 0 are the identity."""

    slope: float
    intercept: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.slope) and math.isfinite(self.intercept)):
            raise ValueError(f"slope and intercept must be finite, got {self}")

    def apply(self, probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the calibrated probabilities, of the same shape."""
        from scipy.special import expit

        return np.asarray(expit(self.slope * _logit(probabilities) + self.intercept), np.float64)


@dataclass(frozen=True, kw_only=True, slots=True)
class IsotonicCalibration:
    """A non-decreasing map: linear between knots, constant beyond the first and the last."""

    probabilities: tuple[float, ...]
    """Probabilities at the knots, strictly increasing."""
    calibrated: tuple[float, ...]
    """Calibrated probabilities at the knots, non-decreasing, from 0 to 1."""

    def __post_init__(self) -> None:
        x, y = np.array(self.probabilities), np.array(self.calibrated)
        if not 0 < len(x) == len(y) or not (np.diff(x) > 0).all() or not (np.diff(y) >= 0).all():
            raise ValueError("knots must rise, and be at least one")
        if not ((y >= 0) & (y <= 1)).all() or not np.isfinite(x).all():
            raise ValueError("calibrated probabilities must be from 0 to 1")

    def apply(self, probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the calibrated probabilities, of the same shape."""
        return np.asarray(np.interp(probabilities, self.probabilities, self.calibrated), np.float64)


def fit_platt(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> PlattCalibration:
    """Fit a line in the logit by maximum likelihood to Platt's smoothed targets.

    The targets are ``(N1 + 1) / (N1 + 2)`` for the N1 samples with a flare and ``1 / (N0 + 2)`` for the N0 others, so
    that the slope stays finite where the probabilities separate the two perfectly.

    Parameters
    ----------
    labels
        Labels of the validation set, 0 or 1, shape (n,).
    probabilities
        Probabilities of a flare, shape (n,).

    Raises
    ------
    InputError
        If they are not forecasts, or have one outcome only.

    References
    ----------
    Platt, Advances in Large Margin Classifiers (1999), 61; Lin, Lin and Weng, Machine Learning 68 (2007), 267.
    """
    num_flares = _count_flares(labels, probabilities)
    targets = np.where(labels == 1, (num_flares + 1) / (num_flares + 2), 1 / (len(labels) - num_flares + 2))
    (slope,), intercept = fit_logistic_regression(_logit(probabilities)[:, None], targets)
    return PlattCalibration(slope=float(slope), intercept=intercept)


def fit_isotonic(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> IsotonicCalibration:
    """Fit the non-decreasing map of least squared error: isotonic regression.

    It needs more flares than `fit_platt`: with few, its steps follow single regions.

    Parameters
    ----------
    labels, probabilities
        As of `fit_platt`.

    Raises
    ------
    InputError
        If they are not forecasts, or have one outcome only.

    References
    ----------
    Zadrozny and Elkan, KDD (2002), 694; Barlow et al., Statistical Inference under Order Restrictions (1972).

    Examples
    --------
    >>> fit_isotonic(np.array([0, 1, 0, 1]), np.array([0.1, 0.2, 0.3, 0.4])).calibrated
    (0.0, 0.5, 0.5, 1.0)
    """
    from sklearn.isotonic import IsotonicRegression

    _count_flares(labels, probabilities)
    fitted = IsotonicRegression(y_min=0, y_max=1).fit(np.asarray(probabilities, np.float64), labels)
    return IsotonicCalibration(
        probabilities=tuple(fitted.X_thresholds_.tolist()), calibrated=tuple(fitted.y_thresholds_.tolist())
    )


def _count_flares(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> int:
    check_forecasts(labels, probabilities)
    num_flares = int(np.sum(labels))
    if not 0 < num_flares < len(labels):
        found = f"{num_flares} flares in {len(labels)} samples"
        raise InputError("labels", expected="flares and times without", found=found, fix="fit on a set that has both")
    return num_flares


def _logit(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    from scipy.special import logit

    clipped = np.clip(np.asarray(probabilities, np.float64), _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    return np.asarray(logit(clipped), np.float64)
