"""Synthetic data: what they depend on, how labels follow from flares and flares from field, whose folders are kept."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sffshards.base.errors import ConflictError, InputError
from sffshards.domain.frames import FrameId
from sffshards.domain.sample_sets import Part
from sffshards.domain.task import M1, M24, M48, PUBLISHED_TASKS, GoesClass, Task
from sffshards.executors.executor import Executor
from sffshards.executors.local_executor import IN_PROCESS, LocalExecutor
from sffshards.synth import SynthReport, synthesize, synthesize_for_lists
from sffshards.synth.active_region import FieldHistory, Region, make_region
from sffshards.synth.frame_keywords import measure_keywords
from sffshards.synth.observation_plan import plan_parts
from sffshards.synth.region_drawing import draw_frame
from sffshards.synth.synthetic_flares import Flare, draw_flares, flare_rate_per_hour, label_frames, truncate_class
from sffshards.tabular.keyword_tables import read_keyword_table
from tests.commands import run

T0 = datetime(2012, 3, 7)
SMALL = {"num_harps": 2, "frames_per_harp": 3}


def make(
    out: Path,
    *,
    seed: int = 5,
    num_harps: int = 2,
    frames_per_harp: int = 3,
    force: bool = False,
    executor: Executor = IN_PROCESS,
) -> SynthReport:
    """Make six parts of two regions of three frames: 36 images."""
    return synthesize(
        out, seed=seed, num_harps=num_harps, frames_per_harp=frames_per_harp, force=force, executor=executor
    )


def region(*, seed: int = 1, harp: int = 1, flux: float = 0.5, pil: float = 0.0) -> Region:
    return make_region(seed, harp, t_start_tai=T0, history=FieldHistory(hours=(0.0,), flux=(flux,), pil=(pil,)))


def frame(harp: int = 1, *, hours: float = 0.0) -> FrameId:
    return FrameId(harp=harp, t_rec_tai=T0 + timedelta(hours=hours))


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of all that a user sees in a folder."""
    paths = (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


def polarity_line_gradient(image: np.ndarray) -> float:
    """Sum of the gradient where both polarities above 25 grey levels touch, after Schrijver (2007)."""
    field = image.astype(float) - 128
    touch = np.ones((field.shape[0] - 2, field.shape[1] - 2), dtype=bool)
    for mask in (field > 25, field < -25):
        near = np.zeros_like(touch)
        for dy in range(3):
            for dx in range(3):
                near |= mask[dy : dy + touch.shape[0], dx : dx + touch.shape[1]]
        touch &= near
    return float(np.hypot(*np.gradient(field))[1:-1, 1:-1][touch].sum())


def read_list(path: Path) -> dict[str, int]:
    return {name: int(label) for name, label in (line.split() for line in path.read_text().splitlines())}


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synthetic") / "data"
    make(out)
    return out


class TestImage:
    def test_is_grey_and_of_the_regions_own_size(self):
        image = draw_frame(region(), frame())
        assert image.dtype == np.uint8
        assert image.shape == (region().height_px, region().width_px)

    @pytest.mark.parametrize("seed", range(6))
    def test_background_of_a_quiet_region_is_no_field(self, seed):
        image = draw_frame(region(seed=seed, flux=0.05), frame())
        assert np.median(image) == pytest.approx(128, abs=1)
        assert 1 < image.std() < 6

    def test_polarities_of_a_region_balance(self):
        field = np.concatenate([draw_frame(region(harp=h, flux=0.8), frame(h)).ravel() - 128.0 for h in range(1, 13)])
        assert abs(field.mean()) < 0.2 * np.abs(field).mean()

    def test_a_large_region_saturates_both_ways(self):
        image = draw_frame(region(flux=1.0, pil=0.8), frame())
        assert (int(image.min()), int(image.max())) == (0, 255)

    def test_unsigned_flux_in_pixels_rises_with_the_flux_asked_for(self):
        means = [
            np.mean([np.abs(draw_frame(region(harp=h, flux=flux), frame(h)) - 128.0).mean() for h in range(1, 7)])
            for flux in (0.05, 0.2, 0.5, 1.0)
        ]
        assert means == sorted(means)
        assert means[-1] > 4 * means[0]

    def test_gradient_across_the_inversion_line_rises_with_the_strength_asked_for(self):
        sums = [
            np.mean(
                [polarity_line_gradient(draw_frame(region(harp=h, flux=0.7, pil=p), frame(h))) for h in range(1, 7)]
            )
            for p in (0.0, 0.4, 0.9)
        ]
        assert sums == sorted(sums)
        assert sums[-1] > 3 * sums[0]

    def test_neighbours_in_time_look_alike_but_differ(self):
        images = [draw_frame(region(), frame(hours=h)).astype(float) for h in (0, 1.6, 96)]
        near, far = (float(np.corrcoef(images[0].ravel(), image.ravel())[0, 1]) for image in images[1:])
        assert 0.9 < near < 1
        assert far < near

    def test_does_not_depend_on_what_was_drawn_before(self):
        alone = draw_frame(region(harp=2), frame(2, hours=30))
        for hours in (0, 1.6, 29, 60):
            draw_frame(region(harp=2), frame(2, hours=hours))
            draw_frame(region(harp=3), frame(3, hours=hours))
        assert np.array_equal(draw_frame(region(harp=2), frame(2, hours=30)), alone)

    def test_differs_by_seed_and_by_harp(self):
        def look(seed, harp):
            patch = replace(region(seed=seed, harp=harp), width_px=400, height_px=200)
            return draw_frame(patch, frame(harp)).tobytes()

        assert len({look(1, 1), look(1, 2), look(2, 1)}) == 3

    def test_a_frame_before_the_first_one_can_be_drawn(self):
        assert np.median(draw_frame(region(flux=0.05), frame(hours=-30))) == pytest.approx(128, abs=1)

    def test_a_frame_of_another_harp_is_refused(self):
        with pytest.raises(ValueError, match="expected a frame of HARP 1, got one of HARP 2"):
            draw_frame(region(), frame(2))


class TestFlares:
    def test_rate_rises_with_flux_and_with_field_along_the_inversion_line(self):
        flux, pil = np.meshgrid(np.linspace(0.05, 1.2, 12), np.linspace(0, 1, 12))
        rate = flare_rate_per_hour(flux, pil)
        assert (np.diff(rate, axis=0) > 0).all()
        assert (np.diff(rate, axis=1) > 0).all()
        assert rate.min() < 1e-6
        assert rate.max() < 0.1

    def test_more_field_brings_more_flares(self):
        def num_major(flux, pil):
            flares = (draw_flares(region(harp=h, flux=flux, pil=pil), num_hours=100, attempt=0) for h in range(1, 41))
            return sum(flare.goes_class >= M1 for of_region in flares for flare in of_region)

        weak, large, both = num_major(0.3, 0.3), num_major(0.9, 0.3), num_major(0.9, 0.8)
        assert weak < large < both
        assert both > 100

    def test_one_in_eight_is_of_class_m_or_above(self):
        flares = [f for h in range(1, 41) for f in draw_flares(region(harp=h, flux=1, pil=1), num_hours=200, attempt=0)]
        assert len(flares) > 2000
        assert np.mean([flare.goes_class >= M1 for flare in flares]) == pytest.approx(1 / 8, abs=0.02)

    @pytest.mark.parametrize(
        ("magnitude", "goes_class", "is_major"),
        [
            (10, "C1.0", False),
            (99, "C9.9", False),
            (100, "M1.0", True),
            (543, "M5.4", True),
            (999, "M9.9", True),
            (1000, "X1.0", True),
            (5430, "X5.4", True),
            (28_000, "X28.0", True),
        ],
    )
    def test_classes_are_those_of_goes(self, magnitude, goes_class, is_major):
        truncated = truncate_class(magnitude)
        assert (str(truncated), truncated >= M1) == (goes_class, is_major)

    def test_window_opens_after_the_frame_and_closes_with_the_horizon(self):
        flares = [Flare(harp=1, t_start_tai=T0 + timedelta(hours=30), goes_class=M1)]
        frames = [frame(hours=h) for h in (5.99, 6, 29.99, 30)]
        assert label_frames(frames, flares, task=M24) == [0, 1, 1, 0]
        assert label_frames(frames, flares, task=M48) == [1, 1, 1, 0]

    def test_a_flare_of_class_c_counts_only_where_the_task_asks_for_it(self):
        flares = [Flare(harp=1, t_start_tai=T0 + timedelta(hours=1), goes_class=GoesClass.parse("C9.9"))]
        assert label_frames([frame()], flares, task=M48) == [0]
        assert label_frames([frame()], flares, task=Task.parse("C48")) == [1]


class TestPlan:
    @pytest.mark.parametrize("seed", range(5))
    def test_every_part_has_both_classes_at_both_horizons(self, seed):
        for part, regions in plan_parts(seed, num_harps=12, frames_per_harp=40).items():
            near, far = ([label for observed in regions for label in observed.labels(task)] for task in PUBLISHED_TASKS)
            assert len(near) == 480, part
            assert 14 <= sum(near) <= sum(far) <= 240, part
            assert all(b >= a for a, b in zip(near, far, strict=True)), part

    def test_positives_at_48_hours_are_a_tenth_to_a_third_over_all(self):
        labels = [
            label
            for seed in range(4)
            for regions in plan_parts(seed, num_harps=12, frames_per_harp=40).values()
            for observed in regions
            for label in observed.labels(M48)
        ]
        assert 0.10 < np.mean(labels) < 0.33

    @settings(max_examples=25)
    @given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.integers(1, 8))
    def test_follows_in_time_on_the_96_minute_grid_and_shares_no_harp(self, seed, num_harps, frames_per_harp):
        parts = plan_parts(seed, num_harps=num_harps, frames_per_harp=frames_per_harp)
        assert list(parts) == list(Part)
        harps = [observed.region.harp for regions in parts.values() for observed in regions]
        assert all(a < b for a, b in pairwise(harps))
        last = datetime.min
        for regions in parts.values():
            times = [f.t_rec_tai for observed in regions for f in observed.frames]
            assert last < min(times)
            last = max(times) + timedelta(hours=48)
            for observed in regions:
                assert len(observed.frames) == frames_per_harp
                minutes = [(f.t_rec_tai - datetime(2010, 5, 1)).total_seconds() / 60 for f in observed.frames]
                assert all(m % 96 == 0 for m in minutes)
                assert all(96 <= b - a <= 96 * 21 for a, b in pairwise(minutes))

    def test_some_regions_have_gaps_and_most_steps_are_regular(self):
        steps = Counter(
            b.t_rec_tai - a.t_rec_tai
            for regions in plan_parts(0, num_harps=12, frames_per_harp=40).values()
            for observed in regions
            for a, b in pairwise(observed.frames)
        )
        regular = steps.pop(timedelta(minutes=96))
        assert 20 < sum(steps.values()) < 0.05 * regular

    @pytest.mark.parametrize(
        ("wrong", "name"),
        [
            ({"num_harps": 1}, "num_harps"),
            ({"frames_per_harp": 0}, "frames_per_harp"),
            ({"num_harps": 10**6}, "num_harps"),
        ],
    )
    def test_sizes_out_of_range_are_refused(self, wrong, name):
        with pytest.raises(InputError, match=f"^`{name}`: expected a whole number from"):
            plan_parts(0, **{**SMALL, **wrong})

    @pytest.mark.parametrize("seed", [-1, 2**32])
    def test_seed_out_of_range_is_refused(self, seed):
        with pytest.raises(InputError, match=r"^`seed`: expected a whole number from 0 to 4294967295"):
            plan_parts(seed, **SMALL)


class TestSyntheticFolder:
    def test_holds_an_image_in_mode_l_for_every_name_in_the_lists(self, synthetic):
        for folder in ("M24", "M48"):
            names = [name for path in (synthetic / folder).iterdir() for name in read_list(path)]
            assert len(names) == len(set(names)) == 36
            assert {f"{name}.fits.jpg" for name in names} == {p.name for p in (synthetic / "magnetogram_jpg").iterdir()}
        for path in (synthetic / "magnetogram_jpg").iterdir():
            with Image.open(path) as image:
                assert (image.format, image.mode) == ("JPEG", "L")
                assert 360 <= image.width <= 640
                assert 180 <= image.height <= 320
            assert 4_000 < path.stat().st_size < 45_000

    def test_labels_follow_from_the_flares_listed(self, synthetic):
        lines = (synthetic / "harps.txt").read_text().splitlines()
        harps = {region: int(harp) for harp, region in map(str.split, lines[1:])}
        with (synthetic / "flares.csv").open() as file:
            assert next(file).startswith("# covers ")
            flares = [
                # TAI was 34 s ahead of UTC until 2012-07-01, and these regions are of May 2010.
                (harps[row["noaa_ar"]], datetime.fromisoformat(row["start_time"]) + timedelta(seconds=34))
                for row in csv.DictReader(file)
                if row["goes_class"][0] in "MX"
            ]
        assert flares
        for hours in (24, 48):
            for path in (synthetic / f"M{hours}").iterdir():
                for name, label in read_list(path).items():
                    harp, text = name.split(".")[2:4]
                    t = datetime.strptime(text, "%Y%m%d_%H%M%S_TAI")
                    ahead = [s for h, s in flares if h == int(harp) and t < s <= t + timedelta(hours=hours)]
                    assert label == bool(ahead), name

    def test_flares_are_listed_until_a_week_after_the_last_frame_of_their_region(self, synthetic):
        names = [name for path in (synthetic / "M48").iterdir() for name in read_list(path)]
        last = {}
        for harp, text in sorted(name.split(".")[2:4] for name in names):
            last[int(harp)] = datetime.strptime(text, "%Y%m%d_%H%M%S_TAI")
        with (synthetic / "flares.csv").open() as file:
            end = datetime.fromisoformat(next(file).strip().split(" to ")[1]) + timedelta(seconds=34)
            hours = [
                (datetime.fromisoformat(row["start_time"]) - last[int(row["noaa_ar"]) - 10_000]) / timedelta(hours=1)
                for row in csv.DictReader(file)
            ]
        assert sum(48 < hour < 168 for hour in hours) > sum(0 < hour < 48 for hour in hours) > 0
        assert end >= max(last.values()) + timedelta(hours=168)  # to which the list states to be complete
        assert max(hours) < 168 + 24  # a region is taken to last a day at least

    def test_its_catalogue_is_read_and_agrees_with_every_label(self, synthetic):
        catalogue = ("--flares", synthetic / "flares.csv", "--harp-map", synthetic / "harps.txt", "--clock", "tai")
        checked = json.loads(run("labels", "check", synthetic, *catalogue, "--strict", "--json").stdout)
        parts = [part for by_part in checked["parts"].values() for part in by_part.values()]
        assert [(part["num_missed"], part["num_extra"]) for part in parts] == [(0, 0)] * 12
        assert checked["catalogue"]["unused"] == []

    def test_note_records_what_it_was_made_from(self, synthetic):
        note = json.loads((synthetic / "synth.json").read_text())
        assert {key: note[key] for key in ("format_version", "seed", "num_harps", "frames_per_harp")} == {
            "format_version": 1,
            "seed": 5,
            "num_harps": 2,
            "frames_per_harp": 3,
        }

    def test_report_counts_what_is_there(self, synthetic, tmp_path):
        report = make(tmp_path / "data")
        assert (report.num_harps, report.num_frames, report.num_written) == (12, 36, 36)
        for task in PUBLISHED_TASKS:
            lists = [read_list(path) for path in (synthetic / f"M{task.horizon_hours}").iterdir()]
            assert report.num_positive[task] == sum(sum(labels.values()) for labels in lists)

    def test_does_not_depend_on_the_number_of_workers(self, synthetic, tmp_path):
        with LocalExecutor(2) as executor:
            make(tmp_path / "data", executor=executor)
        assert digests(tmp_path / "data") == digests(synthetic)

    def test_another_seed_gives_other_images(self, synthetic, tmp_path):
        make(tmp_path / "data", seed=6)
        assert not set(digests(synthetic).values()) & set(digests(tmp_path / "data").values())

    def test_resuming_writes_only_what_is_missing(self, synthetic, tmp_path):
        out = tmp_path / "data"
        make(out)
        images = sorted((out / "magnetogram_jpg").iterdir())
        before = {path: path.stat().st_mtime_ns for path in images}
        for path in images[3:8]:
            path.unlink()
        (out / "magnetogram_jpg" / f".{images[3].name}.99999.tmp").write_bytes(b"half an ima")
        assert make(out).num_written == 5
        changed = {path for path in images if path.stat().st_mtime_ns != before[path]}
        assert changed == set(images[3:8])
        assert not list((out / "magnetogram_jpg").glob(".*"))
        assert digests(out) == digests(synthetic)

    def test_force_draws_all_again(self, synthetic, tmp_path):
        out = tmp_path / "data"
        make(out)
        image = next((out / "magnetogram_jpg").iterdir())
        image.write_bytes(b"damaged")
        assert make(out, force=True).num_written == 36
        assert digests(out) == digests(synthetic)


class TestChangedLists:
    @pytest.mark.parametrize("name", ["flares.csv", "harps.txt", "M48/flare_Mclass_48h_Test.txt"])
    def test_are_kept_unless_forced(self, synthetic, tmp_path, name):
        out = tmp_path / "copy"
        shutil.copytree(synthetic, out)
        (out / name).write_text("mine\n")
        with pytest.raises(ConflictError, match=f"{name}: expected no such file, or the same, found one of other"):
            make(out)
        assert (out / name).read_text() == "mine\n"
        make(out, force=True)
        assert digests(out) == digests(synthetic)

    def test_that_are_missing_are_written(self, synthetic, tmp_path):
        out = tmp_path / "copy"
        shutil.copytree(synthetic, out)
        (out / "harps.txt").unlink()
        assert make(out).num_written == 0
        assert digests(out) == digests(synthetic)


class TestSomebodyElsesFolder:
    @pytest.mark.parametrize(
        "mine",
        [
            "magnetogram_jpg/hmi.sharp_720s.1.20100501_000000_TAI.magnetogram.fits.jpg",
            "flares.csv",
            "harps.txt",
            "keywords.csv",
            "M48/flare_Mclass_48h_Test.txt",
            "magnetogram_jpg/notes.txt",
        ],
    )
    @pytest.mark.parametrize("force", [False, True])
    def test_is_refused_and_left_as_it_was(self, tmp_path, mine, force):
        path = tmp_path / mine
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"real data")
        with pytest.raises(ConflictError, match="found data that it did not write; name another folder"):
            make(tmp_path, force=force)
        assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()] == [mine]
        assert path.read_bytes() == b"real data"

    @pytest.mark.parametrize("change", [{"seed": 6}, {"num_harps": 3}, {"frames_per_harp": 4}])
    def test_other_synthetic_data_are_refused(self, synthetic, change):
        before = digests(synthetic)
        with pytest.raises(ConflictError, match="expected the note of this data set"):
            make(synthetic, **change)
        assert digests(synthetic) == before


class TestGivenLists:
    @pytest.fixture
    def labels(self, tmp_path: Path) -> Path:
        """Lists of both horizons: in every part one HARP of six rows; the odd parts' turn positive."""
        folder = tmp_path / "labels"
        for hours, first_positive in ((24, 4), (48, 2)):
            (folder / f"M{hours}").mkdir(parents=True)
            for number, part in enumerate(Part):
                names = [
                    f"hmi.sharp_720s.{number + 10}.20110301_{i * 96 // 60:02d}{i * 96 % 60:02d}00_TAI.magnetogram"
                    for i in range(6)
                ]
                rows = [f"{name} {int(number % 2 and i >= first_positive)}" for i, name in enumerate(names)]
                # As published, the last line has no newline.
                (folder / f"M{hours}" / f"flare_Mclass_{hours}h_{part}.txt").write_text("\n".join(rows))
        return folder

    def test_every_named_image_is_made_and_the_lists_are_left_alone(self, labels, tmp_path):
        before = digests(labels)
        report = synthesize_for_lists(tmp_path / "data", labels=labels, seed=2)
        assert digests(labels) == before
        assert (report.num_harps, report.num_frames, report.num_written) == (6, 36, 36)
        assert report.num_positive == {M24: 6, M48: 12}
        names = [name for path in (labels / "M24").iterdir() for name in read_list(path)]
        images = tmp_path / "data" / "magnetogram_jpg"
        assert {p.name for p in images.iterdir()} == {f"{name}.fits.jpg" for name in names}
        copies = digests(tmp_path / "data")
        assert {name: copies[name] for name in before} == before

    def test_images_can_be_made_beside_the_lists(self, labels):
        before = digests(labels)
        synthesize_for_lists(labels, labels=labels, seed=2)
        after = digests(labels)
        assert {name: after[name] for name in before} == before
        assert len(after) == len(before) + 36 + 2  # a note, and keywords

    def test_does_not_depend_on_workers_and_resumes(self, labels, tmp_path):
        synthesize_for_lists(tmp_path / "a", labels=labels, seed=2)
        with LocalExecutor(2) as executor:
            synthesize_for_lists(tmp_path / "b", labels=labels, seed=2, executor=executor)
        next((tmp_path / "b" / "magnetogram_jpg").iterdir()).unlink()
        assert synthesize_for_lists(tmp_path / "b", labels=labels, seed=2).num_written == 1
        assert digests(tmp_path / "a") == digests(tmp_path / "b")

    @pytest.mark.slow
    def test_positive_frames_have_the_stronger_inversion_line(self, tmp_path):
        times = [datetime(2011, 3, 1) + i * timedelta(minutes=96) for i in range(40)]
        (tmp_path / "labels").mkdir()
        for part in Part:
            rows = [
                f"hmi.sharp_720s.{list(Part).index(part) + 1}.{t:%Y%m%d_%H%M%S}_TAI.magnetogram {int(i >= 20)}"
                for i, t in enumerate(times)
            ]
            (tmp_path / "labels" / f"flare_Mclass_48h_{part}.txt").write_text("\n".join(rows) + "\n")
        synthesize_for_lists(tmp_path / "data", labels=tmp_path / "labels", seed=4)
        sums = {0: 0.0, 1: 0.0}
        for path in sorted((tmp_path / "labels").iterdir()):
            for name, label in list(read_list(path).items())[::6]:
                with Image.open(tmp_path / "data" / "magnetogram_jpg" / f"{name}.fits.jpg") as image:
                    sums[label] += polarity_line_gradient(np.asarray(image))
        assert sums[1] > 2 * sums[0]

    def test_other_lists_of_the_same_name_are_not_written_over(self, labels, tmp_path):
        mine = tmp_path / "data" / "M48" / "flare_Mclass_48h_Test.txt"
        mine.parent.mkdir(parents=True)
        mine.write_text("mine")
        with pytest.raises(ConflictError, match="found another list"):
            synthesize_for_lists(tmp_path / "data", labels=labels, seed=2)
        assert mine.read_text() == "mine"

    def test_real_images_are_not_written_over(self, labels):
        (labels / "magnetogram_jpg").mkdir()
        real = labels / "magnetogram_jpg" / "hmi.sharp_720s.10.20110301_000000_TAI.magnetogram.fits.jpg"
        real.write_bytes(b"real")
        with pytest.raises(ConflictError, match="found data that it did not write"):
            synthesize_for_lists(labels, labels=labels, seed=2, force=True)
        assert real.read_bytes() == b"real"
        assert not (labels / "synth.json").exists()

    def test_seed_out_of_range_is_refused(self, labels, tmp_path):
        with pytest.raises(InputError, match=r"^`seed`: expected a whole number from 0 to 4294967295"):
            synthesize_for_lists(tmp_path / "data", labels=labels, seed=-1)

    def test_a_folder_without_lists_is_refused(self, tmp_path):
        with pytest.raises(InputError, match="expected lists such as"):
            synthesize_for_lists(tmp_path / "data", labels=tmp_path, seed=2)


class TestFieldHistory:
    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"hours": (0.0, 1.0)}, "as many flux and pil values as hours"),
            ({"hours": ()}, "at least one"),
            ({"hours": (1.0, 1.0), "flux": (0.1, 0.1), "pil": (0.0, 0.0)}, "must increase"),
            ({"flux": (-0.1,)}, "flux must be at least 0"),
            ({"pil": (1.1,)}, "pil between 0 and 1"),
        ],
    )
    def test_refuses_values_that_cannot_be(self, fields, message):
        with pytest.raises(ValueError, match=message):
            FieldHistory(**{"hours": (0.0,), "flux": (0.1,), "pil": (0.0,), **fields})

    @pytest.mark.parametrize(("name", "value"), [("leader_sign", 0), ("width_px", 0), ("height_px", 1025)])
    def test_a_region_refuses_what_cannot_be(self, name, value):
        with pytest.raises(ValueError, match="leader_sign|sides of 1 to 1024 pixels"):
            replace(region(), **{name: value})


class TestKeywords:
    """Keywords are measured on the image, in squares of 60 pixels."""

    def test_are_those_of_squares_of_known_field(self) -> None:
        image = np.full((245, 370), 128, np.uint8)
        image[60:120, 60:120] += 100  # one square, whose neighbour to the right has the other polarity
        image[60:120, 120:180] -= 50
        image[0, 0] = 255  # is lost in the mean of its square
        flux, gradient, same, r_value, area = measure_keywords(image)
        square_cm2 = (60 * 0.36e8) ** 2
        assert flux == pytest.approx(150 * 12 * square_cm2)
        assert r_value == pytest.approx(np.log10(flux))
        # Half the difference of the neighbours: of 100, (-50 - 0) / 2 to the right and 0 down; of -50, (0 - 100) / 2.
        assert gradient == same == pytest.approx((25 + 50) / 2 * 12 / (60 * 0.36))
        assert area == pytest.approx(2 * square_cm2 / (2 * np.pi * 6.957e10**2) * 1e6)

    def test_a_quiet_patch_has_none(self) -> None:
        assert measure_keywords(np.full((130, 200), 131, np.uint8)) == (0, 0, 0, 0, 0)

    def test_polarities_that_do_not_touch_have_no_r_value(self) -> None:
        image = np.full((120, 240), 128, np.uint8)
        image[:60, :60] += 100
        image[:60, 120:180] -= 100
        assert measure_keywords(image)[3] == 0

    def test_flux_rises_with_that_of_the_region(self) -> None:
        fluxes = [measure_keywords(draw_frame(region(flux=flux), frame()))[0] for flux in (0.1, 0.4, 1.0)]
        assert fluxes == sorted(fluxes)

    def test_the_table_has_every_frame_and_is_completed(self, tmp_path: Path) -> None:
        make(tmp_path / "a")
        path = tmp_path / "a" / "keywords.csv"
        table = read_keyword_table(path)
        assert {f"{row['frame']}.fits.jpg" for row in csv.DictReader(path.read_text().splitlines())} == {
            image.name for image in (tmp_path / "a" / "magnetogram_jpg").iterdir()
        }
        assert np.isfinite(table.values).all()
        whole = path.read_bytes()
        path.unlink()
        assert make(tmp_path / "a", executor=LocalExecutor(2)).num_written == 0
        assert path.read_bytes() == whole

    def test_a_users_own_table_beside_given_lists_is_kept(self, tmp_path: Path) -> None:
        make(tmp_path / "a")
        shutil.rmtree(tmp_path / "a" / "magnetogram_jpg")
        (tmp_path / "a" / "synth.json").unlink()
        (tmp_path / "a" / "keywords.csv").write_text("mine")
        synthesize_for_lists(tmp_path / "a", labels=tmp_path / "a", seed=2, force=True)
        assert (tmp_path / "a" / "keywords.csv").read_text() == "mine"
