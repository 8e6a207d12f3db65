"""The job scripts of `examples/jobs`: they parse, their bodies run as they stand, and a time limit is not the end.

Queues are stood in for by what they set and start: a small `srun` that starts the tasks on this machine.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from sffshards.training.fold_record import read_record
from tests.commands import run
from tests.tiny import digest_tree, make_data

JOBS = sorted((Path(__file__).parents[1] / "examples" / "jobs").glob("*.sh"))
TRAINING = [path for path in JOBS if "build" not in path.name]
BUILDING = [path for path in JOBS if "build" in path.name]
SLURM = [path for path in TRAINING if path.name.startswith("slurm")]

_SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
pids=()
for ((rank = 0; rank < SLURM_NTASKS; rank++)); do
    SLURM_STEP_ID=0 SLURM_PROCID=$rank SLURM_LOCALID=$((rank % SLURM_NTASKS_PER_NODE)) \\
        SLURM_NODEID=$((rank / SLURM_NTASKS_PER_NODE)) "$@" &
    pids+=($!)
done
worst=0
for pid in "${pids[@]}"; do
    wait "$pid"
    code=$?
    ((code > worst)) && worst=$code
done
exit "$worst"
"""
_SFFSHARDS = f"""#!/bin/bash
exec {sys.executable} -m sffshards "$@"
"""
_TWO_OF_TWO = {"MIN": "1", "MAX": "2", "COUNT": "2"}
_NOTE = """#!/bin/bash
echo "$(basename "$0") $*" >>"$NOTES"
exit "${CODE:-0}"
"""


def write_commands(folder: Path, **commands: str) -> None:
    folder.mkdir()
    for name, text in commands.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)


def start(script: Path, *arguments: str, commands: Path, cwd: Path, **variables: str) -> subprocess.CompletedProcess:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SLURM_", "PBS_", "SFFSHARDS_", "MASTER_"))}
    environment = clean | variables
    environment["PATH"] = f"{commands}{os.pathsep}{environment['PATH']}"
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    command = ["bash", str(script), *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)


def slurm_variables(*, nodes: int, tasks_per_node: int) -> dict[str, str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return {
        "SLURM_JOB_ID": "4242",
        "SLURM_JOB_NAME": "sffshards",
        "SLURM_NNODES": str(nodes),
        "SLURM_NTASKS": str(nodes * tasks_per_node),
        "SLURM_NTASKS_PER_NODE": str(tasks_per_node),
        "SLURM_PROCID": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }


def test_there_are_scripts_for_both_queues() -> None:
    names = [path.stem for path in JOBS]
    assert names == [
        "pbs_build",
        "pbs_gpus",
        "pbs_one_gpu",
        "slurm_build",
        "slurm_gpus",
        "slurm_nodes",
        "slurm_one_gpu",
    ]


@pytest.mark.parametrize("script", JOBS, ids=lambda path: path.stem)
def test_a_script_parses(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert script.read_text().startswith("#!/bin/bash\n")


@pytest.mark.parametrize(("code", "again"), [(143, ["scontrol requeue 4242"]), (0, []), (2, [])])
@pytest.mark.parametrize("script", SLURM, ids=lambda path: path.stem)
def test_slurm_starts_the_same_job_again_only_where_a_time_limit_ended_it(
    tmp_path: Path, script: Path, code: int, again: list[str]
) -> None:
    write_commands(tmp_path / "bin", srun=_SRUN, sffshards=_NOTE.replace("CODE:-0", f"CODE:-{code}"), scontrol=_NOTE)
    notes = tmp_path / "notes.txt"
    variables = slurm_variables(nodes=1, tasks_per_node=1)
    done = start(
        script, "train", "--variant", "oTV", commands=tmp_path / "bin", cwd=tmp_path, NOTES=str(notes), **variables
    )
    assert done.returncode == code, done.stderr
    first, *others = notes.read_text().splitlines()
    assert first.startswith("sffshards train --variant oTV --devices 1")
    assert others == again


@pytest.mark.slow
@pytest.mark.parametrize("script", [path for path in TRAINING if path not in SLURM], ids=lambda path: path.stem)
def test_pbs_passes_arguments_on_and_sends_sigterm_before_its_own_limit(tmp_path: Path, script: Path) -> None:
    patient = '#!/bin/bash\ntrap "exit 143" TERM\necho "$*" >>"$NOTES"\nfor _ in {1..600}; do sleep 0.1; done\n'
    write_commands(tmp_path / "bin", sffshards=patient)
    notes = tmp_path / "notes.txt"
    done = start(
        script,
        "--epochs",
        "1",
        commands=tmp_path / "bin",
        cwd=tmp_path,
        NOTES=str(notes),
        SFFSHARDS_ARGUMENTS="train --variant oTV",
        SFFSHARDS_SECONDS="1",
        SFFSHARDS_DEVICES="2",
    )
    assert done.returncode == 143
    assert notes.read_text() == "train --variant oTV --epochs 1 --devices 2\n"


@pytest.mark.parametrize(
    ("array", "parts", "part"),
    [
        (_TWO_OF_TWO, "", "2/2"),
        ({"MIN": "2", "MAX": "2", "COUNT": "1"}, "16", "2/16"),
        ({"MIN": "2", "MAX": "2", "COUNT": "1"}, "", None),
        ({"MIN": "1", "MAX": "2", "COUNT": "1"}, "", None),
    ],
    ids=["whole", "again", "no-number-of-parts", "with-gaps"],
)
def test_an_element_of_an_array_is_the_same_part_when_it_is_submitted_again(
    tmp_path: Path, array: dict[str, str], parts: str, part: str | None
) -> None:
    write_commands(tmp_path / "bin", sffshards=_NOTE)
    notes = tmp_path / "notes.txt"
    variables = {f"SLURM_ARRAY_TASK_{key}": value for key, value in (array | {"ID": "2"}).items()}
    variables |= {"NOTES": str(notes)} | ({"SFFSHARDS_PARTS": parts} if parts else {})
    script = next(path for path in BUILDING if path.stem == "slurm_build")
    done = start(script, "build", commands=tmp_path / "bin", cwd=tmp_path, **variables)
    if part is None:
        assert (done.returncode, notes.exists(), len(done.stderr.splitlines())) == (2, False, 1)
        found = f"{array['COUNT']} from {array['MIN']} to 2"
        assert done.stderr.endswith(f"SFFSHARDS_PARTS=N where only some parts run, found {found}\n")
    else:
        assert notes.read_text() == f"sffshards build --part {part} --workers 4\n"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("jobs")
    make_data(home / "data", frames_per_harp=2)
    run("build", "--horizon", "48h", "--workers", "1", cwd=home)
    write_commands(home / "bin", srun=_SRUN, sffshards=_SFFSHARDS)
    return home


@pytest.mark.slow
@pytest.mark.parametrize("script", BUILDING, ids=lambda path: path.stem)
def test_an_array_of_jobs_builds(home: Path, script: Path) -> None:
    out = f"out-{script.stem}"
    arguments = ("build", "--horizon", "48h", "--out", out)
    for _ in range(2):
        for number in ("1", "2"):
            if script.stem.startswith("slurm"):
                variables = {"SLURM_ARRAY_TASK_ID": number, "SLURM_CPUS_PER_TASK": "1"}
                variables |= {f"SLURM_ARRAY_TASK_{key}": value for key, value in _TWO_OF_TWO.items()}
            else:
                variables = {"PBS_ARRAY_INDEX": number, "SFFSHARDS_PARTS": "2", "SFFSHARDS_WORKERS": "1"}
                variables["PBS_O_WORKDIR"] = str(home)
            done = start(script, *arguments, commands=home / "bin", cwd=home, **variables)
            assert done.returncode == 0, done.stderr
    assert not (home / out / "48h" / "manifest.json").exists()
    run(*arguments, "--finish", cwd=home)
    assert digest_tree(home / out / "48h") == digest_tree(home / "shards" / "48h")


@pytest.mark.long
@pytest.mark.parametrize("script", TRAINING, ids=lambda path: path.stem)
def test_a_body_trains_on_tiny_data(home: Path, script: Path) -> None:
    num_nodes = 2 if script.stem == "slurm_nodes" else 1
    devices = 1 if "one" in script.stem or num_nodes == 2 else 2
    arguments = (
        *("train", "--fold", "0", "--model", "mvit_tiny", "--epochs", "1", "--accelerator", "cpu"),
        *("--batch-size", str(4 // (devices * num_nodes)), "--threads", "0", "--out", script.stem),
    )
    if script in SLURM:
        variables = slurm_variables(nodes=num_nodes, tasks_per_node=devices)
    else:
        variables = {"PBS_O_WORKDIR": str(home)}
    done = start(script, *arguments, commands=home / "bin", cwd=home, SFFSHARDS_DEVICES=str(devices), **variables)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("1 folds trained") == 1  # one rank speaks
    record = read_record(home / script.stem / "48h" / "base" / "fold0")
    assert record.finished
    assert (record.options.devices, record.options.num_nodes, record.options.global_batch) == (devices, num_nodes, 4)
