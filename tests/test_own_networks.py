"""Networks other than MViTv2: torchvision's by name, and those that a factory of the user's builds."""

from __future__ import annotations

import hashlib
import json
import pickle
import random
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from torch import Tensor, nn
from torchvision.models import get_model
from torchvision.models.video import swin_transformer
from typer.testing import CliRunner, Result

from sffshards.base.errors import InputError
from sffshards.base.progress import SILENT
from sffshards.cli import command_list
from sffshards.fetch import published_files as published
from sffshards.fetch.published_files import KINETICS_FILES, weights_path
from sffshards.forecasting.runs.network_prediction import Inference
from sffshards.forecasting.runs.run_evaluation import evaluate_run
from sffshards.models.model_names import KINETICS400, KNOWN_NETWORKS, ModelName, NetworkSpec
from sffshards.models.networks import build_model
from sffshards.training.fold_record import read_record
from sffshards.training.fold_training import check_folds, train_folds
from sffshards.training.training_config import TrainingOptions
from tests.training_data import fast_options, make_build

TORCHVISIONS = [name for name, known in KNOWN_NETWORKS.items() if known.stem]
ON_CPU = Inference(batch_size=8, num_threads=1, device=torch.device("cpu"))

FACTORIES = """
import torch
from torch import nn

print("imported")
WORD = "a word"


def pooled(channels=1, classes=2, dropout=0.1):
    return nn.Sequential(
        nn.AdaptiveAvgPool3d(4), nn.Flatten(), nn.Dropout(dropout), nn.Linear(64 * channels, classes)
    )


def normed(channels=1):
    return nn.Sequential(nn.BatchNorm3d(channels).eval(), pooled(channels))


def lazy():
    return nn.Sequential(nn.AdaptiveAvgPool3d(2), nn.Flatten(), nn.LazyLinear(2))


def word():
    return WORD


def frozen():
    return pooled().requires_grad_(False)


def failing():
    raise RuntimeError("no such layer\\nas this")


class Wrapped(nn.Module):
    def __init__(self, make):
        super().__init__()
        self.net, self.make = pooled(), make

    def forward(self, x):
        return self.make(self.net(x))


def tupled():
    return Wrapped(lambda logits: (logits, None))


def transposed():
    return Wrapped(lambda logits: logits.T)


def called():
    return Wrapped(lambda logits: logits.argmax(1))
"""


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_build(tmp_path_factory.mktemp("own"))


@pytest.fixture
def own(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of factories, in the current folder; its name, one for each test."""
    name = "own_" + hashlib.md5(request.node.nodeid.encode()).hexdigest()[:12]
    (tmp_path / f"{name}.py").write_text(FACTORIES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [place for place in __import__("sys").path if place])
    return name


def factory_options(own: str, **changes: Any) -> TrainingOptions:
    named: dict[str, Any] = {"model": ModelName(f"{own}:pooled"), "model_options": {"channels": 1}, "max_epochs": 1}
    return fast_options(**(named | changes))


def fit(build: Path, run: Path, options: TrainingOptions) -> None:
    train_folds(build, run, options, folds=[0], force=False, progress=SILENT)


def command(*arguments: object) -> Result:
    app = typer.Typer()
    command_list.register(app)
    return CliRunner().invoke(app, list(map(str, arguments)))


# torchvision's ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n in ("swin3d_s", "swin3d_b") else n for n in TORCHVISIONS],
)
def test_a_network_has_torchvisions_weights_and_two_classes(name: str) -> None:
    with torch.device("meta"):
        ours = {n: tuple(value.shape) for n, value in build_model(ModelName(name), weights="none").state_dict().items()}
        stock = {n: tuple(value.shape) for n, value in get_model(name, num_classes=400).state_dict().items()}
    assert list(ours) == list(stock)
    different = {n: (shape, ours[n]) for n, shape in stock.items() if ours[n] != shape}
    head = KNOWN_NETWORKS[name].head
    assert different == {n: (stock[n], (2, *stock[n][1:])) for n in (f"{head}weight", f"{head}bias")}


def compare_with_torchvision(name: str, clip_size: tuple[int, int, int]) -> None:
    """Compare logits, and the gradient of the first layer, for one channel here and three equal ones there."""
    torch.manual_seed(1)
    ours = build_model(ModelName(name), weights="none").eval()
    stock = get_model(name, num_classes=2).eval()
    stock.load_state_dict(ours.state_dict())
    tiled = build_model(ModelName(name), weights="none", attention="torchvision").eval()  # type: ignore[arg-type]
    tiled.load_state_dict(ours.state_dict())
    x_BCTHW = torch.rand(2, 1, *clip_size)
    logits, gradients = [], []
    for net, channels in ((stock, 3), (ours, 1), (tiled, 1), (ours, 3)):
        net.zero_grad()
        out = net(x_BCTHW.expand(-1, channels, -1, -1, -1))
        (out * torch.tensor([1.0, -2.0])).sum().backward()
        logits.append(out.detach())
        gradient = net.get_parameter(f"{KNOWN_NETWORKS[name].stem}.weight").grad
        assert gradient is not None
        gradients.append(gradient.clone())
    for found, gradient in zip(logits[1:], gradients[1:], strict=True):
        torch.testing.assert_close(found, logits[0], rtol=1e-4, atol=1e-5)
        assert float((gradient - gradients[0]).abs().max() / gradients[0].abs().max()) < 1e-3


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("swin3d_t", marks=pytest.mark.slow),
        *(pytest.param(name, marks=pytest.mark.long) for name in ("mc3_18", "r3d_18", "r2plus1d_18")),
    ],
)
def test_a_network_computes_what_torchvisions_does(name: str) -> None:
    compare_with_torchvision(name, (4, 32, 32))


@pytest.mark.long
@pytest.mark.parametrize("name", TORCHVISIONS)
def test_a_network_of_clips_of_full_size_computes_what_torchvisions_does(name: str) -> None:
    compare_with_torchvision(name, (16, 224, 224))


def test_a_kinetics_file_is_known_for_each_network_that_has_such_weights_by_default() -> None:
    assert {name for name, known in KNOWN_NETWORKS.items() if known.default_weights == KINETICS400} == set(
        KINETICS_FILES
    )


@pytest.mark.slow
def test_kinetics_weights_are_checked_by_the_digits_in_the_files_name_and_loaded_without_the_head(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    stock = get_model("mc3_18", num_classes=400)
    # Files from before batch normalisation counted its batches lack the counts.
    state = {name: value for name, value in stock.state_dict().items() if "num_batches" not in name}
    torch.save(state, tmp_path / "file")
    digits = hashlib.sha256((tmp_path / "file").read_bytes()).hexdigest()[:8]
    monkeypatch.setitem(published.KINETICS_FILES, "mc3_18", f"mc3_18-{digits}.pth")
    weights_path("mc3_18").parent.mkdir(parents=True)
    (tmp_path / "file").rename(weights_path("mc3_18"))
    model = build_model(ModelName("mc3_18"), weights="kinetics400")
    assert torch.equal(model.state_dict()["layer4.1.conv2.0.weight"], stock.state_dict()["layer4.1.conv2.0.weight"])
    assert model.state_dict()["fc.weight"].shape == (2, 512)


# Names and options --------------------------------------------------------------------------------------------------


def test_a_name_is_that_of_a_network_or_of_a_factory() -> None:
    name = ModelName("my_package.networks:Nets.build")
    assert name.is_factory
    assert (name.default_weights, name.default_learning_rate, name.tag) == (
        "none",
        3e-4,
        "my_package.networks.Nets.build",
    )
    assert (ModelName("swin3d_t").default_weights, ModelName("swin3d_t").default_learning_rate) == ("kinetics400", 1e-5)
    for same in (pickle.loads(pickle.dumps(name)), deepcopy(name)):
        assert (type(same), same) == (ModelName, name)
    for text in ("swin3d", "a:b:c", "a/b:c", "a:", ":a", "a b:c", "os.path", "x" * 99 + ":" + "y" * 99, ""):
        with pytest.raises(InputError, match=r"`model`: expected one of mvit_v2_s, .* or a factory such as"):
            ModelName(text)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"model": "mvit_tiny", "options": {"depth": 3}},
            "`model_options`: expected none with mvit_tiny; .*found depth;",
        ),
        ({"model": "a:b", "attention": "torchvision"}, "`attention`: expected no choice with a:b"),
        ({"model": "a:b", "options": {"size": (1, 2)}}, "`model_options`: expected values that JSON can hold"),
        ({"model": "a:b", "options": {"rate": float("nan")}}, "`model_options`: expected values that JSON can hold"),
    ],
)
def test_options_that_do_not_apply_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        NetworkSpec(**changes)


def test_options_of_another_order_are_the_same() -> None:
    first, second = (
        NetworkSpec(model=ModelName("a:b"), options=options) for options in ({"x": [1], "y": 2}, {"y": 2, "x": [1]})
    )
    assert first == second
    assert hash(first) == hash(second)


# Factories ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_a_factory_builds_a_network_of_one_channel_or_three(own: str, channels: int) -> None:
    model = build_model(ModelName(f"{own}:pooled"), weights="none", options={"channels": channels}).eval()
    x_BCTHW = torch.rand(2, 1, 16, 224, 224)
    pooled_BE = nn.functional.adaptive_avg_pool3d(x_BCTHW, 4).flatten(1).repeat(1, channels)
    state = model.state_dict()
    torch.testing.assert_close(model(x_BCTHW), pooled_BE @ state["3.weight"].T + state["3.bias"])


def test_torchvisions_own_builders_are_factories_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def tiny(num_classes: int) -> nn.Module:
        net: nn.Module = swin_transformer.SwinTransformer3d(
            patch_size=[4, 8, 8],
            embed_dim=12,
            depths=[1, 1],
            num_heads=[1, 2],
            window_size=[4, 7, 7],
            num_classes=num_classes,
        )
        return net

    monkeypatch.setattr(swin_transformer, "swin3d_tiny", tiny, raising=False)
    name = ModelName("torchvision.models.video.swin_transformer:swin3d_tiny")
    torch.manual_seed(3)
    model = build_model(name, weights="none", options={"num_classes": 2}).eval()
    torch.manual_seed(3)
    stock = tiny(2).eval()
    x_BCTHW = torch.rand(1, 1, 16, 224, 224)
    torch.testing.assert_close(model(x_BCTHW), stock(x_BCTHW.expand(-1, 3, -1, -1, -1)))
    with pytest.raises(InputError, match=r"`model`: .*\(B, 2\).*found float32 of shape \(3, 400\) for B = 3"):
        build_model(name, weights="none", options={"num_classes": 400})


def test_trying_a_network_changes_neither_it_nor_random_numbers(own: str) -> None:
    def draw() -> tuple[Tensor, float, float]:
        return torch.rand(1), random.random(), float(np.random.random())  # noqa: NPY002  as a network might

    for seed in (torch.manual_seed, random.seed, np.random.seed):
        seed(5)
    model = build_model(ModelName(f"{own}:normed"), weights="none")
    found = draw()
    for seed in (torch.manual_seed, random.seed, np.random.seed):
        seed(5)
    own_module = __import__(own)
    stock = own_module.normed()
    assert found == draw()
    for name, value in stock.state_dict().items():
        assert torch.equal(model.state_dict()[name], value)
    assert [module.training for module in model.modules()] == [module.training for module in stock.modules()]
    assert not model[0].training  # type: ignore[index]  # as the factory left it
    assert not any(value.grad_fn or value.is_inference() for value in model.parameters())


def test_weights_that_only_a_first_call_makes_are_drawn_from_the_seed(own: str) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(7)
        states.append(build_model(ModelName(f"{own}:lazy"), weights="none").state_dict())
    assert states[0]["2.weight"].shape == (2, 8)
    assert torch.equal(states[0]["2.weight"], states[1]["2.weight"])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "none_such.at_all:build",
            {},
            r"expected a module none_such.at_all that can be .* No module named 'none_such'",
        ),
        ("{own}:missing", {}, r"expected a factory missing in the module own_\w+, .*found no missing in .*own_\w+\.py"),
        ("{own}:WORD", {}, "expected a callable, .*found a str"),
        ("{own}:word", {}, "expected a factory that returns an nn.Module, .*found a str"),
        ("{own}:failing", {}, r"can be called as .*found RuntimeError: no such layer as this \(own_\w+\.py:\d+\)"),
        ("{own}:pooled", {"depth": 3}, r"`model_options`: .*pooled\(depth=3\), found TypeError: .*'depth'"),
        (
            "{own}:pooled",
            {"channels": 2},
            r"C being 1 or 3, .*found one that fails \(1 channel: RuntimeError.*3 channels",
        ),
        ("{own}:pooled", {"classes": 1}, r"logits of shape \(B, 2\).*found float32 of shape \(3, 1\) for B = 3"),
        ("{own}:transposed", {}, r"found float32 of shape \(2, 3\) for B = 3"),
        ("{own}:tupled", {}, "found one that returns a tuple"),
        ("{own}:called", {}, r"found int64 of shape \(3,\) for B = 3"),
        ("{own}:frozen", {}, "expected a network with weights that are trained, .*found one without"),
    ],
)
def test_a_factory_that_cannot_be_used_is_refused_before_anything_is_written(
    own: str, build: Path, tmp_path: Path, name: str, options: dict[str, Any], message: str
) -> None:
    chosen = factory_options(own, model=ModelName(name.format(own=own)), model_options=options)
    with pytest.raises(InputError, match=message) as caught:
        fit(build, tmp_path / "run", chosen)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=message):
        check_folds(build, tmp_path / "run", chosen, folds=[0])
    assert not (tmp_path / "run").exists()


def test_a_module_that_fails_or_exits_when_it_is_imported_is_refused(own: str, tmp_path: Path) -> None:
    for code, found in (("import sys\nsys.exit(3)", "SystemExit: 3"), ("1 / 0", "ZeroDivisionError: .*:1")):
        (tmp_path / f"{own}_broken.py").write_text(code)
        with pytest.raises(InputError, match=rf"`model`: expected a module {own}_broken that can be .*found {found}"):
            build_model(ModelName(f"{own}_broken:build"), weights="none")


def test_kinetics_weights_are_not_for_a_factory(own: str) -> None:
    with pytest.raises(InputError, match="`weights`: expected `none` or a file for own_"):
        build_model(ModelName(f"{own}:pooled"), weights="kinetics400")


def test_initial_weights_of_a_factory_fit_every_layer(own: str, tmp_path: Path) -> None:
    name, path = ModelName(f"{own}:pooled"), tmp_path / "weights.pth"
    torch.save({"3.weight": torch.ones(2, 64), "3.bias": torch.zeros(2)}, path)
    assert torch.equal(build_model(name, weights=str(path)).state_dict()["3.weight"], torch.ones(2, 64))
    torch.save({"3.weight": torch.ones(400, 64), "3.bias": torch.zeros(400)}, path)
    with pytest.raises(InputError, match=r"2 names or shapes differ, 3\.weight first"):
        build_model(name, weights=str(path))


# A run of a factory -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_factorys_run_is_trained_evaluated_and_applied_by_commands_that_name_it(
    own: str, build: Path, tmp_path: Path
) -> None:
    shards, run = ["--shards", build], tmp_path / "runs" / "48h" / "oTV"
    named = ["--model", f"{own}:pooled"]
    settings = ["--batch-size", "8", "--epochs", "1", "--fold", "0", "--threads", "1", "--logger", "csv"]
    done = command(
        *("train", *shards, *named, "--model-option", "channels=3", "--model-option", "dropout=0", *settings),
        *("--variant", "oTV", "--accelerator", "cpu", "--out", tmp_path / "runs"),
    )
    assert done.exit_code == 0, done.exception
    options = read_record(run / "fold0").options
    assert (options.model, options.model_options) == (f"{own}:pooled", {"channels": 3, "dropout": 0})
    assert json.loads((run / "fold0" / "run.json").read_text())["options"]["model"] == f"{own}:pooled"
    (best,) = run.glob("fold0/sample-FLARE_*.ckpt")
    assert best.name.startswith(f"sample-FLARE_{own}.pooled_3x10-4-epoch=00-")

    evaluate, predict = ["evaluate", run, *shards, "--device", "cpu"], ["predict", "--run", run, *shards]
    for arguments in (evaluate, predict):
        refused = command(*arguments)
        assert isinstance(refused.exception, InputError)
        assert f"expected the factory {own}:pooled to be named by you too" in str(refused.exception)
        assert not (run / "fold0" / "predictions-test.csv").exists()
    for arguments, name in ((predict, "mvit_tiny"), (evaluate, f"{own}:lazy")):
        other = str(command(*arguments, "--model", name).exception)
        assert re.search(f"expected a run of {name}, found (a run|runs) of {own}:pooled", other), other
    assert "`model_options`: expected none with a run" in str(command(*predict, "--model-option", "a=1").exception)

    assert command(*evaluate, *named).exit_code == 0
    scores = json.loads((run / "scores.json").read_text())
    assert (scores["model"], scores["model_options"]) == (f"{own}:pooled", {"channels": 3, "dropout": 0})
    assert command(*evaluate).exit_code == 0  # the tables are there, and no network is needed
    forecast = command(*predict, *named, "--device", "cpu", "--format", "json")
    assert forecast.exit_code == 0, forecast.exception
    assert json.loads(forecast.stdout)["members"][0]["model"] == f"{own}:pooled"
    alone = command(
        *("predict", "--run", best, *shards, *named, "--horizon", "48h", "--device", "cpu", "--format", "json"),
        *("--model-option", "channels=3"),
    )
    assert alone.exit_code == 0, alone.exception
    regions = [json.loads(done.stdout)["regions"] for done in (forecast, alone)]
    assert [r["raw_probability"] for r in regions[0]] == [r["raw_probability"] for r in regions[1]]


def test_a_checkpoint_of_a_factory_that_has_changed_is_refused(own: str, build: Path, tmp_path: Path) -> None:
    fit(build, tmp_path / "run", factory_options(own))
    record = json.loads((tmp_path / "run" / "fold0" / "run.json").read_text())
    changed = FACTORIES.replace("nn.Flatten(), nn.Drop", "nn.Flatten(), nn.Identity(), nn.Drop")
    (tmp_path / f"{own}.py").write_text(changed)
    __import__("sys").modules.pop(own)
    with pytest.raises(InputError, match=rf"expected weights of {own}:pooled, .*3\.bias first; restore the factory"):
        evaluate_run(
            tmp_path / "run",
            build,
            folds=None,
            inference=Inference(
                batch_size=8, num_threads=1, device=torch.device("cpu"), factories=(ModelName(f"{own}:pooled"),)
            ),
            force=False,
            progress=SILENT,
        )
    with pytest.raises(InputError, match=r"last\.ckpt: expected the checkpoint that this training saved last"):
        fit(build, tmp_path / "run", factory_options(own, max_epochs=2))
    assert json.loads((tmp_path / "run" / "fold0" / "run.json").read_text())["num_epochs"] == record["num_epochs"]


def test_code_that_only_a_record_names_is_not_run(own: str, build: Path, tmp_path: Path) -> None:
    fit(build, tmp_path / "run", factory_options(own))
    __import__("sys").modules.pop(own)
    (tmp_path / f"{own}.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    with pytest.raises(InputError, match="to be named by you too: its code is never run because a file names it"):
        evaluate_run(tmp_path / "run", build, folds=None, inference=ON_CPU, force=False, progress=SILENT)
    assert not (tmp_path / "ran").exists()


def test_a_training_with_other_options_of_the_factory_is_another_one(own: str, build: Path, tmp_path: Path) -> None:
    fit(build, tmp_path / "run", factory_options(own))
    other = factory_options(own, model_options={"channels": 3})
    with pytest.raises(
        FileExistsError, match=r"a training with model_options \{'channels': 1\} \(now \{'channels': 3\}\)"
    ):
        fit(build, tmp_path / "run", other)
