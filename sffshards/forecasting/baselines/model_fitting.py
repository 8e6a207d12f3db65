"""The fitted forecasters by name: what each takes, and how scikit-learn fits it.

Shapes: n samples, F features.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sffshards import verification
from sffshards.base.errors import InputError
from sffshards.forecasting.baselines.baseline_scores import BaselineName
from sffshards.forecasting.baselines.fitted_models import (
    LogisticModel,
    TabularForecaster,
    Tree,
    TreesModel,
    name_features,
)
from sffshards.tabular import GROUP_DESCRIPTIONS, KEYWORDS, InputGroup, SampleInputs, find_floors

_LARGEST = float(np.finfo(np.float64).max)


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How a forecaster is fitted."""

    name: BaselineName
    """Name in tables."""
    groups: tuple[InputGroup, ...]
    """Groups of features."""
    penalty_c: float | None = None
    """scikit-learn's C of a logistic regression; None for none."""
    trees: Mapping[str, int | float] = field(default_factory=dict)
    """Options of boosted trees; empty for none."""

    def can_be_fitted(self, *, with_keywords: bool, with_flares: bool) -> bool:
        """Return whether it can be fitted with a table of keywords, or a flare list, or without."""
        return all(with_keywords if group.needs_keywords else with_flares for group in self.groups)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features, in their order."""
        return name_features(self.groups)

    @property
    def description(self) -> str:
        """What the forecasts follow from, in words, such as ``17 SHARP keywords``."""
        return " + ".join(GROUP_DESCRIPTIONS[group] for group in self.groups)


RECIPES = (
    Recipe(name=BaselineName.REGRESSION, groups=(InputGroup.KEYWORDS,), penalty_c=0.01),
    Recipe(name=BaselineName.HISTORY, groups=(InputGroup.HISTORY,), penalty_c=0.01),
    Recipe(name=BaselineName.BOTH, groups=(InputGroup.KEYWORDS, InputGroup.HISTORY), penalty_c=0.01),
    Recipe(
        name=BaselineName.BOOSTING,
        groups=(InputGroup.KEYWORDS, InputGroup.HISTORY),
        trees={"learning_rate": 0.05, "max_iter": 80, "max_leaf_nodes": 4, "min_samples_leaf": 400},
    ),
    Recipe(
        name=BaselineName.COURSE,
        groups=(InputGroup.KEYWORDS, InputGroup.ACTIVITY, InputGroup.COURSE),
        penalty_c=0.001,
        trees={
            "learning_rate": 0.1,
            "max_iter": 60,
            "max_leaf_nodes": 3,
            "min_samples_leaf": 600,
            "max_features": 0.2,
        },
    ),
)
"""The forecasters, in display order. The last one, whose two models are averaged, was chosen by cross-validation on
TrainVal0 to TrainVal4; see ``docs/design/skill.md``."""


def fit_forecaster(recipe: Recipe, inputs: Sequence[SampleInputs], labels: NDArray[np.integer]) -> TabularForecaster:
    """Fit a forecaster to a training set.

    Parameters
    ----------
    recipe
        What it takes and how it is fitted.
    inputs
        Samples of each part of the training set.
    labels
        Labels of all of them, of both classes, 0 or 1, shape (n,).

    Raises
    ------
    InputError
        If the forecaster needs keywords, and one of them is missing throughout.
    """
    last = np.concatenate([part.last for part in inputs])
    if InputGroup.KEYWORDS in recipe.groups:
        _require_keywords(last)
    floors = find_floors(last)
    features_nF = np.concatenate([part.features(recipe.groups, floors) for part in inputs])
    penalty_c = recipe.penalty_c
    return TabularForecaster(
        groups=recipe.groups,
        features=recipe.features,
        floors=tuple(floors.tolist()),
        logistic=fit_logistic(features_nF, labels, penalty_c=penalty_c) if penalty_c else None,
        trees=fit_trees(features_nF, labels, options=recipe.trees) if recipe.trees else None,
    )


def _require_keywords(keywords_nK: NDArray[np.float64]) -> None:
    if empty := [name for name, none in zip(KEYWORDS, np.isnan(keywords_nK).all(axis=0), strict=True) if none]:
        raise InputError(
            "regression",
            expected="keywords of training frames",
            found=f"none of {', '.join(empty)}",
            fix="check the frames of the table",
        )


def fit_logistic(features_nF: NDArray[np.float64], labels: NDArray[np.integer], *, penalty_c: float) -> LogisticModel:
    """Fit a logistic regression to standardised features; both classes have the same weight.

    Missing features are replaced by medians. Medians, means and deviations are those of the given samples. A feature
    that is missing throughout has no effect.

    Parameters
    ----------
    features_nF
        Features, nan where missing.
    labels
        Labels of both classes, 0 or 1, shape (n,).
    penalty_c
        scikit-learn's C, the inverse of the penalty's strength.
    """
    is_known = ~np.isnan(features_nF).all(axis=0)
    fills = np.zeros(features_nF.shape[1])
    fills[is_known] = np.nanmedian(features_nF[:, is_known], axis=0)
    filled = np.where(np.isnan(features_nF), fills, features_nF)
    means, scales = filled.mean(axis=0), filled.std(axis=0)
    scales[scales <= 1e-12 * np.abs(means)] = 1.0
    standardised_nF = (filled - means) / scales
    balanced = len(labels) / (2 * np.bincount(labels))[labels]
    coefficients, intercept = verification.fit_logistic_regression(
        standardised_nF, labels, weights=balanced, penalty=1 / penalty_c
    )
    return LogisticModel(
        fills=tuple(fills.tolist()),
        means=tuple(means.tolist()),
        scales=tuple(scales.tolist()),
        coefficients=tuple(coefficients.tolist()),
        intercept=intercept,
    )


def fit_trees(
    features_nF: NDArray[np.float64], labels: NDArray[np.integer], *, options: Mapping[str, int | float]
) -> TreesModel:
    """Fit gradient-boosted trees; missing features go where they fit best.

    The logarithm of the odds is shifted as if both classes were equally frequent, which class weights would do more
    slowly.

    Parameters
    ----------
    features_nF
        Features, nan where missing.
    labels
        Labels of both classes, 0 or 1, shape (n,).
    options
        Arguments of `sklearn.ensemble.HistGradientBoostingClassifier`.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    boosting = HistGradientBoostingClassifier(early_stopping=False, random_state=0, **options)
    # Bins need a value; a column of one value is never split, so a feature that is missing throughout has no effect.
    usable_nF = np.where(np.isnan(features_nF).all(axis=0), 0.0, features_nF)
    fitted = take_trees(boosting.fit(usable_nF, labels))
    num_flares = int(labels.sum())
    return replace(fitted, baseline=fitted.baseline - math.log(num_flares / (len(labels) - num_flares)))


def take_trees(boosting: Any) -> TreesModel:
    """Return the numbers of a fitted `HistGradientBoostingClassifier` of two classes and no categories."""
    return TreesModel(
        num_features=boosting.n_features_in_,
        # scikit-learn has no public name for them, so a test compares the forecasts of both.
        baseline=float(boosting._baseline_prediction.item()),  # noqa: SLF001
        trees=tuple(_take_tree(predictor.nodes) for (predictor,) in boosting._predictors),  # noqa: SLF001
    )


def _take_tree(nodes: NDArray[np.void]) -> Tree:
    is_leaf, own = nodes["is_leaf"] == 1, np.arange(len(nodes))
    columns = {
        "feature": np.where(is_leaf, 0, nodes["feature_idx"]),
        # Infinity where only missing values go right, as every finite one is at most the largest number.
        "threshold": np.where(is_leaf, 0, np.minimum(nodes["num_threshold"], _LARGEST)),
        "missing_left": nodes["missing_go_to_left"] == 1,
        "left": np.where(is_leaf, own, nodes["left"]),
        "right": np.where(is_leaf, own, nodes["right"]),
        "value": np.where(is_leaf, nodes["value"], 0),
    }
    return Tree(**{name: tuple(column.tolist()) for name, column in columns.items()})
