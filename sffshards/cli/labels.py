"""`sffshards labels`: check, rebuild, compare and split label lists."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from sffshards import images as image_folders
from sffshards import labels as lists
from sffshards.base.atomic_files import write_files
from sffshards.base.errors import InputError, format_count
from sffshards.base.option_fields import Option
from sffshards.base.progress import SILENT
from sffshards.cli import flare_options, labels_text
from sffshards.cli import shared_options as shared
from sffshards.cli.terminal_output import format_table, make_progress, print_result, show
from sffshards.domain.frames import HarpNumbers
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import PUBLISHED_TASKS, Task

__all__ = ["COMMANDS", "HELP"]

HELP = "Check, rebuild, compare or split label lists."

_OutOption = Annotated[Path, Option("Folder of the lists; each task has a subfolder, such as M24/ or C72/.")]


def check(
    data: shared.DataArgument = Path("data"),
    images: shared.ImagesOption = None,
    flares: Annotated[
        list[Path] | None,
        Option(
            "Flare list from SWPC, HEK or sunpy, as a table or JSON. Needs --harp-map. If repeated, labels are "
            "compared with all lists, and the lists with each other."
        ),
    ] = None,
    harp_map: flare_options.HarpMapOption = None,
    clock: flare_options.ClockOption = "as-written",
    strict: Annotated[bool, Option("Exit with code 1 if there are faults.")] = False,
    as_json: shared.JsonOption = False,
) -> None:
    """Check label lists for faults.

    Each list is checked by itself, and against those of other parts and tasks. Faults are malformed, duplicate and
    misordered rows; HARPs or frames in several parts; and rows that are positive, but not at a longer horizon or for a
    lower class. Where there is a folder of images, frames without an image are faults too. With --flares and
    --harp-map, labels that disagree with the flare list are faults as well, and so are NOAA regions that parts share
    through different HARPs. With several --flares, a label is a fault if it disagrees with every list that covers its
    time; where the lists disagree, the flares that one of them lacks are named.

    Dates that Test shares with training, gaps, rows off the 96-minute grid and short sequences are counted, but are
    not faults.

    Examples
    --------
    sffshards labels check
        the lists in data/, by themselves
    sffshards labels check --flares flares.csv --harp-map harps.txt
        and against a flare list
    sffshards labels check --strict --json
        for scripts: exit code 1 if there are faults
    """
    if images is not None:
        images = lists.find_data(data, images=images).images
    else:
        with suppress(InputError):  # lists can be checked without images
            images = lists.find_image_folder(data)
    image_folders.find_harp_numbers(data, images or data)  # refuses images of other numbers than the lists
    found = lists.find_label_lists(data)
    catalogues = flare_options.load_catalogues(flares or [], harp_map, data=data, clock=clock)
    read = lists.read_lists(found)
    every = [catalogue.harp_flares for catalogue in catalogues]
    audit = lists.audit_labels(read, flares=every[0] if every else None, other_flares=every[1:], images=images)
    text, document = "", {"format_version": 1, **lists.describe_audit(audit)}
    if not as_json:
        text = labels_text.format_audit(audit, flare_options.format_catalogues(catalogues, found, read))
    elif catalogues:
        document["catalogue"] = catalogues[0].describe((), read)
        document["other_catalogues"] = [catalogue.describe((), read) for catalogue in catalogues[1:]]
        document["lacking_flares"] = flare_options.describe_lacking(catalogues, found)
    print_result(text, document, as_json=as_json)
    if strict and audit.is_wrong:
        raise typer.Exit(1)


def rebuild(
    data: Annotated[
        Path, typer.Argument(help="Folder of label lists, folder of images, or file of frame names.")
    ] = Path("data"),
    horizon: Annotated[
        str | None, Option("Horizon in hours, such as 72h.", metavar="<hours>", default_text="24h and 48h")
    ] = None,
    flares: flare_options.FlaresOption = None,
    harp_map: flare_options.HarpMapOption = None,
    threshold: Annotated[str, Option("Lowest GOES class that counts as an event.", metavar="<class>")] = "M1.0",
    time: Annotated[str, Option("Which time of a flare must be within the horizon: start or peak.")] = "start",
    flares_until: flare_options.FlaresUntilOption = None,
    clock: flare_options.ClockOption = "as-written",
    part: Annotated[
        Part | None,
        Option(
            "Part to assign all frames to, if DATA is not a folder of lists. With Test, the frames can be built, "
            "forecast and scored, but not used for training; for training, use `labels split` instead.",
            default_text="none",
        ),
    ] = None,
    out: _OutOption = Path("labels"),
    force: shared.ForceOption = False,
) -> None:
    """Compute the labels of frames from a flare list.

    The label is 1 if a flare of class --threshold or above follows the frame within the horizon, in any NOAA region of
    its HARP; otherwise 0. The flare list, the rule and the statistics are recorded in labels.json.

    Lists in DATA keep their frames, order and parts. Left out are frames if the flare list does not cover the whole
    horizon after them: see --flares-until. Images or names become a single list without
    parts, which `sffshards labels split` splits.

    Examples
    --------
    sffshards labels rebuild --flares flares.csv --harp-map harps.txt
        both horizons, written to labels/
    sffshards labels rebuild images --horizon 48h --flares f.csv --harp-map h.txt --clock tai
        a folder of images, with flare times converted to TAI
    """
    catalogue = flare_options.load_catalogue(
        flares, harp_map, data=data, flare_time=time, clock=clock, until=flares_until
    )
    if catalogue is None:
        raise InputError(
            "--flares", expected="a flare list and a map of HARPs", found="neither", fix="add --flares and --harp-map"
        )
    texts, counts, least = {}, {}, shared.parse_threshold(threshold)
    horizons = [task.horizon_hours for task in PUBLISHED_TASKS] if horizon is None else [shared.parse_horizon(horizon)]
    tasks = [Task(threshold=least, horizon_hours=hours) for hours in horizons]
    progress = make_progress()
    for task in tasks:
        found = lists.find_frames(data, task=task, progress=progress)
        progress = SILENT  # the frames of all horizons are the same
        harps = {frame.harp for frames in found.values() for frame in frames}
        catalogue.harp_flares.require_known(harps, where=data)
        for of_part, frames in found.items():
            if part is not None and of_part is not None:
                raise InputError(
                    "--part", expected="frames without lists", found=f"the {of_part} list in {data}", fix="leave it out"
                )
            made = lists.label_frames(frames, catalogue.harp_flares, task=task)
            path = lists.list_path(out, task, of_part or part)
            rows = [(frame, label) for frame, label in zip(frames, made, strict=True) if label is not None]
            lists.require_known_labels(len(rows), len(frames), catalogue.harp_flares, where=f"the frames in {data}")
            texts[path] = lists.format_label_list(rows)
            counts[path] = {
                "rows": len(rows),
                "positive": sum(label for _, label in rows),
                "rows_of_unknown_harps": sum(not catalogue.harp_flares.knows(frame.harp) for frame, _ in rows),
                "frames_left_out": len(frames) - len(rows),
            }
    of_lists = {str(path.relative_to(out)): of for path, of in counts.items()}
    record = {"format_version": 3, **catalogue.describe([least], {}), "lists": of_lists}
    lists.write_rebuilt(texts, record, out=out, force=force)
    show("\n".join(catalogue.format_lines(tasks, {})))
    notes = {
        "rows_of_unknown_harps": "with a HARP that is not in the map",
        "frames_left_out": "more left out, as the flare list does not cover their horizon",
    }
    for path, of in counts.items():
        more = "".join(f", {of[name]:,} {note}" for name, note in notes.items() if of[name])
        show(f"{path}: {format_count(of['rows'], 'row')}, {of['positive']:,} positive{more}")


def diff(
    first: Annotated[Path, typer.Argument(help="First list, or folder of lists.")],
    second: Annotated[Path, typer.Argument(help="Second list, or folder of lists.")],
    strict: Annotated[bool, Option("Exit with code 1 if they differ.")] = False,
    as_json: shared.JsonOption = False,
) -> None:
    """Compare label lists frame by frame.

    Reports frames whose labels differ, whose parts differ, or that are in only one of the two.

    Examples
    --------
    sffshards labels diff data labels
        compare two folders, for every task that is in both
    sffshards labels diff mine_48h.txt theirs_48h.txt --json
        two lists, every frame that differs
    """
    image_folders.find_harp_numbers(first, second)  # lists of different numbers have no frames in common
    pairs = _pair(first, lists.read_labels(first), second, lists.read_labels(second))
    found = {name: lists.diff_labels(one, other) for name, one, other in pairs}
    text = "\n".join(labels_text.format_diff(name, of) for name, of in found.items())
    print_result(text, {name: labels_text.describe_diff(of) for name, of in found.items()}, as_json=as_json)
    if strict and not all(of.is_same for of in found.values()):
        raise typer.Exit(1)


def split(
    data: shared.DataArgument = Path("data"),
    sizes: Annotated[
        str,
        Option(
            "Relative sizes of the parts: equal; published (five parts with 10,000 rows each and one with 9,384); or "
            "six numbers."
        ),
    ] = "equal",
    out: _OutOption = Path("parts"),
    force: shared.ForceOption = False,
) -> None:
    """Split label lists into six parts by HARP.

    Each HARP is in one part only, so no model is tested on a HARP that it was trained on. HARPs are sorted by the
    time of their first frame, and the sorted list is cut between HARPs so that the numbers of rows come as close as
    possible to --sizes. The parts are the same for all tasks.

    Examples
    --------
    sffshards labels split data --out parts
        six parts of whole HARPs, about equal
    sffshards labels split data --sizes published --out parts
        six parts of about the published sizes
    """
    read = {_require_task(task, data): labels for task, labels in lists.read_labels(data).items()}
    frames = {frame for labels in read.values() for frame in labels}
    homes = lists.split_harps(frames, sizes=_parse_sizes(sizes))
    order = {harp: position for position, harp in enumerate(homes)}
    contents, rows = {}, []
    for task, labels in read.items():
        # HARPs in the order of time, their frames in the order of the list.
        ordered = sorted(labels, key=lambda frame: order[frame.harp])
        for part in Part:
            made = [(frame, labels[frame][0]) for frame in ordered if homes[frame.harp] is part]
            contents[lists.list_path(out, task, part)] = lists.format_label_list(made).encode("ascii")
            times = [frame.t_rec_tai for frame, _ in made]
            counts = (len(made), sum(label for _, label in made), len({frame.harp for frame, _ in made}))
            span = [f"{min(times):%Y-%m-%d}", f"{max(times):%Y-%m-%d}"] if times else ["-", "-"]
            rows.append([str(task), part, *(f"{count:,}" for count in counts), *span])
    if image_folders.find_harp_numbers(data) is HarpNumbers.NEAR_REAL_TIME:
        contents[out / lists.REBUILT_NAME] = lists.format_stated_numbers(HarpNumbers.NEAR_REAL_TIME)
    write_files(contents, force=force)
    header = ["", "part", "rows", "positive", "HARPs", "first", "last"]
    show(format_table(header, rows, left=(0, 1), indent=0))


COMMANDS = (check, rebuild, diff, split)


def _pair(
    first: Path, of_first: dict[Task | None, lists.Labels], second: Path, of_second: dict[Task | None, lists.Labels]
) -> list[tuple[str, lists.Labels, lists.Labels]]:
    """Return the pairs to compare: the tasks that both have, or the only lists if a name states no task."""
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
    if task is not None:
        return task
    raise InputError(
        data,
        expected="a horizon such as _48h_ in the name of the list",
        found="none",
        fix="rename it, as flare_Mclass_48h_mine.txt",
    )


def _parse_sizes(text: str) -> tuple[int, ...]:
    if text in ("equal", "published"):
        return lists.PUBLISHED_SIZES if text == "published" else (1,) * 6
    numbers = text.split(",")
    if len(numbers) != 6 or not all(number.strip().isdecimal() and int(number) > 0 for number in numbers):
        raise InputError(
            "--sizes", expected="equal, published or six whole numbers above 0", found=repr(text[:80]), fix="correct it"
        )
    return tuple(int(number) for number in numbers)
