"""Samples that baselines forecast, from label lists.

Shapes: n samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import InputError
from sffshards.domain.frames import LabelledFrame
from sffshards.domain.sample_sets import Part
from sffshards.labels import read_parts


@dataclass(frozen=True, kw_only=True, slots=True)
class Samples:
    """The samples of a part, one per row of its label list."""

    harp: NDArray[np.int64]
    """HARP numbers, shape (n,)."""
    t_end_tai: NDArray[np.datetime64]
    """Times of the forecasts, datetime64[s] of shape (n,)."""
    label: NDArray[np.int64]
    """Labels, 0 or 1, shape (n,)."""


def read_samples(lists: Mapping[Part, Path]) -> dict[Part, Samples]:
    """Read the samples of all parts, in the order of the lists.

    Parameters
    ----------
    lists
        Label lists of a task, from `sffshards.labels.find_label_lists`.

    Raises
    ------
    InputError
        If a list is malformed, two parts share a frame, or there are no training parts.
    StorageError
        If a list cannot be read.
    """
    if tuple(lists) != tuple(Part):
        raise InputError(
            next(iter(lists.values())).parent,
            expected="the lists of all six parts, since baselines learn from the training parts",
            found=f"the list of {', '.join(lists)} alone",
            fix="name data with training parts",
        )
    return {part: _gather(rows) for part, rows in read_parts(lists).items()}


def join_samples(samples: Iterable[Samples]) -> Samples:
    """Return the samples of several parts in one record."""
    joined = list(samples)
    return Samples(
        **{field.name: np.concatenate([getattr(part, field.name) for part in joined]) for field in fields(Samples)}
    )


def _gather(rows: list[LabelledFrame]) -> Samples:
    return Samples(
        harp=np.array([row.frame.harp for row in rows], np.int64),
        t_end_tai=np.array([row.frame.t_rec_tai for row in rows], "datetime64[s]"),
        label=np.array([row.label for row in rows], np.int64),
    )
