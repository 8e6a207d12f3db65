"""SHARP keywords of synthetic frames, measured on the drawn image at a low resolution.

The resolution is a sixtieth of the image's, as that of an instrument which sees how much flux a region has and where,
but not the structure along its polarity inversion line. A forecaster of keywords therefore lacks part of what images
show. The synthetic field is vertical and carries no current, so that keywords of the horizontal field, of currents,
helicity, shear and free energy are 0.

Images have H rows and W columns, and h rows and w columns at low resolution; fields are in grey levels from that of
zero field.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from sffshards.base.csv_tables import format_csv
from sffshards.domain.frames import FrameId

KEYWORDS_NAME = "keywords.csv"
"""File name of the table of keywords of a synthetic data set."""

MEASURED = ("USFLUX", "MEANGBZ", "MEANGBT", "R_VALUE", "AREA_ACR")
"""Keywords of a vertical field without currents."""
_ZERO = (
    *("MEANGAM", "MEANGBH", "MEANJZD", "TOTUSJZ", "MEANJZH", "TOTUSJH", "ABSNJZH", "SAVNCPP", "MEANPOT", "TOTPOT"),
    *("MEANSHR", "SHRGT45"),
)
"""Keywords that are 0 for such a field."""

_SIDE_PX = 60
"""Side of the squares of pixels that are averaged."""
_ZERO_GREY = 128
_GAUSS_PER_GREY = 12.0
"""Saturation, at 127 grey levels, is at about 1,500 G."""
_PIXEL_MM = 0.36
"""Side of a pixel of HMI at the centre of the disk."""
_SQUARE_CM2 = (_SIDE_PX * _PIXEL_MM * 1e8) ** 2
_HEMISPHERE_CM2 = 2 * np.pi * 6.957e10**2
_ACTIVE_GREY = 6
"""Mean field of a square that belongs to the region, rather than to the quiet Sun around it."""
_STRONG_GREY = 15
"""Mean field of squares between which there is a strong inversion line."""

Values = tuple[float, ...]


def measure_keywords(image: NDArray[np.uint8]) -> Values:
    """Measure the keywords of `MEASURED` on an image.

    Parameters
    ----------
    image
        Grey image from `draw_frame`, uint8 of shape (H, W).

    Returns
    -------
    tuple of float
        Unsigned flux in Mx; mean horizontal gradients in G/Mm of the vertical and of the total field, which are the
        same; logarithm of the unsigned flux in Mx on both sides of inversion lines between strong fields, 0 where there
        are none (as Schrijver 2007, ApJ 655, L117); area in millionths of a hemisphere. All but the R value are over
        the active squares.
    """
    field_hw = _average_squares(image)
    unsigned_hw, active_hw = np.abs(field_hw), np.abs(field_hw) >= _ACTIVE_GREY
    flux_hw = unsigned_hw * _GAUSS_PER_GREY * _SQUARE_CM2
    gradient_hw = np.hypot(*np.gradient(field_hw)) * _GAUSS_PER_GREY / (_SIDE_PX * _PIXEL_MM)
    gradient = float(gradient_hw[active_hw].mean()) if active_hw.any() else 0.0
    near = float(flux_hw[_find_lines(field_hw)].sum())
    return (
        float(flux_hw[active_hw].sum()),
        gradient,
        gradient,
        float(np.log10(near)) if near else 0.0,
        float(active_hw.sum() * _SQUARE_CM2 / _HEMISPHERE_CM2 * 1e6),
    )


def format_keywords(rows: Iterable[tuple[FrameId, Values]]) -> str:
    """Return a table of keywords by frame as CSV."""
    lines = ([frame.name, *(f"{value:.5g}" for value in values), *([0] * len(_ZERO))] for frame, values in rows)
    return format_csv(["frame", *MEASURED, *_ZERO], lines)


def _average_squares(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return the mean field of squares of pixels, (h, w), without the rows and columns that fill no square."""
    rows, columns = (side // _SIDE_PX for side in image.shape)
    if min(rows, columns) < 2:
        raise ValueError(f"an image has at least {2 * _SIDE_PX} rows and columns, got {image.shape}")
    cut = image[: rows * _SIDE_PX, : columns * _SIDE_PX].reshape(rows, _SIDE_PX, columns, _SIDE_PX)
    means: NDArray[np.float64] = cut.sum(axis=(1, 3), dtype=np.int64) / _SIDE_PX**2 - _ZERO_GREY
    return means


def _find_lines(field_hw: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the squares of strong field beside one of the other polarity."""
    lines_hw = np.zeros(field_hw.shape, np.bool_)
    for axis in (0, 1):
        field, lines = np.moveaxis(field_hw, axis, 0), np.moveaxis(lines_hw, axis, 0)
        strong = np.abs(field) >= _STRONG_GREY
        meets = strong[:-1] & strong[1:] & (field[:-1] * field[1:] < 0)
        lines[:-1] |= meets
        lines[1:] |= meets
    return lines_hw
