"""Bits and digits changed at random in every kind of file that commands write and read again: none may go unnoticed.

A command reads the damaged file. It must refuse it in one line, or leave the files and print the lines that it would
without the damage: because it made the file again, or because what was changed is not used, for a reason given here.
"""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.command_chain import CASES, FLARES, Chain, copy_files, digest_outputs
from tests.forked import (
    KILLED,
    Ran,
    describe_fault,
    kill_at,
    run_forked,
    use_fast_network,
    use_fast_network_in_time,
)
from tests.servers import serve_folder

pytestmark = pytest.mark.long

NUM_CHANGES = 10
"""Number of changes of each kind of file, each of one file of that kind."""

EVALUATE = ["evaluate", "--threads", "0", "--device", "cpu"]
PREDICT = ["predict", "--run", "runs/48h/base", "--images", "data/magnetogram_jpg", "--every", "--device", "cpu"]
BUILD = CASES["build"].arguments
TRAIN = CASES["train"].arguments

SPACE = "white space of JSON"
HEADERS = "headers, labels and padding in a tar; labels come from the index, and `verify` names the change"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of file, and a command that reads it."""

    files: str
    """Pattern of the files."""
    reads: list[str]
    """The command."""
    inputs: tuple[str, ...]
    """What the command reads."""
    state: str = "made"
    """The state that the commands before it left."""
    outputs: tuple[str, ...] = ()
    """What must be as without damage."""
    unused: str = ""
    """Why a change may alter nothing, though the file stays changed."""
    before: Callable[[], None] = field(default=lambda: None)
    num: int = NUM_CHANGES


def read_remote() -> None:
    """Read the build from the server of the test."""
    use_fast_network()
    sys.argv += ["--shards", os.environ["SFFSHARDS_SHARDS"]]


def stub_report() -> None:
    """Write no report at the end of an experiment; figures take most of the time."""
    import sffshards.report

    sffshards.report.write_report = lambda *_, **__: Path("report")


def print_read_runs() -> None:
    """Print what a report takes from the runs, in place of drawing it."""
    import sffshards.report
    from sffshards.forecasting.runs import average_run, gather_runs

    def show(place: Path, *_: object, **__: object) -> Path:
        for run in gather_runs(place):
            print([(fold.record, fold.epochs, fold.tables) for fold in run.folds], average_run(run))
        return place

    sffshards.report.write_report = show


RUN = "runs/48h/base/fold0"
IN_RUNS: dict[str, Any] = {"inputs": ("shards", "runs"), "outputs": ("runs",)}
IN_REPORT: dict[str, Any] = {"reads": ["report"], "inputs": ("shards", "runs"), "before": print_read_runs}
IN_DATA: dict[str, Any] = {"inputs": ("data", "shards/frames"), "outputs": ("shards/48h",)}

KINDS: dict[str, Kind] = {
    "shard, predicted from": Kind(files="shards/48h/*/*.tar", reads=[*EVALUATE, "--force"], unused=HEADERS, **IN_RUNS),
    "shard, verified": Kind(files="shards/48h/*/*.tar", reads=["verify"], inputs=("shards",)),
    "index": Kind(files="shards/48h/index.npy", reads=EVALUATE, **IN_RUNS),
    "manifest": Kind(files="shards/48h/manifest.json", reads=EVALUATE, unused=SPACE, **IN_RUNS),
    "manifest, trained from": Kind(
        files="shards/48h/manifest.json", reads=TRAIN, inputs=("shards",), outputs=("runs",), unused=SPACE
    ),
    "card of a build": Kind(files="shards/48h/README.md", reads=["verify"], inputs=("shards",)),
    "shards found whole": Kind(
        files="shards/48h/.checked.json",
        reads=[*EVALUATE, "--force"],
        state="evaluated",
        unused="remembered dates, by which a shard is only checked once more",
        **IN_RUNS,
    ),
    "frames": Kind(
        files="shards/frames/frames-*.npy",
        reads=BUILD,
        unused="rows are not rewritten: a damaged frame is decoded again into a new one; the header is for numpy",
        **IN_DATA,
    ),
    "journal of frames": Kind(files="shards/frames/frames.csv", reads=BUILD, unused="ends of lines", **IN_DATA),
    "inputs of an unfinished build": Kind(
        files="shards/48h/.build/inputs.json",
        reads=BUILD,
        inputs=("data", "shards"),
        state="unfinished build",
        outputs=("shards/48h",),
        unused=SPACE,
    ),
    "records of written shards": Kind(
        files="shards/48h/.build/records/*/*",
        reads=BUILD,
        inputs=("data", "shards"),
        state="unfinished build",
        outputs=("shards/48h",),
        unused=SPACE,
    ),
    "shards of an unfinished build": Kind(
        files="shards/48h/*/*.tar",
        reads=BUILD,
        inputs=("data", "shards"),
        state="unfinished build",
        outputs=("shards/48h",),
    ),
    "image of synth": Kind(files="data/magnetogram_jpg/*.jpg", reads=BUILD, inputs=("data",), outputs=("shards/48h",)),
    "image of ingest": Kind(
        files="ingested/magnetogram_jpg/*.jpg",
        reads=["predict", "--run", "runs/48h/base", "--images", "ingested/magnetogram_jpg", "--device", "cpu"],
        inputs=("ingested", "runs"),
    ),
    "record of ingest": Kind(
        files="ingested/ingest.json",
        reads=CASES["ingest"].arguments,
        inputs=("fits", "ingested"),
        outputs=("ingested",),
    ),
    "note of synth": Kind(files="data/synth.json", reads=CASES["synth"].arguments, inputs=("data",), outputs=("data",)),
    "lists and flares of synth": Kind(
        files="data/[Mfh]*/*.txt", reads=CASES["synth"].arguments, inputs=("data",), outputs=("data",)
    ),
    "sequences": Kind(
        files="seqs/**/*48h*", reads=CASES["sequences"].arguments, inputs=("data", "seqs"), outputs=("seqs",)
    ),
    "record of labels": Kind(
        files="labels/labels.json",
        reads=["labels", "rebuild", *FLARES, "--horizon", "72h"],
        inputs=("data", "labels"),
        outputs=("labels",),
        unused=SPACE,
    ),
    "labels": Kind(
        files="labels/M*/*.txt",
        reads=CASES["labels"].arguments,
        inputs=("data", "labels"),
        outputs=("labels",),
    ),
    "record of a fold, evaluated": Kind(files=f"{RUN}/run.json", reads=[*EVALUATE, "--force"], unused=SPACE, **IN_RUNS),
    "record of a fold, in a report": Kind(files=f"{RUN}/run.json", unused=SPACE, **IN_REPORT),
    "record of a fold, trained on": Kind(
        files=f"{RUN}/run.json",
        reads=TRAIN,
        inputs=("shards", "runs"),
        state="interrupted train",
        outputs=("runs",),
        unused=SPACE,
    ),
    "last checkpoint": Kind(
        files=f"{RUN}/last.ckpt",
        reads=TRAIN,
        inputs=("shards", "runs"),
        state="interrupted train",
        outputs=("runs",),
        unused="fields of the archive that torch does not read, as dates and padding",
    ),
    "best checkpoint, evaluated": Kind(files=f"{RUN}/sample*epoch=01*.ckpt", reads=[*EVALUATE, "--force"], **IN_RUNS),
    "best checkpoint, in a forecast": Kind(
        files=f"{RUN}/sample*epoch=01*.ckpt", reads=PREDICT, inputs=("data", "runs")
    ),
    "table of epochs": Kind(files=f"{RUN}/metrics.csv", **IN_REPORT),
    "predictions, evaluated": Kind(files=f"{RUN}/predictions-*.csv", reads=EVALUATE, **IN_RUNS),
    "predictions, in a report": Kind(files=f"{RUN}/predictions-*.csv", **IN_REPORT),
    "record of predictions, evaluated": Kind(files=f"{RUN}/predictions.json", reads=EVALUATE, unused=SPACE, **IN_RUNS),
    "record of predictions, in a report": Kind(files=f"{RUN}/predictions.json", unused=SPACE, **IN_REPORT),
    "decision, in a report": Kind(files=f"{RUN}/decision.json", unused=SPACE, **IN_REPORT),
    "decision, in a forecast": Kind(files=f"{RUN}/decision.json", reads=PREDICT, inputs=("data", "runs"), unused=SPACE),
    "scores, intervals and comparisons": Kind(files="runs/48h/base/*.*", reads=EVALUATE, **IN_RUNS),
    "scores of baselines": Kind(
        files="scores/baselines.json",
        reads=CASES["baselines"].arguments,
        inputs=("data", "scores"),
        outputs=("scores",),
    ),
    "forecast": Kind(
        files="p.csv", reads=CASES["predict"].arguments, inputs=("data", "runs", "p.csv"), outputs=("p.csv",)
    ),
    "record of a report": Kind(
        files="report/report.json", reads=["report"], inputs=("shards", "runs", "report"), outputs=("report",), num=3
    ),
    "files of a report": Kind(
        files="report/*/*", reads=["report"], inputs=("shards", "runs", "report"), outputs=("report",), num=2
    ),
    "results of an experiment": Kind(
        files="all/results.*",
        reads=CASES["reproduce"].arguments,
        inputs=("shards", "all"),
        outputs=("all",),
        before=stub_report,
        num=6,
    ),
    "cached shards and indexes": Kind(
        files="cache/[0-9a-f]*",
        state="cached",
        reads=[*EVALUATE, "--force", "--cache-dir", "cache"],
        inputs=("runs", "cache"),
        outputs=("runs",),
        before=read_remote,
        unused=HEADERS,
    ),
    "files from JSOC": Kind(
        files="fetched/*.fits", reads=CASES["fetch"].arguments, inputs=("fetched",), outputs=("fetched",)
    ),
    "notes of files from JSOC": Kind(
        files="fetched/*.json", reads=CASES["fetch"].arguments, inputs=("fetched",), outputs=("fetched",), unused=SPACE
    ),
}


@pytest.fixture(scope="module")
def states(chain: Chain) -> Iterator[Chain]:
    with serve_folder(chain.folder / "shards") as server:
        os.environ["SFFSHARDS_SHARDS"] = f"{server.url}/48h"
        _make_states(chain)
        yield chain
        del os.environ["SFFSHARDS_SHARDS"]


def _make_states(made: Chain) -> None:
    """Leave further states beside that of finished commands: of two that were killed, and of one with a cache."""
    for state, name, event in (
        ("unfinished build", "build", "os.rename shards/48h/.manifest.json"),
        ("interrupted train", "train", "os.rename runs/48h/base/fold0/.metrics.csv"),
    ):
        number = next(n for n, line in enumerate(made.accesses[name]) if line.startswith(event))
        folder = made.state(state)
        copy_files(made.folder, folder, CASES[name].inputs)
        assert run_forked(*CASES[name].arguments, cwd=folder, before=partial(_be_killed, folder, number)).code == KILLED
    copy_files(made.folder, made.state("evaluated"), ("shards", "runs"))
    assert run_forked(*EVALUATE, "--force", cwd=made.state("evaluated"), before=use_fast_network).code == 0
    cached = made.state("cached")
    copy_files(made.folder, cached, ("runs",))
    done = run_forked(*KINDS["cached shards and indexes"].reads, cwd=cached, before=read_remote)
    assert done.code == 0, done


def _be_killed(folder: Path, number: int) -> None:
    use_fast_network()
    kill_at(folder, number)


def damage(path: Path, draw: random.Random) -> str:
    """Flip a bit, or change a digit, somewhere in a file, and leave its size and date; return what was done."""
    data, status = bytearray(path.read_bytes()), path.stat()
    digits = [at for at, byte in enumerate(data) if 48 <= byte < 58] if len(data) < 1 << 20 else []
    if digits and draw.random() < 0.5:
        at = draw.choice(digits)
        data[at] = draw.choice([byte for byte in range(48, 58) if byte != data[at]])
    else:
        at = draw.randrange(len(data))
        data[at] ^= 1 << draw.randrange(8)
    was = path.read_bytes()[at : at + 1]
    path.unlink()
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return f"byte {at} of {path.name}, {was!r} to {bytes(data[at : at + 1])!r}"


def read(kind: Kind, folder: Path) -> tuple[Ran, dict[str, str]]:
    def begin() -> None:
        use_fast_network()
        kind.before()

    done = run_forked(*kind.reads, cwd=folder, before=begin)
    return done, digest_outputs(folder, kind.outputs)


def judge(kind: Kind, done: Ran, found: dict[str, str], whole: tuple[Ran, dict[str, str]], *, is_changed: bool) -> str:
    """Return what a command did about damage; what it must not do begins with a capital letter."""
    lines = [line for line in done.err.splitlines() if line.startswith("error: ")]
    if done.code == 2 and lines and "Traceback" not in done.err:
        return "refused" if len(lines) == 1 or kind.reads[0] == "verify" else "SEVERAL LINES"
    if done.code != 0:
        return "BROKEN OFF"
    if found != whole[1] or (done.out != whole[0].out and not kind.outputs):  # counts of work are printed, too
        return "SILENT"
    if is_changed and not kind.unused:
        return "KEPT"
    return "not used" if is_changed else "made again"


@pytest.mark.parametrize("name", KINDS)
def test_no_damage_goes_unnoticed(name: str, states: Chain, tmp_path: Path) -> None:
    kind, draw, outcomes, wrong = KINDS[name], random.Random(name), Counter[str](), []
    state = states.state(kind.state)
    copy_files(state, tmp_path / "whole", kind.inputs)
    whole = read(kind, tmp_path / "whole")
    assert whole[0].code == 0, whole[0]
    for _ in range(kind.num):
        folder = tmp_path / "changed"
        copy_files(state, folder, kind.inputs)
        path = draw.choice(sorted(path for path in folder.glob(kind.files) if path.is_file()))
        original = path.read_bytes()
        what = damage(path, draw)
        done, found = read(kind, folder)
        outcome = judge(kind, done, found, whole, is_changed=path.exists() and path.read_bytes() != original)
        outcomes[outcome] += 1
        if outcome[0].isupper():
            wrong.append((outcome, what, done.code, done.out[-200:], done.err[-700:]))
        shutil.rmtree(folder)
    print("\n".join(map(str, wrong)))
    print(f"{name}: " + ", ".join(f"{outcome} {count}" for outcome, count in sorted(outcomes.items())))
    assert not wrong


@pytest.mark.parametrize("name", KINDS)
def test_a_pipe_in_place_of_a_file_holds_no_command(name: str, states: Chain, tmp_path: Path) -> None:
    kind, folder = KINDS[name], tmp_path / "home"
    copy_files(states.state(kind.state), folder, kind.inputs)
    path = min(path for path in folder.glob(kind.files) if path.is_file())
    path.unlink()
    os.mkfifo(path)

    def begin() -> None:
        use_fast_network_in_time()
        kind.before()

    assert describe_fault(run_forked(*kind.reads, cwd=folder, before=begin)) is None
