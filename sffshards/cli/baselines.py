"""`sffshards baselines`: score forecasts that need neither images nor a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from sffshards import __version__, images, tabular, verification
from sffshards import flares as flare_lists
from sffshards import labels as label_lists
from sffshards.base.atomic_files import write_files
from sffshards.base.errors import format_count
from sffshards.base.file_hashes import describe_files
from sffshards.base.option_fields import Option
from sffshards.base.output_checks import check_document, check_writable
from sffshards.base.progress import Progress
from sffshards.cli import flare_options
from sffshards.cli import shared_options as shared
from sffshards.cli.baselines_text import describe_flare_lists, format_baselines, format_flare_lists
from sffshards.cli.terminal_output import make_progress, print_result
from sffshards.domain.sample_sets import LabelSet, Part, Protocol
from sffshards.domain.task import Task
from sffshards.forecasting import baselines as forecasts
from sffshards.forecasting import label_sets
from sffshards.forecasting import runs as forecast_runs

__all__ = ["baselines"]

_FILE = "baselines.json"


def baselines(
    data: shared.DataArgument = Path("data"),
    horizon: shared.HorizonsOption = None,
    threshold: shared.ThresholdsOption = None,
    labels: shared.LabelsOption = None,
    flares: flare_options.FlareListsOption = None,
    harp_map: flare_options.HarpMapOption = None,
    flares_until: flare_options.FlaresUntilOption = None,
    clock: flare_options.ClockOption = "as-written",
    keywords: Annotated[
        Path | None, Option("Table of SHARP keywords for the fitted forecasters, .csv or .csv.gz.")
    ] = None,
    label_set: Annotated[
        LabelSet,
        Option(
            "published: the labels of the lists. rebuilt: labels of the same frames from the flare list. Either is "
            "used for fitting and for scoring."
        ),
    ] = LabelSet.PUBLISHED,
    protocol: shared.ProtocolOption = Protocol.PAPER,
    show_folds: Annotated[bool, Option("Show each fold of the fitted forecasters as well.", flag="--folds")] = False,
    seed: shared.NoSkillSeedOption = 123,
    runs: Annotated[
        Path | None,
        Option(
            "Folder to write runs to, such as runs; each has a subfolder, such as 48h/persistence. Those of rebuilt "
            "labels are in a folder `rebuilt` of it."
        ),
    ] = None,
    out: Annotated[Path | None, Option(f"Folder to write {_FILE} to.")] = None,
    force: Annotated[bool, Option("Overwrite an existing file or run whose content differs.")] = False,
    as_json: shared.JsonOption = False,
) -> None:
    """Score baseline forecasts of the test part.

    The baselines need neither images nor a network. There are four: "no skill", random forecasts; "climatology", the
    flare rate of the training parts; "persistence", whether the region flared within one horizon before the forecast,
    such as in the last 48 h; and "ever flared", whether it flared at any time before it.

    With --keywords or --flares there are also forecasters that are fitted to the training parts of each fold: logistic
    regression on keywords, on flare history, and on both; gradient boosting on both; and "keywords, activity and
    course", the mean logit of a logistic regression and of boosted trees, which also take the course of the keywords
    over the sequence. They are scored at a threshold of 0.5, at the thresholds that are best on validation, and with
    probabilities that Platt scaling calibrates on validation. A second table has the threshold with the highest HSS
    among those that keep a TSS of 0.70 on validation. The 95 % intervals come from a jackknife over HARPs.

    With several --flares, all of this is repeated with the labels and the flares of each list, and a last table has
    each score by each list, and the spread: the highest minus the lowest. Runs are written for the first list only.

    With --runs, every forecaster is also written as a run, for evaluate and report. Fitted ones can forecast new
    frames: see `sffshards predict --keywords`.

    Examples
    --------
    sffshards baselines --horizon 48h
        from the labels alone
    sffshards baselines --flares flares.csv --harp-map harps.txt
        persistence from a flare list, and a regression on flare history
    sffshards baselines --keywords sharp_keywords.csv.gz --folds
        logistic regression on keywords as well, with each fold
    sffshards baselines --keywords k.csv.gz --flares flares.csv --harp-map harps.txt --label-set both --runs runs
        all forecasters and their runs, by published and by rebuilt labels
    """
    from sffshards.base.json_records import format_json

    if runs is not None:
        check_writable(runs)
    progress = make_progress()
    place = data if labels is None else labels
    found = label_lists.find_label_lists(place)
    tasks = shared.parse_task_choice(horizon, threshold).choose(found, where=labels or data)
    every = flare_options.read_flare_lists(
        flares, harp_map, tasks=tasks, clock=clock, progress=progress, data=labels or data, until=flares_until
    )
    choice = label_sets.LabelChoice.make(label_set, every)
    options = _Options(
        seed=seed,
        flares=every[0] if every else None,
        keywords=flare_options.read_keywords(keywords, data=labels or data),
        show_folds=show_folds,
    )
    made_from = {
        "program": f"sffshards {__version__}",
        "seed": seed,
        "protocol": str(protocol),
        "labels": str(label_set),
        "flares": [of.describe() for of in every],
        "files": describe_files(
            [
                *(path for task in tasks for path in found[task].values()),
                *(path for path in (*(flares or []), harp_map, keywords) if path is not None),
            ]
        ),
    }
    if out is not None:
        check_document(out / _FILE, made_from, force=force)
    sources = choice.compared or (choice.main,)
    sets = {
        (task, source.title): (of_task, replace(options, flares=source.flares or options.flares))
        for task in tasks
        for source, of_task in _read_sets(
            found[task], task, sources, protocol=protocol, options=options, progress=progress
        )
    }
    written = {}
    if runs is not None:
        numbers = images.find_harp_numbers(place)
        inputs = [path for path in (*(flares or [])[:1], harp_map, keywords) if path is not None]
        written = {
            key: replace(
                of_task,
                sources=_read_sources([*found[of_task.task].values(), *inputs]),
                harp_numbers=numbers,
                flares=options.flares,
            )
            for key, (of_task, with_list) in sets.items()
            if with_list.flares is options.flares
        }
        _check_runs(runs, list(written.values()), options, force=force)
    made: dict[Task, dict[str, list[forecasts.Baseline]]] = {}
    described, shown = [], []
    for key, (of_task, with_list) in sets.items():
        results = _forecast(of_task, with_list, progress)
        shown.append(results.text)
        described.append(results.description)
        if of_task.label_set == LabelSet.REBUILT and with_list.flares is not None:
            made.setdefault(of_task.task, {})[with_list.flares.flares.source] = results.made
        if runs is not None and key in written:
            _write_runs(runs, written[key], results, options, force=force, progress=progress)
    by_list = {task: of_lists for task, of_lists in made.items() if len(of_lists) > 1}
    shown += [format_flare_lists(str(task), of_lists) for task, of_lists in by_list.items()]
    document = {
        "format_version": 5,
        "made_from": made_from,
        "level": verification.LEVEL,
        "seed": seed,
        "tasks": described,
        "spreads_of_flare_lists": {task.name: describe_flare_lists(of_lists) for task, of_lists in by_list.items()},
    }
    if out is not None:
        write_files({out / _FILE: format_json(document)}, force=force)
    print_result("\n\n".join(shown), document, as_json=as_json)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Options:
    """Options that all tasks share."""

    seed: int
    flares: flare_lists.HarpFlares | None
    keywords: tabular.KeywordTable | None
    show_folds: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class _Results:
    """The forecasters of a task, and their scores as records, as text and for JSON."""

    made: list[forecasts.Baseline]
    fitted: list[tuple[forecasts.Recipe, tuple[forecasts.FittedFold, ...]]]
    text: str
    description: dict[str, Any]


def _read_sets(
    lists: Mapping[Part, Path],
    task: Task,
    sources: Sequence[label_sets.LabelSource],
    *,
    protocol: Protocol,
    options: _Options,
    progress: Progress,
) -> Iterator[tuple[label_sets.LabelSource, forecasts.BaselineSet]]:
    """Read the samples of a task, and yield them with the labels of each source."""
    samples = forecasts.read_samples(lists)
    if options.flares is not None:
        _note_unknown(samples, task, options.flares, progress)
    for source in sources:
        flares = source.flares
        labelled = samples if flares is None else forecasts.rebuild_labels(samples, flares, task=task)
        _note_left_out(source.title, task, samples, labelled, progress)
        of_task = forecasts.BaselineSet(
            task=task,
            protocol=protocol,
            samples=labelled,
            label_set=str(LabelSet.PUBLISHED if flares is None else LabelSet.REBUILT),
            sources=(),
            harp_numbers=None,
        )
        yield source, of_task


def _read_sources(paths: Sequence[Path]) -> tuple[forecast_runs.SourceFile, ...]:
    return tuple(forecast_runs.SourceFile.read(path) for path in paths)


def _note_unknown(
    samples: dict[Part, forecasts.Samples], task: Task, catalogue: flare_lists.HarpFlares, progress: Progress
) -> None:
    every = forecasts.join_samples(samples.values())
    if (reasons := catalogue.explain_unknown(every.harp, every.t_end_tai)) is not None:
        of_all = format_count(len(every.harp), "frame")
        progress.note(f"{task}: persistence assumes no flares where their history is unknown: of {of_all}, {reasons}")


def _note_left_out(
    title: str,
    task: Task,
    samples: Mapping[Part, forecasts.Samples],
    labelled: Mapping[Part, forecasts.Samples],
    progress: Progress,
) -> None:
    left_out = {part: len(of.label) - len(labelled[part].label) for part, of in samples.items()}
    if any(left_out.values()):
        counts = ", ".join(f"{count:,} of {part}" for part, count in left_out.items())
        progress.note(f"{task}, {title}: left out, as the flare list does not cover their horizon: {counts}")


def _forecast(of_task: forecasts.BaselineSet, options: _Options, progress: Progress) -> _Results:
    samples, task, protocol = of_task.samples, of_task.task, of_task.protocol
    simple = forecasts.forecast_baselines(
        samples, task=task, protocol=protocol, seed=options.seed, flares=options.flares
    )
    fitted = forecasts.fit_recipes(
        samples,
        task=task,
        protocol=protocol,
        flares=options.flares,
        keywords=options.keywords,
        recipes=forecasts.RECIPES,
        progress=progress,
    )
    of_fitted = forecasts.forecast_fitted(samples, fitted, protocol=protocol)
    made = forecasts.score_baselines([*simple, *of_fitted], progress=progress)
    skill = forecasts.compare_skill(samples, fitted)
    table = options.keywords
    lacking = {} if table is None else {part: table.count_lacking(of.codes) for part, of in samples.items()}
    incomplete = {} if table is None else {part: table.count_incomplete(of.codes) for part, of in samples.items()}
    missing = {"no keywords of": lacking, "some keywords missing of": incomplete}
    source = None if options.flares is None else options.flares.flares.source
    is_rebuilt = of_task.label_set == LabelSet.REBUILT
    title = f"{task}, labels {of_task.label_set} from {source}" if is_rebuilt else str(task)
    return _Results(
        fitted=fitted,
        made=made,
        text=format_baselines(title, made, skill, missing, show_folds=options.show_folds),
        description={
            "task": task.name,
            "labels": of_task.label_set,
            "flares": source,
            "protocol": str(protocol),
            "num_samples": len(samples[Part.TEST].label),
            "num_without_keywords": {str(part): count for part, count in lacking.items()},
            "num_without_some_keywords": {str(part): count for part, count in incomplete.items()},
            "baselines": forecasts.describe_baselines(made),
            "skill": forecasts.describe_skill(skill),
        },
    )


def _check_runs(runs: Path, sets: Sequence[forecasts.BaselineSet], options: _Options, *, force: bool) -> None:
    """Find what keeps runs from being written before minutes of fitting."""
    given = {"with_keywords": options.keywords is not None, "with_flares": options.flares is not None}
    possible = [recipe for recipe in forecasts.RECIPES if recipe.can_be_fitted(**given)]
    for of_task in sets:
        place = _find_place(runs, of_task)
        forecasts.check_runs(place, of_task, possible, seed=options.seed, force=force)


def _write_runs(
    runs: Path,
    of_task: forecasts.BaselineSet,
    results: _Results,
    options: _Options,
    *,
    force: bool,
    progress: Progress,
) -> None:
    place = _find_place(runs, of_task)
    made = forecasts.write_references(place, of_task, seed=options.seed, force=force, progress=progress)
    for recipe, fits in results.fitted:
        made.append(forecasts.write_fitted(place, of_task, recipe, fits, force=force, progress=progress))
    progress.note(f"{place}: {format_count(len(made), 'run')}")


def _find_place(runs: Path, of_task: forecasts.BaselineSet) -> Path:
    """Return the folder of a task's runs, of which those of rebuilt labels have one of their own."""
    return (runs if of_task.label_set == LabelSet.PUBLISHED else runs / of_task.label_set) / str(of_task.task)
