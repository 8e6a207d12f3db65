"""Contingency tables of forecasts and outcomes, one at a time or many at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import InputError

THRESHOLD = 0.5
"""A flare is forecast where its probability is this or more.

With two classes this is the larger of the two logits, as published; of equal logits the published ``argmax`` takes no
flare, this takes a flare, as a threshold that is reached does everywhere else.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class ContingencyTable:
    """Counts of forecasts by outcome."""

    tp: int
    """Hits: a flare forecast, and one came."""
    fp: int
    """False alarms: forecast, none came."""
    fn: int
    """Misses: not forecast, one came."""
    tn: int
    """Correct rejections: not forecast, none came."""

    def __post_init__(self) -> None:
        if min(self.tp, self.fp, self.fn, self.tn) < 0:
            raise ValueError(f"counts must not be negative, got {self}")

    @property
    def num_samples(self) -> int:
        """Number of forecasts."""
        return self.tp + self.fp + self.fn + self.tn

    @property
    def num_positive(self) -> int:
        """Number of samples that a flare followed."""
        return self.tp + self.fn


@dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """The counts of many contingency tables as whole float64 numbers, which hold them exactly up to 2^53."""

    tp: NDArray[np.float64]
    fp: NDArray[np.float64]
    fn: NDArray[np.float64]
    tn: NDArray[np.float64]

    def __post_init__(self) -> None:
        shapes = {np.shape(count) for count in (self.tp, self.fp, self.fn, self.tn)}
        if len(shapes) > 1:
            raise ValueError(f"counts must be of one shape, got {sorted(shapes)}")

    @property
    def num_samples(self) -> NDArray[np.float64]:
        """Number of forecasts in each table."""
        return self.tp + self.fp + self.fn + self.tn


def count_outcomes(
    labels: NDArray[np.integer], probabilities: NDArray[np.floating], *, threshold: float = THRESHOLD
) -> ContingencyTable:
    """Count the outcomes of forecasts at a threshold.

    Parameters
    ----------
    labels
        0 or 1, of shape (n,).
    probabilities
        Of a flare, of shape (n,); one that equals the threshold is a forecast of a flare.
    threshold
        From 0 to 1.
    """
    tp, fp, fn, tn = (int(outcome.sum()) for outcome in part_outcomes(labels, probabilities, threshold=threshold))
    return ContingencyTable(tp=tp, fp=fp, fn=fn, tn=tn)


def part_outcomes(
    labels: NDArray[np.integer], probabilities: NDArray[np.floating], *, threshold: float
) -> tuple[NDArray[np.bool_], ...]:
    """Return whether each sample is a hit, false alarm, miss or correct rejection: four bool arrays of shape (n,)."""
    called, came = probabilities >= threshold, labels == 1
    return called & came, called & ~came, ~called & came, ~called & ~came


def check_forecasts(labels: NDArray[np.integer], probabilities: NDArray[np.floating]) -> None:
    """Check that labels and probabilities are forecasts.

    Parameters
    ----------
    labels
        0 or 1, of shape (n,).
    probabilities
        From 0 to 1, of shape (n,).

    Raises
    ------
    InputError
        If the two are not of one such shape, or a value is not in its range; nan is not.
    """
    if np.ndim(labels) != 1 or np.shape(labels) != np.shape(probabilities):
        found = f"shapes {np.shape(labels)} and {np.shape(probabilities)}"
        raise InputError("forecasts", expected="a label for each probability", found=found, fix="give both by sample")
    for name, values, valid in (
        ("labels", labels, (labels == 0) | (labels == 1)),
        ("probabilities", probabilities, (probabilities >= 0) & (probabilities <= 1)),
    ):
        if not valid.all():
            row = int(np.argmin(valid))
            expected = "0 or 1" if name == "labels" else "from 0 to 1"
            raise InputError(f"{name}[{row}]", expected=expected, found=str(values[row]), fix="correct or leave it out")


def divide(numerator: NDArray[np.float64], denominator: NDArray[np.floating | np.integer]) -> NDArray[np.float64]:
    """Return the quotients, NaN where the denominator is 0, because a score is undefined there."""
    quotient = np.full(np.shape(denominator), np.nan)
    np.divide(numerator, denominator, out=quotient, where=np.not_equal(denominator, 0))
    return quotient
