"""Logistic regression on SHARP keywords: how far a few numbers of each magnetogram go.

Shapes: n samples, K keywords.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import InputError
from sffshards.forecasting.baselines.sharp_keywords import EXTENSIVE, KEYWORDS

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

REGULARISATION = 0.01
"""scikit-learn's C, the inverse of the penalty's strength."""

_EXTENSIVE_COLUMNS = [KEYWORDS.index(name) for name in EXTENSIVE]


def forecast_regression(
    training_nK: NDArray[np.float64], labels: NDArray[np.integer], sets: Sequence[NDArray[np.float64]]
) -> list[NDArray[np.float64]]:
    """Fit a logistic regression to a training set, and forecast other sets.

    Features are the keywords and the logarithms (base 10) of those that grow with a region's size, where values that
    are not positive count as the smallest positive one. Missing features are replaced by medians, and all features are
    standardised. Every statistic comes from the training set alone, and both classes have the same weight.

    Parameters
    ----------
    training_nK
        Keywords in the order of `sffshards.forecasting.baselines.sharp_keywords.KEYWORDS`, nan where missing.
    labels
        Labels of both classes, 0 or 1, shape (n,).
    sets
        Keywords of each set to forecast, of shape (its samples, K).

    Returns
    -------
    list of float64
        The probability of a flare for each sample of each set, as if both classes were equally frequent.

    Raises
    ------
    InputError
        If a keyword is missing throughout.
    """
    if empty := [name for name, none in zip(KEYWORDS, np.isnan(training_nK).all(axis=0), strict=True) if none]:
        raise InputError(
            "regression",
            expected="keywords of training frames",
            found=f"none of {', '.join(empty)}",
            fix="check the frames of the table",
        )
    model = _build_pipeline(training_nK).fit(training_nK, labels)
    return [np.asarray(model.predict_proba(of_set)[:, 1], np.float64) for of_set in sets]


def _build_pipeline(training_nK: NDArray[np.float64]) -> Pipeline:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, StandardScaler

    extensive = training_nK[:, _EXTENSIVE_COLUMNS]
    smallest = np.nanmin(np.where(extensive > 0, extensive, np.inf), axis=0)
    smallest = np.where(np.isfinite(smallest), smallest, 1.0)
    logarithms = FunctionTransformer(_take_logarithms, kw_args={"smallest": smallest})
    features = ColumnTransformer(
        [("keywords", "passthrough", slice(0, len(KEYWORDS))), ("logarithms", logarithms, _EXTENSIVE_COLUMNS)]
    )
    regression = LogisticRegression(C=REGULARISATION, class_weight="balanced", max_iter=10_000)
    return make_pipeline(features, SimpleImputer(strategy="median"), StandardScaler(), regression)


def _take_logarithms(values: NDArray[np.float64], smallest: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log10(np.maximum(values, smallest))
