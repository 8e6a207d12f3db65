"""SHARP keywords of a frame as features of a forecast, and their course over the frames of a sequence.

Shapes: n samples, T frames of a sequence, K keywords, L of which are extensive.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sffshards.tabular.keyword_tables import EXTENSIVE, KEYWORDS

LAST = (*KEYWORDS, *(f"log10 {name}" for name in EXTENSIVE))
"""Names of the features of the last frame: the keywords, and the logarithms of those that grow with a region's size."""

COURSE = tuple(
    f"{statistic} of {f'log10 {name}' if name in EXTENSIVE else name}"
    for statistic in ("mean", "slope", "largest")
    for name in KEYWORDS
)
"""Names of the features of a sequence's course; extensive keywords count by their logarithm."""

_EXTENSIVE_COLUMNS = [KEYWORDS.index(name) for name in EXTENSIVE]


def find_floors(keywords_nK: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the smallest positive value of each extensive keyword, below which no logarithm is taken.

    Parameters
    ----------
    keywords_nK
        Keywords of the training frames in the order of `KEYWORDS`, nan where missing.

    Returns
    -------
    float64 of shape (L,)
        In the order of `EXTENSIVE`; 1 for a keyword without a positive value.
    """
    extensive = keywords_nK[:, _EXTENSIVE_COLUMNS]
    smallest = np.where(extensive > 0, extensive, np.inf).min(axis=0, initial=np.inf)
    return np.where(np.isfinite(smallest), smallest, 1.0)


def describe_last(keywords_nK: NDArray[np.float64], floors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the features of a frame, in the order of `LAST`, nan where missing.

    Parameters
    ----------
    keywords_nK
        Keywords of the frames in the order of `KEYWORDS`, nan where missing.
    floors
        From `find_floors` of the training set.
    """
    return np.concatenate([keywords_nK, _take_logarithms(keywords_nK, floors)], axis=1)


def describe_course(
    keywords_nTK: NDArray[np.float64], hours_nT: NDArray[np.float64], floors: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the course of the keywords over the frames of each sequence, in the order of `COURSE`.

    The slope is that of the line of least squares, per day; 0 where all frames that have the keyword are of one time.
    Frames that a short sequence repeats count as often as it shows them.

    Parameters
    ----------
    keywords_nTK
        Keywords of the frames in the order of `KEYWORDS`, nan where missing.
    hours_nT
        Times of the frames in hours, from any start.
    floors
        From `find_floors` of the training set.

    Returns
    -------
    float64 of shape (n, 3 K)
        nan where no frame of the sequence has the keyword.
    """
    num, num_frames, num_keywords = keywords_nTK.shape
    values = keywords_nTK.copy()
    values[:, :, _EXTENSIVE_COLUMNS] = _take_logarithms(keywords_nTK.reshape(-1, num_keywords), floors).reshape(
        num, num_frames, -1
    )
    has = ~np.isnan(values)
    count = has.sum(axis=1)
    days = np.broadcast_to((hours_nT - hours_nT[:, -1:])[:, :, None] / 24, values.shape)
    mean, mean_day = (_divide(np.where(has, of, 0).sum(axis=1), count) for of in (values, days))
    shift = np.where(has, days - mean_day[:, None], 0)
    rise = np.where(has, shift * (values - mean[:, None]), 0).sum(axis=1)
    spread = np.square(shift).sum(axis=1)
    slope = np.where(count > 0, np.divide(rise, spread, out=np.zeros_like(rise), where=spread > 0), np.nan)
    largest = np.where(has, values, -np.inf).max(axis=1)
    return np.concatenate([mean, slope, np.where(count > 0, largest, np.nan)], axis=1)


def _take_logarithms(keywords_nK: NDArray[np.float64], floors: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log10(np.maximum(keywords_nK[:, _EXTENSIVE_COLUMNS], floors))


def _divide(sums: NDArray[np.float64], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)
