"""One image file, written whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sffshards.base.atomic_files import storage_errors, temporary_path

__all__ = ["write_picture"]


def write_picture(grey: NDArray[np.uint8], path: Path, *, jpeg_quality: int) -> None:
    """Write an 8-bit grey JPEG; it appears under its name only when whole.

    Parameters
    ----------
    grey
        uint8 array of shape (height, width).
    path
        The file, in a folder that is there.
    jpeg_quality
        1 to 95.

    Raises
    ------
    StorageError
        If the system refuses.
    """
    temporary = temporary_path(path)
    with storage_errors(path):
        try:
            Image.fromarray(np.ascontiguousarray(grey)).save(temporary, format="JPEG", quality=jpeg_quality)
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
