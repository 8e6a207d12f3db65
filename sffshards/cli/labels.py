"""`sffshards labels`: check, rebuild, compare and split label lists."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sffshards.cli.flare_options import ClockOption, FlaresOption, HarpMapOption
from sffshards.cli.shared_options import (
    DataArgument,
    ForceOption,
    ImagesOption,
    JsonOption,
    parse_horizon,
    parse_threshold,
)
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import PUBLISHED_TASKS, Task

if TYPE_CHECKING:
    from sffshards.labels import Labels

__all__ = ["COMMANDS", "HELP"]

HELP = "Check, rebuild, compare or split label lists."

_CHECK_EXAMPLES = (
    ("sffshards labels check", "the lists in data/, by themselves"),
    ("sffshards labels check --flares flares.csv --harp-map harps.txt", "and against a flare list"),
    ("sffshards labels check --strict --json", "for scripts: exit code 1 if there are faults"),
)
_REBUILD_EXAMPLES = (
    ("sffshards labels rebuild --flares flares.csv --harp-map harps.txt", "both horizons, written to labels/"),
    (
        "sffshards labels rebuild images --horizon 48h --flares f.csv --harp-map h.txt --clock tai",
        "a folder of images, with flare times converted to TAI",
    ),
)
_DIFF_EXAMPLES = (
    ("sffshards labels diff data labels", "two folders, each task that both have"),
    ("sffshards labels diff mine_48h.txt theirs_48h.txt --json", "two lists, every frame that differs"),
)
_SPLIT_EXAMPLES = (
    ("sffshards labels split data --out parts", "six parts of whole HARPs, about equal"),
    ("sffshards labels split data --sizes published --out parts", "six parts of about the published sizes"),
)


def check(
    data: DataArgument = Path("data"),
    images: ImagesOption = None,
    flares: FlaresOption = None,
    harp_map: HarpMapOption = None,
    clock: ClockOption = "as-written",
    strict: Annotated[bool, typer.Option("--strict", help="Exit with code 1 if there are faults.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check label lists for faults.

    Each list is checked by itself, and against those of other parts and horizons. Faults are malformed, duplicate and
    misordered rows; HARPs or frames in several parts; and rows positive at 24h but not at 48h. Where there is a folder
    of images, frames without an image are faults too. With --flares and --harp-map, so are labels that disagree with
    the flares.

    Gaps, rows off the 96-minute grid, short sequences and dates that Test shares with training are counted, but are
    not faults.
    """
    from sffshards.base.errors import InputError
    from sffshards.cli.flare_options import load_catalogue, thresholds_of
    from sffshards.cli.labels_text import format_audit
    from sffshards.cli.terminal_output import print_json
    from sffshards.labels import (
        audit_labels,
        describe_audit,
        find_data,
        find_image_folder,
        find_label_lists,
        read_lists,
    )

    if images is None:
        try:
            images = find_image_folder(data)
        except InputError:  # lists can be checked without images
            images = None
    else:
        images = find_data(data, images=images).images
    lists = find_label_lists(data)
    catalogue = load_catalogue(flares, harp_map, flare_time="start", clock=clock)
    read = read_lists(lists)
    audit = audit_labels(read, flares=None if catalogue is None else catalogue.harp_flares, images=images)
    if as_json:
        document = {"format_version": 1, **describe_audit(audit)}
        print_json(document | ({} if catalogue is None else {"catalogue": catalogue.describe(None, read)}))
    else:
        print(format_audit(audit, [] if catalogue is None else catalogue.format_lines(thresholds_of(lists), read)))
    if strict and audit.is_wrong:
        raise typer.Exit(1)


def rebuild(
    data: DataArgument = Path("data"),
    horizon: Annotated[
        str | None,
        typer.Option(
            metavar="<hours>", help="Horizon in hours, such as 72h.  [default: 24h and 48h]", show_default=False
        ),
    ] = None,
    flares: FlaresOption = None,
    harp_map: HarpMapOption = None,
    threshold: Annotated[
        str, typer.Option(metavar="<class>", help="Lowest GOES class that counts as an event.")
    ] = "M1.0",
    time: Annotated[
        str, typer.Option("--time", help="Which time of a flare must be within the horizon: start or peak.")
    ] = "start",
    clock: ClockOption = "as-written",
    part: Annotated[
        Part | None,
        typer.Option(
            help="Part to which all frames belong, if DATA is not a folder of lists. Test: to build, forecast and "
            "score them. To train on them, use `labels split` instead.  [default: none]",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Folder of the lists; each task has a subfolder, such as M24/ or C72/.")
    ] = Path("labels"),
    force: ForceOption = False,
) -> None:
    """Label frames from a flare list.

    The label is 1 if a flare of the threshold or above follows the frame within the horizon, in any NOAA region of its
    HARP; otherwise 0. The flare list, the rule and the statistics are recorded in labels.json.

    DATA is a folder of label lists, a folder of images, or a file of frame names. Lists keep their frames, order and
    parts. Images or names become a single list without parts, which `sffshards labels split` splits.
    """
    from sffshards.base.errors import InputError, format_count
    from sffshards.cli.flare_options import load_catalogue
    from sffshards.labels import count_unfounded, find_frames, format_label_list, label_frames, list_path, write_rebuilt

    catalogue = load_catalogue(flares, harp_map, flare_time=time, clock=clock)
    if catalogue is None:
        raise InputError(
            "--flares", expected="a flare list and a map of HARPs", found="neither", fix="add --flares and --harp-map"
        )
    flared, texts, rows = catalogue.harp_flares, {}, []
    least = parse_threshold(threshold)
    horizons = [task.horizon_hours for task in PUBLISHED_TASKS] if horizon is None else [parse_horizon(horizon)]
    for task in (Task(threshold=least, horizon_hours=hours) for hours in horizons):
        for of_part, frames in find_frames(data, task=task).items():
            if part is not None and of_part is not None:
                raise InputError(
                    "--part", expected="frames without lists", found=f"the {of_part} list in {data}", fix="leave it out"
                )
            made = label_frames(frames, flared, task=task)
            path = list_path(out, task, of_part or part)
            texts[path] = format_label_list(zip(frames, made, strict=True))
            rows.append((path, len(made), sum(made), *count_unfounded(frames, flared, task=task)))
    names = ("rows", "positive", "rows_of_unknown_harps", "rows_not_covered")
    lists = {str(path.relative_to(out)): dict(zip(names, of, strict=True)) for path, *of in rows}
    record = {"format_version": 1, **catalogue.describe(least, {}), "lists": lists}
    write_rebuilt(texts, record, out=out, force=force)
    for line in catalogue.format_lines([least], {}):
        print(line)
    for path, num_rows, num_positive, num_unknown, num_uncovered in rows:
        unknown = f", {num_unknown:,} with a HARP that is not in the map" if num_unknown else ""
        uncovered = f", {num_uncovered:,} with a horizon beyond the flare list" if num_uncovered else ""
        print(f"{path}: {format_count(num_rows, 'row')}, {num_positive:,} positive{unknown}{uncovered}")


def diff(
    first: Annotated[Path, typer.Argument(help="First list, or folder of lists.")],
    second: Annotated[Path, typer.Argument(help="Second list, or folder of lists.")],
    strict: Annotated[bool, typer.Option("--strict", help="Exit with code 1 if they differ.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare label lists frame by frame.

    Reports frames whose labels differ, whose parts differ, or that are in only one of the two.
    """
    from sffshards.cli.labels_text import describe_diff, format_diff
    from sffshards.cli.terminal_output import print_json
    from sffshards.labels import diff_labels, read_labels

    found = {
        name: diff_labels(one, other)
        for name, one, other in _pair(first, read_labels(first), second, read_labels(second))
    }
    if as_json:
        print_json({name: describe_diff(of) for name, of in found.items()})
    else:
        print("\n".join(format_diff(name, of) for name, of in found.items()))
    if strict and not all(of.is_same for of in found.values()):
        raise typer.Exit(1)


def split(
    data: DataArgument = Path("data"),
    sizes: Annotated[
        str,
        typer.Option(
            help="Relative sizes of the parts: equal, published (five of 10,000 rows and one of 9,384), or six numbers."
        ),
    ] = "equal",
    out: Annotated[
        Path, typer.Option(help="Folder of the lists; each task has a subfolder, such as M24/ or C72/.")
    ] = Path("parts"),
    force: ForceOption = False,
) -> None:
    """Split label lists into six parts by HARP.

    Each HARP is in one part only, so no model is tested on a HARP that it was trained on. HARPs are sorted by their
    first frame, and split where the numbers of rows are nearest to the sizes. The parts are the same for all tasks.
    """
    from sffshards.base.atomic_files import write_files
    from sffshards.cli.terminal_output import format_table
    from sffshards.labels import format_label_list, list_path, read_labels, split_harps

    read = {_require_task(task, data): labels for task, labels in read_labels(data).items()}
    frames = {frame for labels in read.values() for frame in labels}
    homes = split_harps(frames, sizes=_parse_sizes(sizes))
    order = {harp: position for position, harp in enumerate(homes)}
    contents, rows = {}, []
    for task, labels in read.items():
        # HARPs in the order of time, their frames in the order of the list.
        ordered = sorted(labels, key=lambda frame: order[frame.harp])
        for part in Part:
            made = [(frame, labels[frame][0]) for frame in ordered if homes[frame.harp] is part]
            contents[list_path(out, task, part)] = format_label_list(made).encode("ascii")
            times = [frame.t_rec_tai for frame, _ in made]
            num_harps, num_positive = len({frame.harp for frame, _ in made}), sum(label for _, label in made)
            span = [f"{min(times):%Y-%m-%d}", f"{max(times):%Y-%m-%d}"] if times else ["-", "-"]
            rows.append([str(task), part, f"{len(made):,}", f"{num_positive:,}", f"{num_harps:,}", *span])
    write_files(contents, force=force)
    print(format_table(["", "part", "rows", "positive", "HARPs", "first", "last"], rows, left=(0, 1)))


COMMANDS = (
    (check, _CHECK_EXAMPLES),
    (rebuild, _REBUILD_EXAMPLES),
    (diff, _DIFF_EXAMPLES),
    (split, _SPLIT_EXAMPLES),
)


def _pair(
    first: Path, of_first: dict[Task | None, Labels], second: Path, of_second: dict[Task | None, Labels]
) -> list[tuple[str, Labels, Labels]]:
    """Return the pairs to compare: the tasks that both have, or the only lists if a name states no task."""
    from sffshards.base.errors import InputError

    both = [task for task in of_first if task in of_second]
    if both:
        return [(str(task or "lists"), of_first[task], of_second[task]) for task in both]
    if len(of_first) == len(of_second) == 1 and None in (*of_first, *of_second):
        return [("lists", next(iter(of_first.values())), next(iter(of_second.values())))]
    raise InputError(
        second,
        expected=f"lists of {', '.join(map(str, of_first))}, as {first}",
        found=", ".join(map(str, of_second)),
        fix="compare lists of one task",
    )


def _require_task(task: Task | None, data: Path) -> Task:
    from sffshards.base.errors import InputError

    if task is None:
        raise InputError(
            data,
            expected="a horizon such as _48h_ in the name of the list",
            found="none",
            fix="rename it, as flare_Mclass_48h_mine.txt",
        )
    return task


def _parse_sizes(text: str) -> tuple[int, ...]:
    from sffshards.base.errors import InputError
    from sffshards.labels import PUBLISHED_SIZES

    if text in ("equal", "published"):
        return PUBLISHED_SIZES if text == "published" else (1,) * 6
    numbers = text.split(",")
    if len(numbers) != 6 or not all(number.strip().isdecimal() and int(number) > 0 for number in numbers):
        raise InputError(
            "--sizes", expected="equal, published or six whole numbers above 0", found=repr(text[:80]), fix="correct it"
        )
    return tuple(int(number) for number in numbers)
