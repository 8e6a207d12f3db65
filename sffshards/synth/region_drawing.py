"""Draw a region at one time as a grey image like the published ones: 128 is zero field, 0 and 255 saturate.

Shapes: K blobs, H rows, W columns. All fields are float32, in grey levels.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sffshards.domain.frames import FrameId
from sffshards.synth.active_region import MAX_SIDE_PX, Region, Stream, field_state
from sffshards.synth.flux_geometry import Blobs, plage_blobs, spot_blobs

__all__ = ["draw_frame"]

Field = NDArray[np.float32]

_ZERO_GREY = 128.0
_EXACT = 1024.0
"""Field is summed in steps of 1/1024, which float32 adds without rounding, so that the order does not matter."""
_BAND_ROWS = 8
_NETWORK_HOURS = 24.0
"""Time in which the network renews itself completely."""
_CLUMP_SWING = np.float32(0.38)
"""Amount by which the network's clumps fray the spots."""
_PLAGE_BASE = 0.21
"""Weakest clump that shows in plage."""
_QUIET_SWING = np.float32(1.75)
"""Weakest clump that shows in the quiet Sun, in standard deviations."""
_QUIET_GREY = np.float32(22.0)
_NOISE_GREY = 1.6
_NOISE_SIDE = MAX_SIDE_PX + 256
"""Side of the square of noise that the noise of frames is cut from."""


def draw_frame(region: Region, frame: FrameId) -> NDArray[np.uint8]:
    """Draw one frame.

    Parameters
    ----------
    region
        The active region.
    frame
        The frame to draw; it may have any time.

    Returns
    -------
    Grey image, (height_px, width_px), uint8: 128 where the field is zero, clipped at 0 and 255.

    Raises
    ------
    ValueError
        If the frame is of another HARP.
    """
    if frame.harp != region.harp:
        raise ValueError(f"expected a frame of HARP {region.harp}, got one of HARP {frame.harp}")
    size = (region.width_px, region.height_px)
    state = field_state(region, frame)
    clumps, quiet = _network(region, state.hours)
    grey = _sum_blobs(plage_blobs(region, state), size, gain=_ZERO_GREY / float(_CLUMP_SWING))
    grey *= np.maximum(clumps - np.float32(_PLAGE_BASE), 0)
    spots = _sum_blobs(spot_blobs(region, state), size, gain=_ZERO_GREY)
    # Plage consists of clumps only; spots keep a core, and the clumps fray their edges.
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
    rows = _round(_profile(blobs.centres[:, 0], blobs.sigma, width))
    columns = _round(_profile(blobs.centres[:, 1], blobs.sigma, height) * peaks[:, None])
    # One product per band: too small for BLAS to start threads, which would fight the other processes for the cores.
    num_bands = -(-height // _BAND_ROWS)
    bands = np.zeros((num_bands * _BAND_ROWS, len(rows)), dtype=np.float32)
    bands[:height] = columns.T * np.float32(_ZERO_GREY)
    return (bands.reshape(num_bands, _BAND_ROWS, -1) @ rows).reshape(-1, width)[:height]


def _profile(centre: NDArray[np.float64], sigma: NDArray[np.float64], length: int) -> Field:
    """Return the values of K Gaussians of height 1 along one side, (K, length)."""
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
    """Return the clumps of the active network and the salt and pepper of the quiet Sun; both renew themselves."""
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
    # A frame may lie before the first one of its region, and the keys of a stream are at least 0.
    rng = Stream.NETWORK.generator(seed, harp, int(index < 0), abs(index))
    active, quiet = (
        0.72 * _smooth_noise(rng, size, cell_px=3.4) + 0.7 * _smooth_noise(rng, size, cell_px=13.0) for _ in range(2)
    )
    return active * np.float32(_CLUMP_SWING), (quiet - np.clip(quiet, -_QUIET_SWING, _QUIET_SWING)) * _QUIET_GREY


def _noise(region: Region, frame: FrameId) -> Field:
    """Return the noise of one frame about the grey of zero field: granulation and photons, smoothed by the optics."""
    seconds = int((frame.t_rec_tai - frame.t_rec_tai.min).total_seconds())
    rng = Stream.NOISE.generator(region.seed, region.harp, seconds)
    noise = _noise_plane(region.seed)
    top = int(rng.integers(0, _NOISE_SIDE - region.height_px + 1))
    left = int(rng.integers(0, _NOISE_SIDE - region.width_px + 1))
    return noise[top : top + region.height_px, left : left + region.width_px]


@lru_cache(maxsize=1)
def _noise_plane(seed: int) -> Field:
    noise = _smooth_noise(Stream.NOISE.generator(seed), (_NOISE_SIDE, _NOISE_SIDE), cell_px=2)
    # Adding a half turns the truncation to whole grey levels into rounding.
    return noise * np.float32(_NOISE_GREY) + np.float32(_ZERO_GREY + 0.5)


def _smooth_noise(rng: np.random.Generator, size: tuple[int, int], *, cell_px: float) -> Field:
    """Return random values of mean 0 at the knots of a grid, interpolated smoothly, (H, W)."""
    shape = (int(size[1] / cell_px) + 2, int(size[0] / cell_px) + 2)
    coarse = Image.fromarray(rng.standard_normal(shape, dtype=np.float32))
    return np.asarray(coarse.resize(size, Image.Resampling.BICUBIC))
