"""The commands: what they print, where they write, and how they end."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from sffshards.base.errors import InputError
from sffshards.cli import command_list, main, terminal_output
from tests.commands import COMMANDS, error_of, run
from tests.tiny import PARTS, frame_name, make_data


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder as a user leaves it after `build`, with data of two horizons."""
    home = tmp_path_factory.mktemp("home")
    make_data(home / "data")
    run("build", "--workers", "1", cwd=home)
    return home


@pytest.mark.slow
def test_build_says_in_a_line_what_is_wrong_with_the_lists(tmp_path):
    data = make_data(tmp_path / "data")
    first = data / "M48" / "flare_Mclass_48h_TrainVal0.txt"
    at_24h = (data / "M24" / first.name.replace("48h", "24h")).read_text()
    positive = next(line for line in at_24h.splitlines() if line.endswith(" 1"))
    first.write_text(first.read_text().replace(positive, positive[:-1] + "0"))
    text = run("build", "--dry-run", "--horizon", "48h", cwd=tmp_path).stderr
    assert "label lists: 1 row positive, but not at a longer horizon or for a lower class (24h); see" in text
    untouched = make_data(tmp_path / "other" / "data").parent
    assert "label lists: no faults found" in run("build", "--dry-run", cwd=untouched).stderr


def test_help_names_every_command_in_order():
    text = run("--help").stdout
    positions = [text.index(f"\n  {command} ") for command in COMMANDS]
    assert positions == sorted(positions)
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_shows_an_example(command):
    text = run(command, "--help").stdout
    assert re.search(rf"\n  Examples:\n    # .+\n    sffshards {command}", text)
    assert max(map(len, text.splitlines())) <= 80  # of a terminal
    examples = text.partition("\n  Examples:\n")[2].replace("\\\n", "")
    assert all(line.startswith(("    # ", "    sffshards ", "    srun ")) for line in examples.splitlines())


@pytest.mark.parametrize(
    ("arguments", "also"), [(["--help"], ["msgspec"]), (["info"], []), (["info", "--variant", "oTV"], [])]
)
def test_help_and_info_load_no_heavy_library(home, arguments, also):
    script = f"import sys; sys.argv = ['sffshards', *{arguments}]\nfrom sffshards.cli import main\n"
    script += "try:\n    main()\nexcept SystemExit:\n    pass\n"
    script += f"print(sorted({{'numpy', 'PIL', 'torch', 'rich', 'webdataset', *{also}}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=home)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_needs_no_docstrings():
    done = subprocess.run(
        [sys.executable, "-OO", "-m", "sffshards", "--help"], capture_output=True, text=True, check=True
    )
    assert "Commands:" in done.stdout


def test_verify_names_flags_and_not_fields(home, tmp_path):
    folder = Path(shutil.copytree(home / "shards" / "48h", tmp_path / "48h"))
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"format_version": 3', '"format_version": 1'))
    message = error_of("verify", folder)
    assert "manifest.json: expected format version 3, found 1; build again and pass --force" in message


def test_version_is_printed():
    from sffshards import __version__

    assert run("--version").stdout == f"sffshards {__version__}\n"


@pytest.mark.slow
def test_build_makes_every_horizon_that_has_lists(home):
    assert sorted(path.name for path in (home / "shards").iterdir()) == ["24h", "48h", "frames"]
    again = run("build", "--workers", "1", cwd=home).stdout
    assert again.count("0 images decoded, 0 shards written, 12 kept") == 2


def test_dry_run_writes_nothing(home, tmp_path):
    text = run("build", home / "data", "--horizon", "48h", "--out", tmp_path / "out", "--dry-run").stdout
    assert "60 sequences, 18 positive, and 90 augmented views" in text
    assert "free: enough" in text
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_info_shows_counts_sets_urls_and_keys(home):
    assert "all               60        18               90      12" in run("info", cwd=home).stdout
    sets = run("info", "shards/48h", "--variant", "oTV", "--fold", "0", cwd=home).stdout
    assert "fold 0 train      100        72" in sets
    assert "fold 0 val         25        18" in sets
    urls = run("info", "shards/48h", "--variant", "oTV", "--fold", "0", "--stage", "val", "--urls", cwd=home).stdout
    assert urls.split() == [f"shards/48h/TrainVal4/M48-TrainVal4-{kind}-00000.tar" for kind in ("base", "over")]
    keys = run("info", "--horizon", "48h", "--keys", cwd=home).stdout.split()
    assert len(keys) == 150
    described = json.loads(run("info", "shards/48h", "--json", cwd=home).stdout)
    assert described[0]["groups"]["Test/over"]["num_samples"] == 15


@pytest.mark.slow
def test_verify_says_whole_and_finds_damage(home, tmp_path):
    run("build", home / "data", "--horizon", "48h", "--out", tmp_path, "--workers", "1")
    assert run("verify", tmp_path, "--deep", "--data", home / "data").stdout == f"{tmp_path / '48h'}: intact\n"
    shard = tmp_path / "48h" / "TrainVal2" / "M48-TrainVal2-base-00000.tar"
    shard.write_bytes(shard.read_bytes()[:-512])
    assert f"{shard}: expected" in error_of("verify", tmp_path)


@pytest.mark.slow
def test_show_draws_a_sheet_of_a_sequence(home):
    name = run("show", "--horizon", "48h", cwd=home).stdout.strip()
    with Image.open(home / name) as sheet:
        assert sheet.format == "PNG"
        assert sheet.width > 4 * 224
    sequence = "hmi.sharp_720s.500.20110213_000000_TAI.to.20110213_062400_TAI"
    assert run("show", sequence, "--horizon", "24h", "--out", "a.png", cwd=home).stdout == "a.png\n"
    assert "found none of that name" in error_of("show", sequence.replace("500", "501"), "--horizon", "24h", cwd=home)


@pytest.mark.slow
def test_sequences_writes_the_published_files(home, tmp_path):
    lists = sorted((home / "data" / "M48").glob("*.txt"))
    run("sequences", *lists, "--out", tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.txt")) == [f"Seq16_{path.name}" for path in lists]
    assert len(list((tmp_path / "Seqs16").iterdir())) == 60
    text = run("sequences", tmp_path / "Seq16_flare_Mclass_48h_Test.txt", "--out", tmp_path).stdout
    assert "skipped, a sequence list already" in text


@pytest.mark.slow
def test_bad_lists_and_options_end_in_one_line_and_code_2(home, tmp_path):
    for text, message in [
        (f"{frame_name(1, 0)}\n", "expected two fields"),
        (f"{frame_name(1, 0)} 7\n", "expected label 0 or 1"),
        ("hmi.377 0\n", "expected a name of the form"),
        (f"{frame_name(1, 0)} 0\n" * 2, "expected every frame once in a list"),
    ]:
        path = tmp_path / "flare_Mclass_48h_TrainVal3.txt"
        path.write_text(text)
        for part in PARTS:
            if part != "TrainVal3":
                (tmp_path / f"flare_Mclass_48h_{part}.txt").write_text(f"{frame_name(9, PARTS.index(part))} 0\n")
        line = error_of("build", home / "data", "--labels", tmp_path, "--out", tmp_path / "out")
        assert message in line
        assert f"{path}:" in line
        assert not (tmp_path / "out").exists()
    assert "expected images in magnetogram_jpg/" in error_of("build", tmp_path)
    assert "expected one build of any task, found shards/24h (24h), shards/48h (48h)" in error_of("show", cwd=home)
    assert "expected a variant, found none" in error_of("info", "--urls", cwd=home)
    assert run("build", "--codec", "gif", cwd=home, code=2).stderr.count("\n") <= 4


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_error(home):
    for arguments in (["info"], ["info", "--horizon", "48h", "--keys"]):
        read_end, write_end = os.pipe()
        os.close(read_end)
        done = subprocess.run(
            [sys.executable, "-m", "sffshards", *arguments],
            cwd=home,
            stdout=write_end,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        os.close(write_end)
        assert (done.returncode, done.stderr) == (0, "")


def run_shell(text, *, cwd, **variables):
    """Run a line of bash in which ``$S`` is the program; give its exit code and what it printed."""
    program = f"{sys.executable} -m sffshards"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "S": program, **variables}
    done = subprocess.run(["bash", "-c", text], cwd=cwd, capture_output=True, env=environment)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("streams", ["2>&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_streams_that_nobody_reads_prevent_no_command(home, tmp_path, streams):
    out = tmp_path / "out"
    text = f"$S synth {out} --harps 2 --frames 1 {streams} && $S verify shards/48h {streams}"
    code, _, printed = run_shell(text, cwd=home)
    assert (code, printed) == (0, b"")
    assert len(list(out.rglob("*.jpg"))) == 12
    assert run_shell(f"$S info nowhere {streams}", cwd=home) == (2, b"", b"")


@pytest.mark.slow
def test_variables_that_other_programs_left_prevent_no_command(home):
    ranks = {"RANK": "junk", "LOCAL_RANK": "", "NODE_RANK": "-1", "SLURM_PROCID": "x", "JSM_NAMESPACE_RANK": "y"}
    others = {
        "MASTER_PORT": "z",
        "WORLD_SIZE": "2",
        "SLURM_JOB_ID": "z",
        "SLURM_NTASKS": "z",
        "PL_TRAINER_DEVICES": "z",
    }
    text = "$S train --horizon 48h --model mvit_tiny --accelerator nowhere"
    code, shown, printed = run_shell(text, cwd=home, **ranks, **others)
    assert (code, shown, printed.count(b"\n")) == (2, b"", 1)
    assert printed.startswith(b"error: --accelerator: expected one of auto, gpu, ")
    code, shown, printed = run_shell(text, cwd=home, PYTORCH_JIT="junk")
    assert (code, shown) == (2, b"")
    assert printed == (
        b"error: torch: cannot be imported (ValueError: Unknown setting of PYTORCH_JIT. Try using 0 or 1.); check its "
        b"installation, its environment variables, and that no file or folder of this name is imported instead\n"
    )


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("import os\nos.abort() if 'PYTORCH_CUDA_ALLOC_CONF' in os.environ else None", "found 'junk'; correct it"),
        ("", "torch: cannot be imported (ModuleNotFoundError: No module named 'torch."),
        ("raise OSError('libtorch.so: cannot open')", "torch: cannot be imported (OSError: libtorch.so: cannot open)"),
    ],
)
def test_a_library_that_ends_the_process_or_is_another_is_named_in_one_line(home, tmp_path, content, found):
    (tmp_path / "torch.py").write_text(content)
    variables = {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]), "PYTORCH_CUDA_ALLOC_CONF": "junk"}
    code, shown, printed = run_shell("$S train --horizon 48h", cwd=home, **variables)
    assert (code, shown, printed.count(b"\n")) == (2, b"", 1), printed.decode()
    assert found in printed.decode()


@pytest.mark.slow
def test_a_name_in_other_bytes_is_printed_as_it_is(home, tmp_path):
    place = tmp_path / os.fsdecode(b"\xc3\xa9\xff")
    shutil.copytree(home / "shards" / "48h", place)
    arguments = [
        sys.executable,
        "-m",
        "sffshards",
        "info",
        place,
        "--variant",
        "base",
        "--fold",
        "0",
        "--stage",
        "val",
        "--urls",
    ]
    for encoding, name in (("utf-8", b"\xc3\xa9\xff"), ("ascii", b"\\xe9\xff"), ("latin-1", b"\xe9\xff")):
        environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": os.pathsep.join(sys.path)}
        shown = subprocess.run(arguments, capture_output=True, check=True, env=environment).stdout
        assert shown == os.fsencode(tmp_path) + b"/" + name + b"/TrainVal4/M48-TrainVal4-base-00000.tar\n"


@pytest.mark.slow
def test_sequences_overwrite_neither_each_other_nor_what_is_there(home, tmp_path):
    lists = [home / "data" / f"M{hours}" / f"flare_Mclass_{hours}h_Test.txt" for hours in (24, 48)]
    run("sequences", *lists, "--out", tmp_path / "both")
    run("sequences", *lists, "--out", tmp_path / "both")  # the same again
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "list.txt").write_text(lists[0].read_text())
    (tmp_path / "b" / "list.txt").write_text(lists[0].read_text().split("\n", 1)[1])
    clash = error_of("sequences", tmp_path / "a" / "list.txt", tmp_path / "b" / "list.txt", "--out", tmp_path / "c")
    assert "expected one list that writes it" in clash
    assert not (tmp_path / "c").exists()
    published = tmp_path / "both" / f"Seq16_{lists[0].name}"
    published.write_text("mine")
    assert "found one of other content" in error_of("sequences", *lists, "--out", tmp_path / "both")
    assert published.read_text() == "mine"
    run("sequences", *lists, "--out", tmp_path / "both", "--force")
    assert published.read_text() != "mine"


def test_build_looks_at_every_horizon_before_it_makes_the_first(home, tmp_path):
    data = shutil.copytree(home / "data", tmp_path / "data")
    with (data / "M48" / "flare_Mclass_48h_Test.txt").open("a") as file:
        file.write("\ngarbage\n")
    assert "flare_Mclass_48h_Test.txt:" in error_of("build", data, "--out", tmp_path / "out", "--workers", "1")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_path_that_the_system_refuses_is_one_line(home, tmp_path):
    name = "x" * 300
    for arguments in (["info", name], ["build", name], ["build", home / "data", "--out", name], ["synth", name]):
        assert "file name too long" in error_of(*arguments, cwd=tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--part", "1/2", "--cluster", "local:2"],
            "--part: expected none of --force, --finish, --cluster, --jobs and a URL",
        ),
        (["--part", "1/2", "--finish"], "--part: expected none of"),
        (["--part", "1/2", "--jobs", "2"], "--part: expected none of"),
        (["--part", "2"], "--part: expected a part such as 3/16, from 1/16 to 16/16, found '2'"),
        (["--jobs", "3"], "--jobs: expected --cluster pbs or slurm beside it, found no --cluster"),
        (["--cluster", "local:2", "--workers", "2"], "--workers: expected none with --cluster, found 2"),
        (["--cluster", "nowhere"], "--cluster: expected tcp://host:port, the path of a scheduler file"),
    ],
)
def test_options_of_a_build_on_many_machines_that_do_not_go_together_are_refused(home, tmp_path, options, message):
    done = run("build", "data", "--horizon", "48h", "--out", tmp_path / "out", *options, cwd=home, code=2)
    assert f"error: {message}" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_info_on_a_horizon_that_is_not_there_says_so(home, tmp_path):
    run("build", home / "data", "--horizon", "48h", "--workers", "1", "--out", tmp_path / "shards")
    assert "expected a build of 24h, found" in error_of("info", tmp_path / "shards", "--horizon", "24h")


@pytest.mark.slow
def test_info_gives_names_as_json(home):
    keys = json.loads(run("info", "--horizon", "48h", "--keys", "--json", cwd=home).stdout)
    assert keys == run("info", "--horizon", "48h", "--keys", cwd=home).stdout.split()


@pytest.mark.slow
def test_verify_looks_at_every_build_even_after_a_damaged_manifest(home, tmp_path):
    folder = tmp_path / "shards"
    shutil.copytree(home / "shards", folder)
    manifest = folder / "24h" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"num_samples": ', '"num_samples": 1', 1))
    done = run("verify", folder, "--json", "--workers", "1", code=2)
    problems = json.loads(done.stdout)
    assert [len(problems[str(folder / task)]) for task in ("24h", "48h")] == [1, 0]
    assert "num_samples of TrainVal0/base must be the sum over its shards" in problems[str(folder / "24h")][0]


# Text of others -------------------------------------------------------------------------------------------------------

HOSTILE = "a\x1b]0;title\x07\x1b[2J\r\u202e\udcff[red]b"
PRINTABLE = r"a\x1b]0;title\x07\x1b[2J\r\u202e\udcff[red]b"


def test_errors_notes_and_results_cannot_control_the_terminal(capsys) -> None:
    error = InputError(HOSTILE, expected=HOSTILE, found=HOSTILE, fix=HOSTILE)
    assert str(error).count("\x1b") == 0
    assert str(error).startswith(r"a\x1b]0;title\x07\x1b[2J")
    terminal_output.make_progress().note(HOSTILE)
    assert capsys.readouterr().err == f"{PRINTABLE}\n"
    terminal_output.show(f"{HOSTILE}\n\tcafé")
    assert capsys.readouterr().out == f"{PRINTABLE}\n\tcafé\n"
    terminal_output.print_result(HOSTILE, {}, as_json=False)
    assert capsys.readouterr().out == f"{PRINTABLE}\n"


def test_progress_shows_names_as_they_are_and_not_as_markup(capsys, monkeypatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with terminal_output.make_progress().task(f"Read {HOSTILE}", 1):
        pass
    shown = capsys.readouterr().err
    assert "[red]b" in shown
    assert "\x1b]0;" not in shown


def test_an_interrupt_before_a_command_starts_ends_in_one_line(monkeypatch, capsys):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command_list, "register", interrupt)
    monkeypatch.setattr("sys.meta_path", list(sys.meta_path))
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 130
    assert capsys.readouterr().err == "interrupted\n"
