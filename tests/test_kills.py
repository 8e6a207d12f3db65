"""Commands that are killed between any two of their writes and given again: the same files as without a kill."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from tests.command_chain import CASES, Case, Chain, copy_files, digest_outputs
from tests.forked import KILLED, kill_at, run_forked, use_fast_network

pytestmark = pytest.mark.long


def choose_kills(accesses: list[str], case: Case, seed: str) -> list[int]:
    """Choose the accesses before which a command is killed; between two writes is before the second is begun."""
    writes = [number for number, line in enumerate(accesses) if not line.startswith("read ")]
    if case.num_kills is not None:
        of = writes or list(range(len(accesses)))  # a command that writes nothing is killed while it reads
        return sorted(random.Random(seed).sample(of, case.num_kills))
    begun = [
        n for n in writes if accesses[n].split(" ")[0] in ("open", "os.remove") and "/.sffshards-" not in accesses[n]
    ]
    return [*begun, writes[-1]]


@pytest.mark.parametrize("name", CASES)
def test_a_command_killed_between_any_two_writes_and_given_again_leaves_the_same_files(
    name: str, chain: Chain, tmp_path: Path
) -> None:
    case, accesses, expected = CASES[name], chain.accesses[name], chain.digests[name]
    differing = {}
    kills = choose_kills(accesses, case, name)
    for number in kills:
        folder = tmp_path / str(number)
        copy_files(chain.folder, folder, case.inputs)

        def begin(folder: Path = folder, number: int = number) -> None:
            use_fast_network()
            kill_at(folder, number)

        killed = run_forked(*case.arguments, cwd=folder, before=begin)
        assert killed.code == KILLED, (accesses[number], killed)
        again = run_forked(*case.arguments, cwd=folder, before=use_fast_network)
        found = digest_outputs(folder, case.outputs) if again.code == 0 else {}
        if found != expected:
            names = sorted(one for one in {*found, *expected} if found.get(one) != expected.get(one))
            differing[f"before {accesses[number]}"] = (again.code, again.err[-600:], names)
        shutil.rmtree(folder)
    print(f"\n{name}: {len(kills)} kills, {len(differing)} of which left other files")
    assert differing == {}
