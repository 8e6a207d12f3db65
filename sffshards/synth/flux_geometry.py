"""The places of a region's flux at one time: round concentrations of both polarities.

Field is in units of that at which the published images saturate (grey 0 and 255), lengths are in pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sffshards.synth.active_region import FieldState, Region, Stream

__all__ = ["Blobs", "plage_blobs", "spot_blobs"]

Floats = NDArray[np.float64]

_NUM_LEADER = 4
_NUM_FOLLOWER = 9
_NUM_RIDGE = 9
_NUM_PLAGE = 12


class Blobs(NamedTuple):
    """K round Gaussian concentrations of flux."""

    centres: Floats
    """Positions of the centres as x and y, (K, 2)."""
    sigma: Floats
    """Standard deviations, (K,)."""
    amplitude: Floats
    """Signed field at the centres, (K,)."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Layout:
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


def spot_blobs(region: Region, state: FieldState) -> Blobs:
    """Return the spots of both polarities and the ridges on both sides of the polarity inversion line.

    The spots emerge one by one as flux rises, drift apart with it and turn about their poles; where the line is strong
    the poles stand closer, and two thin ridges of opposite polarity lie along it, sheared towards the bipole's axis:
    what the R value of Schrijver (2007, ApJ 655, L117) and the gradient across the line measure.
    """
    pairs = zip(_leader_and_follower(region, state), _ridges(region, state), strict=True)
    return Blobs(*(np.concatenate(pair) for pair in pairs))


def plage_blobs(region: Region, state: FieldState) -> Blobs:
    """Return the wide weak envelopes of both polarities in which the network stands; they spread as the region ages."""
    layout, unit = _layout(region), _unit_px(region)
    poles = _poles(region, state)
    days = max(state.hours, 0.0) / 24
    reach = unit * (26 + 26 * np.sqrt(state.flux) + 2 * days)
    sign = np.repeat([region.leader_sign, -region.leader_sign], _NUM_PLAGE)
    centres = np.repeat(poles, _NUM_PLAGE, axis=0) + reach * layout.plage
    sigma = unit * (10 + 14 * np.sqrt(state.flux)) * layout.plage_sizes
    amplitude = sign * (0.14 + 0.42 * min(state.flux, 1.0))
    return Blobs(centres, sigma, amplitude)


def _leader_and_follower(region: Region, state: FieldState) -> Blobs:
    layout, unit = _layout(region), _unit_px(region)
    counts = (_NUM_LEADER, _NUM_FOLLOWER)
    root_flux = np.sqrt(state.flux)
    # The leader is compact and the follower scattered, in most regions on the Sun.
    reach = np.repeat([1.0, 2.3], counts)[:, None] * unit * (2.5 + 9 * root_flux)
    turned = layout.spots @ _rotation(0.15 * state.shear_rad).T
    centres = np.repeat(_poles(region, state), counts, axis=0) + reach * turned
    sigma = unit * (2 + 11.5 * root_flux) * np.repeat([0.9, 0.58], counts) * layout.spot_sizes
    grown = np.clip((state.flux - layout.emerges_at_flux) / 0.15, 0, 1)
    sign = np.repeat([region.leader_sign, -region.leader_sign], counts)
    return Blobs(centres, sigma, sign * grown * np.repeat([1.3, 1.0], counts))


def _ridges(region: Region, state: FieldState) -> Blobs:
    layout, unit = _layout(region), _unit_px(region)
    axis = np.deg2rad(region.tilt_deg)
    along = _direction(axis + np.pi / 2 - state.shear_rad)
    across = _direction(axis - state.shear_rad)
    size = 0.45 + 0.55 * min(state.flux, 1.0)
    sides = np.repeat([1.0, -1.0], _NUM_RIDGE)
    steps = np.tile(np.linspace(-0.5, 0.5, _NUM_RIDGE), 2)
    length = unit * size * (30 + 65 * state.pil)
    # Flux converges on the line as it strengthens, and cancels there: the ridges thin out, the gradient steepens.
    distance = unit * (3.2 + 7 * (1 - state.pil))
    offset = sides * distance + unit * 8 * np.tile(layout.ridge_wiggle, 2)
    middle = _poles(region, state).mean(axis=0)
    centres = middle + steps[:, None] * length * along + offset[:, None] * across
    amplitude = region.leader_sign * sides * layout.ridge_gain * 1.7 * state.pil * min(state.flux / 0.3, 1.0)
    sigma = unit * size * (3.4 + 2 * state.pil) * layout.ridge_sizes
    return Blobs(centres, sigma, amplitude)


def _poles(region: Region, state: FieldState) -> Floats:
    """Return the centres of leader and follower as x and y, (2, 2); the leader is to the right, as the Sun turns."""
    unit = _unit_px(region)
    separation = unit * (44 + 82 * np.sqrt(state.flux)) * (1 - 0.38 * state.pil)
    half = separation / 2 * _direction(np.deg2rad(region.tilt_deg))
    centre = _layout(region).centre * (region.width_px, region.height_px)
    return np.stack([centre + half, centre - half])


def _unit_px(region: Region) -> float:
    """Return the scale of lengths: larger patches hold larger regions, as HARP boxes are drawn around them."""
    return float(np.sqrt(region.width_px * region.height_px) / 310)


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
