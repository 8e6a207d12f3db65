"""FITS files of synthetic SHARPs, in the form of JSOC's."""

from __future__ import annotations

import io
import warnings

import numpy as np
from astropy.io import fits

__all__ = ["QUADRANTS", "file_name", "make_fits"]

QUADRANTS = {"north west": 800.0, "north east": 400.0, "south west": -400.0, "south east": -800.0}
"""Field of the four quarters of a synthetic region, in gauss."""


def file_name(harp: int, time: str, *, series: str = "hmi.sharp_cea_720s", segment: str = "magnetogram") -> str:
    """Name a file as JSOC does; time as yyyymmdd_hhmmss."""
    return f"{series}.{harp}.{time}_TAI.{segment}.fits"


def make_fits(
    harp: int,
    time: str,
    *,
    camera: bool = False,
    compressed: bool = True,
    field: np.ndarray | None = None,
    drop: tuple[str, ...] = (),
    checksum: bool = False,
    **keywords: object,
) -> bytes:
    """Make a file whose region has `QUADRANTS`: upright on a cylinder, or with south up, as the camera sees the Sun."""
    if field is None:
        # FITS rows run upwards: the first row is the southernmost of an upright image.
        south = [QUADRANTS["south east"], QUADRANTS["south west"]]
        north = [QUADRANTS["north east"], QUADRANTS["north west"]]
        field = np.kron([south, north], np.ones((20, 30)))
        if camera:
            field = field[::-1, ::-1]
    header = fits.Header(
        {
            "T_REC": f"{time[:4]}.{time[4:6]}.{time[6:8]}_{time[9:11]}:{time[11:13]}:{time[13:15]}_TAI",
            "HARPNUM": harp,
            "QUALITY": 0,
            "CROTA2": 179.93 if camera else 0.0,
            "CTYPE1": "HPLN-TAN" if camera else "CRLN-CEA",
            "CDELT1": 0.5 if camera else 0.03,
            "CDELT2": 0.5 if camera else 0.03,
            **keywords,
        }
    )
    for keyword in drop:
        del header[keyword]
    unit = fits.CompImageHDU if compressed else fits.ImageHDU
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):
        data = field.astype(np.float32 if not compressed else np.int32)
        fits.HDUList([fits.PrimaryHDU(), unit(data, header)]).writeto(buffer, checksum=checksum)
    return buffer.getvalue()
