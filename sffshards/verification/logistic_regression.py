"""Logistic regression by Newton's method: what calibrations, combinations and fitted forecasters are fitted with.

Shapes: n samples, F features.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_MAX_STEPS = 100
_MAX_HALVINGS = 40
_TOLERANCE = 1e-10
"""Size of a step, relative to the coefficients, at which the fit ends; the error is about its square."""
_ROUNDING = 1e-12


def fit_logistic_regression(
    features_nF: NDArray[np.floating],
    targets: NDArray[np.floating | np.integer],
    *,
    weights: NDArray[np.floating] | None = None,
    penalty: float = 0.0,
) -> tuple[NDArray[np.float64], float]:
    """Fit ``sigmoid(features @ coefficients + intercept)`` by maximum likelihood, with a penalty on the coefficients.

    The result minimises the weighted sum of cross-entropies plus ``penalty * sum(coefficients^2) / 2``. It is that of
    scikit-learn's ``LogisticRegression(C=1 / penalty)``, which takes no probabilities as targets. Nothing is random.

    Parameters
    ----------
    features_nF
        Features, finite, shape (n, F). Without a penalty, those that depend linearly on others share the weight.
    targets
        Probability of a flare that each sample stands for, from 0 to 1, shape (n,); labels are 0 or 1. Their weighted
        mean must be neither 0 nor 1.
    weights
        How much each sample counts, 0 or more, shape (n,); None: all alike.
    penalty
        Strength of the penalty, 0 or more. The intercept is not penalised.

    Returns
    -------
    coefficients : float64 of shape (F,)
    intercept : float

    Examples
    --------
    >>> coefficients, intercept = fit_logistic_regression(np.array([[0.0], [0], [0], [1], [1]]), [0, 0, 1, 1, 0])
    >>> [round(float(number), 6) for number in (*coefficients, intercept)]  # log(1/1) - log(1/2), log(1/2)
    [0.693147, -0.693147]
    """
    from scipy.special import expit

    columns = np.column_stack([features_nF, np.ones(len(features_nF))])
    wanted = np.asarray(targets, np.float64)
    counts = np.ones(len(wanted)) if weights is None else np.asarray(weights, np.float64)
    ridge = np.append(np.full(columns.shape[1] - 1, penalty), 0.0)

    def loss(line: NDArray[np.float64]) -> float:
        logits = columns @ line
        return float(counts @ (np.logaddexp(0, logits) - wanted * logits) + ridge @ np.square(line) / 2)

    rate = np.average(wanted, weights=counts)
    line = np.append(np.zeros(columns.shape[1] - 1), np.log(rate / (1 - rate)))
    lowest = loss(line)
    for _ in range(_MAX_STEPS):
        fitted = expit(columns @ line)
        gradient = columns.T @ (counts * (fitted - wanted)) + ridge * line
        hessian = columns.T @ (columns * (counts * fitted * (1 - fitted))[:, None]) + np.diag(ridge)
        step = np.linalg.lstsq(hessian, gradient)[0]
        for _ in range(_MAX_HALVINGS):
            if (reached := loss(line - step)) <= lowest + _ROUNDING * abs(lowest):
                break
            step /= 2
        line, lowest = line - step, min(reached, lowest)
        if np.abs(step).max() <= _TOLERANCE * max(1.0, float(np.abs(line).max())):
            break
    return line[:-1], float(line[-1])
