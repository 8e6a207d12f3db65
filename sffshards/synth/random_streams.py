"""Random streams keyed by integers, so that no draw depends on the order or the number of workers."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from sffshards.base.errors import InputError

__all__ = ["Stream", "check_seed", "stream"]

_MAX_SEED = 2**32 - 1


class Stream(IntEnum):
    """What a stream of random numbers is for; the values are part of what a seed means, so they never change."""

    TIMELINE = 1
    SHAPE = 2
    LAYOUT = 3
    COURSE = 4
    FLARES = 5
    NETWORK = 6
    NOISE = 7
    LABELLED_COURSE = 8


def stream(purpose: Stream, *keys: int) -> np.random.Generator:
    """Give the generator of a purpose and its keys (seed, HARP, time...), each of them from 0.

    The purpose and the number of keys come first: numpy pads what it is given with zeros, so that without the number
    (1, 2) and (1, 2, 0) would be the same stream.
    """
    return np.random.default_rng(np.random.SeedSequence([int(purpose), len(keys), *keys]))


def check_seed(seed: int) -> None:
    """Raise `InputError` unless a seed is a whole number of 32 bits."""
    if not 0 <= seed <= _MAX_SEED:
        raise InputError(
            "seed", expected=f"a whole number from 0 to {_MAX_SEED}", found=str(seed), fix="choose another"
        )
