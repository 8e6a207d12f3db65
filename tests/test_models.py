"""The networks and their first weights."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models.video import mvit_v2_s

from sffshards.errors import DamageError, InputError
from sffshards.models import build_model, read_state_dict, scale_clips
from sffshards.models.weights import KINETICS400_FILE, read_kinetics400
from sffshards.records import ModelName

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
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub" / "checkpoints" / KINETICS400_FILE


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
    """Serves the file under /whole, and under /cut the first half of it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            data = kinetics[0] if self.path == "/whole" else kinetics[0][: len(kinetics[0]) // 2]
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

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


def test_clips_are_scaled_by_255_and_their_channel_is_tiled() -> None:
    x = scale_clips(torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 1, 3))
    assert x.shape == (1, 3, 1, 1, 3)
    assert x.dtype == torch.float32
    assert torch.equal(x[0, :, 0, 0], torch.tensor([[0.0, 0.2, 1.0]] * 3))


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


def test_kinetics_weights_are_for_mvit_v2_s_only() -> None:
    with pytest.raises(InputError, match="--weights: expected `none` or a file for mvit_tiny"):
        build_model(TINY, weights="kinetics400")


def test_kinetics_weights_are_downloaded_once(server: str, kinetics: tuple[bytes, str], hub: Path) -> None:
    model = build_model(TINY, weights="none")
    read_kinetics400(model, url=f"{server}/whole", sha256=kinetics[1])
    assert hub.read_bytes() == kinetics[0]
    other = build_model(TINY, weights="none")
    read_kinetics400(other, url="http://127.0.0.1:9/none", sha256=kinetics[1])
    assert torch.equal(other.state_dict()["net.conv_proj.weight"], model.state_dict()["net.conv_proj.weight"])


def test_a_download_that_is_cut_off_leaves_nothing(server: str, kinetics: tuple[bytes, str], hub: Path) -> None:
    with pytest.raises(DamageError, match="not all of them"):
        read_kinetics400(nn.Module(), url=f"{server}/cut", sha256=kinetics[1])
    assert list(hub.parent.iterdir()) == []


def test_without_a_network_the_user_learns_where_to_put_the_file(hub: Path) -> None:
    with pytest.raises(InputError, match="put that file there, or give --weights FILE or --weights none") as caught:
        read_kinetics400(nn.Module(), url="http://127.0.0.1:9/none")
    assert str(hub) in str(caught.value)


def test_a_cached_file_of_other_bytes_is_not_used(hub: Path) -> None:
    hub.parent.mkdir(parents=True)
    hub.write_bytes(b"other")
    with pytest.raises(DamageError, match="remove it"):
        build_model(ModelName.MVIT_V2_S, weights="kinetics400")
