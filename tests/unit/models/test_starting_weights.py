from __future__ import annotations

import http.server
import importlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
import safetensors.torch
import timm
import torch
from huggingface_hub import constants
from tests.helpers.hub import BACKBONE, Hub, serve_hub, use_hub, weights_content
from tests.helpers.training import assert_same, snapshot

from classifier_training.errors import ModelError
from classifier_training.models.backbone import create_backbone
from classifier_training.models.starting_weights import StartingWeights, fetch_weights, find_weights
from classifier_training.models.weights import load_starting_weights

REPO = "timm/test_resnet.r160_in1k"


@pytest.fixture(scope="module")
def content() -> bytes:
    return weights_content()


@pytest.fixture
def hub(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with serve_hub(content) as served:
        use_hub(monkeypatch, served.address, tmp_path / "cache")
        yield served


def nothing(done: int, total: int) -> None:
    """Of the progress."""


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.suffix not in {".lock", ".TAG"})


def find(pretrained: Any = "auto", **options: Any) -> StartingWeights:
    return find_weights(BACKBONE, pretrained=pretrained, **options)


def test_a_given_file_comes_first(hub: Hub) -> None:
    found = find(file="w.safetensors")
    assert (found.kind, found.path) == ("file", Path("w.safetensors"))
    assert hub.requests == []


def test_without_weights_no_socket_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert not find(pretrained=False)
    assert find(pretrained=False).kind == "none"


def test_what_is_to_be_downloaded_is_known_before(hub: Hub) -> None:
    found = find()
    assert (found.kind, found.name, found.licence) == ("hub", REPO, "apache-2.0")
    assert found.describe() == f"{REPO} ({len(hub.content) / 1e6:.1f} MB, licence apache-2.0)"
    assert [request.partition(" ")[0] for request in hub.requests] == ["HEAD"]


def test_a_download_comes_whole_and_is_found_on_this_disk_afterwards(hub: Hub) -> None:
    received: list[tuple[int, int]] = []
    fetched = fetch_weights(find(), lambda done, total: received.append((done, total)))
    assert fetched.path is not None
    assert fetched.path.read_bytes() == hub.content
    assert received[-1] == (len(hub.content), len(hub.content))

    backbone = create_backbone(BACKBONE, 3, 32)
    message = load_starting_weights(backbone, BACKBONE, fetched)
    assert message == f"weights from {REPO}; its head has 1000 classes, this run 3: the head starts from zero"
    expected = {key: value for key, value in safetensors.torch.load(hub.content).items() if not key.startswith("fc.")}
    assert_same({key: value for key, value in snapshot(backbone).items() if key in expected}, expected)

    hub.requests.clear()
    again = fetch_weights(find(), nothing)
    assert (again.kind, again.path, again.sha256) == ("cache", fetched.path, fetched.sha256)
    assert hub.requests == [], "the network was used for what is on this disk"


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("missing", "has no model.safetensors in timm/test_resnet.r160_in1k"),
        ("silent", "did not answer within 0.3 seconds"),
    ],
)
def test_a_hub_without_them_is_told_from_one_that_is_silent(
    hub: Hub, mode: Any, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("classifier_training.models.hub.HUB_TIMEOUT_SECONDS", 0.3)
    hub.mode = mode
    found = find()
    assert (found.kind, bool(found)) == ("missing", False)
    assert reason in found.reason
    with pytest.raises(ModelError, match=r"true: there are no.*model\.weights=FILE.*=false") as caught:
        find(pretrained=True)
    assert "\n" not in str(caught.value)


def test_a_closed_port_is_noticed_without_retries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    use_hub(monkeypatch, f"http://127.0.0.1:{port}", tmp_path)
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("the client waits between retries"))
    assert "; the hub: http://127.0.0.1" in find().reason


def test_offline_mode_asks_nobody(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in find().reason
    assert hub.requests == []


def test_a_proxy_is_used_and_one_that_is_broken_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Proxy(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            asked.append(self.path)
            self.send_error(502)

        def log_message(self, *_: object) -> None:
            """Prints nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        use_hub(monkeypatch, "http://hub.invalid", tmp_path)
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
        client: Any = importlib.import_module("huggingface_hub.utils")
        client.close_session()  # it has read the environment already
        try:
            reason = find().reason
        finally:
            client.close_session()
            server.shutdown()
            thread.join()
    assert asked == [f"http://hub.invalid/{REPO}/resolve/main/model.safetensors"]
    assert "answered with status 502" in reason


@pytest.mark.parametrize("mode", ["cut", "other bytes"])
def test_nothing_of_a_broken_download_is_kept_and_the_next_one_begins_again(
    hub: Hub, mode: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    found = find()
    hub.mode = mode
    with pytest.raises(ModelError, match=r"next start downloads it again$") as caught:
        fetch_weights(found, nothing)
    assert "\n" not in str(caught.value)
    assert "model.safetensors" not in files(tmp_path / "cache")
    assert not [name for name in files(tmp_path / "cache") if name.endswith("incomplete")]
    assert len(hub.requests) < 10, "it was tried again and again"

    hub.mode = "whole"
    assert fetch_weights(find(), nothing).path is not None


def test_a_damaged_file_of_the_cache_is_removed(hub: Hub) -> None:
    path = fetch_weights(find(), nothing).path
    assert path is not None
    path.resolve().write_bytes(b"damaged")
    with pytest.raises(ModelError, match=r"was damaged.*has been removed; the next start downloads it again"):
        fetch_weights(find(), nothing)
    assert fetch_weights(find(), nothing).path == path


def test_weights_of_another_backbone_are_counted(hub: Hub) -> None:
    hub.content = safetensors.torch.save({"bn1.weight": torch.zeros(2)})
    fetched = fetch_weights(find(), nothing)
    with pytest.raises(ModelError, match=rf"{REPO}.* does not fit the backbone: \d+ weights missing .*, 1 of another"):
        load_starting_weights(create_backbone(BACKBONE, 3, 32), BACKBONE, fetched)


def test_a_backbone_without_pretrained_weights_has_none() -> None:
    name = next(name for name in timm.list_models("resnet*") if not timm.is_model_pretrained(name))
    assert find_weights(name, pretrained="auto").reason == f"timm has none for {name}"
    with pytest.raises(ModelError, match=rf"no pretrained weights of {name}: timm has none"):
        find_weights(name, pretrained=True)


def test_a_recipe_that_needs_weights_is_named(hub: Hub) -> None:
    hub.mode = "missing"
    with pytest.raises(ModelError, match=r"^recipe=finetune: there are no pretrained weights of test_resnet"):
        find(pretrained=True, wanted_by="recipe=finetune")


def test_a_teacher_without_weights_is_no_reason_to_train_from_scratch() -> None:
    with pytest.raises(
        ModelError, match=r"^distill\.teacher=\S+: .*, or give a run or a checkpoint as distill\.teacher$"
    ):
        find(pretrained=True, wanted_by=f"distill.teacher={BACKBONE}")
