"""Label lists checked, rebuilt, compared and split."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sffshards.base.atomic_files import write_files
from sffshards.base.errors import ConflictError, InputError
from sffshards.domain.frames import FrameId
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import M24, M48, PUBLISHED_TASKS, GoesClass, Task
from sffshards.flares import (
    FlareTime,
    FrameClock,
    HarpFlares,
    assign_flares,
    find_lacking_flares,
    read_flare_list,
    read_harp_map,
)
from sffshards.labels import (
    PUBLISHED_SIZES,
    FindingKind,
    audit_labels,
    diff_labels,
    find_frames,
    find_label_lists,
    label_frames,
    read_labels,
    read_lists,
    split_harps,
    summarize_audit,
    write_rebuilt,
)
from tests.commands import error_of, run
from tests.tiny import PARTS, START, digest_tree, frame_name, make_data

FLARES = "start_time,peak_time,label,noaa_ar\n"
HOUR = timedelta(hours=1)


def make_lists(folder, rows, hours=48):
    """Write lists of rows `(HARP, frame number, label)` or raw lines by part; a part that is not named gets one row."""
    (folder / f"M{hours}").mkdir(parents=True, exist_ok=True)
    for position, part in enumerate(PARTS):
        given = rows.get(part, [(900 + position, 0, position % 2)])
        lines = [row if isinstance(row, str) else f"{frame_name(row[0], row[1])} {row[2]}" for row in given]
        (folder / f"M{hours}" / f"flare_Mclass_{hours}h_{part}.txt").write_text("\n".join(lines))
    return folder


def audit(folder, **options):
    return audit_labels(read_lists(find_label_lists(folder)), **options)


def found(audited):
    return {finding.kind: finding for finding in audited.findings}


def label_all(frames: list[FrameId], flares: HarpFlares, *, task: Task) -> list[int]:
    """Return the labels of frames, all of which the flare list determines."""
    labels = [label for label in label_frames(frames, flares, task=task) if label is not None]
    assert len(labels) == len(frames)
    return labels


def flares_of(tmp_path, rows, harps, clock=FrameClock.AS_WRITTEN):
    (tmp_path / "flares.csv").write_text(FLARES + "".join(f"{row}\n" for row in rows))
    (tmp_path / "map.txt").write_text("".join(f"{row}\n" for row in harps))
    return assign_flares(
        read_flare_list(tmp_path / "flares.csv"),
        read_harp_map(tmp_path / "map.txt"),
        flare_time=FlareTime.START,
        clock=clock,
    )


# The audit ----------------------------------------------------------------------------------------------------------


def test_good_lists_have_no_faults(tmp_path):
    audited = audit(make_data(tmp_path / "data"), images=tmp_path / "data" / "magnetogram_jpg")
    assert not audited.is_wrong
    assert summarize_audit(audited) == "label lists: no faults found"
    part = audited.parts[M48][Part.TRAIN_VAL_2]
    assert (part.num_rows, part.num_positive, part.num_harps, part.num_padded, part.num_gaps) == (10, 3, 2, 10, 0)


def test_rows_that_cannot_be_read_or_come_again_are_faults_with_their_place(tmp_path):
    again = f"{frame_name(100, 0)} 1"
    folder = make_lists(tmp_path, {"TrainVal1": [(100, 0, 0), "AR11429 0", (100, 1, 2), "", again, (100, 2, 1)]})
    audited = audit(folder)
    path = folder / "M48" / "flare_Mclass_48h_TrainVal1.txt"
    malformed, duplicate = (found(audited)[kind] for kind in (FindingKind.MALFORMED, FindingKind.DUPLICATE))
    assert [place.rpartition(f"{path}:")[2][:2] for place in malformed.places] == ["2:", "3:", "4:"]
    assert duplicate.places == (f"{path}:5: {frame_name(100, 0)}, first on line 1, labelled 1 and not 0",)
    # The rest of the list is looked at all the same.
    assert audited.parts[M48][Part.TRAIN_VAL_1].num_rows == 2
    assert audited.is_wrong


def test_order_gaps_and_the_grid_are_looked_at_by_harp(tmp_path):
    off = FrameId(harp=101, t_rec_tai=START + timedelta(days=1, minutes=97)).name
    rows = [(100, 0, 0), (101, 0, 0), (100, 2, 0), (100, 1, 1), f"{off} 0", (100, 9, 0)]
    audited = audit(make_lists(tmp_path, {"TrainVal1": rows}))
    part = audited.parts[M48][Part.TRAIN_VAL_1]
    # HARP 100: 0 to 2 is 192 min, 2 to 1 is back, 1 to 9 is 768; HARP 101: 97 min.
    assert (part.num_gaps, part.longest_gap_minutes) == (3, 768)
    back, grid = (found(audited)[kind] for kind in (FindingKind.OUT_OF_ORDER, FindingKind.OFF_GRID))
    assert (back.count, back.harps, grid.count, grid.harps) == (1, {100: 1}, 1, {101: 1})
    assert "_TrainVal1.txt:4: " in back.places[0]
    assert back.kind.is_wrong
    assert not grid.kind.is_wrong


def test_what_parts_share_is_found(tmp_path):
    rows = {
        "TrainVal0": [(100, 0, 0), (100, 1, 1), (101, 0, 0)],
        "TrainVal1": [(100, 2, 0), (200, 0, 0)],
        "Test": [(100, 1, 1), (150, 0, 1), (601, 3, 0)],
    }
    findings = found(audit(make_lists(tmp_path, rows)))
    straddling = findings[FindingKind.STRADDLING]
    assert straddling.places == ("HARP 100: TrainVal0 2 rows, TrainVal1 1 row, Test 1 row",)
    assert straddling.harps == {100: 4}
    assert findings[FindingKind.IN_TWO_PARTS].count == 1
    assert findings[FindingKind.IN_TWO_PARTS].places[0].endswith(f"{frame_name(100, 1)}, also in TrainVal0")
    # TrainVal0 goes from the first frame of HARP 100 to that of 101, a day later.
    overlap = findings[FindingKind.OVERLAP]
    assert overlap.count == 2
    assert [place.split(",")[0] for place in overlap.places] == ["TrainVal0", "TrainVal1"]
    assert findings[FindingKind.ONE_CLASS].count == 4
    assert not overlap.kind.is_wrong


def test_tasks_of_any_class_and_horizon_that_contradict_each_other_are_found(tmp_path):
    for task, label in (("C24", 0), ("M12", 1), ("M24", 1), ("X72", 1)):
        path = tmp_path / task / Task.parse(task).list_name(Part.TEST)
        path.parent.mkdir()
        path.write_text(f"{frame_name(100, 0)} {label}\n")
    of = {
        (finding.kind, finding.task): finding
        for finding in audit_labels(read_lists(find_label_lists(tmp_path))).findings
    }
    # A flare of class M is one of class C too; one of class X within 72 h may come after 24 h.
    wrong = {task for kind, task in of if kind is FindingKind.CONTRADICTION}
    assert wrong == {Task.parse("M12"), M24}
    assert (
        of[FindingKind.CONTRADICTION, M24].places[0].endswith(f"M24/flare_Mclass_24h_Test.txt:1: {frame_name(100, 0)}")
    )


def test_a_task_is_compared_with_every_next_wider_one(tmp_path):
    for task, numbers in (("C24", (0, 1)), ("M24", (0, 1)), ("M48", (0,))):
        path = tmp_path / task / Task.parse(task).list_name(Part.TEST)
        path.parent.mkdir()
        path.write_text("".join(f"{frame_name(100, number)} 0\n" for number in numbers))
    findings = audit_labels(read_lists(find_label_lists(tmp_path))).findings
    # The frame that M48 lacks, although C24 is another wider task, and has it.
    assert [one.harps for one in findings if one.kind is FindingKind.ONE_TASK and one.task is None] == [{100: 1}]


def test_horizons_that_contradict_each_other_are_found(tmp_path):
    make_lists(tmp_path, {"TrainVal0": [(100, 0, 1), (100, 1, 1), (100, 2, 0), (100, 3, 0)]}, hours=24)
    make_lists(tmp_path, {"TrainVal0": [(100, 0, 0), (100, 1, 1), (100, 2, 1)], "Test": [(600, 0, 1), (100, 3, 0)]})
    findings = found(audit(tmp_path))
    assert findings[FindingKind.CONTRADICTION].harps == {100: 1}
    assert (
        findings[FindingKind.CONTRADICTION]
        .places[0]
        .endswith(f"M24/flare_Mclass_24h_TrainVal0.txt:1: {frame_name(100, 0)}")
    )
    assert findings[FindingKind.OTHER_PART].places == (f"{frame_name(100, 3)}: TrainVal0 at 24h, Test at 48h",)
    # The Test lists name other frames: HARP 905 at 24h only, 600 at 48h only.
    assert findings[FindingKind.ONE_TASK].harps == {600: 1, 905: 1}


def test_images_that_lack_are_named(tmp_path):
    data = make_data(tmp_path / "data")
    gone = data / "magnetogram_jpg" / f"{frame_name(200, 1)}.fits.jpg"
    gone.unlink()
    (finding,) = [f for f in audit(data, images=gone.parent).findings if f.kind.is_wrong]
    assert (finding.kind, finding.count, finding.places) == (FindingKind.NO_IMAGE, 1, (str(gone),))


def test_rows_that_disagree_with_the_catalogue_are_found(tmp_path):
    # A flare 96 minutes after the first frame of HARP 100: that frame alone should be positive.
    flare = START + timedelta(minutes=96)
    rows = {"TrainVal1": [(100, 0, 0), (100, 1, 1), (100, 2, 0), (101, 0, 1)]}
    flares = flares_of(
        tmp_path,
        [f"{flare},,M1.0,11429", "2011-01-01 00:00,,C1.0,0", "2011-02-18 00:00,,C1.0,0"],
        ["100 11429", "101 11430"],
    )
    audited = audit(make_lists(tmp_path / "data", rows), flares=flares)
    findings = found(audited)
    assert findings[FindingKind.MISSED].harps == {100: 1}
    assert findings[FindingKind.MISSED].places[0].endswith(f":1: {frame_name(100, 0)}")
    part = audited.parts[M48][Part.TRAIN_VAL_1]
    assert (part.num_missed, part.num_extra) == (1, 2)
    # Other parts: five HARPs that the map does not know, two of them (901, 903, 905) labelled 1.
    assert findings[FindingKind.EXTRA].harps == {100: 1, 101: 1, 903: 1, 905: 1}
    assert list(findings[FindingKind.UNKNOWN_HARP].harps) == [900, 902, 903, 904, 905]
    # HARPs 903 to 905 are of 16 to 18 February, so that their 48 hours end after the last flare.
    assert list(findings[FindingKind.UNCOVERED].harps) == [904, 905]


def test_the_summary_is_one_line_that_counts_faults_and_names_the_command(tmp_path):
    rows = {"TrainVal0": [(100, 0, 0)], "Test": [(100, 1, 1)]}
    make_lists(tmp_path, rows, hours=24)
    make_lists(tmp_path, rows)
    assert summarize_audit(audit(tmp_path)) == (
        "label lists: 1 HARP in several parts (24h, 48h); see `sffshards labels check`"
    )


def test_a_list_without_rows_is_a_fault(tmp_path):
    folder = make_lists(tmp_path, {"Test": []})
    (finding,) = [f for f in audit(folder).findings if f.kind.is_wrong]
    assert (finding.kind, finding.places) == (FindingKind.EMPTY, (str(folder / "M48" / "flare_Mclass_48h_Test.txt"),))


# Labels rebuilt -----------------------------------------------------------------------------------------------------


def test_frames_are_found_in_lists_in_files_and_in_images(tmp_path):
    data = make_data(tmp_path / "data", frames_per_harp=2)
    by_part = find_frames(data, task=M24)
    assert [len(by_part[part]) for part in Part] == [4] * 6
    images = find_frames(data / "magnetogram_jpg", task=M24)
    assert list(images) == [None]
    assert images[None] == sorted(frame for frames in by_part.values() for frame in frames)
    names = [frame_name(7, 1), f"{frame_name(7, 0)} 1"]
    (tmp_path / "names.txt").write_text("\n".join(names) + "\n")
    assert find_frames(tmp_path / "names.txt", task=M48) == {None: [FrameId.parse(name.split()[0]) for name in names]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{frame_name(7, 0)}\n\n{frame_name(7, 1)}\n", r"names\.txt:2: expected a name of the form"),
        (f"{frame_name(7, 0)}\n" * 2, r"names\.txt:2: expected every frame once, found one of line 1"),
    ],
)
def test_a_bad_file_of_names_is_refused(tmp_path, text, message):
    (tmp_path / "names.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        find_frames(tmp_path / "names.txt", task=M24)


def test_a_place_without_frames_is_refused(tmp_path):
    with pytest.raises(InputError, match="expected label lists, or images named .*, found neither"):
        find_frames(tmp_path, task=M24)
    with pytest.raises(InputError, match="found no such folder"):
        find_frames(tmp_path / "absent", task=M24)


@given(
    st.lists(st.tuples(st.integers(-4000, 4000), st.sampled_from([11429, 11430, 11431])), min_size=1, max_size=12),
    st.lists(st.integers(-45, 45), min_size=1, max_size=20, unique=True),
    st.sampled_from(FrameClock),
    st.sampled_from(["2012-03-07", "2012-06-30", "2015-06-30", "2016-12-31"]),
)
def test_rebuilt_labels_follow_the_rule_and_horizons_never_contradict(tmp_path_factory, flares, numbers, clock, day):
    """Flares and frames around days at whose end a second leapt, of a HARP of two regions."""
    midnight = datetime.fromisoformat(day) + timedelta(days=1)
    starts = [(midnight + timedelta(minutes=minutes), region) for minutes, region in flares]
    # So that the list covers all horizons.
    starts += [(midnight + timedelta(days=days), 11431) for days in (-30, 30)]
    harp_flares = flares_of(
        tmp_path_factory.mktemp("rule"),
        [f"{start:%Y-%m-%d %H:%M},,M1.0,{region}" for start, region in starts],
        ["7 11429,11430"],
        clock=clock,
    )
    frames = [FrameId(harp=7, t_rec_tai=midnight + timedelta(minutes=96 * number)) for number in numbers]
    leaps = {"2012-03-07": (34, 34), "2012-06-30": (34, 35), "2015-06-30": (35, 36), "2016-12-31": (36, 37)}
    before, after = leaps[day]

    def expect(frame, hours):
        times = [
            start + timedelta(seconds=(before if start < midnight else after) if clock is FrameClock.TAI else 0)
            for start, region in starts
            if region != 11431
        ]
        return int(any(frame.t_rec_tai < time <= frame.t_rec_tai + timedelta(hours=hours) for time in times))

    made = {task: label_all(frames, harp_flares, task=task) for task in PUBLISHED_TASKS}
    for task, labels in made.items():
        assert labels == [expect(frame, task.horizon_hours) for frame in frames]
    assert all(short <= long for short, long in zip(made[M24], made[M48], strict=True))


def test_lists_are_not_written_over_others_and_none_is_where_one_would_be(tmp_path):
    (tmp_path / "b.txt").write_text("mine\n")
    contents = {tmp_path / "a.txt": b"new\n", tmp_path / "b.txt": b"new\n"}
    with pytest.raises(ConflictError, match=r"b\.txt: expected no such file, or the same, found one of other content"):
        write_files(contents, force=False)
    assert not (tmp_path / "a.txt").exists()
    write_files(contents, force=True)
    written = (tmp_path / "b.txt").stat().st_mtime_ns
    write_files(contents, force=False)  # the same again
    assert (tmp_path / "b.txt").stat().st_mtime_ns == written
    assert (tmp_path / "b.txt").read_text() == "new\n"


def test_a_record_of_labels_takes_in_the_lists_of_other_tasks_by_the_same_rule_only(tmp_path):
    of_24h, of_48h = {"M24/a.txt": {"rows": 1}}, {"M48/a.txt": {"rows": 2}}
    of_m, of_x = {"M1.0": {"num_flares": 5}}, {"X1.0": {"num_flares": 1}}
    record, path = {"clock": "tai", "thresholds": of_m, "lists": of_24h}, tmp_path / "labels.json"

    def write(of, *, force=False):
        write_rebuilt({tmp_path / name: "list" for name in of["lists"]}, of, out=tmp_path, force=force)
        content = json.loads(path.read_text())
        assert len(content.pop("record_sha256")) == 64
        return content

    assert write(record) == record
    assert write(record) == record
    assert write({**record, "lists": of_48h}) == {**record, "lists": of_24h | of_48h}
    of_x72 = {"X72/a.txt": {"rows": 4}}
    both = {"thresholds": of_m | of_x, "lists": of_24h | of_48h | of_x72}
    assert write({**record, "thresholds": of_x, "lists": of_x72}) == record | both
    other = {"clock": "as-written", "thresholds": of_m, "lists": {"M48/b.txt": {"rows": 3}}}
    whole = path.read_text()
    for text in (whole, whole.replace('"rows": 1', '"rows": 7'), "[]", "{}", "no JSON", '{"lists": 3}'):
        path.write_text(text)
        with pytest.raises(ConflictError, match=r"labels\.json: expected no such file, or the same"):
            write(other)
        assert path.read_text() == text
        assert not (tmp_path / "M48" / "b.txt").exists()
    assert write(other, force=True) == other


@pytest.mark.parametrize(
    ("stated", "of_24h", "of_48h"),
    [
        # The list covers hours 0 to 72, of its first and its last flare.
        ("", [None, 0, 1, 0, 0, None], [None, 1, 1, None, None, None]),
        ("# covers 2011-02-12 to 2011-02-17\n", [0, 0, 1, 0, 0, 0], [1, 1, 1, 0, 0, None]),
    ],
)
def test_a_label_is_known_only_where_the_list_covers_the_whole_horizon(tmp_path, stated, of_24h, of_48h):
    rows = [f"{START + timedelta(hours=hours)},,{name}" for hours, name in ((0, "C1.0,"), (72, "C1.0,"))]
    (tmp_path / "flares.csv").write_text(f"{stated}{FLARES}" + "\n".join([*rows, f"{START + 30 * HOUR},,M1.0,11429"]))
    (tmp_path / "map.txt").write_text("7 11429\n")
    flares = assign_flares(
        read_flare_list(tmp_path / "flares.csv"),
        read_harp_map(tmp_path / "map.txt"),
        flare_time=FlareTime.START,
        clock=FrameClock.AS_WRITTEN,
    )
    frames = [FrameId(harp=7, t_rec_tai=START + hours * HOUR) for hours in (-12, 0, 12, 30, 48, 50)]
    assert label_frames(frames, flares, task=M24) == of_24h
    assert label_frames(frames, flares, task=M48) == of_48h


# Lists compared and split --------------------------------------------------------------------------------------------


def test_a_comparison_says_what_differs():
    a, b, c, d, e = (FrameId.parse(frame_name(7, number)) for number in range(5))
    first = {a: (1, Part.TEST), b: (0, Part.TEST), c: (0, None), d: (1, Part.TEST)}
    second = {e: (1, None), d: (1, Part.TRAIN_VAL_0), c: (0, Part.TEST), b: (1, Part.TEST), a: (0, Part.TEST)}
    diff = diff_labels(first, second)
    assert (diff.lost, diff.gained, diff.moved, diff.only_first, diff.only_second) == ((a,), (b,), (d,), (), (e,))
    assert (diff.num_both, diff.is_same) == (4, False)
    assert diff_labels(first, first).is_same


@given(
    st.lists(st.tuples(st.integers(0, 300), st.integers(1, 40)), min_size=6, max_size=40),
    st.lists(st.integers(1, 20), min_size=6, max_size=6),
)
def test_parts_hold_whole_harps_in_time_and_are_as_near_to_their_sizes_as_harps_allow(harps, sizes):
    frames = [
        FrameId(harp=harp, t_rec_tai=START + timedelta(days=day, minutes=96 * number))
        for harp, (day, num_frames) in enumerate(harps, 1)
        for number in range(num_frames)
    ]
    homes = split_harps(frames, sizes=sizes)
    assert set(homes) == set(range(1, len(harps) + 1))
    assert set(homes.values()) == set(Part)
    first = {part: [harps[harp - 1][0] for harp in homes if homes[harp] is part] for part in Part}
    for earlier, later in zip(list(Part)[:-1], list(Part)[1:], strict=True):
        assert max(first[earlier]) <= min(first[later])
    rows = Counter(dict.fromkeys(Part, 0))
    for frame in frames:
        rows[homes[frame.harp]] += 1
    if len(harps) >= 30 and max(sizes) <= 2 * min(sizes):
        largest = max(num_frames for _, num_frames in harps)
        for part, size in zip(Part, sizes, strict=True):
            assert abs(rows[part] - size / sum(sizes) * len(frames)) <= 2 * largest


@pytest.mark.parametrize("sizes", [(1,) * 5, (0, 1, 1, 1, 1, 1), ()])
def test_sizes_that_are_none_are_refused(sizes):
    with pytest.raises(InputError, match="sizes: expected six whole numbers above 0"):
        split_harps([FrameId.parse(frame_name(harp, 0)) for harp in range(1, 9)], sizes=sizes)


def test_too_few_harps_for_six_parts_are_refused():
    with pytest.raises(InputError, match="HARPs: expected at least 6, one per part, found 2"):
        split_harps([FrameId.parse(frame_name(harp, 0)) for harp in (1, 2)], sizes=PUBLISHED_SIZES)


# The commands -------------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path):
    """Good data, a flare list and a map: HARP 101 of TrainVal0 flares."""
    make_data(tmp_path / "data")
    flare = START + timedelta(days=1, minutes=4 * 96 + 30)
    rows = [f"{flare},{flare},M1.0,11429", "2010-01-01 00:00,,C1.0,", "2012-01-01 00:00,,C1.0,0"]
    (tmp_path / "flares.csv").write_text(FLARES + "".join(f"{row}\n" for row in rows))
    (tmp_path / "map.txt").write_text("101 11429\n")
    return tmp_path


CATALOGUE = ["--flares", "flares.csv", "--harp-map", "map.txt"]


@pytest.mark.parametrize("empty", [24, 48])
def test_lists_of_one_horizon_without_a_row_are_a_finding(tmp_path, empty):
    for hours in (24, 48):
        path = tmp_path / f"M{hours}" / f"flare_Mclass_{hours}h_Test.txt"
        path.parent.mkdir()
        path.write_text("" if hours == empty else f"{frame_name(100, 0)} 1\n")
    found = {finding.kind: finding.count for finding in audit_labels(read_lists(find_label_lists(tmp_path))).findings}
    assert (found[FindingKind.EMPTY], found[FindingKind.ONE_TASK]) == (1, 1)


@pytest.mark.slow
def test_check_prints_for_people_and_for_programs_and_can_be_strict(home):
    text = run("labels", "check", "--strict", cwd=home).stdout
    assert "Faults\n  none found" in text
    assert "images: checked in data/magnetogram_jpg" in text
    straddling = home / "data" / "M48" / "flare_Mclass_48h_Test.txt"
    straddling.write_text(f"{straddling.read_text()}\n{frame_name(101, 30)} 1")
    assert (
        "  48h: 1 HARP in several parts\n    HARP 101: TrainVal0 5 rows, Test 1 row"
        in run("labels", "check", cwd=home).stdout
    )
    run("labels", "check", "--strict", cwd=home, code=1)
    document = json.loads(run("labels", "check", *CATALOGUE, "--json", cwd=home).stdout)
    assert document["is_wrong"]
    kinds = {finding["kind"] for finding in document["findings"]}
    assert {"straddling", "one_task", "no_image", "extra", "missed"} <= kinds
    assert document["catalogue"]["disagreements_by_clock"]["tai"]["M48"].keys() == {"missed", "extra"}


@pytest.mark.slow
def test_rebuild_leaves_out_frames_that_the_list_does_not_tell(home):
    lines = (home / "flares.csv").read_text().splitlines()
    end = START + timedelta(days=3, hours=7)  # 48 hours after a time between the fifth and the sixth frame
    covers = f"# covers 2011-01-01 to {end:%Y-%m-%d %H:%M}"
    (home / "flares.csv").write_text("\n".join([covers, *lines[:2]]))  # HARP 101 of TrainVal0 flares, nothing else
    names = [frame_name(101, number) for number in range(6)]  # the flare comes 30 minutes after the fifth
    (home / "frames.txt").write_text("\n".join(names))
    options = ["labels", "rebuild", "frames.txt", *CATALOGUE, "--horizon", "48h"]
    path = home / "labels" / "M48" / "flare_Mclass_48h_orig.txt"
    text = run(*options, cwd=home).stdout
    assert "5 rows, 5 positive, 1 more left out, as the flare list does not cover their horizon" in text
    assert path.read_text().splitlines() == [f"{name} 1" for name in names[:5]]
    run(*options, "--flares-until", "2011-03-01", "--force", cwd=home)
    assert path.read_text().splitlines() == [*(f"{name} 1" for name in names[:5]), f"{names[5]} 0"]
    (home / "frames.txt").write_text(names[5])
    assert "which covers that of none of 1; use a list of these times" in error_of(*options, "--force", cwd=home)


@pytest.mark.slow
def test_rebuild_writes_lists_that_are_checked_parted_and_compared(home):
    text = run("labels", "rebuild", *CATALOGUE, cwd=home).stdout
    assert (
        "labels/M48/flare_Mclass_48h_TrainVal0.txt: 10 rows, 5 positive, 5 with a HARP that is not in the map" in text
    )
    rebuilt = (home / "labels" / "M48" / "flare_Mclass_48h_TrainVal0.txt").read_text().splitlines()
    assert rebuilt == [f"{frame_name(harp, number)} {harp % 2}" for harp in (100, 101) for number in range(5)]
    for task in ("48h", "24h"):  # one after the other: the same
        run("labels", "rebuild", *CATALOGUE, "--horizon", task, "--out", "apart", cwd=home)
    lists = {name for name in digest_tree(home / "labels") if name != "labels.json"}
    assert len(lists) == 12
    assert all((home / "apart" / name).read_bytes() == (home / "labels" / name).read_bytes() for name in lists)
    record = json.loads((home / "labels" / "labels.json").read_text())
    assert json.loads((home / "apart" / "labels.json").read_text()) == record
    assert (list(record["thresholds"]), record["flare_time"], record["clock"]) == (["M1.0"], "start", "as-written")
    assert record["lists"]["M48/flare_Mclass_48h_Test.txt"] == {
        "rows": 10,
        "positive": 0,
        "rows_of_unknown_harps": 10,
        "frames_left_out": 0,
    }
    checked = run("labels", "check", "labels", *CATALOGUE, "--strict", cwd=home).stdout
    assert "missed  extra" in checked
    diff = json.loads(run("labels", "diff", "data", "labels", "--json", cwd=home).stdout)
    assert diff["48h"]["gained"] == [frame_name(101, 0), frame_name(101, 1)]
    assert len(diff["48h"]["lost"]) == 15
    run("labels", "diff", "data", "labels", "--strict", cwd=home, code=1)
    run("labels", "diff", "data", "data", "--strict", cwd=home)
    assert "expected no such file, or the same" in error_of("labels", "rebuild", *CATALOGUE, "--clock", "tai", cwd=home)
    assert "0 positive" in run("labels", "rebuild", *CATALOGUE, "--threshold", "X1", cwd=home).stdout


@pytest.mark.slow
def test_labels_of_images_become_a_data_set_of_six_parts(home):
    images = ["data/magnetogram_jpg", "--horizon", "48h", "--time", "peak", "--clock", "tai"]
    run("labels", "rebuild", *images, *CATALOGUE, cwd=home)
    assert [path.name for path in (home / "labels" / "M48").iterdir()] == ["flare_Mclass_48h_orig.txt"]
    text = run("labels", "split", "labels", cwd=home).stdout
    assert text.count("48h  ") == 6
    parts = find_label_lists(home / "parts")[M48]
    assert sum(len(path.read_text().splitlines()) for path in parts.values()) == 60
    assert not [f for f in audit(home / "parts").findings if f.kind.is_wrong]
    assert run("labels", "diff", "labels", "parts", "--strict", cwd=home).stdout.startswith("48h: 60 frames in both")
    build = run("build", "data", "--labels", "parts", "--dry-run", "--horizon", "48h", cwd=home).stdout
    assert "60 sequences" in build


@pytest.mark.slow
def test_maps_and_lists_of_which_nothing_matches_are_reported_or_refused(home):
    (home / "map.txt").write_text("9999 11429\n")
    error = error_of("labels", "rebuild", *CATALOGUE, cwd=home)
    assert "map.txt: expected HARPs of the frames in data, such as 100, found none of 12 HARPs; name the map" in error
    assert not (home / "labels").exists()
    (home / "map.txt").write_text("101 11999\n")
    text = run("labels", "rebuild", *CATALOGUE, cwd=home).stdout
    assert "map.txt: no region of it is that of any flare in flares.csv" in text
    assert not json.loads((home / "labels" / "labels.json").read_text())["is_matched"]


@pytest.mark.slow
def test_near_real_time_regions_are_labelled_by_a_map_of_their_numbers_only(home):
    record = {"format_version": 1, "options": {"harp_numbers": "near-real-time"}}
    (home / "data" / "ingest.json").write_text(json.dumps(record))
    for data in ("data", "data/magnetogram_jpg"):
        error = error_of("labels", "rebuild", data, *CATALOGUE, cwd=home)
        assert "map.txt: expected near-real-time HARP numbers, as in data" in error
        assert "found definitive ones, which are numbers of other regions" in error
    assert "expected near-real-time HARP numbers" in error_of("labels", "check", *CATALOGUE, cwd=home)
    assert "expected near-real-time HARP numbers" in error_of("baselines", *CATALOGUE, cwd=home)
    (home / "map.txt").write_text("# near-real-time HARP numbers\n101 11429\n")
    run("labels", "rebuild", *CATALOGUE, cwd=home)
    assert json.loads((home / "labels" / "labels.json").read_text())["harp_numbers"] == "near-real-time"
    run("labels", "check", "labels", *CATALOGUE, cwd=home)
    whole = (home / "labels" / "labels.json").read_text()
    (home / "labels" / "labels.json").write_text(whole.replace("near-real-time", "near-real-tame"))
    assert (
        "labels.json: expected the record of label lists, found content that does not match its checksum"
        in error_of("labels", "check", "labels", *CATALOGUE, cwd=home)
    )
    (home / "labels" / "labels.json").write_text(whole)
    (home / "map.txt").write_text("101 11429\n")
    for lists in ("labels", "labels/M48"):
        assert "expected near-real-time HARP numbers" in error_of("labels", "check", lists, *CATALOGUE, cwd=home)


@pytest.mark.slow
def test_lists_and_images_of_different_harp_numbers_are_never_mixed(home):
    run("labels", "rebuild", *CATALOGUE, "--out", "definitive", cwd=home)
    record = {"format_version": 1, "options": {"harp_numbers": "near-real-time"}}
    (home / "data" / "ingest.json").write_text(json.dumps(record))
    assert (
        "data/M48: expected lists of near-real-time HARP numbers, as data/magnetogram_jpg has, found lists"
        in error_of("build", "data", "--horizon", "48h", "--dry-run", cwd=home)
    )
    assert "expected definitive HARP numbers, as definitive/labels.json states, found near-real-time" in error_of(
        "build", "data", "--labels", "definitive", "--horizon", "48h", "--dry-run", cwd=home
    )
    images = ["--images", "data/magnetogram_jpg"]
    assert "expected definitive HARP numbers" in error_of("labels", "check", "definitive", *images, cwd=home)
    (home / "map.txt").write_text("# near-real-time\n101 11429\n")
    run("labels", "rebuild", *CATALOGUE, cwd=home)
    assert "expected definitive HARP numbers" in error_of("labels", "diff", "labels", "definitive", cwd=home)
    run("labels", "split", "labels", cwd=home)
    assert json.loads((home / "parts" / "labels.json").read_text())["harp_numbers"] == "near-real-time"
    for lists in ("labels", "parts", "labels/M48"):
        run("build", "data", "--labels", lists, "--horizon", "48h", "--dry-run", cwd=home)
    (home / "map.txt").write_text("101 11429\n")
    error = error_of("labels", "check", "labels", *CATALOGUE, cwd=home)
    assert "expected near-real-time HARP numbers, as in labels" in error


@pytest.mark.slow
def test_several_flare_lists_are_compared_with_labels_and_with_each_other(home):
    header, *rows = (home / "flares.csv").read_text().splitlines()
    lacking = [row for row in rows if "11429" not in row]
    (home / "other.csv").write_text("\n".join([header, *lacking, ""]))
    one = json.loads(run("labels", "check", *CATALOGUE, "--json", cwd=home).stdout)
    both = json.loads(run("labels", "check", *CATALOGUE, "--flares", "other.csv", "--json", cwd=home).stdout)
    counts = [
        {kind: sum(f["count"] for f in document["findings"] if f["kind"] == kind) for kind in ("missed", "disputed")}
        for document in (one, both)
    ]
    assert counts[0]["missed"] > counts[0]["disputed"] == 0
    assert counts[1]["missed"] == 0
    assert counts[1]["disputed"] >= counts[0]["missed"]
    start = (START + timedelta(days=1, minutes=4 * 96 + 30)).strftime("%Y-%m-%d %H:%M")
    assert both["lacking_flares"] == [
        {
            "source": "flares.csv",
            "line": 2,
            "flare": f"M1.0 of {start}, AR 11429",
            "lacking": "other.csv",
            "instead": None,
        }
    ]
    text = run("labels", "check", *CATALOGUE, "--flares", "other.csv", cwd=home).stdout
    assert f"flares.csv: 1 flare that other.csv lacks\n  line 2: M1.0 of {start}, AR 11429" in text


def test_a_region_that_parts_share_through_different_harps_is_a_fault(home):
    (home / "map.txt").write_text("100 11429\n101 11429,11430\n200 11430\n201 11431\n")
    document = json.loads(run("labels", "check", *CATALOGUE, "--json", cwd=home).stdout)
    place = "NOAA 11430: HARP 101 in TrainVal0, HARP 200 in TrainVal1"
    shared = [finding for finding in document["findings"] if finding["kind"] == "shared_region"]
    assert [finding["places"] for finding in shared] == [[place]] * 2
    assert all(finding["is_wrong"] for finding in shared)


@pytest.mark.slow
def test_files_of_the_system_are_passed_over_and_other_files_beside_images_counted(home):
    folder = home / "data" / "magnetogram_jpg"
    for name in (f"._{frame_name(101, 0)}.fits.jpg", "Thumbs.db", ".DS_Store", "desktop.ini"):
        (folder / name).write_bytes(b"x")
    assert "not taken" not in run("labels", "rebuild", "data/magnetogram_jpg", *CATALOGUE, cwd=home).stderr
    for name in (f"{frame_name(7, 0)}.jpg", "notes.txt"):
        (folder / name).write_bytes(b"x")
    (folder / "more").mkdir()
    told = run("labels", "rebuild", "data/magnetogram_jpg", *CATALOGUE, cwd=home).stderr
    assert told.count("1 image of another name, 1 subfolder, 1 other file not taken") == 1


def test_split_keeps_labels_and_parts_agree_at_both_horizons(home):
    run("labels", "split", "--sizes", "published", "--out", "new", cwd=home)
    before, after = read_labels(home / "data"), read_labels(home / "new")
    for task in PUBLISHED_TASKS:
        assert {frame: label for frame, (label, _) in after[task].items()} == {
            frame: label for frame, (label, _) in before[task].items()
        }
    assert {f: part for f, (_, part) in after[M24].items()} == {f: part for f, (_, part) in after[M48].items()}


@pytest.mark.slow
def test_bad_input_ends_in_one_line(home):
    assert "expected a flare list and a map of HARPs, found neither" in error_of("labels", "rebuild", cwd=home)
    assert "expected both --flares and --harp-map" in error_of("labels", "check", "--flares", "flares.csv", cwd=home)
    assert "--sizes: expected equal, published or six" in error_of("labels", "split", "--sizes", "1,2", cwd=home)
    assert "nowhere: expected lists such as" in error_of("labels", "check", "nowhere", cwd=home)


@pytest.mark.slow
def test_lists_whose_horizons_do_not_match_are_refused(home):
    (home / "mine.txt").write_text(f"{frame_name(7, 0)} 1\n")
    assert "expected a horizon such as _48h_ in the name of the list" in error_of(
        "labels", "split", "mine.txt", cwd=home
    )
    lists = [home / "data" / f"M{hours}" / f"flare_Mclass_{hours}h_Test.txt" for hours in (24, 48)]
    assert "expected lists of 24h, as" in error_of("labels", "diff", *lists, cwd=home)
    assert "lists: 0 frames in both" in run("labels", "diff", "mine.txt", lists[0], cwd=home).stdout


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--threshold", "strong", "--threshold: expected a class such as M1.0"),
        ("--time", "noon", "--time: expected start or peak, found 'noon'"),
        ("--clock", "local", "--clock: expected as-written or tai, found 'local'"),
    ],
)
def test_a_choice_that_there_is_none_of_is_refused(home, option, value, message):
    assert message in error_of("labels", "rebuild", *CATALOGUE, option, value, cwd=home)


# The published lists ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def catalogue(real_data):
    """The real flare list and map of HARPs, by clock."""
    flares = read_flare_list(real_data / "catalog" / "flares_2010_2025.csv")
    regions = read_harp_map(real_data / "catalog" / "harp_to_noaa.txt")
    return {clock: assign_flares(flares, regions, flare_time=FlareTime.START, clock=clock) for clock in FrameClock}


@pytest.mark.realdata
def test_the_faults_of_the_published_lists_are_found(real_labels: Path, catalogue):
    """Counted before by a program of its own."""
    audited = audit(real_labels, flares=catalogue[FrameClock.AS_WRITTEN])
    of = {(finding.kind, finding.task): finding for finding in audited.findings}
    assert of[FindingKind.CONTRADICTION, M24].count == 59
    for task, (missed, extra), in_test in ((M24, (333, 87), (76, 15)), (M48, (0, 13), (0, 0))):
        assert set(of[FindingKind.STRADDLING, task].harps) == {924, 1946, 3942}
        parts = audited.parts[task]
        assert sum(part.num_missed for part in parts.values()) == missed
        assert sum(part.num_extra for part in parts.values()) == extra
        assert (parts[Part.TEST].num_missed, parts[Part.TEST].num_extra) == in_test
        assert [part.num_padded for part in parts.values()] == [2_544, 2_446, 2_587, 2_508, 2_393, 2_308]
    wrong = {kind for kind, _ in of if kind.is_wrong}
    assert wrong == {
        FindingKind.STRADDLING,
        FindingKind.CONTRADICTION,
        FindingKind.MISSED,
        FindingKind.EXTRA,
        FindingKind.SHARED_REGION,
    }
    assert any(place.startswith("NOAA 11789: HARP 2942 ") for place in of[FindingKind.SHARED_REGION, M48].places)


@pytest.mark.realdata
def test_13_labels_of_harp_3535_follow_a_flare_that_one_list_lacks(real_data, real_labels: Path, catalogue, tmp_path):
    lines = (real_data / "catalog" / "flares_2010_2025.csv").read_text().splitlines()
    lines.append("30408,2013-12-31 21:45:00,2013-12-31 21:58:00,2013-12-31 22:20:00,M6.4,11936,G15,M")
    (tmp_path / "flares.csv").write_text("\n".join(lines))
    without, clock = catalogue[FrameClock.AS_WRITTEN], FrameClock.AS_WRITTEN
    read = read_flare_list(tmp_path / "flares.csv")
    whole = assign_flares(read, without.harp_map, flare_time=FlareTime.START, clock=clock)
    audited = audit(real_labels, flares=without, other_flares=[whole])
    of = {(finding.kind, finding.task): finding for finding in audited.findings}
    assert (FindingKind.EXTRA, M48) not in of
    assert of[FindingKind.DISPUTED, M48].harps[3535] == 13
    (lacking,) = find_lacking_flares([without.flares, whole.flares], GoesClass.parse("M1.0"))
    assert (str(lacking.flare.goes_class), lacking.flare.noaa_region, lacking.instead) == ("M6.4", 11936, None)


@pytest.mark.realdata
@pytest.mark.parametrize(("clock", "num_other"), [(FrameClock.AS_WRITTEN, 13), (FrameClock.TAI, 15)])
def test_rebuilt_labels_are_the_published_ones_but_for_their_faults(real_labels: Path, catalogue, clock, num_other):
    frames = [frame for frames in find_frames(real_labels, task=M48).values() for frame in frames]
    made = {task: label_all(frames, catalogue[clock], task=task) for task in PUBLISHED_TASKS}
    published = read_labels(real_labels)[M48]
    assert sum(published[frame][0] != label for frame, label in zip(frames, made[M48], strict=True)) == num_other
    assert all(short <= long for short, long in zip(made[M24], made[M48], strict=True))
    # Nor does the list made for 24h contradict the published one for 48h.
    assert all(label <= published[frame][0] for frame, label in zip(frames, made[M24], strict=True))


@pytest.mark.realdata
def test_the_published_frames_are_parted_without_straddling_at_about_the_published_sizes(real_labels: Path):
    labels = read_labels(real_labels)[M48]
    homes = split_harps(labels, sizes=PUBLISHED_SIZES)
    rows = Counter(homes[frame.harp] for frame in labels)
    assert all(abs(rows[part] - size) <= 50 for part, size in zip(Part, PUBLISHED_SIZES, strict=True))
    published = {frame.harp: part for frame, (_, part) in labels.items()}
    moved = {harp for harp, part in homes.items() if part is not published[harp]}
    assert len(moved) <= 20
