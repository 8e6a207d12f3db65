"""Calibration: maps from a network's probabilities to honest ones, fitted on validation and kept as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import FormatError, InputError
from sffshards.verification.contingency import check_forecasts

__all__ = [
    "IsotonicCalibration",
    "PlattCalibration",
    "fit_isotonic",
    "fit_platt",
    "format_calibration",
    "parse_calibration",
]

_FORMAT_VERSION = 1
_LEAST_PROBABILITY = 1e-12
"""Probabilities are held this far from 0 and 1 before their logit is taken."""
_MAX_STEPS = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class PlattCalibration:
    """A line in the logit: ``p -> sigmoid(slope * logit(p) + intercept)``; slope 1, intercept 0 change nothing."""

    slope: float
    intercept: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.slope) and math.isfinite(self.intercept)):
            raise ValueError(f"slope and intercept must be finite, got {self}")

    def apply(self, probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
        """Give the calibrated probabilities, of the same shape."""
        return _sigmoid(self.slope * _logit(probabilities) + self.intercept)


@dataclass(frozen=True, kw_only=True, slots=True)
class IsotonicCalibration:
    """A rising map by straight lines between knots, level beyond the first and the last."""

    probabilities: tuple[float, ...]
    """Of the knots, rising."""
    calibrated: tuple[float, ...]
    """What they become; never falling, from 0 to 1."""

    def __post_init__(self) -> None:
        x, y = np.array(self.probabilities), np.array(self.calibrated)
        if not 0 < len(x) == len(y) or not (np.diff(x) > 0).all() or not (np.diff(y) >= 0).all():
            raise ValueError("knots must rise, and be at least one")
        if not ((y >= 0) & (y <= 1)).all() or not np.isfinite(x).all():
            raise ValueError("calibrated probabilities must be from 0 to 1")

    def apply(self, probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
        """Give the calibrated probabilities, of the same shape."""
        return np.asarray(np.interp(probabilities, self.probabilities, self.calibrated), np.float64)


def fit_platt(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> PlattCalibration:
    """Fit a line in the logit by maximum likelihood, by Newton's method, to Platt's smoothed targets.

    The targets are ``(N1 + 1) / (N1 + 2)`` for the N1 flares and ``1 / (N0 + 2)`` for the N0 others, so that a set in
    which both are parted cleanly gives no infinite slope.

    Parameters
    ----------
    labels
        Of the validation set, 0 or 1, of shape (n,).
    probabilities
        Of a flare, of shape (n,).

    Raises
    ------
    InputError
        If they are no forecasts, or there are not both outcomes.

    References
    ----------
    Platt, Advances in Large Margin Classifiers (1999), 61; Lin, Lin and Weng, Machine Learning 68 (2007), 267.
    """
    num_flares = _count_flares(labels, probabilities)
    targets = np.where(labels == 1, (num_flares + 1) / (num_flares + 2), 1 / (len(labels) - num_flares + 2))
    columns = np.stack([_logit(probabilities), np.ones(len(labels))], axis=1)
    line = np.array([0.0, math.log((num_flares + 1) / (len(labels) - num_flares + 1))])
    loss = _loss(columns @ line, targets)
    for _ in range(_MAX_STEPS):
        fitted = _sigmoid(columns @ line)
        gradient = columns.T @ (fitted - targets)
        # The ridge gives the least step where all probabilities are one, and slope and intercept are not told apart.
        hessian = columns.T @ (columns * (fitted * (1 - fitted))[:, None]) + 1e-10 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        scale = 1.0
        while (new_loss := _loss(columns @ (line - scale * step), targets)) > loss and scale > 1e-10:
            scale /= 2
        if new_loss >= loss:
            break
        line, loss = line - scale * step, new_loss
    return PlattCalibration(slope=float(line[0]), intercept=float(line[1]))


def fit_isotonic(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> IsotonicCalibration:
    """Fit the rising map of least squared error, by pooling adjacent violators.

    Parameters
    ----------
    labels, probabilities
        As of `fit_platt`. It takes more of them: with few flares the steps follow single regions.

    Raises
    ------
    InputError
        If they are no forecasts, or there are not both outcomes.

    References
    ----------
    Zadrozny and Elkan, KDD (2002), 694; Barlow et al., Statistical Inference under Order Restrictions (1972).

    Examples
    --------
    >>> fit_isotonic(np.array([0, 1, 0, 1]), np.array([0.1, 0.2, 0.3, 0.4])).calibrated
    (0.0, 0.5, 0.5, 1.0)
    """
    _count_flares(labels, probabilities)
    values, where = np.unique(np.asarray(probabilities, np.float64), return_inverse=True)
    # A pool: flares, samples, distinct probabilities.
    pools: list[tuple[int, int, int]] = []
    sums = np.bincount(where, labels), np.bincount(where)
    for num_flares, num_samples in zip(sums[0].astype(int).tolist(), sums[1].tolist(), strict=True):
        pool = (num_flares, num_samples, 1)
        while pools and pools[-1][0] * pool[1] >= pool[0] * pools[-1][1]:
            before = pools.pop()
            pool = (before[0] + pool[0], before[1] + pool[1], before[2] + pool[2])
        pools.append(pool)
    means = np.repeat([p[0] / p[1] for p in pools], [p[2] for p in pools])
    # Only the ends of a level stretch are knots.
    inner = np.zeros(len(means), bool)
    inner[1:-1] = (means[1:-1] == means[:-2]) & (means[1:-1] == means[2:])
    return IsotonicCalibration(probabilities=tuple(values[~inner].tolist()), calibrated=tuple(means[~inner].tolist()))


def format_calibration(calibration: PlattCalibration | IsotonicCalibration) -> str:
    """Give a calibration as JSON, from which `parse_calibration` reads it back exactly."""
    kind = "platt" if isinstance(calibration, PlattCalibration) else "isotonic"
    return json.dumps({"format_version": _FORMAT_VERSION, "kind": kind, **asdict(calibration)}, allow_nan=False)


def parse_calibration(text: str, *, where: object) -> PlattCalibration | IsotonicCalibration:
    """Read a calibration from JSON; ``where`` it stands is for the message of an error.

    Raises
    ------
    FormatError
        If it is none, or of a version that this program does not know.
    """
    try:
        content: dict[str, Any] = json.loads(text)
        version, kind = content.pop("format_version"), content.pop("kind")
        if version != _FORMAT_VERSION:
            raise ValueError(f"format version {version}")
        if kind == "platt":
            return PlattCalibration(**{name: float(value) for name, value in content.items()})
        if kind == "isotonic":
            return IsotonicCalibration(**{name: tuple(map(float, values)) for name, values in content.items()})
        raise ValueError(f"kind {kind!r}")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise FormatError(
            where, expected=f"a calibration of format version {_FORMAT_VERSION}", found=str(error)[:120], fix="fit anew"
        ) from None


def _count_flares(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> int:
    check_forecasts(labels, probabilities)
    num_flares = int(np.sum(labels))
    if not 0 < num_flares < len(labels):
        found = f"{num_flares} flares in {len(labels)} samples"
        raise InputError("labels", expected="flares and times without", found=found, fix="fit on a set that has both")
    return num_flares


def _logit(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    held = np.clip(np.asarray(probabilities, np.float64), _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    return np.asarray(np.log(held) - np.log1p(-held))


def _sigmoid(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.exp(-np.logaddexp(0, -logits))


def _loss(logits: NDArray[np.float64], targets: NDArray[np.float64]) -> float:
    """Give the sum of the cross-entropies."""
    return float(np.sum(np.logaddexp(0, logits) - targets * logits))
