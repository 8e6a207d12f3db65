"""Where the results come from: sets, regions that sets share, training options, the build and its sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sffshards.domain.sample_sets import Stage
from sffshards.forecasting.runs import Run, RunFold
from sffshards.report.report_content import TaskContent
from sffshards.report.table_formats import NONE, Cell, Table
from sffshards.shards.format import Manifest

__all__ = ["describe_build", "describe_run", "list_table", "run_table", "set_table", "shared_table"]

_PROTOCOLS = {
    "paper": "four training parts for both horizons and class weights from exact counts, as the paper describes",
    "published": "as the authors' programs: three training parts for 24 h, class weights that omit a set's first row",
}
_SHOWN_OPTIONS = ("model", "weights", "learning_rate", "batch_size", "devices", "precision", "seed", "views", "shuffle")
_MAX_LISTED = 40


def set_table(content: TaskContent) -> Table:
    """Return the classes of every set of every fold."""
    of_run = [{(s.fold, s.stage): s for s in sets} for sets in content.sets]
    keys = sorted({key for sets in of_run for key in sets}, key=lambda key: (key[0], list(Stage).index(key[1])))
    rows = []
    for fold, stage in keys:
        sets = [of.get((fold, stage)) for of in of_run]
        one = next(s for s in sets if s is not None)
        rate = f"{one.num_flares / one.num_sequences:.2%}" if one.num_sequences else "undefined"
        samples = [NONE if s is None else f"{s.num_samples:,} / {s.num_flare_samples:,}" for s in sets]
        counts = [*_counts(one.num_sequences, one.num_flares), rate, *_counts(one.num_harps, one.num_flaring_harps)]
        rows.append(_row(f"fold {fold}, {stage}", ", ".join(one.parts), *counts, *samples))
    header = ("set", "parts", "sequences", "with flare", "rate", "regions", "flaring regions")
    names = [f"{run.name}: samples / with flare" for run in content.runs]
    return Table(name="sets", title="Classes by set", header=(*header, *names), rows=tuple(rows))


def shared_table(content: TaskContent) -> Table:
    """Return the active regions that two sets of a fold share."""
    rows = []
    for pair in content.shared:
        listed = ", ".join(map(str, pair.harps[:_MAX_LISTED])) + (", ..." if len(pair.harps) > _MAX_LISTED else "")
        counts = _counts(len(pair.harps), pair.num_sequences, pair.num_flares)
        rows.append(_row(f"fold {pair.fold}, {pair.first} and {pair.second}", *counts, listed or "none", text=4))
    return Table(
        name="shared-harps",
        title="Regions in two sets of a fold",
        header=("sets", "shared regions", "sequences of the second set", "with flare", "HARP numbers"),
        rows=tuple(rows),
    )


def run_table(run: Run) -> Table:
    """Return how far each fold of a run was trained."""
    header = (
        "fold",
        "predictions-test.csv, SHA-256",
        "epochs",
        "training",
        "best epoch",
        "validation loss",
        "evaluated",
    )
    rows = tuple(_row(*_describe_fold(fold)) for fold in run.folds)
    return Table(name="folds", title=f"{run.task} {run.name}, in {run.folder}", header=header, rows=rows)


def list_table(manifest: Manifest) -> Table:
    """Return the label lists that a build was made from."""
    rows = [
        _row(str(part), source.name, f"{source.num_rows:,}", source.sha256[:16], code=3)
        for part, source in manifest.inputs.lists.items()
    ]
    header = ("part", "list", "rows", "SHA-256")
    return Table(name="lists", title="Label lists of the build", header=header, rows=tuple(rows))


def describe_run(run: Run) -> dict[str, str]:
    """Return how a run was trained, by heading."""
    first = run.first
    options = asdict(first.options)
    return {
        "protocol": f"{first.options.protocol}: {_PROTOCOLS[first.options.protocol]}",
        "options": ", ".join(f"{name.replace('_', ' ')} {options[name]}" for name in _SHOWN_OPTIONS),
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
        "left out": omitted if inputs.skipped_frames else "nothing",
    }


def _describe_fold(fold: RunFold) -> tuple[str, ...]:
    record, best = fold.record, fold.record.best
    return (
        f"fold {record.fold}",
        str(record.num_epochs),
        "finished" if record.finished else "not finished",
        "none" if best is None else str(best.epoch),
        "none" if best is None else f"{best.valid_loss:.6f}",
        "yes" if fold.tables else "no",
        fold.fingerprints.get("predictions-test.csv", "none")[:16],
    )


def _row(*cells: str, text: int = 1, code: int | None = None) -> tuple[Cell, ...]:
    """Return a row of numbers with one column of text and, where there is one, one of code."""
    kinds = {text: "text", code: "code"}
    return tuple(Cell(text=cell, kind=kinds.get(number, "")) for number, cell in enumerate(cells))


def _counts(*numbers: int) -> Sequence[str]:
    return [f"{number:,}" for number in numbers]
