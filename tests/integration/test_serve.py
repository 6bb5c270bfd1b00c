"""The command `serve`: a real server, real connections, real signals."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import onnx
import pytest
from tests.helpers.broken_images import mutants, other_broken_files
from tests.helpers.cli import ENVIRONMENT, Trained, WarmProgram
from tests.helpers.serving import Served, make_served, serving

from classifier_training import predict


@pytest.fixture(scope="module")
def served(trained: Trained) -> Iterator[Served]:
    """A server of a run; tests leave it as it is."""
    with serving(trained.run.root, "--max-mb", "0.25", "--max-megapixels", "1") as server:
        yield server


@contextlib.contextmanager
def half_sent(server: Served, content: bytes, path: str = "/predict") -> Generator[socket.socket, None, None]:
    """A connection on which half of a request was sent and has arrived."""
    host, _, port = server.address.removeprefix("http://").partition(":")
    before = server.metric("classifier_images_in_flight")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(content)}\r\n\r\n"
        connection.sendall(head.encode() + content[: len(content) // 2])
        wait_until_in_flight(server, before + 1)
        yield connection


def wait_until_in_flight(server: Served, number: float) -> None:
    end = time.monotonic() + 30
    while server.metric("classifier_images_in_flight") != number:
        assert time.monotonic() < end


def answer_of(connection: socket.socket) -> bytes:
    pieces = []
    while piece := connection.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


def photos_of(trained: Trained) -> list[Path]:
    return sorted(trained.photos.rglob("*.png"))


def test_answers_of_many_clients_are_those_of_predict(trained: Trained, served: Served) -> None:
    photos = photos_of(trained)
    expected = {one.file: one for one in predict(trained.run.root, photos)}

    def post(photo: Path) -> tuple[str, dict[str, object]]:
        return str(photo), httpx.post(f"{served.address}/predict", content=photo.read_bytes()).json()

    with ThreadPoolExecutor(16) as clients:
        found = list(clients.map(post, photos))

    for file, answer in found:
        probabilities = answer["probabilities"]
        assert isinstance(probabilities, dict)
        assert answer["label"] == expected[file].label
        assert np.abs(np.subtract(list(probabilities.values()), expected[file].probabilities)).max() <= 1e-6


def test_the_run_tells_how_it_was_verified_and_scored(trained: Trained, served: Served) -> None:
    facts = httpx.get(f"{served.address}/model").json()
    results = json.loads(trained.run.results.read_text(encoding="utf-8"))

    assert facts["name"] == trained.run.root.name
    assert facts["verification"]["passed"] is True
    assert facts["scores"]["top1"] == results["test"]["top1"]
    assert facts["scores"]["intervals"]["top1"] == results["test"]["intervals"]["top1"]
    assert facts["self_test_images"] == 3


def test_the_file_holds_small_pictures_without_their_secrets(trained: Trained) -> None:
    model = onnx.load(trained.run.onnx)
    (entry,) = [entry for entry in model.metadata_props if entry.key == "self_test"]
    images = json.loads(entry.value)["images"]

    assert len({image["label"] for image in images}) > 1
    assert all(len(image["jpeg"]) < 15_000 for image in images)


def test_broken_images_over_the_wire(trained: Trained, served: Served) -> None:
    with httpx.Client(base_url=served.address) as client:
        for content in [*mutants(100, seed=1), *other_broken_files().values()]:
            assert client.post("/predict", content=content).status_code in {200, 400, 413, 422}
        assert client.post("/predict", content=photos_of(trained)[0].read_bytes()).status_code == 200
    assert served.process.poll() is None


def test_a_body_that_is_too_large_is_refused_while_it_comes(served: Served) -> None:
    pieces = iter([bytes(50_000)] * 20)

    for content in (bytes(1_000_000), pieces):
        answer = httpx.post(f"{served.address}/predict", content=content)
        assert answer.status_code == 413
        assert "the body is larger than 262144 bytes" in answer.json()["error"]


def test_who_hangs_up_frees_his_place(trained: Trained, served: Served) -> None:
    before = served.metric("classifier_hung_up_total")
    with half_sent(served, photos_of(trained)[0].read_bytes()):
        pass

    wait_until_in_flight(served, 0)
    assert served.metric("classifier_hung_up_total") == before + 1


def test_a_full_server_refuses_ends_and_drains(trained: Trained, tmp_path: Path) -> None:
    content = photos_of(trained)[0].read_bytes()
    with serving(make_served(tmp_path / "model.onnx"), "--queue", "1") as server:
        with half_sent(server, content) as connection:
            refused = httpx.post(f"{server.address}/predict", content=content)
            assert refused.status_code == 503
            assert refused.headers["Retry-After"].isdigit()

            server.process.terminate()
            wait_until_closed(server)
            connection.sendall(content[len(content) // 2 :])
            assert answer_of(connection).startswith(b"HTTP/1.1 200 OK")
        assert server.process.wait(60) == 0


def wait_until_closed(server: Served) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            httpx.get(f"{server.address}/healthz")
        except httpx.TransportError:  # refused, or dropped with what waited to be accepted
            return
    raise AssertionError("it still takes connections")


def test_processes_count_together(tmp_path: Path) -> None:
    content = next(iter(mutants(1)))
    with serving(make_served(tmp_path / "model.onnx"), "--workers", "2") as server:
        for _ in range(12):  # each over a connection of its own, which either process may take
            assert httpx.post(f"{server.address}/predict", content=content).status_code in {200, 422}
        assert server.metric("classifier_request_seconds_count") >= 12
        assert server.stop(signal.SIGINT) == 130


def test_a_port_in_use_is_one_line(program: WarmProgram, trained: Trained, served: Served) -> None:
    port = served.address.rpartition(":")[2]

    finished = program("serve", trained.run.root, "--port", port)

    assert finished.code == 2
    assert finished.err == (
        f"error: port {port} of 127.0.0.1 is in use by another program; name another one: --port {int(port) + 1}\n"
    )
    assert finished.out == ""


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["nowhere"], "there is no nowhere; name a run folder or an .onnx file"),
        (["photo.onnx"], "photo.onnx is not an ONNX model that can be opened, or is truncated: "),
        (["model.onnx", "--host", "no.such.host.invalid"], "--host 'no.such.host.invalid' is not an address of this"),
        (["model.onnx", "--host", "192.0.2.1"], "cannot listen at port 8000 of 192.0.2.1: "),
        (["model.onnx", "--timeout", "0"], "serve: --timeout must be a positive number; got 0.0"),
        (["model.onnx", "--max-mb", "nan"], "serve: --max-mb must be a positive number; got nan"),
        (["model.onnx", "--api-key", " "], "serve: --api-key must be some ASCII text; without a key, leave it out"),
        (["model.onnx", "--name", "a/b"], "serve: --name 'a/b' must be some text without a slash"),
    ],
)
def test_mistakes_are_one_line(program: WarmProgram, tmp_path: Path, words: list[str], line: str) -> None:
    make_served(tmp_path / "model.onnx")
    (tmp_path / "photo.onnx").write_bytes(b"no model")

    finished = program("serve", *words, folder=tmp_path)

    assert finished.code == 2
    assert finished.err.startswith(f"error: {line}")
    assert finished.err.count("\n") == 1


def test_without_its_packages_the_command_says_what_to_install(program: WarmProgram, tmp_path: Path) -> None:
    script = (
        "import sys\nsys.modules['fastapi'] = sys.modules['uvicorn'] = None\n"
        "from classifier_training.cli.main import main\nmain(['serve', 'model.onnx'])\n"
    )

    finished = program.python(script, folder=tmp_path)

    assert finished.code == 2
    assert finished.err == (
        "error: serve needs the packages fastapi, uvicorn; install them: pip install 'classifier-training[serve]'\n"
    )


def test_a_model_that_fails_its_self_test_is_not_served(program: WarmProgram, trained: Trained, tmp_path: Path) -> None:
    model = onnx.load(trained.run.onnx)
    for entry in model.metadata_props:
        if entry.key == "preprocessing":
            entry.value = re.sub('"interpolation": "[a-z]+"', '"interpolation": "nearest"', entry.value)
    onnx.save(model, tmp_path / "model.onnx")

    finished = program("serve", tmp_path / "model.onnx", "--port", "0")

    assert finished.code == 1
    assert "fails its self-test on picture 1 of 3: " in finished.err
    assert finished.err.count("\n") == 1
    assert "ready" not in finished.out


def test_serving_imports_no_torch() -> None:
    code = (
        "import sys, classifier_training.serve.server, classifier_training.serve.app, classifier_training.cli.serve\n"
        "print(sorted({'torch', 'torchvision', 'lightning', 'timm', 'pyarrow', 'scipy'} & set(sys.modules)))"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, check=True)

    assert finished.stdout == "[]\n"


def test_an_exported_file_can_go_without_pictures(program: WarmProgram, trained: Trained, tmp_path: Path) -> None:
    shutil.copytree(trained.run.root, tmp_path / "run")

    finished = program("export", tmp_path / "run", "export.self_test_images=0")

    assert finished.code == 0, finished
    model = onnx.load(tmp_path / "run" / "export" / "model.onnx")
    assert "self_test" not in {entry.key for entry in model.metadata_props}
