"""A small data set in the published layout, drawn without the package's own synthesiser."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
from PIL import Image

PARTS = ("TrainVal0", "TrainVal1", "TrainVal2", "TrainVal3", "TrainVal4", "Test")
START = datetime(2011, 2, 13)


def frame_name(harp: int, number: int) -> str:
    """Name frame `number` of a HARP on the 96-minute grid."""
    time = START + timedelta(days=harp % 50, minutes=96 * number)
    return f"hmi.sharp_720s.{harp}.{time:%Y%m%d_%H%M%S}_TAI.magnetogram"


def draw_image(harp: int, number: int, size: tuple[int, int] = (60, 40)) -> Image.Image:
    """Draw a bipole on grey, in other places for other HARPs and times."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    rng = np.random.default_rng([harp, number])
    field = rng.normal(0, 3, (height, width))
    centre = 12 + (harp * 7 + number) % (width - 24)
    for sign, offset in ((1, -5), (-1, 5)):
        field += sign * 90 * np.exp(-((x - centre - offset) ** 2 + (y - height / 2) ** 2) / 18)
    return Image.fromarray(np.clip(128 + field, 0, 255).astype(np.uint8))


def make_data(folder: Path, *, harps_per_part: int = 2, frames_per_harp: int = 5) -> Path:
    """Make images and lists of both horizons: the second HARP of a part flares, for its later frames."""
    images = folder / "magnetogram_jpg"
    images.mkdir(parents=True)
    for hours in (24, 48):
        (folder / f"M{hours}").mkdir()
    for position, part in enumerate(PARTS):
        rows: dict[int, list[str]] = {24: [], 48: []}
        for k in range(harps_per_part):
            harp = 100 * (position + 1) + k
            for number in range(frames_per_harp):
                name = frame_name(harp, number)
                draw_image(harp, number).save(images / f"{name}.fits.jpg", quality=90)
                flares = k % 2 == 1
                rows[24].append(f"{name} {int(flares and number >= frames_per_harp - 1)}")
                rows[48].append(f"{name} {int(flares and number >= frames_per_harp - 3)}")
        for hours, lines in rows.items():
            # As published: no newline after the last line.
            (folder / f"M{hours}" / f"flare_Mclass_{hours}h_{part}.txt").write_text("\n".join(lines))
    return folder


def digest_tree(folder: Path) -> dict[str, str]:
    """Give the SHA-256 of every file under a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
