"""The numbers that a network takes beside images: which, from which files, and standardised how.

Shapes: n samples, F features, L extensive keywords.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sffshards.base.errors import Field, InputError
from sffshards.base.file_hashes import hash_file
from sffshards.domain.frames import HarpNumbers
from sffshards.flares import HarpFlares
from sffshards.images import require_harp_numbers
from sffshards.tabular.input_groups import InputGroup, NetworkInputs
from sffshards.tabular.keyword_features import find_floors
from sffshards.tabular.keyword_tables import KEYWORDS, KeywordTable
from sffshards.tabular.sample_inputs import SampleInputs, describe_frames

MAX_DEVIATION = 10.0
"""Largest size of a standardised number; values further from the mean count as this one."""

_LEAST = float(np.finfo(np.float32).tiny)


@dataclass(frozen=True, kw_only=True, slots=True)
class NumberSources:
    """The tables that numbers are taken from, as far as they are given."""

    keywords: KeywordTable | None = None
    """Keywords of frames."""
    flares: HarpFlares | None = None
    """Flares by HARP."""

    def require(self, inputs: NetworkInputs, *, where: object) -> None:
        """Check that there is what a network needs; raises `InputError` that names what is not given."""
        given = {
            "keywords": (inputs.needs_keywords, self.keywords, "a table of SHARP keywords"),
            "flares": (inputs.needs_flares, self.flares, "a flare list"),
        }
        for name, (needed, table, what) in given.items():
            if needed and table is None:
                fix = "name it" if name == "keywords" else "name it, with the map of its regions as {harp_map}"
                raise InputError(Field(name), expected=f"{what}, as {where} takes {inputs}", found="none", fix=fix)

    def refuse_others(self, inputs: NetworkInputs, *, where: object, fix: str) -> None:
        """Check that nothing is given that a network does not take; raises `InputError` that names it."""
        for name, needed in (("keywords", inputs.needs_keywords), ("flares", inputs.needs_flares)):
            if getattr(self, name) is not None and not needed:
                raise InputError(Field(name), expected=f"none, as {where} takes {inputs}", found="one", fix=fix)

    def require_numbers(self, numbers: HarpNumbers, *, where: object) -> None:
        """Check that the tables have HARP numbers of a kind; raises as `sffshards.images.require_harp_numbers`."""
        for table in (self.keywords, None if self.flares is None else self.flares.harp_map):
            if table is not None:
                require_harp_numbers(table, numbers, where=where)

    def fingerprint(self, inputs: NetworkInputs) -> dict[str, str]:
        """Return what identifies the tables that a network takes: SHA-256 of the files, and how flares count."""
        found: dict[str, str] = {}
        if self.keywords is not None and inputs.needs_keywords:
            found["keywords"] = hash_file(Path(self.keywords.source))
        if self.flares is not None and inputs.needs_flares:
            found["flares"] = hash_file(Path(self.flares.flares.source))
            found["harp_map"] = hash_file(Path(self.flares.harp_map.source))
            found |= self.flares.describe()
        return found

    def describe(self, inputs: NetworkInputs, codes: NDArray[np.int64]) -> SampleInputs:
        """Return what is known of samples at their last frames.

        Parameters
        ----------
        inputs
            What the network takes; tables that it does not need are not read.
        codes
            Codes of the last frames, int64 of shape (n,); see `sffshards.domain.frame_codes`.

        Raises
        ------
        InputError
            If a table is needed and not given, or has nothing of these frames or regions.
        """
        self.require(inputs, where="the network")
        found = describe_frames(
            codes[:, None],
            keywords=self.keywords if inputs.needs_keywords else None,
            flares=self.flares if inputs.needs_flares else None,
        )
        known = {group: ~np.isnan(found.features((group,), _NO_FLOORS)).all() for group in inputs.groups}
        if self.keywords is not None and not known.get(InputGroup.KEYWORDS, True):
            expected, fix = f"keywords of the {len(codes):,} frames", "name the table of these frames"
            raise InputError(self.keywords.source, expected=expected, found="none of them", fix=fix)
        if self.flares is not None and not known.get(InputGroup.HISTORY, True):
            fix = "name a flare list and a map of these regions and times"
            expected = f"flares of the regions of the {len(codes):,} frames"
            raise InputError(self.flares.flares.source, expected=expected, found="none of them", fix=fix)
        return found


NO_SOURCES = NumberSources()
"""No tables, as for a network of images alone."""

_NO_FLOORS = np.ones(len(find_floors(np.empty((0, len(KEYWORDS))))))


@dataclass(frozen=True, kw_only=True, slots=True)
class NumberScale:
    """How features are standardised, as found on a training set; all values are those of float32."""

    floors_L: NDArray[np.float32]
    """Smallest value of each extensive keyword of which a logarithm is taken."""
    means_F: NDArray[np.float32]
    """Mean of each feature where it is known."""
    scales_F: NDArray[np.float32]
    """Standard deviation (divided by n) of each feature where it is known; 1 if all values are the same."""

    def apply(self, found: SampleInputs, groups: tuple[InputGroup, ...]) -> NDArray[np.float32]:
        """Return the numbers that a network takes of samples.

        Parameters
        ----------
        found
            What is known of the samples.
        groups
            Groups of the features.

        Returns
        -------
        float32 of shape (n, 2 F)
            The standardised features, within `MAX_DEVIATION`, 0 where missing; then a mask, 1 for each that is missing.
        """
        features_nF = found.features(groups, self.floors_L.astype(np.float64))
        is_missing = np.isnan(features_nF)
        deviations_nF = (features_nF - self.means_F) / self.scales_F
        standardised = np.where(is_missing, 0, deviations_nF.clip(-MAX_DEVIATION, MAX_DEVIATION))
        return np.concatenate([standardised, is_missing], axis=1).astype(np.float32)


def fit_scale(found: SampleInputs, groups: tuple[InputGroup, ...]) -> NumberScale:
    """Return the standardisation that follows from a training set.

    Parameters
    ----------
    found
        What is known of the samples of the training set, each sequence once.
    groups
        Groups of the features.

    Raises
    ------
    InputError
        If a keyword is missing throughout.
    """
    last = found.last
    if InputGroup.KEYWORDS in groups:
        empty = [name for name, none in zip(KEYWORDS, np.isnan(last).all(axis=0), strict=True) if none]
        if empty:
            fix = "check the frames of the table"
            raise InputError(
                Field("keywords"), expected="keywords of training frames", found=f"none of {', '.join(empty)}", fix=fix
            )
    floors = np.maximum(find_floors(last), _LEAST).astype(np.float32)
    features_nF = found.features(groups, floors.astype(np.float64))
    is_known = ~np.isnan(features_nF)
    counts = np.maximum(is_known.sum(axis=0), 1)
    means = np.where(is_known, features_nF, 0).sum(axis=0) / counts
    scales = np.sqrt(np.square(np.where(is_known, features_nF - means, 0)).sum(axis=0) / counts)
    scales = np.where(scales <= 1e-6 * np.abs(means), 1.0, scales)
    return NumberScale(
        floors_L=floors, means_F=means.astype(np.float32), scales_F=np.where(scales > 0, scales, 1).astype(np.float32)
    )
