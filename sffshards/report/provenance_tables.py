"""Where the results come from: sets, regions that sets share, training options, the build and its sources."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict

from sffshards.domain.sample_sets import Stage
from sffshards.forecasting.runs import ForecastRecord, Run, RunFold
from sffshards.report.report_content import TaskContent
from sffshards.report.table_formats import NONE, Row, Table, build_table
from sffshards.shards.format import Manifest
from sffshards.training import FoldRecord

_PROTOCOLS = {
    "paper": "four training parts for both horizons and class weights from exact counts, as the paper describes",
    "published": "as the authors' programs: three training parts for 24 h, class weights that omit a set's first row",
}
_PARTS = {"paper": "four training parts for both horizons", "published": "three training parts for 24 h"}
_SHOWN_OPTIONS = (
    *("model", "model_options", "weights", "learning_rate", "batch_size", "devices", "precision", "seed", "views"),
    "shuffle",
)
_MAX_LISTED = 40
_FILE = "predictions-test.csv, SHA-256"


def set_table(content: TaskContent) -> Table:
    """Return the classes of every set of every fold."""
    of_run = [{(s.fold, s.stage): s for s in sets} for sets in content.sets]
    keys = sorted({key for sets in of_run for key in sets}, key=lambda key: (key[0], list(Stage).index(key[1])))
    rows: list[Row] = []
    for fold, stage in keys:
        sets = [of.get((fold, stage)) for of in of_run]
        one = next(s for s in sets if s is not None)
        samples = [NONE if s is None else f"{s.num_samples:,} / {s.num_flare_samples:,}" for s in sets]
        rows.append(
            {
                "set": f"fold {fold}, {stage}",
                "parts": ", ".join(one.parts),
                "sequences": one.num_sequences,
                "with flare": one.num_flares,
                "rate": f"{one.num_flares / one.num_sequences:.2%}" if one.num_sequences else "undefined",
                "regions": one.num_harps,
                "flaring regions": one.num_flaring_harps,
                **{f"{run.name}: samples / with flare": of for run, of in zip(content.runs, samples, strict=True)},
            }
        )
    return build_table("sets", "Classes by set", rows, kinds={"parts": "text"})


def shared_table(content: TaskContent) -> Table:
    """Return the active regions that two sets of a fold share."""
    rows: list[Row] = [
        {
            "sets": f"fold {pair.fold}, {pair.first} and {pair.second}",
            "shared regions": pair.num_harps,
            "sequences of the second set": pair.num_sequences,
            "with flare": pair.num_flares,
            "HARP numbers": _list_harps(pair.harps),
        }
        for pair in content.shared
    ]
    return build_table("shared-harps", "Regions in two sets of a fold", rows, kinds={"HARP numbers": "text"})


def run_table(run: Run) -> Table:
    """Return how far each fold of a run was trained."""
    rows = [_describe_fold(fold) for fold in run.folds]
    return build_table(
        "folds",
        f"{run.task} {run.name}, in {run.folder}",
        rows,
        kinds={"training": "text", "sets": "text", _FILE: "code"},
    )


def list_table(manifest: Manifest) -> Table:
    """Return the label lists that a build was made from."""
    rows: list[Row] = [
        {"part": str(part), "list": source.name, "rows": source.num_rows, "SHA-256": source.sha256[:16]}
        for part, source in manifest.inputs.lists.items()
    ]
    return build_table("lists", "Label lists of the build", rows, kinds={"list": "text", "SHA-256": "code"})


def describe_run(run: Run) -> dict[str, str]:
    """Return how the forecasts of a run were made, by heading."""
    if isinstance(run.first.record, ForecastRecord):
        return _describe_forecasts(run.first.record, run)
    first = run.first.network
    options = asdict(first.options)
    changes = [f"{name.replace('_', ' ')} {value}" for name, value in first.options.changes().items()]
    return {
        "protocol": f"{first.options.protocol}: {_PROTOCOLS[first.options.protocol]}",
        "options": ", ".join(
            f"{name.replace('_', ' ')} {options[name]}" for name in _SHOWN_OPTIONS if options[name] != {}
        ),
        "recipe": f"published but for {', '.join(changes)}" if changes else "published",
        "trained with": ", ".join(f"{name} {version}" for name, version in first.versions.items()),
        "build": f"manifest SHA-256 {first.manifest_sha256}",
    }


def describe_build(manifest: Manifest) -> dict[str, str]:
    """Return what a build was made from, by heading."""
    inputs = manifest.inputs
    omitted = f"{manifest.num_skipped_sequences:,} sequences, because of {len(inputs.skipped_frames):,} unusable images"
    return {
        "manifest": f"SHA-256 {manifest.sha256}",
        "made by": f"sffshards {inputs.program_version}, {inputs.encoder}",
        "codec": f"{inputs.codec}, shards of {inputs.shard_size_bytes / 1e6:,.0f} MB, seed {inputs.seed}",
        "images": f"{inputs.num_images:,}{' synthetic' if inputs.is_synthetic else ''}, fingerprint SHA-256 "
        f"{inputs.images_sha256}",
        "HARP numbers": str(inputs.harp_numbers),
        "left out": omitted if inputs.skipped_frames else "nothing",
    }


def _describe_forecasts(first: ForecastRecord, run: Run) -> dict[str, str]:
    files = {
        source: None for fold in run.folds if isinstance(fold.record, ForecastRecord) for source in fold.record.sources
    }
    missing = {f"{stage}: {reason}": None for fold in run.folds for stage, reason in fold.missing.items()}
    facts = {
        "kind": str(first.kind),
        "made from": first.description,
        "protocol": f"{first.protocol}: {_PARTS[first.protocol]}",
        "options": ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in first.options.items()),
        "files": ", ".join(f"{source.path} (SHA-256 {source.sha256[:16]})" for source in files),
        "HARP numbers": str(first.harp_numbers or "not known"),
        "not forecast": "; ".join(missing),
        "written by": f"sffshards {first.program_version}",
    }
    return {heading: text for heading, text in facts.items() if text}


def _describe_fold(fold: RunFold) -> Row:
    start: Row = {"fold": f"fold {fold.number}"}
    end: Row = {
        "evaluated": "yes" if fold.tables else "no",
        _FILE: fold.fingerprints.get("predictions-test.csv", "none")[:16],
    }
    if isinstance(fold.record, ForecastRecord):
        sets = ", ".join(stage.name.lower() for stage in fold.tables)
        return {
            **start,
            "sets": sets,
            "climatology": "not known" if math.isnan(fold.climatology) else f"{fold.climatology:.4f}",
            **end,
        }
    return {**start, **_describe_training(fold.network), **end}


def _describe_training(record: FoldRecord) -> Row:
    best = record.best
    return {
        "epochs": record.num_epochs,
        "training": "finished" if record.finished else "not finished",
        "best epoch": "none" if best is None else str(best.epoch),
        "validation loss": "none" if best is None else f"{best.valid_loss:.6f}",
    }


def _list_harps(harps: Sequence[int]) -> str:
    more = ", ..." if len(harps) > _MAX_LISTED else ""
    return ", ".join(map(str, harps[:_MAX_LISTED])) + more if harps else "none"
