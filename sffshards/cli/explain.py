"""`sffshards explain`: what the forecasts of a run's networks depend on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from sffshards import report
from sffshards.base.errors import Field, InputError
from sffshards.base.option_fields import Option
from sffshards.base.output_checks import check_writable
from sffshards.cli import flare_options
from sffshards.cli import forecast_inputs as inputs
from sffshards.cli import shared_options as shared
from sffshards.cli.command_options import OptionsOf
from sffshards.cli.terminal_output import format_table, make_progress, show
from sffshards.domain.frame_sequences import OnShort, SequenceId, WindowRule
from sffshards.domain.sample_sets import Part
from sffshards.forecasting import explanations, operational

__all__ = ["explain"]

_CHECKS = ["member", "marked first", "strongest field first", "random", "rank correlation", "passed"]


def explain(
    *,
    run: inputs.RunOption,
    images: Annotated[Path | None, Option("Folder of images, with the published file names.")] = None,
    sequences: inputs.SequencesOption = None,
    shards: Annotated[str | None, Option("A build, or a folder of builds, instead of images.")] = None,
    sequence: Annotated[
        list[str] | None,
        Option("Name of a sequence, or key of a sample, of any part of the build; may be repeated.", metavar="<name>"),
    ] = None,
    latest: Annotated[bool, Option("Explain the latest sequence of each HARP.")] = False,
    part: Annotated[
        list[Part] | None,
        Option("Part of the build for --latest; may be repeated.", metavar="<part>", default_text="Test"),
    ] = None,
    max_gap: inputs.MaxGapOption = None,
    min_frames: inputs.MinFramesOption = 1,
    folds: inputs.FoldsOption = "all",
    steps: Annotated[int, Option("Number of steps of integrated gradients.", minimum=1, maximum=10_000)] = 64,
    patch: Annotated[int, Option("Side in pixels of the patches that are hidden, a divisor of 224.")] = 32,
    check: Annotated[
        bool, Option("Check the attributions by deleting what they mark, and by shuffling the weights.")
    ] = False,
    seed: Annotated[int | None, Option("Random seed of --check.", minimum=0, default_text="0")] = None,
    keywords: flare_options.KeywordsOption = None,
    flares: flare_options.FlaresOption = None,
    harp_map: flare_options.HarpMapOption = None,
    clock: flare_options.ClockOption = "as-written",
    out: Annotated[Path, Option("Folder for the picture, the arrays and the numbers of each sequence.")] = Path(
        "explanations"
    ),
    force: shared.ReplaceOption = False,
    model: inputs.ModelOption = None,
    model_option: inputs.FactoryOption = None,
    horizon: inputs.HorizonOption = None,
    threshold: inputs.ThresholdOption = None,
    computing: Annotated[dict[str, Any], OptionsOf(shared.Computing, without=frozenset({"threads"}))],
) -> None:
    """Explain which pixels, frames and patches a forecast depends on.

    Integrated gradients attribute the difference between the logits of flare and no flare to the pixels of a sequence,
    relative to a grey clip without field. The sum over all pixels is the change of the logit difference from that clip;
    the completeness gap is what is missing. Occlusion replaces one frame, or one patch in all frames, by no field.
    For a network that takes keywords or flare history, the sequence's numbers are held fixed.
    Each fold of the run is explained, and the picture shows the mean over the folds.

    Examples
    --------
    sffshards explain --run runs/48h/oTV --images DIR --latest
        the latest sequence of every HARP in a folder of images
    sffshards explain --run runs/48h/oTV --shards shards/48h --sequence harp00377-20110213T000000-20110214T000000
        one sequence of a build
    sffshards explain --run runs/48h/oTV --shards shards/48h --latest --folds 0 --check
        by one fold, with checks of the attributions
    """
    progress = make_progress()
    options = explanations.ExplanationOptions(num_steps=steps, patch_side=patch, check=check, seed=seed or 0)
    named = tuple(dict.fromkeys(SequenceId.parse(name, where="--sequence") for name in sequence or ()))
    if bool(named) == latest:
        raise InputError(
            "explain",
            expected="either --sequence or --latest",
            found="both" if latest else "neither",
            fix="name sequences, or ask for the latest of each HARP",
        )
    if not check:
        shared.refuse_ignored({"seed": seed}, because="without --check")
    _refuse_ignored(part, max_gap, min_frames, is_named=bool(named), is_build=images is None)
    check_writable(out)
    choice = shared.parse_task_choice(horizon, threshold)
    found = inputs.find_forecasters(run, folds, model, model_option, choice=choice)
    if found.combined or not found.networks:
        kind = "a combination" if found.combined else "a forecaster of keywords"
        raise InputError(run, expected="the run of a network", found=kind, fix="name a run that takes images")
    members, task = found.networks[0], found.task
    sources = inputs.read_sources(keywords, flares, harp_map, clock=clock, progress=progress)
    found.require(sources)
    sources.refuse_others(members[0].network.inputs, where=run, fix="leave it out")
    inference = shared.Computing(**computing).infer(factories=found.factories, sources=sources)
    wanted = inputs.Wanted(
        command="explain",
        parts=list(Part) if named else part or [Part.TEST],
        every=bool(named),
        windows=WindowRule(max_gap_minutes=max_gap, min_frames=min_frames, on_short=OnShort.DROP),
        named=named,
    )
    with inputs.open_source(images, sequences, shards, wanted=wanted, task=task, progress=progress) as source:
        todo = []
        numbers = operational.describe_numbers(source, members[0].network.inputs, sources)
        for number, (shown, clip) in enumerate(zip(source.shown, source.clips(), strict=True)):
            own = None if numbers is None else numbers.take(slice(number, number + 1))
            if explanations.is_explained(out, shown.sequence, clip, members, options=options, numbers=own, force=force):
                show(f"{explanations.name_picture(out, shown.sequence)}: kept, already explained")
            else:
                todo.append(number)
        if not todo:
            return
        for explanation in explanations.explain_sequences(
            members,
            source.take(todo),
            numbers=None if numbers is None else numbers.take(todo),
            options=options,
            inference=inference,
            progress=progress,
        ):
            explanations.write_explanation(out, explanation, report.draw_explanation(explanation))
            _print(explanation, explanations.name_picture(out, explanation.shown.sequence))


def _refuse_ignored(
    part: list[Part] | None, max_gap: int | None, min_frames: int, *, is_named: bool, is_build: bool
) -> None:
    """Refuse options that would be without effect beside the others."""
    if part and (is_named or not is_build):
        found = "--sequence" if is_named else "--images"
        fix = "leave it out" if is_named else "leave it out, or name a build"
        raise InputError(Field("part"), expected="--latest of a build (--shards)", found=found, fix=fix)
    for name, is_given in (("max_gap", max_gap is not None), ("min_frames", min_frames > 1)):
        if is_named and is_given:
            raise InputError(Field(name), expected="--latest", found="--sequence", fix="leave it out")


def _print(explanation: explanations.Explanation, picture: Path) -> None:
    show(f"{picture}: probability {explanation.probability:.3f} of {explanation.task.event}")
    of = [(one.member.name, one.gradients) for one in explanation.members]
    rows = [
        [name, f"{g.logit:.4f}", f"{g.baseline_logit:.4f}", f"{g.gap:+.2g}", f"{g.relative_gap:.2%}", str(g.num_steps)]
        for name, g in of
    ]
    show(format_table(["member", "logit difference", "without field", "gap", "relative gap", "steps"], rows))
    checked = [(one.member.name, one.checks) for one in explanation.members if one.checks is not None]
    if checked:
        show("  mean logit difference while what is marked is deleted; rank correlation with shuffled weights")
        show(format_table(_CHECKS, [_format_checks(name, checks) for name, checks in checked]))


def _format_checks(name: str, checks: explanations.AttributionChecks) -> list[str]:
    means = (checks.deletion.marked, checks.deletion.strongest, checks.deletion.random, checks.rank_correlation)
    return [name, *(f"{mean:.2f}" for mean in means), "yes" if checks.is_passed else "no"]
