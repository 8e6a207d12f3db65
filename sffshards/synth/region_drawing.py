"""Draw a region at one time as a grey image like the published ones: 128 is no field, 0 and 255 saturate.

Shapes: K blobs, H rows, W columns. All fields are float32, in grey levels.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sffshards.domain.frames import FrameId
from sffshards.synth.flux_geometry import Blobs, plage_blobs, spot_blobs
from sffshards.synth.random_streams import Stream, stream
from sffshards.synth.synthetic_region import MAX_SIDE_PX, Region, field_state

__all__ = ["draw_frame"]

Field = NDArray[np.float32]

_ZERO_GREY = 128.0
_EXACT = 1024.0
"""Field is summed in steps of 1/1024, which float32 adds without rounding: the sum has no order to depend on."""
_BAND_ROWS = 8
_NETWORK_HOURS = 24.0
"""Time in which the network is wholly renewed."""
_CLUMP_SWING = np.float32(0.38)
"""How much the network's clumps fray the spots."""
_PLAGE_BASE = 0.21
"""Least clump that shows in plage."""
_QUIET_SWING = np.float32(1.75)
"""Least clump that shows in the quiet Sun, in standard deviations."""
_QUIET_GREY = np.float32(22.0)
_NOISE_GREY = 1.6
_NOISE_SIDE = MAX_SIDE_PX + 256
"""Side of the square of noise that frames are cut from."""


def draw_frame(region: Region, frame: FrameId) -> NDArray[np.uint8]:
    """Draw one frame.

    Parameters
    ----------
    region
        The active region.
    frame
        Which frame of it; only its time matters, and it may be any.

    Returns
    -------
    Grey image, (height_px, width_px), uint8: 128 where there is no field, clipped at 0 and 255.

    Raises
    ------
    ValueError
        If the frame is of another HARP.
    """
    if frame.harp != region.harp:
        raise ValueError(f"frame of HARP {frame.harp} asked of region {region.harp}")
    size = (region.width_px, region.height_px)
    state = field_state(region, region.hours_at(frame))
    clumps, quiet = _network(region, state.hours)
    grey = _sum_blobs(plage_blobs(region, state), size, gain=_ZERO_GREY / float(_CLUMP_SWING))
    grey *= np.maximum(clumps - np.float32(_PLAGE_BASE), 0)
    spots = _sum_blobs(spot_blobs(region, state), size, gain=_ZERO_GREY)
    # Plage is nothing but clumps; spots keep a core, and the clumps only fray their edges.
    clumps += np.float32(0.95)
    spots *= clumps
    grey += spots
    grey += quiet
    grey += _noise(region, frame)
    return np.clip(grey, 0, 255, out=grey).astype(np.uint8)


def _sum_blobs(blobs: Blobs, size: tuple[int, int], *, gain: float) -> Field:
    """Add round Gaussians: each is a column times a row, so that all of them are one product of (H, K) and (K, W)."""
    width, height = size
    peaks = (blobs.amplitude * gain / _ZERO_GREY).astype(np.float32)
    rows = _round(_profile(blobs.x, blobs.sigma, width))
    columns = _round(_profile(blobs.y, blobs.sigma, height) * peaks[:, None])
    # A product a band: too small for BLAS to start threads, which would fight the other processes for the cores.
    num_bands = -(-height // _BAND_ROWS)
    bands = np.zeros((num_bands * _BAND_ROWS, len(rows)), dtype=np.float32)
    bands[:height] = columns.T * np.float32(_ZERO_GREY)
    return (bands.reshape(num_bands, _BAND_ROWS, -1) @ rows).reshape(-1, width)[:height]


def _profile(centre: NDArray[np.float64], sigma: NDArray[np.float64], length: int) -> Field:
    """Give the values of K Gaussians of height 1 along one side, (K, length)."""
    scale = 1 / (np.sqrt(2) * sigma[:, None])
    distance = np.arange(length, dtype=np.float32) * scale.astype(np.float32)
    distance -= (centre[:, None] * scale).astype(np.float32)
    np.square(distance, out=distance)
    profile: Field = np.exp(np.negative(distance, out=distance), out=distance)
    return profile


def _round(profile: Field) -> Field:
    profile *= np.float32(_EXACT)
    np.rint(profile, out=profile)
    profile *= np.float32(1 / _EXACT)
    return profile


def _network(region: Region, hours: float) -> tuple[Field, Field]:
    """Give the clumps of the active network, and the salt and pepper of the quiet Sun; both renew themselves."""
    position = hours / _NETWORK_HOURS
    index = int(np.floor(position))
    size = (region.width_px, region.height_px)
    old, new = (_textures(region.seed, region.harp, index + i, size) for i in (0, 1))
    angle = (position - index) * np.pi / 2
    # Cosine and sine keep the variance while one texture gives way to the next: clumps drift, split and merge.
    clumps = old[0] * np.float32(np.cos(angle))
    clumps += new[0] * np.float32(np.sin(angle))
    quiet = old[1] * np.float32(np.cos(angle))
    quiet += new[1] * np.float32(np.sin(angle))
    return clumps, quiet


@lru_cache(maxsize=4)
def _textures(seed: int, harp: int, index: int, size: tuple[int, int]) -> tuple[Field, Field]:
    # A frame may lie before the first of its region, and the keys of a stream count from 0.
    rng = stream(Stream.NETWORK, seed, harp, int(index < 0), abs(index))
    active, quiet = (
        0.72 * _smooth_noise(rng, size, cell_px=3.4) + 0.7 * _smooth_noise(rng, size, cell_px=13.0) for _ in range(2)
    )
    return active * np.float32(_CLUMP_SWING), (quiet - np.clip(quiet, -_QUIET_SWING, _QUIET_SWING)) * _QUIET_GREY


def _noise(region: Region, frame: FrameId) -> Field:
    """Give the noise of one frame about the grey of no field: granulation and photons, smoothed by the telescope."""
    seconds = int((frame.t_rec_tai - frame.t_rec_tai.min).total_seconds())
    rng = stream(Stream.NOISE, region.seed, region.harp, seconds)
    noise = _noise_plane(region.seed)
    top = int(rng.integers(0, _NOISE_SIDE - region.height_px + 1))
    left = int(rng.integers(0, _NOISE_SIDE - region.width_px + 1))
    return noise[top : top + region.height_px, left : left + region.width_px]


@lru_cache(maxsize=1)
def _noise_plane(seed: int) -> Field:
    noise = _smooth_noise(stream(Stream.NOISE, seed), (_NOISE_SIDE, _NOISE_SIDE), cell_px=2)
    # A half makes the cut to whole grey levels a rounding.
    return noise * np.float32(_NOISE_GREY) + np.float32(_ZERO_GREY + 0.5)


def _smooth_noise(rng: np.random.Generator, size: tuple[int, int], *, cell_px: float) -> Field:
    """Give random values of mean 0 at knots of a grid, joined smoothly, (H, W)."""
    shape = (int(size[1] / cell_px) + 2, int(size[0] / cell_px) + 2)
    coarse = Image.fromarray(rng.standard_normal(shape, dtype=np.float32))
    return np.asarray(coarse.resize(size, Image.Resampling.BICUBIC))
