"""The networks and their first weights."""

from __future__ import annotations

import hashlib
import os
import pickle
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad, functional
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint
from torchvision.models.video import mvit_v2_s
from torchvision.models.video.mvit import MultiscaleAttention

from sffshards import fetch
from sffshards.base.errors import DamageError, InputError, StorageError
from sffshards.base.progress import SILENT
from sffshards.fetch import published_files as published
from sffshards.fetch.published_files import weights_path
from sffshards.models.fused_attention import FusedAttention, GreyStem
from sffshards.models.model_names import Attention, ModelName
from sffshards.models.model_weights import load_checkpoint, read_kinetics400, read_state_dict
from sffshards.models.networks import build_model, scale_clips

TINY = ModelName.MVIT_TINY


class Evil:
    """Unpickled, it makes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.target}",)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of torch's; gives the place of the Kinetics-400 file in it."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return weights_path()


@pytest.fixture
def kinetics(tmp_path: Path) -> tuple[bytes, str]:
    """A file of 400 classes, for the small network, and its SHA-256."""
    model = build_model(TINY, weights="none")
    state = model.state_dict() | {"net.head.1.weight": torch.ones(400, 96), "net.head.1.bias": torch.ones(400)}
    torch.save(state, tmp_path / "kinetics.pth")
    data = (tmp_path / "kinetics.pth").read_bytes()
    return data, hashlib.sha256(data).hexdigest()


@pytest.fixture
def server(kinetics: tuple[bytes, str]) -> Iterator[str]:
    """Serves the file."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(kinetics[0])))
            self.end_headers()
            self.wfile.write(kinetics[0])

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_address[1]}"
        httpd.shutdown()
        thread.join()


def test_mvit_v2_s_is_torchvisions_with_two_classes() -> None:
    expected = {name: tuple(value.shape) for name, value in mvit_v2_s().state_dict().items()}
    expected |= {"head.1.weight": (2, 768), "head.1.bias": (2,)}
    model = build_model(ModelName.MVIT_V2_S, weights="none")
    assert {name: tuple(value.shape) for name, value in model.state_dict().items()} == expected


def test_the_small_network_gives_two_logits_a_clip() -> None:
    model = build_model(TINY, weights="none").eval()
    with torch.no_grad():
        logits = model(scale_clips(torch.zeros((1, 16, 224, 224), dtype=torch.uint8)))
    assert logits.shape == (1, 2)
    assert sum(p.numel() for p in model.parameters()) < 500_000


def test_words_name_the_networks() -> None:
    with torch.device("meta"):
        model = build_model("mvit_v2_s", weights="none", attention="torchvision")  # type: ignore[arg-type]
    num_weights = sum(value.numel() for value in model.parameters())
    assert num_weights == 34_537_744 - 400 * 769 + 2 * 769  # as torchvision documents it, with another head
    with pytest.raises(InputError, match=r"`name`: expected one of mvit_v2_s, .*, or a factory .*, found 'mvit_v2_b'"):
        build_model("mvit_v2_b", weights="none")  # type: ignore[arg-type]


def test_clips_are_scaled_by_255() -> None:
    x = scale_clips(torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 1, 3))
    assert x.shape == (1, 1, 1, 1, 3)
    assert x.dtype == torch.float32
    assert torch.equal(x[0, 0, 0, 0], torch.tensor([0.0, 0.2, 1.0]))


@pytest.mark.parametrize("layout", ["state dict", "lightning", "published"])
def test_weights_come_from_a_state_dict_or_a_checkpoint(tmp_path: Path, layout: str) -> None:
    source = build_model(TINY, weights="none")
    content: dict[str, object] = dict(source.state_dict())
    if layout != "state dict":
        content = {"state_dict": {f"model.{k}": v for k, v in content.items()}, "epoch": 3}
    if layout == "published":
        content["state_dict"]["criterion.weight"] = torch.ones(2)  # type: ignore[index]
        content |= {"pytorch-lightning_version": "1.9.5", "hyper_parameters": {"lr": 1e-7}}
    torch.save(content, tmp_path / "weights")
    model = build_model(TINY, weights=str(tmp_path / "weights"))
    for name, value in source.state_dict().items():
        assert torch.equal(model.state_dict()[name], value)


def test_a_head_of_other_classes_is_dropped(tmp_path: Path, kinetics: tuple[bytes, str]) -> None:
    model = build_model(TINY, weights=str(tmp_path / "kinetics.pth"))
    given = torch.load(tmp_path / "kinetics.pth", weights_only=True)
    assert torch.equal(model.state_dict()["net.conv_proj.weight"], given["net.conv_proj.weight"])
    assert model.state_dict()["net.head.1.weight"].shape == (2, 96)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (None, "no such file"),
        (b"", "cut off or not of torch"),
        (b"not a pickle at all" * 20, "torch"),
        ({"weights": torch.ones(3)}, "those of another network"),
        ([1, 2], "a list"),
        ({"state_dict": {}}, "no state dict"),
    ],
)
def test_a_file_that_cannot_be_used_ends_in_one_line(tmp_path: Path, content: object, found: str) -> None:
    path = tmp_path / "weights.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(InputError, match=found) as caught:
        build_model(TINY, weights=str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (1, torch.zeros(2)),
        ("net.head.1.bias", torch.zeros(2).to_sparse()),
        ("net.head.1.bias", torch.zeros(2, device="meta")),
        ("net.head.1.bias", torch.zeros(2, dtype=torch.complex64)),
    ],
    ids=["no name", "sparse", "meta", "complex"],
)
def test_an_entry_that_no_weights_can_be_set_to_is_refused(tmp_path: Path, name: Any, value: Tensor) -> None:
    path, model = tmp_path / "weights.pth", build_model(TINY, weights="none")
    torch.save(model.state_dict() | {name: value}, path)
    with pytest.raises(InputError, match=rf"found an entry that is no named array of real numbers \({name}\)"):
        load_checkpoint(model, path, model_name=TINY)


@pytest.mark.parametrize("part", [0.2, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, kinetics: tuple[bytes, str], part: float) -> None:
    path = tmp_path / "cut.pth"
    path.write_bytes(kinetics[0][: int(part * len(kinetics[0]))])
    with pytest.raises(InputError, match="cut off"):
        build_model(TINY, weights=str(path))


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_weights_file_is_not_run(tmp_path: Path, zipped: bool) -> None:
    path, target = tmp_path / "evil.pth", tmp_path / "ran"
    torch.save({"state_dict": {"model.x": Evil(target)}}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match="objects that could run code, which are never loaded"):
        build_model(TINY, weights=str(path))
    with pytest.raises(InputError):
        read_state_dict(path)
    assert not target.exists()


def make_archive(path: Path, pickled: bytes, *, compression: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")


def test_a_small_file_does_not_grow_in_memory_or_take_minutes(tmp_path: Path) -> None:
    many, path = b"\x80\x02" + b"]" * 3_000_000 + b"}.", tmp_path / "bomb.pth"
    make_archive(path, many)
    with pytest.raises(InputError, match=r"found a description of 3,000,004 bytes \(limit 2,097,152\)"):
        read_state_dict(path)
    make_archive(path, many, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="found an archive that unpacks to more than it is"):
        read_state_dict(path)
    # bytearray(2**40), the one type that torch.load makes of any size and fills
    make_archive(path, b"\x80\x02cbuiltins\nbytearray\n\x8a\x06\0\0\0\0\0\1\x85R.")
    with pytest.raises(InputError, match="found an array of bytes, which no network has"):
        read_state_dict(path)
    old = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    path.write_bytes(b"".join(old) + many)  # as torch wrote files before 1.6
    with pytest.raises(InputError, match="found a file that is cut off or not of torch"):
        read_state_dict(path)


def test_kinetics_weights_are_for_mvit_v2_s_only() -> None:
    with pytest.raises(InputError, match="`weights`: expected `none` or a file for mvit_tiny"):
        build_model(TINY, weights="kinetics400")


def test_kinetics_weights_are_fetched_once(
    server: str, kinetics: tuple[bytes, str], hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(published.WEIGHTS_SHA256, "mvit_v2_s", kinetics[1])
    monkeypatch.setattr(fetch, "fetch_weights", partial(published.fetch_weights, url=f"{server}/weights.pth"))
    model = build_model(TINY, weights="none")
    read_kinetics400(model, model_name=ModelName.MVIT_V2_S, progress=SILENT)
    assert hub.read_bytes() == kinetics[0]
    monkeypatch.setattr(fetch, "fetch_weights", partial(published.fetch_weights, url="http://127.0.0.1:9/none"))
    other = build_model(TINY, weights="none")
    read_kinetics400(other, model_name=ModelName.MVIT_V2_S, progress=SILENT)
    assert torch.equal(other.state_dict()["net.conv_proj.weight"], model.state_dict()["net.conv_proj.weight"])


def test_without_a_network_the_user_learns_where_to_put_the_file(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetch, "fetch_weights", partial(published.fetch_weights, url="http://127.0.0.1:9/none"))
    with pytest.raises(StorageError, match=r"put it at .*; or train with `weights` none$") as caught:
        read_kinetics400(nn.Module(), model_name=ModelName.MVIT_V2_S, progress=SILENT)
    assert str(hub) in str(caught.value)


def test_a_cached_file_of_other_bytes_is_not_used(hub: Path) -> None:
    hub.parent.mkdir(parents=True)
    hub.write_bytes(b"other")
    with pytest.raises(DamageError, match="remove it"):
        build_model(ModelName.MVIT_V2_S, weights="kinetics400")


# The same function, computed in two ways ----------------------------------------------------------------------------


def draw_weights(net: nn.Module) -> nn.Module:
    """Draw relative positions, norms and biases so large that an error in any of them shows."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, value in net.named_parameters():
            if "rel_pos" in name or value.ndim == 1:
                value.add_(torch.randn(value.shape, generator=generator, dtype=value.dtype), alpha=0.3)
    return net


def build_pair(name: ModelName) -> tuple[nn.Module, nn.Module]:
    """Build a network twice from one seed, as torchvision computes it and as we do."""
    pair = []
    for attention in (Attention.TORCHVISION, Attention.FUSED):
        torch.manual_seed(3)
        pair.append(draw_weights(build_model(name, weights="none", attention=attention)))
    return pair[0], pair[1]


def run_step(net: nn.Module, inputs: Sequence[object], weights: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Give the output, and the gradient of each weight for a loss of all of it."""
    torch.manual_seed(7)  # of dropout and stochastic depth
    net.zero_grad()
    out = net(*inputs)
    out = out[0] if isinstance(out, tuple) else out
    (out * weights).sum().backward()
    return out.detach(), {name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None}


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def worst_gradient(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """Give the largest error of a gradient, relative to the largest number in it.

    A bias of all keys moves all scores of a query alike, so its gradient is zero: it is measured by its norm's weights.
    """
    assert found.keys() == expected.keys()
    errors = []
    for name, gradient in expected.items():
        of_keys = name.endswith("pool_k.norm_act.0.bias")
        scale = expected[name.replace("bias", "weight")] if of_keys else gradient
        error = float((found[name] - gradient).abs().max())
        errors.append(error / float(scale.abs().max()) if error else 0.0)  # 0 where nothing depends on a weight
    return max(errors)


def clip(batch: int, dtype: torch.dtype) -> Tensor:
    return torch.rand(batch, 1, 16, 224, 224, generator=torch.Generator().manual_seed(9), dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("with_class", [True, False])
@pytest.mark.parametrize(
    ("thw", "stride_q", "stride_kv", "made_for"),
    [
        ((4, 8, 8), [1, 2, 2], [1, 4, 4], [4, 8, 8]),
        ((4, 8, 8), [1, 1, 1], [2, 2, 2], [4, 8, 8]),
        ((5, 9, 7), [1, 2, 2], [2, 4, 4], [5, 9, 7]),  # odd sizes, height and width unlike, tables stretched
        ((3, 7, 11), [1, 2, 3], [1, 1, 1], [3, 11, 11]),  # more keys than queries
        ((6, 10, 6), [], [2, 3, 3], [4, 7, 7]),  # queries are not pooled; a network for other clips
        ((1, 5, 5), [], [], [1, 5, 5]),  # nothing is pooled
    ],
)
def test_fused_attention_is_torchvisions(
    thw: tuple[int, int, int],
    stride_q: list[int],
    stride_kv: list[int],
    made_for: list[int],
    with_class: bool,
    dtype: torch.dtype,
) -> None:
    torch.manual_seed(1)
    stock = MultiscaleAttention(
        made_for,
        embed_dim=12,
        output_dim=20,
        num_heads=2,
        kernel_q=[3, 3, 3] if stride_q else [],
        kernel_kv=[3, 3, 3] if stride_kv else [],
        stride_q=stride_q,
        stride_kv=stride_kv,
        residual_pool=True,
        residual_with_cls_embed=with_class,
        rel_pos_embed=True,
    )
    stock = draw_weights(stock).to(dtype)
    x = torch.randn(2, 1 + thw[0] * thw[1] * thw[2], 12, dtype=dtype)
    _, grid = stock(x, thw)
    weights = torch.randn(2, 1 + grid[0] * grid[1] * grid[2], 20, dtype=dtype)
    expected, expected_gradients = run_step(stock, (x, thw), weights)
    fused = FusedAttention(stock)
    assert fused(x, thw)[1] == grid
    found, gradients = run_step(fused, (x, thw), weights)
    exact = dtype is torch.float64
    assert relative_error(found, expected) < (1e-14 if exact else 1e-6)
    assert worst_gradient(gradients, expected_gradients) < (1e-13 if exact else 2e-5)


SMALL_GRID = (2, 4, 4)


def small_attention() -> MultiscaleAttention:
    torch.manual_seed(1)
    strides, sizes = [1, 2, 2], list(SMALL_GRID)
    options = {"residual_pool": True, "residual_with_cls_embed": True, "rel_pos_embed": True, "num_heads": 2}
    kernels = {"kernel_q": [3, 3, 3], "kernel_kv": [3, 3, 3], "stride_q": strides, "stride_kv": strides}
    return draw_weights(MultiscaleAttention(sizes, embed_dim=6, output_dim=6, **kernels, **options)).double()


def cubes(net: nn.Module, x: Tensor) -> Tensor:
    out: Tensor = net(x, SMALL_GRID)[0]
    return out.pow(3).sum()


def weights_of(net: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in net.named_parameters()}


def cubes_of_weights(net: nn.Module, weights: dict[str, Tensor], x: Tensor) -> Tensor:
    out: Tensor = functional_call(net, weights, (x, SMALL_GRID))[0]
    return out.pow(3).sum()


def differentiate_three_times(net: nn.Module, x: Tensor) -> list[Tensor]:
    x = x.requires_grad_()
    (once,) = torch.autograd.grad(cubes(net, x), x, create_graph=True)
    twice = torch.autograd.grad(once.pow(2).sum(), [x, *net.parameters()], create_graph=True)
    return [*twice, *torch.autograd.grad(twice[0].sum(), x)]


def differentiate_frozen(net: nn.Module, x: Tensor) -> list[Tensor]:
    net.requires_grad_(False)
    table: Tensor = net.rel_pos_h.requires_grad_()  # type: ignore[assignment]
    (once,) = torch.autograd.grad(cubes(net, x), table, create_graph=True)
    return list(torch.autograd.grad(once.pow(2).sum(), table))


def checkpointed(net: nn.Module, x: Tensor, *, reentrant: bool) -> list[Tensor]:
    x = x.requires_grad_()
    out = checkpoint(lambda x: net(x, SMALL_GRID)[0], x, use_reentrant=reentrant)
    out.pow(3).sum().backward()
    return [x.grad, *(value.grad for value in net.parameters())]  # type: ignore[list-item]


def checkpointed_twice(net: nn.Module, x: Tensor) -> list[Tensor]:
    x = x.requires_grad_()
    out = checkpoint(lambda x: net(x, SMALL_GRID)[0], x, use_reentrant=False)
    (once,) = torch.autograd.grad(out.pow(3).sum(), x, create_graph=True)
    return list(torch.autograd.grad(once.pow(2).sum(), [x, *net.parameters()]))


def push_forward(net: nn.Module, x: Tensor, name: str) -> Tensor:
    """Return the tangent of the output for one of the input, or of a weight."""
    values = dict(net.named_parameters()) | {"x": x}
    with forward_ad.dual_level():
        values[name] = forward_ad.make_dual(values[name].detach(), torch.ones_like(values[name]))
        x = values.pop("x")
        tangent: Tensor | None = forward_ad.unpack_dual(functional_call(net, values, (x, SMALL_GRID))[0]).tangent
    assert tangent is not None
    return tangent


def pull_back_several(net: nn.Module, x: Tensor) -> list[Tensor]:
    x = x.requires_grad_()
    out = net(x, SMALL_GRID)[0]
    several = torch.stack([torch.ones_like(out), torch.arange(out.numel(), dtype=out.dtype).view(out.shape)])
    return list(torch.autograd.grad(out, [x, *net.parameters()], several, is_grads_batched=True))


TRANSFORMS: dict[str, Callable[[nn.Module, Tensor], object]] = {
    "grad": lambda net, x: grad(partial(cubes_of_weights, net))(weights_of(net), x),
    "vmap": lambda net, x: vmap(lambda x: net(x[None], SMALL_GRID)[0])(x),
    "gradients by sample": lambda net, x: vmap(grad(partial(cubes_of_weights, net)), in_dims=(None, 0))(
        weights_of(net), x[:, None]
    ),
    "jvp": lambda net, x: jvp(lambda x: net(x, SMALL_GRID)[0], (x,), (torch.ones_like(x),))[1],
    "jvp of weights": lambda net, x: jvp(
        lambda weights: cubes_of_weights(net, weights, x), (weights_of(net),), (weights_of(net),)
    )[1],
    "vjp": lambda net, x: vjp(lambda x: net(x, SMALL_GRID)[0][:, 0], x)[1](torch.ones(2, 6, dtype=x.dtype)),
    "jacrev": lambda net, x: jacrev(lambda x: net(x, SMALL_GRID)[0][:, 0])(x),
    "jacfwd": lambda net, x: jacfwd(lambda a: net(x + a, SMALL_GRID)[0])(x.new_zeros(1)),
    "hessian": lambda net, x: hessian(lambda a: cubes(net, x * a))(x.new_ones(1)),
    "Hessian product, forward over reverse": lambda net, x: jvp(grad(partial(cubes, net)), (x,), (x,))[1],
    "Hessian product, reverse over reverse": lambda net, x: vjp(grad(partial(cubes, net)), x)[1](x),
    "autograd.functional.hvp": lambda net, x: functional.hvp(partial(cubes, net), x, x)[1],
    "autograd.functional.jvp": lambda net, x: functional.jvp(lambda x: net(x, SMALL_GRID)[0], x, x)[1],
    "backward three times": differentiate_three_times,
    "backward twice, other weights frozen": differentiate_frozen,
    "forward mode by input": partial(push_forward, name="x"),
    "forward mode by a weight": partial(push_forward, name="pool_k.pool.weight"),
    "several gradients at a time": pull_back_several,
    "checkpoint": partial(checkpointed, reentrant=False),
    "reentrant checkpoint": partial(checkpointed, reentrant=True),
    "checkpoint, backward twice": checkpointed_twice,
}


# torch's own use, for jvp; torch 2.11 warns of it in another class.
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:FutureWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("name", TRANSFORMS)
def test_fused_attention_is_transformed_as_torchvisions(name: str) -> None:
    found = []
    for net in (small_attention(), FusedAttention(small_attention())):
        x = torch.randn(2, 33, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
        leaves = tree_leaves(TRANSFORMS[name](net, x))
        found.append(torch.cat([leaf.detach().flatten() for leaf in leaves]))
    assert relative_error(found[1], found[0]) < 1e-12


@pytest.mark.parametrize("num_channels", [1, 3])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [
        ((3, 7, 7), (2, 4, 4), (1, 3, 3)),  # MViTv2-S's
        ((2, 8, 8), (2, 8, 8), (0, 0, 0)),  # patches side by side
        ((2, 3, 5), (2, 3, 5), (0, 0, 0)),  # with a rest at the end of each axis
        ((2, 8, 8), (2, 8, 8), (0, 1, 0)),
    ],
)
def test_the_stem_is_torchs_convolution(
    kernel: tuple[int, int, int], stride: tuple[int, int, int], padding: tuple[int, int, int], num_channels: int
) -> None:
    torch.manual_seed(4)
    conv = torch.nn.Conv3d(3, 6, kernel, stride, padding, dtype=torch.float64)
    x = torch.randn(2, num_channels, 5, 32, 24, dtype=torch.float64)
    stock = conv(x.expand(-1, 3, -1, -1, -1))
    weights = torch.randn_like(stock)
    gradients = torch.autograd.grad((stock * weights).sum(), list(conv.parameters()))
    found = GreyStem(conv)(x)
    torch.testing.assert_close(found, stock, rtol=1e-12, atol=1e-12)
    for ours, expected in zip(
        torch.autograd.grad((found * weights).sum(), list(conv.parameters())), gradients, strict=True
    ):
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "training", "batch_size"),
    [
        (TINY, True, 2),
        (TINY, False, 2),
        pytest.param(ModelName.MVIT_V2_S, True, 1, marks=pytest.mark.long),
        pytest.param(ModelName.MVIT_V2_S, False, 1, marks=pytest.mark.long),
    ],
)
def test_a_network_is_the_same_in_both_ways(name: ModelName, training: bool, batch_size: int) -> None:
    # The small one without what is subtracted and multiplied behind it, which would magnify the rounding of either. Max
    # pooling gives a gradient to the largest of its inputs. In float32 rounding changes which that is for a few, in
    # torchvision's own network too, so gradients of all layers together are compared in float64.
    stock, ours = (getattr(model, "net", model).train(training) for model in build_pair(name))
    weights = torch.tensor([[1.0, -0.5], [0.3, 2.0]])[:batch_size]
    with torch.no_grad():
        torch.manual_seed(7)
        expected = stock(clip(batch_size, torch.float32))
        torch.manual_seed(7)
        assert relative_error(ours(clip(batch_size, torch.float32)), expected) < 2e-6
    inputs = (clip(batch_size, torch.float64),)
    expected, expected_gradients = run_step(stock.double(), inputs, weights)
    found, gradients = run_step(ours.double(), inputs, weights)
    assert relative_error(found, expected) < 1e-13
    assert worst_gradient(gradients, expected_gradients) < 1e-10


@pytest.mark.parametrize("attention", list(Attention))
def test_one_channel_counts_as_three_equal_ones(attention: Attention) -> None:
    torch.manual_seed(3)
    model = build_model(TINY, weights="none", attention=attention)
    x, weights = clip(1, torch.float32), torch.tensor([[1.0, -1.0]])
    one, of_one = run_step(model, (x,), weights)
    three, of_three = run_step(model, (x.expand(-1, 3, -1, -1, -1),), weights)
    torch.testing.assert_close(one, three, rtol=0, atol=1e-4)  # of logits that are thirty times a difference
    gradient = of_one["net.conv_proj.weight"]
    assert gradient.shape[1] == 3
    assert relative_error(gradient, of_three["net.conv_proj.weight"]) < 2e-5


def test_three_channels_that_differ_are_told_apart() -> None:
    stock, ours = build_pair(TINY)
    x = torch.rand(1, 3, 16, 224, 224, generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        expected = stock(x)
        assert relative_error(ours(x), expected) < 1e-5
        assert relative_error(ours(x[:, :1]), expected) > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("name", [ModelName.MVIT_V2_S, TINY])
def test_weights_have_torchvisions_names_in_torchvisions_order(name: ModelName) -> None:
    # The order is that of an optimiser's state in a checkpoint.
    stock, ours = build_pair(name)
    assert list(ours.state_dict()) == list(stock.state_dict())
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in stock.named_parameters()]
    for key, value in stock.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value)


@pytest.mark.slow
def test_a_file_as_torchvision_publishes_it_loads(tmp_path: Path) -> None:
    torch.save(mvit_v2_s().state_dict(), tmp_path / "kinetics.pth")  # 400 classes
    model = build_model(ModelName.MVIT_V2_S, weights=str(tmp_path / "kinetics.pth"))
    given = torch.load(tmp_path / "kinetics.pth", weights_only=True)
    assert torch.equal(model.state_dict()["blocks.15.attn.rel_pos_t"], given["blocks.15.attn.rel_pos_t"])
    assert torch.equal(model.state_dict()["conv_proj.weight"], given["conv_proj.weight"])


@pytest.mark.parametrize("trained_with", list(Attention))
def test_a_checkpoint_gives_the_same_logits_with_either_attention(tmp_path: Path, trained_with: Attention) -> None:
    torch.manual_seed(3)
    trained = draw_weights(build_model(TINY, weights="none", attention=trained_with)).eval()
    torch.save({"state_dict": {f"model.{k}": v for k, v in trained.state_dict().items()}}, tmp_path / "last.ckpt")
    (other,) = set(Attention) - {trained_with}
    model = build_model(TINY, weights="none", attention=other).eval()
    load_checkpoint(model, tmp_path / "last.ckpt", model_name=TINY)
    with torch.no_grad():
        logits, expected = model(clip(2, torch.float32)), trained(clip(2, torch.float32))
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)  # of logits that are thirty times a difference


@pytest.mark.slow
def test_bfloat16_is_as_near_to_float32_as_torchvisions() -> None:
    stock, ours = build_pair(TINY)
    x, weights = clip(1, torch.float32), torch.tensor([[1.0, -1.0]])
    exact, exact_gradients = run_step(stock, (x,), weights)
    errors = {}
    for name, net in (("stock", stock), ("ours", ours)):
        with torch.autocast("cpu", torch.bfloat16):
            found, gradients = run_step(net, (x,), weights)
        assert all(gradient.dtype is torch.float32 for gradient in gradients.values())
        inner = "net.conv_proj.weight"
        errors[name] = (relative_error(found, exact), relative_error(gradients[inner], exact_gradients[inner]))
    for ours_of, stock_of in zip(errors["ours"], errors["stock"], strict=True):
        assert ours_of < max(2 * stock_of, 0.05)
