"""Windows of sixteen frames."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sffshards.base.folder_locks import folder_lock
from sffshards.base.progress import SILENT
from sffshards.domain.frame_sequences import OnShort, WindowRule
from sffshards.domain.frames import FrameId
from sffshards.domain.labelled_frames import LabelledFrame
from sffshards.domain.sample_sets import Part
from sffshards.domain.sequence_table import build_sequences, stretched_slots
from sffshards.domain.views import View, apply_view, undo_view
from sffshards.labels.label_lists import read_label_list
from sffshards.labels.sequence_lists import write_sequence_files, write_sequence_list
from tests.commands import error_of, run
from tests.tiny import PARTS, frame_name


def read(tmp_path, rows):
    path = tmp_path / "list.txt"
    path.write_text("".join(f"{frame_name(harp, number)} {label}\n" for harp, number, label in rows))
    return build_sequences(read_label_list(path), part=Part.TEST)


def numbers(sequence):
    first = frame_name(sequence.harp, 0)
    names = [frame.name for frame in sequence.frames]
    return [next(n for n in range(100) if frame_name(sequence.harp, n) == name) for name in names], first


def test_a_window_slides_over_the_last_sixteen_rows(tmp_path):
    sequences = read(tmp_path, [(7, n, n % 2) for n in range(20)])
    assert len(sequences) == 20
    assert numbers(sequences[15])[0] == list(range(16))
    assert numbers(sequences[19])[0] == list(range(4, 20))
    assert [s.label for s in sequences] == [n % 2 for n in range(20)]


def test_short_runs_are_stretched_as_published(tmp_path):
    sequences = read(tmp_path, [(7, n, 0) for n in range(5)])
    assert numbers(sequences[0])[0] == [0] * 16
    assert numbers(sequences[1])[0] == [0] * 8 + [1] * 8
    # int(i * 5 / 16) for i = 0..15
    assert numbers(sequences[4])[0] == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 4]
    assert [s.num_distinct for s in sequences] == [1, 2, 3, 4, 5]


@given(st.integers(1, 16))
def test_stretching_agrees_with_the_published_floating_point_rule(count):
    expected = [int(slot * (count / 16)) for slot in range(16)]
    assert stretched_slots(np.array([count], np.uint8)).tolist() == [expected]


def test_another_harp_starts_a_window_of_its_own(tmp_path):
    sequences = read(tmp_path, [(7, 0, 0), (7, 1, 0), (8, 0, 1)])
    assert (sequences[2].harp, sequences[2].num_distinct) == (8, 1)


def test_gaps_in_time_do_not_break_a_window_but_are_known(tmp_path):
    sequence = read(tmp_path, [(7, 0, 0), (7, 1, 0), (7, 20, 0)])[2]
    assert sequence.num_distinct == 3
    assert max(sequence.gaps_minutes) == 19 * 96


def test_sequence_files_are_as_published(tmp_path):
    sequences = read(tmp_path, [(7, 0, 0), (7, 1, 1)])
    write_sequence_list(tmp_path / "Seq16_list.txt", sequences)
    write_sequence_files(tmp_path / "Seqs16", sequences)
    assert (tmp_path / "Seq16_list.txt").read_text() == (
        "hmi.sharp_720s.7.20110220_000000_TAI.to.20110220_000000_TAI 0\n"
        "hmi.sharp_720s.7.20110220_000000_TAI.to.20110220_013600_TAI 1\n"
    )
    text = (tmp_path / "Seqs16" / "hmi.sharp_720s.7.20110220_000000_TAI.to.20110220_013600_TAI").read_text()
    assert text == "\n".join([frame_name(7, 0)] * 8 + [frame_name(7, 1)] * 8)


def frames_at(*minutes, harp=377):
    start = datetime(2011, 2, 13)
    return [
        LabelledFrame(frame=FrameId(harp=harp, t_rec_tai=start + timedelta(minutes=m)), label=0, row=row)
        for row, m in enumerate(minutes)
    ]


def minutes_of(sequence):
    return sorted({int((frame.t_rec_tai - datetime(2011, 2, 13)).total_seconds() // 60) for frame in sequence.frames})


@pytest.mark.slow
def test_the_command_removes_what_it_left_when_it_was_killed(tmp_path):
    (tmp_path / "list.txt").write_text(f"{frame_name(7, 0)} 0\n{frame_name(7, 1)} 1\n")
    (tmp_path / "seqs" / "Seqs16").mkdir(parents=True)
    ours = [".Seq16_list.txt.77.tmp", f"Seqs16/.{frame_name(7, 0)}.to.x_TAI.77.tmp"]
    for name in (*ours, ".thesis.txt.77.tmp"):
        (tmp_path / "seqs" / name).write_text("half")
    run("sequences", "list.txt", cwd=tmp_path)
    assert [path.name for path in (tmp_path / "seqs").rglob("*.tmp")] == [".thesis.txt.77.tmp"]
    assert len(list((tmp_path / "seqs" / "Seqs16").iterdir())) == 2
    with folder_lock(tmp_path / "seqs", progress=SILENT, wait=False):
        assert "that another sffshards command is writing to" in error_of("sequences", "list.txt", cwd=tmp_path)


def test_a_sequence_takes_nothing_from_before_a_longer_gap():
    rows = frames_at(0, 96, 192, 385, 481, 674)  # gaps of 96, 96, 193, 96 and 193 minutes
    rule = WindowRule(max_gap_minutes=192, min_frames=16, on_short=OnShort.KEEP)
    shown = [minutes_of(sequence) for sequence in build_sequences(rows, part=Part.TEST, windows=rule)]
    assert shown == [[0], [0, 96], [0, 96, 192], [385], [385, 481], [674]]
    for minutes in (193, 10**20):
        longer = replace(rule, max_gap_minutes=minutes)
        assert minutes_of(build_sequences(rows, part=Part.TEST, windows=longer)[-1]) == [0, 96, 192, 385, 481, 674]


def test_a_gap_in_one_region_is_none_in_another():
    rows = [*frames_at(0, 96), *frames_at(0, harp=392), *frames_at(192)]
    rule = WindowRule(max_gap_minutes=96, min_frames=16, on_short=OnShort.KEEP)
    assert minutes_of(build_sequences(rows, part=Part.TEST, windows=rule)[-1]) == [0, 96, 192]


def test_short_sequences_are_left_out_where_that_is_asked():
    rows = frames_at(*range(0, 96 * 20, 96))
    rule = WindowRule(max_gap_minutes=None, min_frames=3, on_short=OnShort.DROP)
    assert [s.row for s in build_sequences(rows, part=Part.TEST, windows=rule)] == list(range(2, 20))
    assert len(build_sequences(rows, part=Part.TEST, windows=replace(rule, on_short=OnShort.KEEP))) == 20


@pytest.mark.realdata
@pytest.mark.parametrize("part", PARTS)
def test_published_sequence_lists_come_out_byte_for_byte(real_labels, tmp_path, part):
    name = f"flare_Mclass_24h_{part}.txt"
    sequences = build_sequences(read_label_list(real_labels / "M24" / name), part=Part(part))
    write_sequence_list(tmp_path / name, sequences)
    assert (tmp_path / name).read_bytes() == (real_labels / "M24" / f"Seq16_{name}").read_bytes()


@pytest.mark.parametrize("view", list(View))
def test_views_are_torchvisions_and_can_be_undone(view):
    import torch
    from torchvision.transforms.v2 import functional as tv

    frames = np.random.default_rng(0).integers(0, 256, (2, 224, 224), np.uint8)
    tensor = torch.from_numpy(frames)
    expected = {
        View.NF: lambda x: x,
        View.HF: tv.hflip,
        View.VF: tv.vflip,
        View.R1: lambda x: tv.rotate(x, 90),
        View.R2: lambda x: tv.rotate(x, 180),
        View.R3: lambda x: tv.rotate(x, 270),
    }[view](tensor)
    seen = apply_view(frames, view)
    assert (seen == expected.numpy()).all()
    assert (undo_view(seen, view) == frames).all()
