"""Tasks on a Dask cluster: the same results, whatever happens to workers, and one clear line when it cannot go on."""

from __future__ import annotations

import contextlib
import os
import platform
import resource
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import dask
import numpy as np
import pytest
import threadpoolctl

from sffshards.base.errors import InputError, StorageError
from sffshards.executors.dask_clusters import _import_jobqueue, open_cluster
from sffshards.executors.shared_processors import share_processors
from sffshards.executors.worker_checks import WorkerNeeds, check_worker, mark_folder
from sffshards.images.image_files import read_frame
from sffshards.images.store_filling import _decode_chunk
from sffshards.labels import find_data
from sffshards.shards.build import verify_build, verify_build_deep
from sffshards.synth.synthetic_dataset import synthesize
from tests.test_shards import build, options
from tests.tiny import digest_tree, make_data

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster():
    """Two workers on this machine."""
    with open_cluster("local:2") as executor:
        yield executor


@pytest.fixture
def data(tmp_path):
    return make_data(tmp_path / "data", harps_per_part=2, frames_per_harp=4)


def double(number):
    return 2 * number


def relative(name):
    return Path(name).read_text(), os.getpid()


def refuse(number):
    raise InputError("a task", expected="an even number", found=str(number), fix="send another")


def touch_memory(_):
    """Return whether this worker is profiled, and how many pages are new to it when it fills and frees 100 x 1 MB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    assert sum(len(bytes([number]) * 1_000_000) for number in range(100)) == 100_000_000
    num_new_pages = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
    return dask.config.get("distributed.worker.profile.enabled"), num_new_pages


def die(folder_and_number):
    """End the worker on task 3, and count how often it was tried."""
    folder, number = folder_and_number
    if number == 3:
        (folder / f"tried-{time.time_ns()}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die_once(folder_and_number):
    """End the worker on every fifth task, the first time that it is tried."""
    folder, number = folder_and_number
    tried = folder / str(number)
    if number % 5 == 0 and not tried.exists():
        tried.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


@pytest.mark.parametrize("group", [1, 4, 1000])
def test_results_come_in_the_order_of_the_tasks(cluster, group):
    assert list(cluster.run(double, range(50), group=group)) == list(range(0, 100, 2))
    assert list(cluster.run(double, [])) == []


def test_tasks_are_asked_for_as_workers_become_free(cluster):
    asked = []

    def tasks():
        for number in range(100):
            asked.append(number)
            yield number

    results = cluster.run(double, tasks())
    assert next(results) == 0
    assert len(asked) <= 8  # four per worker
    results.close()


def test_relative_paths_start_where_the_command_runs(cluster, tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("here")
    monkeypatch.chdir(tmp_path)
    cluster.check_places(reads=[Path("a.txt")], writes=[])
    ((text, process),) = cluster.run(relative, ["a.txt"])
    cluster.check_places(reads=[], writes=[])
    assert text == "here"
    assert process != os.getpid()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such limit")
def test_workers_of_this_machine_keep_freed_memory_and_are_not_profiled(cluster):
    ((is_profiled, num_new_pages),) = cluster.run(touch_memory, [0])
    assert not is_profiled
    assert num_new_pages < 1_000
    assert dask.config.get("distributed.worker.profile.enabled")  # as the user's other clusters


def test_a_cluster_of_this_machine_starts_beside_another_without_a_warning():
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # another process has Dask's usual port
            stack.enter_context(socket.create_server(("127.0.0.1", 8787)))
        executor = stack.enter_context(open_cluster("local:1"))  # warnings are errors
        assert list(executor.run(double, [1])) == [2]


def test_an_error_of_a_task_reaches_the_caller_as_it_was(cluster):
    with pytest.raises(InputError, match="a task: expected an even number, found 5; send another"):
        list(cluster.run(refuse, [5]))
    assert list(cluster.run(double, [1])) == [2]


def test_a_worker_that_dies_is_replaced_and_its_tasks_are_computed_elsewhere(cluster, tmp_path):
    tasks = [(tmp_path, number) for number in range(12)]
    assert list(cluster.run(die_once, tasks)) == list(range(12))
    assert sorted(os.listdir(tmp_path)) == ["0", "10", "5"]


def test_a_task_that_ends_three_workers_is_named_after_the_others_are_done(cluster, tmp_path):
    with pytest.raises(StorageError, match=r"die: expected tasks that workers survive, found .* on \(.*, 3\)"):
        list(cluster.run(die, [(tmp_path, number) for number in range(8)]))
    assert len(os.listdir(tmp_path)) in (3, 6)  # 6 where Dask also suspected a task that waited behind it
    assert list(cluster.run(double, range(3))) == [0, 2, 4]


@pytest.mark.parametrize("num_workers", [*(pytest.param(number, marks=pytest.mark.long) for number in (1, 4)), 2])
def test_a_build_has_the_same_bytes_on_a_cluster_of_any_size(data, tmp_path, num_workers):
    small = options(shard_size_bytes=400_000)
    local, folder = tmp_path / "local" / "48h", tmp_path / "cluster" / "48h"
    assert build(data, local, small).num_written == 30
    with open_cluster(f"local:{num_workers}") as cluster:
        assert cluster.num_workers == num_workers
        assert build(data, folder, small, executor=cluster).num_written == 30
        assert digest_tree(folder) == digest_tree(local)
        assert verify_build(folder, executor=cluster) == []
        assert verify_build_deep(folder, find_data(data), executor=cluster) == []


def test_images_that_a_cluster_draws_are_the_same(cluster, tmp_path):
    synthesize(tmp_path / "local", seed=5, num_harps=2, frames_per_harp=3)
    synthesize(tmp_path / "cluster", seed=5, num_harps=2, frames_per_harp=3, executor=cluster)
    cluster.check_places(reads=[], writes=[])
    assert digest_tree(tmp_path / "cluster") == digest_tree(tmp_path / "local")


def test_workers_show_that_they_read_and_write_the_places_of_the_command(cluster, tmp_path):
    with pytest.raises(InputError, match=f"expected {tmp_path}/absent, found nothing there; mount it at the same"):
        cluster.check_places(reads=[tmp_path / "absent"], writes=[])
    cluster.check_places(reads=[], writes=[tmp_path / "out"])
    assert len(os.listdir(tmp_path / "out")) == 1
    cluster.check_places(reads=[], writes=[])
    assert os.listdir(tmp_path / "out") == []


def test_a_worker_of_another_version_or_with_another_folder_is_named(tmp_path):
    needs = WorkerNeeds()
    check_worker(needs)
    with pytest.raises(InputError, match=r"the worker on .*: expected numpy 0\.1, as in the process that sends"):
        check_worker(replace(needs, versions=(*needs.versions, ("numpy", "0.1"))))
    with pytest.raises(InputError, match="expected absent 1, as in the process that sends the tasks, found none"):
        check_worker(replace(needs, versions=(("absent", "1"),)))
    folder, name = mark_folder(tmp_path / "out")
    check_worker(replace(needs, writes=((folder, name),)))
    assert os.listdir(folder) == [name]
    (folder / name).unlink()
    with pytest.raises(InputError, match=f"expected the folder {folder} of the process .*, found another folder"):
        check_worker(replace(needs, writes=((folder, f"{name}x"),)))
    with pytest.raises(InputError, match="found none"):
        check_worker(replace(needs, writes=((tmp_path / "absent", name),)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("somewhere", r"expected tcp://host:port, .* or local:N, found 'somewhere'"),
        ("local:0", "found 'local:0'"),
        ("absent.json", "expected a scheduler file, found no file absent.json"),
    ],
)
def test_a_cluster_that_is_none_is_named(name, message):
    with pytest.raises(InputError, match=message):
        open_cluster(name)


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr("sffshards.executors.dask_clusters._TIMEOUT_S", 1)
    with pytest.raises(InputError, match=r"`cluster`: expected a scheduler that answers, found none at tcp://127"):
        open_cluster("tcp://127.0.0.1:9")


def test_a_scheduler_that_ends_is_named_and_the_same_build_goes_on_elsewhere(data, tmp_path):
    build(data, tmp_path / "whole" / "48h")
    scheduler = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", "0", "--no-dashboard",
         "--scheduler-file", tmp_path / "scheduler.json"],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    worker = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_worker", "--scheduler-file", tmp_path / "scheduler.json",
         "--nthreads", "1", "--no-dashboard", "--death-timeout", "60"],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not (tmp_path / "scheduler.json").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        with open_cluster(str(tmp_path / "scheduler.json")) as executor:
            results = executor.run(time.sleep, [0.2] * 100)
            next(results)
            scheduler.kill()
            with pytest.raises(
                StorageError, match="the cluster: expected its scheduler, .* run the same command again"
            ):
                list(results)
    finally:
        for process in (worker, scheduler):
            process.kill()
            process.wait()
    build(data, tmp_path / "out" / "48h")
    assert digest_tree(tmp_path / "out" / "48h") == digest_tree(tmp_path / "whole" / "48h")


_QUEUE = """#!/bin/sh
# A queue of one machine: a job starts at once, in the background, in a session of its own.
case "$(basename "$0")" in
  qsub | sbatch)
    cp "$1" "{folder}/script.sh"
    setsid sh "{folder}/script.sh" > "{folder}/job.log" 2>&1 < /dev/null &
    echo "Submitted batch job $!" ;;
  qdel | scancel)
    for job in "$@"; do kill -- "-$job"; done ;;
esac
"""
_SCRIPTS = {
    "pbs": [
        "#PBS -N dask-worker",
        "#PBS -q workq",
        "#PBS -A solar",
        "#PBS -l select=1:ncpus=2:mem=4096MB",
        "#PBS -l walltime=02:00:00",
    ],
    "slurm": [
        "#SBATCH -J dask-worker",
        "#SBATCH -p workq",
        "#SBATCH -A solar",
        "#SBATCH -n 1",
        "#SBATCH --cpus-per-task=2",
        "#SBATCH --mem=4G",
        "#SBATCH -t 02:00:00",
    ],
}


@pytest.fixture
def queue(tmp_path, monkeypatch):
    """The commands of two batch systems, which start processes of this machine, and a user's configuration."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("qsub", "qdel", "sbatch", "scancel"):
        (folder / name).write_text(_QUEUE.format(folder=tmp_path))
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    _import_jobqueue()  # its defaults must be there before they are changed
    mine = {"cores": 2, "memory": "4GiB", "walltime": "02:00:00", "queue": "workq", "account": "solar"}
    with dask.config.set({f"jobqueue.{name}.{key}": value for name in _SCRIPTS for key, value in mine.items()}):
        yield tmp_path


@pytest.mark.parametrize("name", [pytest.param("pbs", marks=pytest.mark.long), "slurm"])
def test_a_whole_build_runs_in_jobs_of_a_batch_system(queue, data, name):
    build(data, queue / "local" / "48h")
    with open_cluster(name, num_jobs=1) as executor:
        build(data, queue / "cluster" / "48h", executor=executor)
        script = (queue / "script.sh").read_text().splitlines()
    assert digest_tree(queue / "cluster" / "48h") == digest_tree(queue / "local" / "48h")
    directives = [line for line in script if line.startswith(("#PBS", "#SBATCH"))]
    assert directives == _SCRIPTS[name]
    assert "export DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False" in script
    command = script[-1]
    assert command.startswith(f"{sys.executable} -m distributed.cli.dask_worker tcp://")
    # One process for each core, which ends in good order before the wall time does, not all at once.
    for option in ("--nworkers 2", "--nthreads 1", "--lifetime 6780s", "--lifetime-stagger 120s"):
        assert f" {option} " in f"{command} "


def test_ctrl_c_does_what_it_did_before_dask_jobqueue_was_imported():
    before = signal.getsignal(signal.SIGINT)
    sys.modules.pop("dask_jobqueue.runner", None)
    sys.modules.pop("dask_jobqueue", None)
    _import_jobqueue()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_batch_system_without_a_description_of_its_jobs_is_named(queue):
    with (
        dask.config.set({"jobqueue.pbs.cores": None}),
        pytest.raises(InputError, match=r"jobqueue\.pbs in the Dask configuration: expected a description of a job"),
    ):
        open_cluster("pbs")


def test_a_network_interface_that_is_none_is_named(queue):
    with (
        dask.config.set({"jobqueue.slurm.scheduler-options": {"interface": "ib7"}}),
        pytest.raises(InputError, match=r"jobqueue\.slurm in the Dask configuration: .* 'ib7' is not a valid network"),
    ):
        open_cluster("slurm")


def test_the_same_task_given_to_two_workers_at_once_leaves_one_file(cluster, tmp_path):
    images = make_data(tmp_path / "data", harps_per_part=1, frames_per_harp=2) / "magnetogram_jpg"
    paths = sorted(str(path) for path in images.iterdir())
    segment = tmp_path / "frames" / "frames-0123456789abcdef.npy"
    results = list(cluster.run(_decode_chunk, [(segment, paths)] * 8))
    assert results == [results[0]] * 8
    assert [path.name for path in segment.parent.iterdir()] == [segment.name]
    assert (np.load(segment) == np.stack([read_frame(Path(path)) for path in paths])).all()


@pytest.mark.parametrize("name", ["pbs", "slurm"])
def test_a_job_that_trains_a_fold_runs_one_worker_beside_its_gpu(queue, name):
    gpu = {"pbs.resource-spec": "select=1:ncpus=2:ngpus=1", "slurm.job-extra-directives": ["--gpus=1"]}
    mine: dict[str, object] = {f"jobqueue.{key}": value for key, value in gpu.items()}
    mine |= {f"jobqueue.{name}.processes": 2, f"jobqueue.{name}.scheduler-options": {"interface": "lo"}}
    with dask.config.set(mine), open_cluster(name, one_worker_per_job=True) as executor:
        assert list(executor.run(double, range(3))) == [0, 2, 4]
        script = (queue / "script.sh").read_text()
        assert executor.one_worker_per_job
    assert " tcp://127.0.0.1:" in script
    assert {"pbs": "#PBS -l select=1:ncpus=2:ngpus=1", "slurm": "#SBATCH --gpus=1"}[name] in script.splitlines()
    assert "--nworkers" not in script
    assert script.index("--nthreads 2") < script.index("--nthreads 1")  # Dask takes the last


def count_threads(_: object = None) -> set[int]:
    return {library["num_threads"] for library in threadpoolctl.threadpool_info()}


def test_calls_that_share_processors_start_no_threads_of_their_own():
    import sklearn.ensemble  # noqa: F401  it brings OpenMP

    with threadpoolctl.threadpool_limits(2):
        with share_processors() as pool:
            assert list(pool.map(count_threads, range(4))) == [{1}] * 4
        assert count_threads() == {2}
