"""Logistic regression on the logits of several forecasts, and its forecasts of the samples that it is fitted to.

Shapes: n samples, M members.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sffshards import verification
from sffshards.base.errors import InputError

PENALTY_C = 1.0
"""Inverse strength of the penalty on the weights, as scikit-learn's C; it matters for few samples only."""

MAX_GROUPS = 5
"""Maximum number of groups of regions that are left out in turn."""

_LEAST_PROBABILITY = 1e-6
"""Distance from 0 and 1 that probabilities are clipped to, so that no certain forecast outweighs all others."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LogitRegression:
    """A combination ``sigmoid(intercept + sum(weight * logit(p)))`` of the probabilities of several members."""

    members: tuple[str, ...]
    """Names of the members, in the order of the weights."""
    weights: tuple[float, ...]
    """Weight of each member's logit."""
    intercept: float
    """Logit of the forecast where every member forecasts 0.5."""

    def __post_init__(self) -> None:
        if len(self.members) != len(self.weights) or not self.members:
            raise ValueError(f"there must be one weight per member, got {len(self.weights)} for {self.members}")
        if not all(map(math.isfinite, (*self.weights, self.intercept))):
            raise ValueError(f"weights and intercept must be finite, got {self.weights} and {self.intercept}")

    def apply(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the combined probabilities, shape (n,), of those of the members, shape (n, M)."""
        from scipy.special import expit

        return np.asarray(expit(_logits(probabilities) @ np.array(self.weights) + self.intercept), np.float64)


def fit_regression(
    labels: NDArray[np.integer], probabilities: NDArray[np.float64], *, members: tuple[str, ...]
) -> LogitRegression:
    """Fit the weights by maximum likelihood, with a penalty of ``sum(weight^2) / (2 PENALTY_C)``.

    Parameters
    ----------
    labels
        Labels of the samples, 0 or 1, shape (n,).
    probabilities
        Probabilities of a flare by each member, shape (n, M).
    members
        Names of the members.

    Raises
    ------
    InputError
        If all labels are the same.
    """
    num_flares = int(np.sum(labels))
    if not 0 < num_flares < len(labels):
        found = f"{num_flares:,} with a flare of {len(labels):,}"
        raise InputError("labels", expected="samples with and without a flare", found=found, fix="fit to a larger set")
    weights, intercept = verification.fit_logistic_regression(_logits(probabilities), labels, penalty=1 / PENALTY_C)
    return LogitRegression(members=members, weights=tuple(weights.tolist()), intercept=intercept)


def cross_fit(
    labels: NDArray[np.integer], probabilities: NDArray[np.float64], harps: NDArray[np.integer]
) -> NDArray[np.float64] | None:
    """Return a forecast of each sample by a regression that is fitted to other regions, shape (n,).

    The regions are divided into up to `MAX_GROUPS` groups with about as many flares each; a group is forecast by the
    regression that is fitted to the other groups.

    Parameters
    ----------
    labels, probabilities
        As of `fit_regression`.
    harps
        HARP numbers, shape (n,).

    Returns
    -------
    float64 of shape (n,), or None
        None if fewer than two regions flare, or all others would be without samples that no flare followed.
    """
    groups = _group_regions(labels, harps)
    names = tuple(map(str, range(probabilities.shape[1])))
    forecasts = np.empty(len(labels))
    for group in np.unique(groups):
        chosen = groups == group
        if len(np.unique(labels[~chosen])) < 2:
            return None
        regression = fit_regression(labels[~chosen], probabilities[~chosen], members=names)
        forecasts[chosen] = regression.apply(probabilities[chosen])
    return forecasts


def _group_regions(labels: NDArray[np.integer], harps: NDArray[np.integer]) -> NDArray[np.int64]:
    """Return the group of each sample; regions are dealt to groups in the order of their numbers of flares."""
    regions, where = np.unique(harps, return_inverse=True)
    num_flares = np.bincount(where, labels, len(regions))
    order = np.lexsort([regions, -np.bincount(where), -num_flares])
    group = np.empty(len(regions), np.int64)
    group[order] = np.arange(len(regions)) % max(1, min(MAX_GROUPS, int(np.count_nonzero(num_flares))))
    return group[where]


def _logits(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.special import logit

    return np.asarray(logit(np.clip(probabilities, _LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)), np.float64)
