"""What explains a forecast: attributions against closed forms, checks that can fail, pictures, and the command."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import spearmanr
from torch import Tensor, nn
from typer.testing import CliRunner, Result

from sffshards.base.errors import ConflictError, DamageError, InputError, StorageError
from sffshards.base.progress import SILENT, Progress
from sffshards.cli import command_list
from sffshards.domain.frame_sequences import SequenceId
from sffshards.domain.sample_sets import Part, Variant
from sffshards.domain.sequence_table import build_sequences
from sffshards.domain.task import M48
from sffshards.forecasting.explanations import (
    Explained,
    Explanation,
    ExplanationOptions,
    check_attributions,
    correlate_ranks,
    delete_cells,
    explain_sequences,
    frame_masks,
    integrate_gradients,
    is_explained,
    name_picture,
    patch_masks,
    shuffle_weights,
    write_explanation,
)
from sffshards.forecasting.operational import (
    ImageSource,
    Member,
    find_named_sequences,
    forecast_regions,
    take_checkpoint,
)
from sffshards.forecasting.runs.network_prediction import Inference
from sffshards.labels import read_label_list, write_sequence_files, write_sequence_list
from sffshards.models import build_model, scale_clips
from sffshards.models.model_names import ModelName, NetworkSpec
from sffshards.report import ReportOptions, write_report
from sffshards.report.explanation_figures import draw_explanation, find_neutral_lines, smooth_attributions
from tests.report_data import make_builds, make_runs
from tests.training_data import FastNetwork, Listener, describe_checkpoint, make_build, make_labelled_images

MVIT_TINY = NetworkSpec(model=ModelName.MVIT_TINY)
ON_CPU = Inference(batch_size=7, num_threads=0, device=torch.device("cpu"))
QUICK = ExplanationOptions(num_steps=4, patch_side=112)
GREY = 128 / 255
SEQUENCE = SequenceId.parse("hmi.sharp_720s.600.20110218_000000_TAI.to.20110218_062400_TAI")


def draw_clip(seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (16, 224, 224), np.uint8)


class Ridge(nn.Module):
    """A logit difference g(w.x), half of it in each logit."""

    def __init__(self, activation: Callable[[Tensor], Tensor], *, seed: int = 0) -> None:
        super().__init__()
        weight = torch.randn(16 * 224 * 224, generator=torch.Generator().manual_seed(seed)) / 300
        self.weight = nn.Parameter(weight)
        self.activation = activation

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        score_B = self.activation(x_BCTHW.flatten(1) @ self.weight)
        return torch.stack([2 - score_B / 2, 2 + score_B / 2], dim=1)

    def difference(self, clip_THW: NDArray[np.uint8]) -> tuple[NDArray[np.float64], float, float]:
        """Return w times the difference from grey, w.x and w.grey in float64."""
        weight = self.weight.detach().double().numpy()
        x = clip_THW.reshape(-1) / 255
        return weight * (x - GREY), float(weight @ x), float(weight.sum() * GREY)


def explained(network: nn.Module, clip_THW: NDArray[np.uint8]) -> Explained:
    return Explained(network, clip_THW, batch_size=7, device=torch.device("cpu"))


def none(_: int) -> None:
    """Do not report progress."""


# Attributions -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("num_steps", [1, 2, 9])
def test_attributions_of_a_linear_network_are_weights_times_differences(num_steps: int) -> None:
    network, clip = Ridge(lambda score: score), draw_clip()
    found = integrate_gradients(explained(network, clip), num_steps=num_steps, advance=none)
    expected, at_clip, at_grey = network.difference(clip)
    np.testing.assert_allclose(found.attribution_THW.reshape(-1), expected, rtol=1e-4, atol=1e-9)
    assert found.logit == pytest.approx(at_clip, abs=1e-3)
    assert found.baseline_logit == pytest.approx(at_grey, abs=1e-3)
    assert abs(found.gap) < 1e-3


def test_attributions_of_a_curved_network_are_its_closed_form() -> None:
    network, clip = Ridge(torch.tanh), draw_clip(3)
    found = integrate_gradients(explained(network, clip), num_steps=64, advance=none)
    parts, at_clip, at_grey = network.difference(clip)
    # Along the path the gradient of g(w.x) is w times the mean of g', which is a difference quotient.
    expected = parts * (np.tanh(at_clip) - np.tanh(at_grey)) / (at_clip - at_grey)
    np.testing.assert_allclose(found.attribution_THW.reshape(-1), expected, rtol=2e-3, atol=1e-8)
    assert found.relative_gap < 1e-3


def test_the_batch_size_changes_attributions_by_rounding_only() -> None:
    network, clip = Ridge(torch.tanh), draw_clip(1)
    found = [
        integrate_gradients(
            Explained(network, clip, batch_size=size, device=torch.device("cpu")), num_steps=5, advance=none
        ).attribution_THW
        for size in (1, 5)
    ]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3, atol=1e-8)


def test_a_hidden_frame_or_patch_takes_away_its_share_of_a_linear_network() -> None:
    network, clip = Ridge(lambda score: score), draw_clip(2)
    parts, at_clip, _ = network.difference(clip)
    parts_THW = parts.reshape(16, 224, 224)
    of = explained(network, clip)
    drops_T = at_clip - of.replaced(frame_masks(16), advance=none)
    np.testing.assert_allclose(drops_T, parts_THW.sum(axis=(1, 2)), atol=2e-3)
    drops_P = at_clip - of.replaced(patch_masks(224, patch_side=56), advance=none)
    expected_PP = [
        [parts_THW[:, top : top + 56, left : left + 56].sum() for left in range(0, 224, 56)]
        for top in range(0, 224, 56)
    ]
    np.testing.assert_allclose(drops_P.reshape(4, 4), expected_PP, atol=2e-3)


def test_a_network_without_gradient_is_refused() -> None:
    network = Ridge(lambda score: score.detach().round())
    with pytest.raises(InputError, match=r"the network: expected logits that have a gradient .*, found none"):
        integrate_gradients(explained(network, draw_clip()), num_steps=2, advance=none)


class InPlace(Ridge):
    """Changes its input in place, as networks with in-place activations may."""

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        return super().forward(x_BCTHW.mul_(2))


def test_a_network_may_change_its_input_in_place() -> None:
    clip = draw_clip(4)
    found, expected = (
        integrate_gradients(explained(network, clip), num_steps=2, advance=none).attribution_THW
        for network in (InPlace(lambda score: score / 2), Ridge(lambda score: score))
    )
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-9)


# Checks -------------------------------------------------------------------------------------------------------------


class OneCell(nn.Module):
    """Sees the field of one cell of one frame only."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([0.0, 1.0]))

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        return (x_BCTHW[:, 0, 3, 16:24, 40:48] - GREY).sum((1, 2))[:, None] * self.scale


def test_deleting_the_one_marked_cell_lowers_the_logit_at_once() -> None:
    clip = np.full((16, 224, 224), 128, np.uint8)
    clip[3, 16:24, 40:48] = 255
    of = explained(OneCell(), clip)
    marks = integrate_gradients(of, num_steps=3, advance=none)
    logit = 64 * 127 / 255
    assert marks.logit == pytest.approx(logit, rel=1e-5)
    found = delete_cells(of, marks.attribution_THW, seed=0, advance=none)
    assert (found.marked, found.strongest) == pytest.approx((0, 0), abs=1e-6)
    # At random the cell is among the first tenth to the last: the mean is a multiple of a tenth, three orders averaged.
    assert found.random in [pytest.approx(logit * number / 30, abs=1e-4) for number in range(1, 28)]
    backwards = delete_cells(of, -marks.attribution_THW, seed=0, advance=none)
    assert backwards.marked == pytest.approx(0.9 * logit, rel=1e-4)


def test_shuffled_weights_are_the_same_numbers_in_another_order() -> None:
    network = nn.Sequential(nn.Linear(40, 30), nn.GELU(), nn.Linear(30, 2))
    before = [weight.clone() for weight in network.parameters()]
    shuffled = [shuffle_weights(network, seed=seed) for seed in (0, 0, 1)]
    for old, kept, *new in zip(before, network.parameters(), *(one.parameters() for one in shuffled), strict=True):
        assert torch.equal(old, kept)
        assert all(torch.equal(old.flatten().sort().values, one.flatten().sort().values) for one in new)
        assert torch.equal(new[0], new[1])
        if old.numel() > 2:
            assert not torch.equal(new[0], new[2])
            assert not torch.equal(new[0], old)


def test_rank_correlation_is_that_of_scipy_over_cells_with_ties() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.integers(-1, 2, (2, 2, 24, 16)).astype(float)
    first[0] = 0
    sums = [values.reshape(2, 3, 8, 2, 8).sum(axis=(2, 4)).ravel() for values in (first, first + 0.3 * second)]
    assert correlate_ranks(first, first + 0.3 * second) == pytest.approx(spearmanr(*sums).statistic, abs=1e-12)
    assert np.isnan(correlate_ranks(first, np.zeros_like(first)))


# A network that was trained -----------------------------------------------------------------------------------------


def draw_bipole(rng: np.random.Generator, *, strong: bool) -> NDArray[np.uint8]:
    """Draw a clip of a bipole of one place, whose poles touch where it is strong, and a pole of another place."""
    y, x = np.mgrid[0:224, 0:224]
    row, column = rng.integers(60, 164, 2)
    clip = np.empty((16, 224, 224))
    for frame in range(16):
        field = rng.normal(0, 2, (224, 224))
        for sign in (1, -1):
            distance = (x - column - sign * 12 - frame / 4) ** 2 + (y - row) ** 2
            field += sign * (110 if strong else 25) * np.exp(-distance / 200)
        clip[frame] = 128 + field
    return np.clip(np.rint(clip), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def trained_tiny() -> nn.Module:
    """A small MViT that tells strong bipoles from weak ones after a few steps."""
    torch.manual_seed(0)
    network, rng = build_model(ModelName.MVIT_TINY, weights="none"), np.random.default_rng(0)
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    labels_B = torch.tensor([1, 0, 1, 0])
    network.train()
    for _ in range(12):
        x_BCTHW = scale_clips(torch.from_numpy(np.stack([draw_bipole(rng, strong=bool(k)) for k in labels_B])))
        loss = nn.functional.cross_entropy(network(x_BCTHW), labels_B)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network


@pytest.mark.slow
def test_attributions_of_a_trained_network_pass_both_checks(trained_tiny: nn.Module) -> None:
    clip = draw_bipole(np.random.default_rng(99), strong=True)
    of = explained(trained_tiny, clip)
    found = integrate_gradients(of, num_steps=24, advance=none)
    assert found.logit > found.baseline_logit + 1
    assert found.relative_gap < 0.05
    checks = check_attributions(of, found.attribution_THW, num_steps=8, seed=0, advance=none)
    assert abs(checks.rank_correlation) < 0.5
    assert checks.deletion.marked < checks.deletion.random - 0.3 * (found.logit - found.baseline_logit)
    assert checks.is_passed


# Sequences, files and pictures --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of the test part and two checkpoints of a fast network beside them."""
    folder = tmp_path_factory.mktemp("explaining")
    make_labelled_images(folder / "data")
    for path in (folder / "data" / "magnetogram_jpg").iterdir():
        if path.name.split(".")[2] not in ("600", "601"):
            path.unlink()
    for seed in (0, 1):
        torch.manual_seed(seed)
        torch.save(FastNetwork().state_dict(), folder / f"{seed}.pt")
    return folder


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sffshards.forecasting.runs.network_prediction.build_model", lambda *_, **__: FastNetwork())


def explain_by(
    place: Path, *, progress: Progress = SILENT, checkpoints: tuple[str, ...] = ("0.pt", "1.pt")
) -> Explanation:
    images = place / "data" / "magnetogram_jpg"
    members = [take_checkpoint(place / name, network=MVIT_TINY, task=M48) for name in checkpoints]
    source = ImageSource(images, find_named_sequences(images, [SEQUENCE], progress=SILENT))
    (found,) = explain_sequences(members, source, numbers=None, options=QUICK, inference=ON_CPU, progress=progress)
    return found


@pytest.mark.usefixtures("fast")
def test_probabilities_are_those_of_predict_and_numbers_are_means_over_members(place: Path) -> None:
    images = place / "data" / "magnetogram_jpg"
    progress = Listener()
    found = explain_by(place, progress=progress)
    forecast = forecast_regions(
        [one.member for one in found.members],
        ImageSource(images, find_named_sequences(images, [SEQUENCE], progress=SILENT)),
        inference=ON_CPU,
        progress=SILENT,
    )
    np.testing.assert_allclose([one.raw_probability for one in found.members], forecast.raw_MN[:, 0], atol=1e-6)
    assert found.probability == pytest.approx(forecast.spread(0).probability, abs=1e-6)
    first, second = found.members
    expected = (first.gradients.attribution_THW.astype(float) + second.gradients.attribution_THW) / 2
    np.testing.assert_allclose(found.attribution, expected, atol=1e-12)
    np.testing.assert_allclose(found.frame_sums.sum(), found.attribution.sum())
    assert found.logit == pytest.approx((first.gradients.logit + second.gradients.logit) / 2)
    assert any("not calibrated" in note for note in progress.notes)
    (task,) = progress.tasks.values()
    assert task == (2 * (4 + 16 + 4), 2 * (4 + 16 + 4))


class Steep(FastNetwork):
    """Saturates close to the clip without field, where four steps miss most of its change."""

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        linear = self.head[1]
        assert isinstance(linear, nn.Linear)
        return torch.tanh(100 * (super().forward(x_BCTHW) - linear.bias))


def test_a_large_gap_is_noted(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sffshards.forecasting.runs.network_prediction.build_model", lambda *_, **__: Steep())
    progress = Listener()
    gradients = explain_by(place, progress=progress, checkpoints=("0.pt",)).members[0].gradients
    assert gradients.relative_gap > 0.05
    percent = round(100 * abs(gradients.gap) / abs(gradients.logit - gradients.baseline_logit))
    assert f"0.pt: the attributions miss {percent}% of the change of the logit difference; use more than 4 steps" in (
        progress.notes
    )


@pytest.mark.usefixtures("fast")
def test_a_network_that_gives_no_numbers_is_refused(place: Path, tmp_path: Path) -> None:
    broken = FastNetwork()
    with torch.no_grad():
        for weight in broken.parameters():
            weight.fill_(float("nan"))
    shutil.copytree(place / "data", tmp_path / "data")
    torch.save(broken.state_dict(), tmp_path / "0.pt")
    with pytest.raises(DamageError, match=r"0\.pt: expected a network that returns probabilities, found no number"):
        explain_by(tmp_path, checkpoints=("0.pt",))


@pytest.mark.usefixtures("fast")
def test_files_hold_the_arrays_under_their_documented_names(place: Path, tmp_path: Path) -> None:
    found = explain_by(place)
    for name, explanation in (("first", found), ("again", explain_by(place))):
        write_explanation(tmp_path / name, explanation, b"a picture")
    first, again = ({path.name: path.read_bytes() for path in (tmp_path / of).iterdir()} for of in ("first", "again"))
    assert first == again
    path = name_picture(tmp_path / "first", SEQUENCE.name)
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
        kinds = {name: (array.dtype.str, array.shape) for name, array in arrays.items()}
        assert np.array_equal(arrays["clip"], found.clip_THW)
        assert str(arrays["t_rec_tai"][-1]) == "2011-02-18T06:24:00"
        assert np.array_equal(arrays["frame_occlusion"][1], found.members[1].frame_drop_T)
    assert kinds == {
        "clip": ("|u1", (16, 224, 224)),
        "t_rec_tai": ("<M8[s]", (16,)),
        "members": ("<U4", (2,)),
        "integrated_gradients": ("<f4", (2, 16, 224, 224)),
        "frame_occlusion": ("<f8", (2, 16)),
        "patch_occlusion": ("<f8", (2, 2, 2)),
    }
    record = json.loads(path.with_suffix(".json").read_text())
    assert record["files"] == {
        suffix: hashlib.sha256(path.with_suffix(suffix).read_bytes()).hexdigest() for suffix in (".png", ".npz")
    }
    assert record["sequence"] == SEQUENCE.name
    assert [member["name"] for member in record["members"]] == ["0.pt", "1.pt"]
    sha256 = hashlib.sha256((place / "1.pt").read_bytes()).hexdigest()
    assert record["members"][1]["checkpoint_sha256"] == sha256
    for member in record["members"]:
        change = member["logit"] - member["baseline_logit"]
        assert abs(member["gap"]) == pytest.approx(member["relative_gap"] * abs(change))


@pytest.mark.usefixtures("fast")
def test_an_explanation_is_kept_resumed_or_refused_by_what_its_record_states(place: Path, tmp_path: Path) -> None:
    found = explain_by(place, checkpoints=("0.pt",))
    (member,) = (one.member for one in found.members)
    other = explain_by(place, checkpoints=("1.pt",)).members[0].member

    def ask(*, member: Member = member, options: ExplanationOptions = QUICK, force: bool = False) -> bool:
        clip, sequence = found.clip_THW, found.shown.sequence
        return is_explained(tmp_path, sequence, clip, [member], options=options, force=force)

    assert not ask()
    write_explanation(tmp_path, found, b"a picture")
    assert ask()
    picture = name_picture(tmp_path, SEQUENCE.name)
    for path in (picture, picture.with_suffix(".npz")):  # killed before, or while it was written
        data = path.read_bytes()
        for change in (lambda path: path.unlink(), lambda path: path.write_bytes(b"")):
            change(path)
            assert not ask()
            path.write_bytes(data)
    others = replace(QUICK, num_steps=QUICK.num_steps + 1)
    for asked in ({"member": other}, {"options": others}):
        with pytest.raises(ConflictError, match=r"json: expected no such file, or the same explanation, found another"):
            ask(**asked)
        assert not ask(**asked, force=True)
    picture.with_suffix(".json").unlink()  # files that no record describes may be the user's
    with pytest.raises(ConflictError, match=r"png: expected no such file, or the same explanation, found another file"):
        ask()
    picture.unlink()
    picture.mkdir()
    with pytest.raises(StorageError, match="found a folder"):
        ask(force=True)


@pytest.mark.slow
@pytest.mark.usefixtures("fast")
def test_the_picture_is_the_same_each_time(place: Path) -> None:
    found = explain_by(place, checkpoints=("0.pt",))
    picture = draw_explanation(found)
    assert picture == draw_explanation(found)
    assert Image.open(io.BytesIO(picture)).size == (1210, 869)


def test_neutral_lines_lie_between_strong_poles_only() -> None:
    columns = np.arange(224)
    frame = np.full((224, 224), 128, np.uint8)
    frame[100:140, 80:110], frame[100:140, 110:140] = 200, 50
    lines = find_neutral_lines(frame)
    rows, shown = np.nonzero(~np.ma.getmaskarray(lines))
    assert 90 <= rows.min() < rows.max() < 150
    assert 100 <= shown.min() < shown.max() < 120
    across = lines[120].compressed()
    assert columns[~np.ma.getmaskarray(lines)[120]][np.argmin(np.abs(across))] in (109, 110)
    frame[100:140, 110:140] = 120  # a weak pole
    assert find_neutral_lines(frame).count() == 0
    frame[100:140, 150:180] = 50  # a strong one, far away
    assert find_neutral_lines(frame).count() == 0


def test_attributions_are_smoothed_within_their_frame_and_keep_their_sign() -> None:
    marks = np.zeros((16, 224, 224))
    marks[4, 60, 70], marks[9, 160, 150] = 5, -5
    smooth = smooth_attributions(marks)
    assert np.argwhere(smooth == smooth.max()).tolist() == [[4, 60, 70]]
    assert np.argwhere(smooth == smooth.min()).tolist() == [[9, 160, 150]]
    assert not smooth[[0, 3, 5, 8, 10]].any()
    assert not smooth_attributions(np.zeros((16, 224, 224))).any()


# The command --------------------------------------------------------------------------------------------------------


def explain(*arguments: object) -> Result:
    app = typer.Typer()
    command_list.register(app)
    return CliRunner().invoke(app, ["explain", "--device", "cpu", *map(str, arguments)])


@pytest.mark.slow
@pytest.mark.usefixtures("fast")
def test_images_lists_and_shards_are_explained_alike_by_command(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sffshards.report.draw_explanation", lambda _: b"a picture")
    build = make_build(tmp_path / "built")
    rows = read_label_list(tmp_path / "built" / "data" / "M48" / "flare_Mclass_48h_Test.txt")
    sequences = build_sequences(rows, part=Part.TEST)
    write_sequence_files(tmp_path / "Seqs16", sequences)
    write_sequence_list(tmp_path / "list.txt", sequences)
    start = ["--run", place / "0.pt", "--model", "mvit_tiny", "--horizon", "48h", "--steps", 3, "--patch", 112]
    sources: dict[str, list[object]] = {
        "images": ["--images", place / "data"],
        "list": ["--images", place / "data", "--sequences", tmp_path / "list.txt"],
        "shards": ["--shards", build],
    }
    for name, source in sources.items():
        done = explain(*start, *source, "--sequence", SEQUENCE.name, "--out", tmp_path / name)
        assert done.exit_code == 0, done.exception
        assert f"{SEQUENCE.stem}.png: probability 0." in done.stdout
        assert "relative gap" in done.stdout
    stems = {path.name for path in (tmp_path / "images").iterdir()}
    assert stems == {f"{SEQUENCE.stem}.{suffix}" for suffix in ("npz", "png", "json")}
    first, *others = (json.loads((tmp_path / name / f"{SEQUENCE.stem}.json").read_text()) for name in sources)
    assert others == [first, first]
    latest = explain(*start, *sources["images"], "--latest", "--check", "--out", tmp_path / "latest")
    assert latest.exit_code == 0, latest.exception
    assert len(list((tmp_path / "latest").glob("*.png"))) == 2
    assert "rank correlation" in latest.stdout
    again = explain(*start, *sources["images"], "--latest", "--out", tmp_path / "images")
    assert again.stdout.count("kept, already explained") == again.stdout.count("probability 0.") == 1
    start[start.index("--steps") + 1] = 4
    refused = explain(*start, *sources["images"], "--latest", "--out", tmp_path / "images")
    assert "expected no such file, or the same explanation, found another explanation" in str(refused.exception)
    assert explain(*start, *sources["images"], "--latest", "--out", tmp_path / "images", "--force").exit_code == 0


@pytest.mark.usefixtures("fast")
def test_bad_options_are_refused_and_nothing_is_written(place: Path, tmp_path: Path) -> None:
    start = ["--run", place / "0.pt", "--model", "mvit_tiny", "--horizon", "48h", "--images", place / "data"]
    later = SEQUENCE.name.replace("20110218_062400", "20110218_080000")
    shutil.copytree(place / "data" / "magnetogram_jpg", tmp_path / "more")
    cases: list[tuple[list[object], str]] = [
        (start, "explain: expected either --sequence or --latest, found neither"),
        ([*start, "--latest", "--sequence", SEQUENCE.name], "found both"),
        ([*start, "--latest", "--part", "Test"], "`part`: expected --latest of a build (--shards), found --images"),
        (
            [*start[:6], "--shards", "x", "--sequence", SEQUENCE.name, "--part", "Test"],
            "found --sequence; leave it out",
        ),
        ([*start, "--sequence", SEQUENCE.name, "--max-gap", "60"], "`max_gap`: expected --latest, found --sequence"),
        ([*start, "--sequence", SEQUENCE.name, "--min-frames", "2"], "`min_frames`: expected --latest, found"),
        ([*start, "--latest", "--seed", "0"], "`seed`: expected none without --check, found 0; leave it out"),
        ([*start, "--latest", "--patch", "30"], "`patch`: expected a divisor of 224: 7, 8, 14, 16, 28, 32, 56, 112"),
        ([*start, "--sequence", "region 600"], "--sequence: expected a sequence name"),
        ([*start, "--sequence", later], "at most 16 from the first to the last, found 5 images of HARP 600 between"),
        ([*start[:6], "--latest"], "explain: expected --images, alone or with --sequences, or --shards, found none"),
        ([*start[:4], "--images", place / "data", "--latest"], "`horizon`: expected a horizon, with a checkpoint file"),
    ]
    for arguments, message in cases:
        done = explain(*arguments, "--out", tmp_path / "out")
        assert done.exit_code != 0
        assert message in str(done.exception), arguments
        assert done.stdout == ""
    assert not (tmp_path / "out").exists()


# The report ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("fast")
def test_a_report_explains_its_film_strips_where_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = make_builds(tmp_path)
    runs = make_runs(shards, tmp_path / "runs", variants=[Variant.OTV]) / "48h"
    torch.manual_seed(0)
    for folder in sorted((runs / "oTV").iterdir()):
        torch.save(FastNetwork().state_dict(), folder / "best.ckpt")
        describe_checkpoint(folder)
    drawn: list[Explanation] = []

    def draw(explanation: Explanation) -> bytes:
        drawn.append(explanation)
        buffer = io.BytesIO()
        Image.new("RGB", (30, 20), "red").save(buffer, "PNG")
        return buffer.getvalue()

    monkeypatch.setattr("sffshards.report.chosen_examples.draw_explanation", draw)
    monkeypatch.setattr("sffshards.report.figure_style._print", lambda canvas: {})  # PDF files take time
    monkeypatch.setattr("sffshards.forecasting.explanations.ExplanationOptions", lambda: QUICK)
    options = ReportOptions(per_outcome=1, explain_on="cpu")
    page = write_report(runs, tmp_path / "report", shards=[shards], options=options, progress=SILENT).read_text()
    strips = re.findall(r"<code>(hmi\.sharp_720s\.[^<]*)</code></figcaption>", page)
    assert sorted(explanation.shown.sequence for explanation in drawn) == sorted(strips)
    assert 1 <= len(strips) <= 3
    assert [one.member.name for one in drawn[0].members] == ["fold 0", "fold 3"]
    assert page.count("data:image/jpeg;base64,") == page.count('<details class="explanation">') == len(strips)
    names = {path.name for path in (tmp_path / "report" / "figures").glob("*explanation*")}
    assert names == {f"48h-explanation-{SequenceId.parse(name).stem}.png" for name in strips}
    plain = write_report(runs, tmp_path / "plain", shards=[shards], options=ReportOptions(), progress=SILENT)
    assert "explanation" not in re.sub(r"<style>.*?</style>", "", plain.read_text(), flags=re.DOTALL)
