"""What a fold's probabilities are turned into decisions by: thresholds and calibration, fitted on validation only.

Kept as ``decision.json`` beside the checkpoint that they are of, for `evaluate` and `predict` to apply.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from sffshards.base.atomic_files import read_text, write_atomic
from sffshards.base.errors import DamageError, FormatError
from sffshards.forecasting.runs.predictions_table import Predictions, plain_views
from sffshards.verification import (
    THRESHOLD,
    IsotonicCalibration,
    PlattCalibration,
    ScoreName,
    choose_threshold,
    fit_isotonic,
    fit_platt,
    format_calibration,
    parse_calibration,
)

__all__ = ["DECISION_NAME", "Decision", "ThresholdRule", "fit_decision", "read_decision", "write_decision"]

DECISION_NAME = "decision.json"
"""The file's name in a fold's folder."""

_FORMAT_VERSION = 1
_REPAIR = "fit it anew with `sffshards evaluate`"


class ThresholdRule(StrEnum):
    """How the probability at which a flare is forecast was chosen."""

    HALF = "0.5"
    """As published."""
    MAX_TSS = "max TSS"
    """Where the true skill statistic of validation is highest."""
    MAX_HSS = "max HSS"
    """Where the Heidke skill score of validation is highest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Thresholds and calibration of one checkpoint."""

    checkpoint_sha256: str
    """Of the checkpoint whose probabilities they were fitted to."""
    num_samples: int
    """Of the validation set, plain views only."""
    num_flares: int
    """Of them that a flare followed."""
    thresholds: dict[ThresholdRule, float]
    """Of the network's own probabilities; only those that are defined."""
    platt: PlattCalibration | None
    isotonic: IsotonicCalibration | None
    reason: str | None
    """Why there is no more than a threshold of 0.5; None where there is."""

    def __post_init__(self) -> None:
        if not 0 <= self.num_flares <= self.num_samples:
            raise ValueError(f"there cannot be {self.num_flares} flares in {self.num_samples} samples")
        if self.thresholds.get(ThresholdRule.HALF) != THRESHOLD:
            raise ValueError(f"the rule {ThresholdRule.HALF} must have a threshold of {THRESHOLD}")
        if not all(0 <= threshold <= 1 for threshold in self.thresholds.values()):
            raise ValueError(f"thresholds must be from 0 to 1, got {list(self.thresholds.values())}")
        if self.reason == "" or {self.platt is None, self.isotonic is None} != {self.reason is not None}:
            raise ValueError("either both calibrations are there, or a reason why not")


def fit_decision(validation: Predictions, *, checkpoint_sha256: str) -> Decision:
    """Choose thresholds and fit calibrations on a fold's validation set.

    Only its plain views (``nf``) count: in an oversampled set, as of the variant oTV, positives come six times, and
    whatever is fitted to it takes flares for six times as frequent as they are.

    Parameters
    ----------
    validation
        Predictions of the validation set.
    checkpoint_sha256
        Of the checkpoint that made them.

    Returns
    -------
    Decision
        Without flares, or without times that none followed: a threshold of 0.5 alone, and the reason.
    """
    plain = plain_views(validation)
    num_flares = int(plain.label.sum())
    thresholds = {ThresholdRule.HALF: THRESHOLD}
    platt = isotonic = None
    reason = _explain_missing(len(plain), num_flares)
    if reason is None:
        for rule, score in ((ThresholdRule.MAX_TSS, ScoreName.TSS), (ThresholdRule.MAX_HSS, ScoreName.HSS)):
            thresholds[rule] = choose_threshold(plain.label, plain.probability, score=score).threshold
        platt = fit_platt(plain.label, plain.probability)
        isotonic = fit_isotonic(plain.label, plain.probability)
    return Decision(
        checkpoint_sha256=checkpoint_sha256,
        num_samples=len(plain),
        num_flares=num_flares,
        thresholds=thresholds,
        platt=platt,
        isotonic=isotonic,
        reason=reason,
    )


def write_decision(folder: Path, decision: Decision) -> None:
    """Write ``decision.json`` into a fold's folder, whole or not at all."""
    content = {
        "format_version": _FORMAT_VERSION,
        "checkpoint_sha256": decision.checkpoint_sha256,
        "num_samples": decision.num_samples,
        "num_flares": decision.num_flares,
        "thresholds": {str(rule): threshold for rule, threshold in decision.thresholds.items()},
        "platt": None if decision.platt is None else json.loads(format_calibration(decision.platt)),
        "isotonic": None if decision.isotonic is None else json.loads(format_calibration(decision.isotonic)),
        "reason": decision.reason,
    }
    write_atomic(folder / DECISION_NAME, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode("ascii"))


def read_decision(folder: Path) -> Decision | None:
    """Read a fold's decision; None where there is none, as before `sffshards evaluate`.

    Raises
    ------
    FormatError
        If it, or a calibration in it, is of a version that this program does not know.
    DamageError
        If it is no decision.
    """
    path = folder / DECISION_NAME
    if not path.is_file():
        return None
    try:
        content = json.loads(read_text(path))
        version = content.pop("format_version")
        if version != _FORMAT_VERSION:
            raise FormatError(path, expected=f"format version {_FORMAT_VERSION}", found=str(version)[:40], fix=_REPAIR)
        return _from_json(content, path)
    except FormatError:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        found = f"something else ({' '.join(str(error).split())[:120]})"
        raise DamageError(path, expected="the decision of a fold", found=found, fix=_REPAIR) from None


def _explain_missing(num_samples: int, num_flares: int) -> str | None:
    if not num_samples:
        return "the validation set has no samples"
    if num_flares in (0, num_samples):
        missing = "without a flare" if num_flares else "with a flare"
        return f"the validation set has no samples {missing}"
    return None


def _from_json(content: dict[str, Any], path: Path) -> Decision:
    reason = content["reason"]
    if not (reason is None or isinstance(reason, str)) or not isinstance(content["checkpoint_sha256"], str):
        raise ValueError("a reason or a checksum that is no text")
    platt, isotonic = _calibration(content["platt"], path), _calibration(content["isotonic"], path)
    if not (platt is None or isinstance(platt, PlattCalibration)):
        raise ValueError("platt is of another kind")
    if not (isotonic is None or isinstance(isotonic, IsotonicCalibration)):
        raise ValueError("isotonic is of another kind")
    return Decision(
        checkpoint_sha256=content["checkpoint_sha256"],
        num_samples=int(content["num_samples"]),
        num_flares=int(content["num_flares"]),
        thresholds={ThresholdRule(rule): float(value) for rule, value in content["thresholds"].items()},
        platt=platt,
        isotonic=isotonic,
        reason=reason,
    )


def _calibration(content: object, path: Path) -> PlattCalibration | IsotonicCalibration | None:
    if content is None:
        return None
    try:
        return parse_calibration(json.dumps(content), where=path)
    except FormatError as error:
        raise FormatError(path, expected=error.expected, found=error.found, fix=_REPAIR) from None
