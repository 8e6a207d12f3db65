"""Draw a region at one time as a grey image like the published ones: 128 is zero field, 0 and 255 saturate.

The flux of a region is in K blobs, round concentrations of both polarities; their field is in units of that at which
the published images saturate, lengths are in pixels. Images have H rows and W columns; their fields are float32, in
grey levels.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sffshards.domain.frames import FrameId
from sffshards.synth.active_region import MAX_SIDE_PX, Floats, Region, Stream

Field = NDArray[np.float32]

_NUM_LEADER = 4
_NUM_FOLLOWER = 9
_NUM_RIDGE = 9
_NUM_PLAGE = 12
_MAX_SHEAR_DEG = 80.0

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


class _Blobs(NamedTuple):
    """K round Gaussian concentrations of flux."""

    centres: Floats
    """Positions of the centres as x and y, (K, 2)."""
    sigma: Floats
    """Standard deviations, (K,)."""
    amplitude: Floats
    """Signed field at the centres, (K,)."""


class _Layout(NamedTuple):
    """The lasting traits of a region, as fractions: offsets from the poles (K, 2), sizes and order of emergence (K)."""

    centre: Floats
    spots: Floats
    spot_sizes: Floats
    emerges_at_flux: Floats
    ridge_wiggle: Floats
    ridge_gain: Floats
    ridge_sizes: Floats
    plage: Floats
    plage_sizes: Floats


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
    now = _RegionNow(region, frame)
    clumps, quiet = _network(region, now.hours)
    grey = _sum_blobs(now.plage(), size, gain=_ZERO_GREY / float(_CLUMP_SWING))
    grey *= np.maximum(clumps - np.float32(_PLAGE_BASE), 0)
    spots = _sum_blobs(now.spots(), size, gain=_ZERO_GREY)
    # Plage consists of clumps only; spots keep a core, and the clumps fray their edges.
    clumps += np.float32(0.95)
    spots *= clumps
    grey += spots
    grey += quiet
    grey += _noise(region, frame)
    return np.clip(grey, 0, 255, out=grey).astype(np.uint8)


def _sum_blobs(blobs: _Blobs, size: tuple[int, int], *, gain: float) -> Field:
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


class _RegionNow:
    """A region at the time of a frame: what determines its field, and the places of its flux.

    Attributes
    ----------
    hours
        Time since the first frame; negative before it.
    flux, pil, shear_rad
        Unsigned flux, strength along the polarity inversion line, and shear of that line at this time.
    unit
        Scale of lengths in pixels: larger patches hold larger regions, as HARP boxes are drawn around them.
    poles
        Centres of leader and follower as x and y, (2, 2); the leader is to the right, as the Sun turns.
    """

    def __init__(self, region: Region, frame: FrameId) -> None:
        self.leader_sign, self.layout = region.leader_sign, _layout(region)
        self.hours, history = (frame.t_rec_tai - region.t_start_tai).total_seconds() / 3600, region.history
        self.flux = float(np.interp(self.hours, history.hours, history.flux))
        self.pil = float(np.interp(self.hours, history.hours, history.pil))
        shear_deg = region.first_shear_deg + region.shear_deg_per_day * self.hours / 24
        self.shear_rad = float(np.deg2rad(min(max(shear_deg, 0.0), _MAX_SHEAR_DEG)))
        self.unit = float(np.sqrt(region.width_px * region.height_px) / 310)
        self.axis_rad = np.deg2rad(region.tilt_deg)
        separation = self.unit * (44 + 82 * np.sqrt(self.flux)) * (1 - 0.38 * self.pil)
        half = separation / 2 * _direction(self.axis_rad)
        centre = self.layout.centre * (region.width_px, region.height_px)
        self.poles = np.stack([centre + half, centre - half])

    def plage(self) -> _Blobs:
        """Return the wide weak envelopes of both polarities that hold the network; they spread as the region ages."""
        days = max(self.hours, 0.0) / 24
        reach = self.unit * (26 + 26 * np.sqrt(self.flux) + 2 * days)
        sign = np.repeat([self.leader_sign, -self.leader_sign], _NUM_PLAGE)
        centres = np.repeat(self.poles, _NUM_PLAGE, axis=0) + reach * self.layout.plage
        sigma = self.unit * (10 + 14 * np.sqrt(self.flux)) * self.layout.plage_sizes
        return _Blobs(centres, sigma, sign * (0.14 + 0.42 * min(self.flux, 1.0)))

    def spots(self) -> _Blobs:
        """Return the spots of both polarities and the ridges on both sides of the polarity inversion line.

        The spots emerge one by one as flux rises, drift apart with it and turn about their poles; where the line is
        strong the poles stand closer, and two thin ridges of opposite polarity lie along it, sheared towards the
        bipole's axis: what the R value of Schrijver (2007, ApJ 655, L117) and the gradient across the line measure.
        """
        pairs = zip(self._leader_and_follower(), self._ridges(), strict=True)
        return _Blobs(*(np.concatenate(pair) for pair in pairs))

    def _leader_and_follower(self) -> _Blobs:
        counts = (_NUM_LEADER, _NUM_FOLLOWER)
        root_flux = np.sqrt(self.flux)
        # The leader is compact and the follower scattered, in most regions on the Sun.
        reach = np.repeat([1.0, 2.3], counts)[:, None] * self.unit * (2.5 + 9 * root_flux)
        turned = self.layout.spots @ _rotation(0.15 * self.shear_rad).T
        centres = np.repeat(self.poles, counts, axis=0) + reach * turned
        sigma = self.unit * (2 + 11.5 * root_flux) * np.repeat([0.9, 0.58], counts) * self.layout.spot_sizes
        grown = np.clip((self.flux - self.layout.emerges_at_flux) / 0.15, 0, 1)
        sign = np.repeat([self.leader_sign, -self.leader_sign], counts)
        return _Blobs(centres, sigma, sign * grown * np.repeat([1.3, 1.0], counts))

    def _ridges(self) -> _Blobs:
        along = _direction(self.axis_rad + np.pi / 2 - self.shear_rad)
        across = _direction(self.axis_rad - self.shear_rad)
        size = 0.45 + 0.55 * min(self.flux, 1.0)
        sides = np.repeat([1.0, -1.0], _NUM_RIDGE)
        steps = np.tile(np.linspace(-0.5, 0.5, _NUM_RIDGE), 2)
        length = self.unit * size * (30 + 65 * self.pil)
        # Flux converges on the line as it strengthens, and cancels there: the ridges thin out, the gradient steepens.
        distance = self.unit * (3.2 + 7 * (1 - self.pil))
        offset = sides * distance + self.unit * 8 * np.tile(self.layout.ridge_wiggle, 2)
        centres = self.poles.mean(axis=0) + steps[:, None] * length * along + offset[:, None] * across
        gain = self.leader_sign * sides * self.layout.ridge_gain
        sigma = self.unit * size * (3.4 + 2 * self.pil) * self.layout.ridge_sizes
        return _Blobs(centres, sigma, gain * 1.7 * self.pil * min(self.flux / 0.3, 1.0))


@lru_cache(maxsize=8)
def _layout(region: Region) -> _Layout:
    rng = Stream.LAYOUT.generator(region.seed, region.harp)
    num_spots = _NUM_LEADER + _NUM_FOLLOWER
    wiggle = np.cumsum(np.cumsum(rng.normal(0, 0.35, _NUM_RIDGE)))
    # A line that bends about its middle: its straight part is the axis of the ridges already.
    wiggle -= np.polyval(np.polyfit(np.arange(_NUM_RIDGE), wiggle, 1), np.arange(_NUM_RIDGE))
    return _Layout(
        centre=np.array([0.5, 0.5]) + rng.uniform(-0.08, 0.08, 2),
        spots=rng.normal(0, 0.75, (num_spots, 2)),
        spot_sizes=rng.uniform(0.55, 1.15, num_spots),
        emerges_at_flux=rng.uniform(0.06, 0.4, num_spots),
        ridge_wiggle=wiggle,
        ridge_gain=rng.uniform(0.3, 1.25, 2 * _NUM_RIDGE),
        ridge_sizes=rng.uniform(0.75, 1.5, 2 * _NUM_RIDGE),
        plage=rng.normal(0, 0.9, (2 * _NUM_PLAGE, 2)),
        plage_sizes=rng.uniform(0.5, 1.3, 2 * _NUM_PLAGE),
    )


def _direction(angle_rad: float) -> Floats:
    """Return a unit vector; y counts downwards in an image, so that a positive tilt puts the leader lower."""
    return np.array([np.cos(angle_rad), np.sin(angle_rad)])


def _rotation(angle_rad: float) -> Floats:
    cos, sin = np.cos(angle_rad), np.sin(angle_rad)
    return np.array([[cos, -sin], [sin, cos]])
