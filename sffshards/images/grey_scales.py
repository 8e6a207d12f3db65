"""Conversion to grey: of field in gauss by one of three scales, and of the colours of a movie."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sffshards.images.ingest_options import KNEE_GAUSS, Colours, Scale

_RAMPS = {
    Colours.BWR: ((0, 0, 0, 1), (0.5, 1, 1, 1), (1, 1, 0, 0)),
    Colours.SEISMIC: ((0, 0, 0, 0.3), (0.25, 0, 0, 1), (0.5, 1, 1, 1), (0.75, 1, 0, 0), (1, 0.5, 0, 0)),
}
"""Position, red, green and blue of the corners between which a colour map is linear."""
_NUM_GREYS = 256
_PIXELS_AT_A_TIME = 1 << 14


def scale_field(field: NDArray[np.floating], *, scale: Scale, clip_gauss: float) -> NDArray[np.uint8]:
    """Convert field to grey: negative dark, zero middle grey, positive bright.

    With field u, k = `KNEE_GAUSS` and c = ``clip_gauss``, grey is 255/2 (1 + s), rounded, where s is u/c (linear),
    arctan(u/k)/arctan(c/k) (arctan) or sign(u) log(1 + abs(u)/k)/log(1 + c/k) (symlog).

    Parameters
    ----------
    field
        Array of any shape, in gauss; values that are not finite become zero field.
    scale
        The scale.
    clip_gauss
        Field from which on grey is white; from its negative down it is black.

    Returns
    -------
    uint8 array of the same shape

    Examples
    --------
    >>> scale_field(np.array([-900.0, 0.0, 400.0, np.nan]), scale=Scale.LINEAR, clip_gauss=800.0)
    array([  0, 128, 191, 128], dtype=uint8)
    """
    known = np.where(np.isfinite(field), field, 0.0)
    shown = np.clip(known, -clip_gauss, clip_gauss)
    if scale is Scale.ARCTAN:
        share = np.arctan(shown / KNEE_GAUSS) / np.arctan(clip_gauss / KNEE_GAUSS)
    elif scale is Scale.SYMLOG:
        share = np.sign(shown) * np.log1p(np.abs(shown) / KNEE_GAUSS) / np.log1p(clip_gauss / KNEE_GAUSS)
    else:
        share = shown / clip_gauss
    grey: NDArray[np.uint8] = np.floor(127.5 * (1.0 + share) + 0.5).astype(np.uint8)
    return grey


def invert_colours(picture: NDArray[np.uint8], *, colours: Colours) -> NDArray[np.uint8]:
    """Convert a picture in a colour map to grey: the position of the map's colour that is nearest to each pixel.

    Parameters
    ----------
    picture
        uint8 array of shape (height, width, 3).
    colours
        The colour map; for grey, the result is the mean of the three channels.

    Returns
    -------
    uint8 array of shape (height, width)
    """
    if colours is Colours.GREY:
        return np.floor(picture.mean(axis=-1) + 0.5).astype(np.uint8)
    ramp = _draw_ramp(colours)
    pixels = picture.reshape(-1, 3).astype(np.float32)
    grey = np.empty(len(pixels), np.uint8)
    for start in range(0, len(pixels), _PIXELS_AT_A_TIME):
        part = pixels[start : start + _PIXELS_AT_A_TIME]
        # The squared distance to each colour, without the term that is the same for all.
        grey[start : start + len(part)] = np.argmin((ramp**2).sum(-1) - 2 * part @ ramp.T, axis=1)
    return grey.reshape(picture.shape[:2])


def _draw_ramp(colours: Colours) -> NDArray[np.float32]:
    corners = np.array(_RAMPS[colours], np.float64)
    place = np.linspace(0, 1, _NUM_GREYS)
    channels = [np.interp(place, corners[:, 0], corners[:, channel]) for channel in (1, 2, 3)]
    return (255 * np.stack(channels, axis=-1)).astype(np.float32)
