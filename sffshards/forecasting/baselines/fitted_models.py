"""Fitted forecasters as plain numbers, without pickle: logistic regression and boosted trees, and their file.

Shapes: n samples, F features, N nodes of a tree.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sffshards.base.json_records import JsonFormat, format_json, read_record, seal, to_plain
from sffshards.tabular import FEATURE_NAMES, InputGroup, SampleInputs

FORECASTER_NAME = "forecaster.json"
"""File name of a fitted forecaster in a fold's folder."""

_EXPECTS = JsonFormat(expected="a fitted forecaster", fix="fit it again with `sffshards baselines --force`", version=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class LogisticModel:
    """A logistic regression on standardised features, whose missing values are replaced."""

    fills: tuple[float, ...]
    """Value that replaces a missing one, by feature: the median of the training set."""
    means: tuple[float, ...]
    """Mean of each feature in the training set."""
    scales: tuple[float, ...]
    """Standard deviation of each feature in the training set; 1 for a constant one."""
    coefficients: tuple[float, ...]
    """Coefficient of each standardised feature."""
    intercept: float
    """Logarithm of the odds where every standardised feature is 0."""

    def __post_init__(self) -> None:
        columns = (self.fills, self.means, self.scales, self.coefficients)
        if len({len(column) for column in columns}) != 1 or not self.fills:
            raise ValueError("a regression needs one fill, mean, scale and coefficient for each feature")
        if not all(math.isfinite(number) for column in (*columns, (self.intercept,)) for number in column):
            raise ValueError("the numbers of a regression must be finite")
        if not all(scale > 0 for scale in self.scales):
            raise ValueError("scales must be above 0")

    @property
    def num_features(self) -> int:
        """Number of features."""
        return len(self.fills)

    def logits(self, features_nF: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the logarithm of the odds of a flare, shape (n,)."""
        filled = np.where(np.isnan(features_nF), np.array(self.fills), features_nF)
        standardised = (filled - np.array(self.means)) / np.array(self.scales)
        logits: NDArray[np.float64] = standardised @ np.array(self.coefficients) + self.intercept
        return logits


@dataclass(frozen=True, kw_only=True, slots=True)
class Tree:
    """A regression tree. Node 0 is its root; a leaf is its own child on both sides."""

    feature: tuple[int, ...]
    """Feature that each node compares; 0 for a leaf."""
    threshold: tuple[float, ...]
    """A sample goes left if its feature is at most this."""
    missing_left: tuple[bool, ...]
    """Whether samples without the feature go left."""
    left: tuple[int, ...]
    """Left child of each node."""
    right: tuple[int, ...]
    """Right child of each node."""
    value: tuple[float, ...]
    """What each leaf adds to the logarithm of the odds; 0 for other nodes."""

    def __post_init__(self) -> None:
        num_nodes = len(self.feature)
        columns = (self.threshold, self.missing_left, self.left, self.right, self.value)
        if not num_nodes or any(len(column) != num_nodes for column in columns):
            raise ValueError("the columns of a tree must be of one length, at least 1")
        if min(self.feature) < 0 or not all(map(math.isfinite, (*self.threshold, *self.value))):
            raise ValueError("a tree must have features from 0 on, and finite thresholds and values")
        for node, children in enumerate(zip(self.left, self.right, strict=True)):
            is_leaf = children == (node, node)
            if not (is_leaf or node < min(children) <= max(children) < num_nodes):
                raise ValueError(f"node {node} of a tree must come before its children, got {children}")

    def values(self, features_nF: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the value of the leaf that each sample reaches, shape (n,)."""
        feature, threshold, missing_left = map(np.array, (self.feature, self.threshold, self.missing_left))
        left, right = np.array(self.left), np.array(self.right)
        node = np.zeros(len(features_nF), np.int64)
        rows = np.arange(len(features_nF))
        while True:
            found = features_nF[rows, feature[node]]
            goes_left = np.where(np.isnan(found), missing_left[node], found <= threshold[node])
            child = np.where(goes_left, left[node], right[node])
            if np.array_equal(child, node):
                return np.array(self.value)[node]
            node = child


@dataclass(frozen=True, kw_only=True, slots=True)
class TreesModel:
    """Boosted trees, whose values add up to the logarithm of the odds."""

    num_features: int
    """Number of features."""
    baseline: float
    """Logarithm of the odds before any tree."""
    trees: tuple[Tree, ...]
    """Trees whose values are added to the baseline."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.baseline):
            raise ValueError(f"the baseline of trees must be finite, got {self.baseline}")
        if any(max(tree.feature) >= self.num_features for tree in self.trees):
            raise ValueError(f"a tree compares a feature beyond the {self.num_features} that there are")

    def logits(self, features_nF: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the logarithm of the odds of a flare, shape (n,)."""
        total = np.full(len(features_nF), self.baseline)
        for tree in self.trees:
            total += tree.values(features_nF)
        return total


@dataclass(frozen=True, kw_only=True, slots=True)
class TabularForecaster:
    """A model of the features of samples, fitted to a training set; or two, whose logits are averaged."""

    groups: tuple[InputGroup, ...]
    """Groups of features, in their order."""
    features: tuple[str, ...]
    """Names of the features, in their order."""
    floors: tuple[float, ...]
    """Smallest positive value of each extensive keyword in the training set, for logarithms."""
    logistic: LogisticModel | None = None
    """Logistic regression; None where there is none."""
    trees: TreesModel | None = None
    """Boosted trees; None where there are none."""

    def __post_init__(self) -> None:
        expected = name_features(self.groups)
        if not self.models or not self.groups:
            raise ValueError("a forecaster needs a model and a group of features")
        if self.features != expected:
            raise ValueError(f"features of {', '.join(self.groups)} must be {expected}, got {self.features}")
        if any(model.num_features != len(expected) for model in self.models):
            raise ValueError(f"the models must take {len(expected)} features")

    @property
    def models(self) -> tuple[LogisticModel | TreesModel, ...]:
        """The models that there are."""
        return tuple(model for model in (self.logistic, self.trees) if model is not None)

    def forecast(self, inputs: SampleInputs) -> NDArray[np.float64]:
        """Return the probability of a flare, float64 of shape (n,), as if both classes were equally frequent."""
        from scipy.special import expit

        features_nF = inputs.features(self.groups, np.array(self.floors))
        logits = np.mean([model.logits(features_nF) for model in self.models], axis=0)
        return np.asarray(expit(logits), np.float64)


def name_features(groups: Sequence[InputGroup]) -> tuple[str, ...]:
    """Return the names of the features of groups, in their order."""
    return tuple(name for group in groups for name in FEATURE_NAMES[group])


def encode_forecaster(forecaster: TabularForecaster) -> bytes:
    """Return a forecaster as JSON with a checksum."""
    return format_json(seal(to_plain(forecaster, version=_EXPECTS.version)))


def read_forecaster(path: Path) -> TabularForecaster:
    """Read a forecaster.

    Raises
    ------
    FormatError
        If its format version is not known to this program.
    DamageError
        If the file is not a forecaster, or has changed since it was written.
    StorageError
        If it cannot be read.
    """
    return read_record(path, TabularForecaster, expects=_EXPECTS)
