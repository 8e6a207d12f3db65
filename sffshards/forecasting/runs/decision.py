"""The decision of a fold: thresholds and calibration, fitted on its validation set only.

Kept as ``decision.json`` in the fold's folder; `evaluate` and `predict` apply it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sffshards import verification
from sffshards.base.errors import ConflictError
from sffshards.base.json_records import Count, JsonFormat, Sha256, read_record, write_record
from sffshards.forecasting.runs.predictions_table import Predictions, plain_views

DECISION_NAME = "decision.json"
"""File name of a decision in a fold's folder."""

_EXPECTS = JsonFormat(expected="the decision of a fold", fix="fit it again with `sffshards evaluate`", version=3)


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Thresholds and calibration of the forecasts of one fold."""

    source_sha256: Sha256 | None
    """SHA-256 of what they were fitted to; None where that is not known.

    This is the checkpoint that made the forecasts or, where no network did, their table of the validation set.
    """
    num_samples: Count
    """Number of samples of the validation set, plain views only."""
    num_flares: Count
    """Number of these samples that a flare followed."""
    thresholds: dict[verification.ThresholdRule, float]
    """Thresholds of the uncalibrated probabilities, by rule; only those that are defined."""
    platt: verification.PlattCalibration | None
    """Platt calibration; None where it cannot be fitted."""
    isotonic: verification.IsotonicCalibration | None
    """Isotonic calibration; None where it cannot be fitted."""
    reason: str | None
    """Why there is only a threshold of 0.5; None where everything was fitted."""

    def __post_init__(self) -> None:
        if not 0 <= self.num_flares <= self.num_samples:
            raise ValueError(f"there cannot be {self.num_flares} flares in {self.num_samples} samples")
        half, threshold = verification.ThresholdRule.HALF, verification.THRESHOLD
        if self.thresholds.get(half) != threshold:
            raise ValueError(f"the rule {half} must have a threshold of {threshold}")
        if not all(0 <= threshold <= 1 for threshold in self.thresholds.values()):
            raise ValueError(f"thresholds must be from 0 to 1, got {list(self.thresholds.values())}")
        if self.reason == "" or {self.platt is None, self.isotonic is None} != {self.reason is not None}:
            raise ValueError("there must be both calibrations, or a reason why not")


def fit_decision(validation: Predictions, *, source_sha256: str | None) -> Decision:
    """Choose thresholds and fit calibrations on a fold's validation set.

    Only its plain views (``nf``) count. An oversampled set, such as that of oTV, has six views of every positive, and
    anything fitted to it would take flares to be six times as frequent as they are.

    Parameters
    ----------
    validation
        Predictions of the validation set.
    source_sha256
        SHA-256 of the checkpoint that made them or, where no network did, of their table; None where it is not known.

    Returns
    -------
    Decision
        Where the set has no samples with a flare, or none without: only the threshold 0.5, and the reason.
    """
    plain = plain_views(validation)
    num_flares = int(plain.label.sum())
    reason = _explain_missing(len(plain), num_flares)
    fits = reason is None
    return Decision(
        source_sha256=source_sha256,
        num_samples=len(plain),
        num_flares=num_flares,
        thresholds=verification.choose_thresholds(plain.label, plain.probability)
        if fits
        else {verification.ThresholdRule.HALF: verification.THRESHOLD},
        platt=verification.fit_platt(plain.label, plain.probability) if fits else None,
        isotonic=verification.fit_isotonic(plain.label, plain.probability) if fits else None,
        reason=reason,
    )


def leave_undecided(reason: str) -> Decision:
    """Return the decision of a fold without forecasts of its validation set: the threshold 0.5, and the reason."""
    return Decision(
        source_sha256=None,
        num_samples=0,
        num_flares=0,
        thresholds={verification.ThresholdRule.HALF: verification.THRESHOLD},
        platt=None,
        isotonic=None,
        reason=reason,
    )


def write_decision(folder: Path, decision: Decision) -> None:
    """Write ``decision.json`` into a fold's folder, whole or not at all."""
    write_record(folder / DECISION_NAME, decision, version=_EXPECTS.version)


def read_decision(folder: Path, *, source_sha256: str | None = None) -> Decision | None:
    """Read a fold's decision; None where there is none, as before `sffshards evaluate`.

    Parameters
    ----------
    folder
        Folder of the fold.
    source_sha256
        SHA-256 of the checkpoint or table that the decision must have been fitted to; None for any.

    Raises
    ------
    ConflictError
        If it was fitted to other forecasts.
    FormatError
        If its format version is not known to this program.
    DamageError
        If the file is not a decision, or has changed since it was written.
    """
    path = folder / DECISION_NAME
    decision = read_record(path, Decision, expects=_EXPECTS) if path.is_file() else None
    found = decision.source_sha256 if decision else None
    if found and source_sha256 and found != source_sha256:
        raise ConflictError(
            path,
            expected=f"the decision of the checkpoint or table of SHA-256 {source_sha256[:16]}...",
            found=f"that of another one, {found[:16]}...",
            fix=_EXPECTS.fix,
        )
    return decision


def _explain_missing(num_samples: int, num_flares: int) -> str | None:
    if not num_samples:
        return "the validation set has no samples"
    if num_flares in (0, num_samples):
        missing = "without a flare" if num_flares else "with a flare"
        return f"the validation set has no samples {missing}"
    return None
