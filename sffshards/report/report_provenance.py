"""Where the results come from: sets, regions that sets share, training options, the build and its sources."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from sffshards.domain.sample_sets import Stage
from sffshards.forecasting.runs import Run
from sffshards.report.markup import Cell, Markup, element, join, table
from sffshards.report.report_content import HorizonContent
from sffshards.shards.format import Manifest

__all__ = ["PROTOCOLS", "describe_build", "run_tables", "set_table", "shared_table"]

PROTOCOLS = {
    "paper": "four training parts at both horizons, class weights from exact counts, as the paper describes",
    "published": "as the authors' programs: three training parts at 24h, class weights that lose each set's first row",
}
_SHOWN_OPTIONS = ("model", "weights", "learning_rate", "batch_size", "devices", "precision", "seed", "views", "shuffle")
_MAX_LISTED = 40


def set_table(content: HorizonContent) -> Markup:
    """Give the classes of every set."""
    of_run = [{(s.fold, s.stage): s for s in sets} for sets in content.sets]
    keys = sorted({key for sets in of_run for key in sets}, key=lambda key: (key[0], list(Stage).index(key[1])))
    rows = []
    for fold, stage in keys:
        there = [sets.get((fold, stage)) for sets in of_run]
        one = next(s for s in there if s is not None)
        rate = f"{one.num_flares / one.num_sequences:.2%}" if one.num_sequences else "undefined"
        numbers = [one.num_sequences, one.num_flares, one.num_harps, one.num_flaring_harps]
        counted = [f"{number:,}" for number in numbers]
        rows.append(
            [
                Cell(text=f"fold {fold}, {stage}"),
                Cell(text=", ".join(one.parts), kind="text"),
                *(Cell(text=text) for text in (*counted[:2], rate, *counted[2:])),
                *(Cell(text="\u2013" if s is None else f"{s.num_samples:,} / {s.num_flare_samples:,}") for s in there),
            ]
        )
    header = ["set", "parts", "sequences", "with flare", "rate", "regions", "flaring"]
    caption = join(
        element("b", "Classes by set."),
        " A sequence ends at every row of a label list; it has a flare if one of class M or above followed within "
        f"{content.task}. Last columns: samples as each variant shows them, and of them with a flare.",
    )
    return table(caption, [*header, *(run.name for run in content.runs)], rows, label=f"{content.task}, classes by set")


def shared_table(content: HorizonContent) -> Markup:
    """Give the regions that the sets of a fold share."""
    rows = []
    for pair in content.shared:
        listed = ", ".join(map(str, pair.harps[:_MAX_LISTED])) + (", ..." if len(pair.harps) > _MAX_LISTED else "")
        numbers = [len(pair.harps), pair.num_sequences, pair.num_flares]
        rows.append(
            [
                Cell(text=f"fold {pair.fold}, {pair.first} and {pair.second}"),
                *(Cell(text=f"{number:,}") for number in numbers),
                Cell(text=listed or "none", kind="text"),
            ]
        )
    caption = join(
        element("b", "Regions in two sets of a fold."),
        " A network may know such a region again rather than its kind, so that scores of the second set flatter.",
    )
    header = ["sets", "shared regions", "sequences of the second", "with flare", "HARP numbers"]
    return table(caption, header, rows, label=f"{content.task}, shared regions")


def run_tables(runs: Sequence[Run]) -> Markup:
    """Say of every run how it was trained, and of every fold how far."""
    return join(*(_run_table(run) for run in runs))


def describe_build(manifest: Manifest) -> Markup:
    """Say from what a build was made."""
    inputs = manifest.inputs
    facts = {
        "manifest": f"SHA-256 {manifest.sha256}",
        "made by": f"sffshards {inputs.program_version}, {inputs.encoder}",
        "codec": f"{inputs.codec}, shards of {inputs.shard_size_bytes / 1e6:,.0f} MB, seed {inputs.seed}",
        "images": f"{inputs.num_images:,}, fingerprint SHA-256 {inputs.images_sha256}",
        "left out": f"{manifest.num_skipped_sequences:,} sequences, for {len(inputs.skipped_frames):,} images "
        "that cannot be used"
        if inputs.skipped_frames
        else "nothing",
    }
    lists = [
        [
            Cell(text=str(part)),
            Cell(text=source.name, kind="text"),
            Cell(text=f"{source.num_rows:,}"),
            _code(source.sha256),
        ]
        for part, source in inputs.lists.items()
    ]
    sources = table("The label lists.", ["part", "list", "rows", "SHA-256"], lists, label="Label lists")
    return join(_facts(facts), sources)


def _run_table(run: Run) -> Markup:
    first = run.first
    options = asdict(first.options)
    versions = ", ".join(f"{name} {version}" for name, version in first.versions.items())
    facts = {
        "protocol": f"{first.options.protocol}: {PROTOCOLS[first.options.protocol]}",
        "options": ", ".join(f"{name.replace('_', ' ')} {options[name]}" for name in _SHOWN_OPTIONS),
        "trained with": versions,
        "build": f"manifest SHA-256 {first.manifest_sha256}",
    }
    rows = []
    for fold in run.folds:
        record, best = fold.record, fold.record.best
        state = "finished" if record.finished else "not finished"
        rows.append(
            [
                Cell(text=f"fold {record.fold}"),
                Cell(text=str(record.num_epochs)),
                Cell(text=state),
                Cell(text="none" if best is None else str(best.epoch)),
                Cell(text="none" if best is None else f"{best.valid_loss:.6f}"),
                Cell(text="yes" if fold.tables else "no"),
                _code(fold.fingerprints.get("predictions-test.csv", "none")),
            ]
        )
    header = [
        "fold",
        "epochs",
        "training",
        "best epoch",
        "validation loss",
        "evaluated",
        "predictions-test.csv, SHA-256",
    ]
    caption = join(element("b", f"{run.task} {run.name}"), f", in {run.folder}")
    there = ", ".join(str(fold.record.fold) for fold in run.folds)
    said = f"{run.task} {run.name}: protocol {first.options.protocol}, {first.options.model}, folds {there}"
    return element(
        "details",
        element("summary", said),
        _facts(facts),
        table(caption, header, rows, label=f"{run.task} {run.name}, folds"),
    )


def _facts(facts: dict[str, str]) -> Markup:
    return element("dl", *(join(element("dt", name), element("dd", value)) for name, value in facts.items()))


def _code(text: str) -> Cell:
    return Cell(text=element("code", text[:16]), kind="text")
