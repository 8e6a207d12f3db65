"""Field in gauss to grey, by one of three scales; and the colours of a movie back to grey."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sffshards.images.ingest_options import Colours, Scale

__all__ = ["KNEE_GAUSS", "invert_colours", "scale_field"]

KNEE_GAUSS = 100.0
"""Where the scales arctan and symlog turn from nearly proportional to compressed."""

_RAMPS = {
    Colours.BWR: ((0, 0, 0, 1), (0.5, 1, 1, 1), (1, 1, 0, 0)),
    Colours.SEISMIC: ((0, 0, 0, 0.3), (0.25, 0, 0, 1), (0.5, 1, 1, 1), (0.75, 1, 0, 0), (1, 0.5, 0, 0)),
}
"""Position, red, green and blue of the corners between which a colour map runs straight."""
_NUM_GREYS = 256
_PIXELS_AT_A_TIME = 1 << 14


def scale_field(field: NDArray[np.floating], *, scale: Scale, clip_gauss: float) -> NDArray[np.uint8]:
    """Show field as grey: negative dark, zero middle grey, positive bright.

    With u the field, k `KNEE_GAUSS` and c the field at which it is clipped, grey is 255/2 (1 + s), rounded, with
    s = u/c (linear), arctan(u/k)/arctan(c/k) (arctan) or sign(u) log(1 + abs(u)/k)/log(1 + c/k) (symlog).

    Parameters
    ----------
    field
        Array of any shape, in gauss; what is not finite is shown as zero field.
    scale
        Which.
    clip_gauss
        Field that is shown white; more is too, and less than its negative is black.

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
    """Show a picture that a colour map drew as grey: the position of each pixel's nearest colour on the map.

    Parameters
    ----------
    picture
        uint8 array of shape (height, width, 3).
    colours
        The map; for grey, the mean of the three channels is taken.

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
        # The distance to a colour, less what is the same for all colours.
        grey[start : start + len(part)] = np.argmin((ramp**2).sum(-1) - 2 * part @ ramp.T, axis=1)
    return grey.reshape(picture.shape[:2])


def _draw_ramp(colours: Colours) -> NDArray[np.float32]:
    corners = np.array(_RAMPS[colours], np.float64)
    place = np.linspace(0, 1, _NUM_GREYS)
    channels = [np.interp(place, corners[:, 0], corners[:, channel]) for channel in (1, 2, 3)]
    return (255 * np.stack(channels, axis=-1)).astype(np.float32)
