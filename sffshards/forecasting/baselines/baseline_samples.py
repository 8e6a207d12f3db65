"""Samples of baselines from label lists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from sffshards.base.errors import InputError
from sffshards.domain.frames import LabelledFrame
from sffshards.domain.sample_sets import Part
from sffshards.forecasting.baselines.baseline_records import Samples
from sffshards.labels import read_parts

__all__ = ["join_samples", "read_samples"]


def read_samples(lists: Mapping[Part, Path]) -> dict[Part, Samples]:
    """Read the samples of all parts, in the order of the lists.

    Parameters
    ----------
    lists
        The label lists of a horizon, as `sffshards.labels.data_layout.find_label_lists` gives them.

    Raises
    ------
    InputError
        If a list is malformed, two parts share a frame, or there is no part to learn from.
    StorageError
        If a list cannot be read.
    """
    if tuple(lists) != tuple(Part):
        raise InputError(
            next(iter(lists.values())).parent,
            expected="the lists of all six parts: of some the climatology is learnt, and regressions",
            found=f"that of {', '.join(lists)} alone",
            fix="name data with training parts",
        )
    return {part: _gather(rows) for part, rows in read_parts(lists).items()}


def join_samples(samples: Iterable[Samples]) -> Samples:
    """Put the samples of several parts one after the other."""
    joined = list(samples)
    return Samples(
        harp=np.concatenate([part.harp for part in joined]),
        t_end_tai=np.concatenate([part.t_end_tai for part in joined]),
        label=np.concatenate([part.label for part in joined]),
    )


def _gather(rows: list[LabelledFrame]) -> Samples:
    return Samples(
        harp=np.array([row.frame.harp for row in rows], np.int64),
        t_end_tai=np.array([row.frame.t_rec_tai for row in rows], "datetime64[s]"),
        label=np.array([row.label for row in rows], np.int64),
    )
