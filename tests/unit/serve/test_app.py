"""The endpoints, without a network between them and the client."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest
from numpy.typing import NDArray
from tests.helpers.broken_images import mutants, other_broken_files
from tests.helpers.images import jpeg_bytes, make_pixels
from tests.helpers.onnx_models import make_onnx
from tests.helpers.serving import PIXELS, HeldModel, make_served, talk, tensor, until

from classifier_training import predict
from classifier_training.errors import VerificationError
from classifier_training.inference.classifier import Classifier, softmax
from classifier_training.inference.decision import Decision
from classifier_training.inference.foreign import Description
from classifier_training.inference.unknown import UnknownCard
from classifier_training.serve.model import ModelAnswer, ServedModel
from classifier_training.serve.service import Service
from classifier_training.serve.settings import ServeSettings


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_served(tmp_path_factory.mktemp("served") / "model.onnx", validation={"predicted": {"red": 2}})


def photos(number: int) -> list[bytes]:
    return [jpeg_bytes(make_pixels(20 + seed, 30, seed)) for seed in range(number)]


def ask(model: Path | ServedModel, method: str, path: str, settings: Any = None, **options: Any) -> httpx.Response:
    async def conversation(client: httpx.AsyncClient) -> httpx.Response:
        return await client.request(method, path, **options)

    return talk(model, conversation, **(settings or {}))


def test_one_image_is_answered_as_by_predict(model: Path) -> None:
    (photo,) = photos(1)
    (expected,) = predict(model, photo)

    answer = ask(model, "POST", "/predict", content=photo)

    assert answer.status_code == 200
    found = answer.json()
    assert (found["label"], found["index"], found["probability"]) == (
        expected.label, expected.index, expected.probability,
    )  # fmt: skip
    assert list(found["probabilities"].items()) == list(
        zip(("red", "green", "blue"), expected.probabilities, strict=True)
    )


@pytest.mark.parametrize(
    "media_type", ["image/jpeg", "application/x-www-form-urlencoded", "text/plain", "", "multipart/form-data2"]
)
def test_the_type_of_the_body_does_not_matter(model: Path, media_type: str) -> None:
    answer = ask(model, "POST", "/predict", content=photos(1)[0], headers={"Content-Type": media_type})

    assert answer.is_success
    assert "label" in answer.json()


def test_a_form_has_one_answer_a_file_in_order(model: Path) -> None:
    contents = photos(4)
    files = [("image", (f"{number}.jpg", content)) for number, content in enumerate(contents)]
    files.insert(2, ("other", ("broken\n.jpg", b"no image")))

    answer = ask(model, "POST", "/predict?top_k=1", files=files)

    rows = answer.json()["predictions"]
    assert answer.status_code == 200
    assert [row["file"] for row in rows] == ["0.jpg", "1.jpg", "broken%0A.jpg", "2.jpg", "3.jpg"]
    assert "not an image" in rows[2]["error"]
    expected = [one.label for one in predict(model, contents)]
    assert [row["label"] for row in rows if "label" in row] == expected
    assert all(list(row["probabilities"]) == [row["label"]] for row in rows if "label" in row)


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        ({"content": b""}, 400, "the body is empty; send the bytes of an image file"),
        ({"content": b"text"}, 422, "cannot read the image: it is not an image, or of another kind than JPEG"),
        ({"content": bytes(5000)}, 413, "the body is larger than 4096 bytes; send smaller or fewer images"),
        ({"files": [("a", ("a.jpg", b"x"))]}, 422, "no image of the form can be read"),
        ({"files": [("a", ("a.jpg", b"x"))] * 4}, 413, "Too many files. Maximum number of files is 3"),
        ({"files": {"a": (None, "text")}}, 400, "the form has no file; send images as files"),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400, "Missing boundary"),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data; boundary=a"}}, 400, "the form"),
        ({"content": b"x", "params": {"top_k": "0"}}, 422, "top_k: Input should be greater than or equal to 1"),
    ],
)
def test_what_cannot_be_used_gets_one_line(model: Path, options: Any, status: int, message: str) -> None:
    answer = ask(model, "POST", "/predict", {"max_mb": 4096 / 2**20, "max_images": 3}, **options)

    assert answer.status_code == status
    assert message in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def test_bytes_are_counted_while_they_come(model: Path) -> None:
    num_sent = 0

    async def endless() -> AsyncGenerator[bytes, None]:
        nonlocal num_sent
        while True:
            num_sent += 1000
            yield bytes(1000)

    assert ask(model, "POST", "/predict", {"max_mb": 10_000 / 2**20}, content=endless()).status_code == 413
    assert num_sent == 11_000


def test_pixels_are_counted_before_they_are_decoded(model: Path) -> None:
    for content in (other_broken_files()["a bomb"], jpeg_bytes(make_pixels(200, 100))):
        answer = ask(model, "POST", "/predict", {"max_megapixels": 0.01}, content=content)

        assert answer.status_code == 413
        assert answer.json()["error"] == "the image has more than 10000 pixels; send a smaller one"


def test_the_limit_of_pixels_is_not_one_of_the_self_test(model: Path) -> None:
    assert ask(model, "GET", "/readyz", {"max_megapixels": 1e-5}).is_success


@pytest.mark.parametrize("number", [1, 2])
def test_full_memory_is_said_to_pass(tmp_path: Path, number: int) -> None:
    class Full(ServedModel):
        def answer(self, inputs: Sequence[NDArray[Any]]) -> list[ModelAnswer | Exception]:
            return [MemoryError() for _ in inputs] if self.num_self_test_images is not None else super().answer(inputs)

    files = [("image", (f"{at}.jpg", content)) for at, content in enumerate(photos(number))]
    answer = ask(Full(make_served(tmp_path / "model.onnx"), 10**6, 1), "POST", "/predict", files=files)

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json() == {"error": "busy: the machine's memory is full; try again in 1 s"}


def test_a_file_of_another_program_is_served_where_it_is_described(tmp_path: Path) -> None:
    path = make_onnx(tmp_path / "foreign.onnx")
    description = Description(("a", "b", "c"), PIXELS.to_dict())
    (photo,) = photos(1)

    answer = ask(ServedModel(path, 10**6, 1, description), "POST", "/predict", content=photo)

    (expected,) = Classifier(path, description=description).predict([photo])
    assert answer.json()["probabilities"] == dict(zip("abc", expected.probabilities, strict=True))


def test_broken_images_are_refused_and_harm_nobody(model: Path) -> None:
    sound = photos(1)[0]

    async def conversation(client: httpx.AsyncClient) -> list[int]:
        before = (await client.post("/predict", content=sound)).json()
        statuses, memory = [], []
        for number, content in enumerate([*mutants(3000), *other_broken_files().values()]):
            if number % 1000 == 0:
                memory.append(psutil.Process().memory_info().rss)
            answer = await client.post("/predict", content=content)
            statuses.append(answer.status_code)
            assert answer.json()
        assert memory[-1] - memory[1] < 16 * 2**20  # two thousand of 600 bytes to 200 kB when decoded
        assert (await client.post("/predict", content=sound)).json() == before
        return statuses

    statuses = talk(model, conversation, max_megapixels=1)

    assert set(statuses) == {200, 400, 413, 422}
    assert statuses[3000:].count(422) + statuses[3000:].count(413) == len(other_broken_files())
    assert min(statuses.count(200), statuses.count(422)) > 200


def test_probabilities_do_not_depend_on_the_batch(model: Path) -> None:
    contents = photos(24)
    held = HeldModel(model)

    async def conversation(client: httpx.AsyncClient) -> list[Any]:
        held.batches.clear()
        tasks = [asyncio.create_task(client.post("/predict", content=content)) for content in contents]
        await asyncio.to_thread(held.has_begun.wait)
        held.may_end.set()
        return [answer.json() for answer in await asyncio.gather(*tasks)]

    found = talk(held, conversation)

    assert sum(held.batches) == 24
    assert max(held.batches) > 1
    for answer, expected in zip(found, predict(model, contents), strict=True):
        assert answer["label"] == expected.label
        assert np.abs(np.subtract(list(answer["probabilities"].values()), expected.probabilities)).max() <= 1e-6


def test_a_full_queue_says_when_to_come_again(model: Path) -> None:
    held = HeldModel(model)

    async def conversation(client: httpx.AsyncClient) -> list[httpx.Response]:
        waiting = [asyncio.create_task(client.post("/predict", content=photos(1)[0])) for _ in range(3)]
        await asyncio.to_thread(held.has_begun.wait)
        refused = await client.post("/predict", content=photos(1)[0])
        held.may_end.set()
        answered = list(await asyncio.gather(*waiting))
        return [refused, await client.post("/predict", content=photos(1)[0]), *answered]

    refused, *answered = talk(held, conversation, queue=3)

    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) >= 1
    assert "3 of 3 places for images are taken; try again in" in refused.json()["error"]
    assert [answer.status_code for answer in answered] == [200] * 4


def test_more_images_than_places_are_refused_at_once(model: Path) -> None:
    files = [("image", (f"{number}.jpg", content)) for number, content in enumerate(photos(3))]

    answer = ask(model, "POST", "/predict", {"queue": 2}, files=files)

    assert (answer.status_code, answer.json()["error"]) == (413, "3 images in one request; at most 2 are allowed")


def test_time_runs_out(model: Path) -> None:
    held = HeldModel(model)

    async def conversation(client: httpx.AsyncClient) -> list[httpx.Response]:
        late = await client.post("/predict", content=photos(1)[0])
        held.may_end.set()
        places = (await client.get("/metrics")).text
        return [late, httpx.Response(200, text=places)]

    late, metrics = talk(held, conversation, timeout=0.05)

    assert (late.status_code, late.json()["error"]) == (504, "there was no answer in 0.05 s")
    assert "classifier_images_in_flight 0.0" in metrics.text


def test_a_body_that_does_not_come_is_given_up(model: Path) -> None:
    async def stuck() -> AsyncGenerator[bytes, None]:
        yield b"\xff\xd8"
        await asyncio.Event().wait()

    answer = ask(model, "POST", "/predict", {"timeout": 0.05}, content=stuck())

    assert (answer.status_code, answer.json()["error"]) == (408, "the body did not arrive in 0.05 s")


@pytest.mark.parametrize("name", ["X-API-Key", "Authorization"])
def test_a_key_opens_what_it_should(model: Path, name: str) -> None:
    async def conversation(client: httpx.AsyncClient) -> dict[str, int]:
        right = "secret" if name == "X-API-Key" else "Bearer secret"
        statuses = {}
        for path in ("/", "/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"):
            statuses[path] = (await client.get(path)).status_code
        for path in ("/model", "/metrics", "/v2", "/v2/models/shirts"):
            statuses[path] = (await client.get(path, headers={name: right})).status_code
            for wrong in ({}, {name: right + "s"}, {name: right[:-1]}, {name: ""}, {name: "\xe4"}):
                raw = [(key.encode(), value.encode("latin-1")) for key, value in wrong.items()]
                refused = await client.get(path, headers=raw)
                assert refused.status_code == 401
                assert refused.headers["WWW-Authenticate"] == "Bearer"
        assert (await client.post("/predict", content=photos(1)[0])).status_code == 401
        return statuses

    assert set(talk(model, conversation, api_key="secret").values()) == {200}


def test_nothing_is_answered_before_the_self_test(model: Path) -> None:
    service = Service(ServedModel(model, 10**6, 1), ServeSettings())
    from classifier_training.serve.app import create_app

    async def conversation() -> list[httpx.Response]:
        transport = httpx.ASGITransport(create_app(service, "shirts"))
        async with httpx.AsyncClient(transport=transport, base_url="http://server") as client:
            early = [
                await client.get("/healthz"),
                await client.get("/readyz"),
                await client.post("/predict", content=b"x"),
            ]
            await service.prove()
            return [*early, await client.get("/v2/health/ready")]

    live, not_ready, refused, ready = asyncio.run(conversation())
    assert (live.status_code, ready.status_code) == (200, 200)
    for answer in (not_ready, refused):
        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "1"
        assert answer.json()["error"] == "the model has not passed its self-test yet"


def test_a_model_that_answers_otherwise_is_never_ready(tmp_path: Path) -> None:
    path = make_served(tmp_path / "model.onnx")
    changed = ServedModel(path, 10**6, 1)
    changed.classifier.card.self_test["images"][0]["label"] = "green"  # type: ignore[index]  # it has one
    service = Service(changed, ServeSettings())
    asyncio.run(service.prove())

    assert isinstance(service.failure, VerificationError)
    assert not service.is_ready


def test_the_protocol_answers_in_json(model: Path) -> None:
    contents = photos(3)
    expected = predict(model, contents)

    async def conversation(client: httpx.AsyncClient) -> list[Any]:
        metadata = (await client.get("/v2/models/shirts")).json()
        asked = {"id": "one", **tensor(*contents)}
        answer = (await client.post("/v2/models/shirts/infer", json=asked)).json()
        again = (
            await client.post("/v2/models/shirts/versions/1/infer", json={**asked, "outputs": [{"name": "label"}]})
        ).json()
        return [metadata, answer, again]

    metadata, answer, again = talk(model, conversation)

    assert {one["name"]: (one["datatype"], len(one["shape"])) for one in metadata["outputs"]} == {
        one["name"]: (one["datatype"], len(one["shape"])) for one in answer["outputs"]
    }
    values = {one["name"]: one["data"] for one in answer["outputs"]}
    assert (answer["id"], answer["model_name"]) == ("one", "shirts")
    assert values["label"] == [one.label for one in expected]
    assert values["index"] == [one.index for one in expected]
    assert np.allclose(np.reshape(values["probabilities"], (3, 3)), [one.probabilities for one in expected], atol=1e-6)
    assert [one["name"] for one in again["outputs"]] == ["label"]


def test_the_protocol_answers_in_binary(model: Path) -> None:
    contents = photos(2)
    binary = b"".join(struct.pack("<I", len(one)) + one for one in contents)
    head: dict[str, Any] = tensor(*contents)
    del head["inputs"][0]["data"]
    head["inputs"][0]["parameters"] = {"binary_data_size": len(binary)}
    head["outputs"] = [{"name": "probabilities", "parameters": {"binary_data": True}}, {"name": "label"}]
    text = json.dumps(head).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))}

    answer = ask(model, "POST", "/v2/models/shirts/infer", content=text + binary, headers=headers)

    length = int(answer.headers["Inference-Header-Content-Length"])
    first, second = json.loads(answer.content[:length])["outputs"]
    found = np.frombuffer(answer.content[length:], "<f8").reshape(first["shape"])
    assert first["parameters"] == {"binary_data_size": 2 * 3 * 8}
    assert np.allclose(found, [one.probabilities for one in predict(model, contents)], atol=1e-6)
    assert second["data"] == [one.label for one in predict(model, contents)]


def changed_tensor(**changes: Any) -> bytes:
    request = tensor(b"x")
    request["inputs"][0] |= changes
    return json.dumps(request).encode()


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"{", 400, "the body is not JSON"),
        (b"[" * 100_000, 400, "the body is not JSON"),
        (b"[]", 400, "inputs must be a list of one tensor, 'image'"),
        (b'{"inputs": []}', 400, "inputs must be a list of one tensor"),
        (changed_tensor(datatype="UINT8"), 400, "must be BYTES, the files of images; got 'UINT8'"),
        (changed_tensor(data=["%%"]), 400, "the data of an input is not base64"),
        (changed_tensor(data=["\u00e4"]), 400, "the data of an input is not base64"),
        (changed_tensor(data=[1]), 400, "must be a list of texts, each an image file in base64"),
        (changed_tensor(shape=[2]), 400, "the shape [2] does not fit 1 images"),
        (changed_tensor(shape=[0], data=[]), 400, "the shape [0] does not fit 0 images"),
        (changed_tensor(shape="x"), 400, "the shape 'x' does not fit 1 images"),
        (changed_tensor(parameters={"binary_data_size": 7}), 400, "binary_data_size is 7, and 0 bytes follow the JSON"),
        (
            json.dumps({**tensor(b"x"), "outputs": [{"name": "heat"}]}).encode(),
            400,
            "outputs must be a list of tensors",
        ),
        (json.dumps(tensor(b"x")).encode(), 422, "image 0: cannot read the image"),
        (json.dumps(tensor(*[b"x"] * 65)).encode(), 413, "65 images in one request; at most 64 are allowed"),
    ],
)
def test_wrong_requests_of_the_protocol_get_one_line(model: Path, content: bytes, status: int, message: str) -> None:
    answer = ask(model, "POST", "/v2/models/shirts/infer", content=content)

    assert answer.status_code == status
    assert message in answer.json()["error"]


def test_wrong_lengths_of_binary_requests_get_one_line(model: Path) -> None:
    def refusal(length: str, size: int, rest: bytes) -> str:
        text = changed_tensor(data=None, parameters={"binary_data_size": size})
        header = {"Inference-Header-Content-Length": length or str(len(text))}
        answer = ask(model, "POST", "/v2/models/shirts/infer", content=text + rest, headers=header)
        assert answer.status_code == 400
        return str(answer.json()["error"])

    assert "inference-header-content-length is '99999'" in refusal("99999", 4, b"")
    assert "inference-header-content-length is '-1'" in refusal("-1", 4, b"")
    assert "ends in the length of an element" in refusal("", 2, b"ab")
    assert "an element of the binary data is longer than the body" in refusal("", 8, struct.pack("<I", 5) + b"abcd")


def test_there_is_one_model(model: Path) -> None:
    for path in ("/v2/models/other", "/v2/models/other/ready"):
        answer = ask(model, "GET", path)
        assert (answer.status_code, answer.json()["error"]) == (
            404, "there is no model 'other' of version '1', only 'shirts'",
        )  # fmt: skip
    assert ask(model, "POST", "/v2/models/shirts/versions/2/infer", content=b"{}").status_code == 404
    assert ask(model, "GET", "/v2/models/shirts/ready").json() == {"name": "shirts", "ready": True}
    assert ask(model, "GET", "/v2").json()["extensions"] == ["binary_tensor_data"]


def test_the_model_tells_its_card(model: Path) -> None:
    facts = ask(model, "GET", "/model").json()

    assert facts["card"]["class_names"] == ["red", "green", "blue"]
    assert facts["card"]["preprocessing"]["image_size"] == 16
    assert "self_test" not in facts["card"]  # pictures of people, perhaps
    assert (facts["self_test_images"], facts["verification"], facts["scores"]) == (1, None, None)


def test_counts_and_drift_are_shown(model: Path) -> None:
    async def conversation(client: httpx.AsyncClient) -> str:
        for content in [*photos(5), b"broken"]:
            await client.post("/predict", content=content)
        await client.get("/nowhere/else")
        return (await client.get("/metrics")).text

    lines = talk(model, conversation).splitlines()
    values = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}

    assert values['classifier_requests_total{path="/predict",status="200"}'] == 5
    assert values['classifier_requests_total{path="/predict",status="422"}'] == 1
    assert values['classifier_requests_total{path="other",status="404"}'] == 1
    assert values["classifier_unreadable_images_total"] == 1
    assert values["classifier_recent_images"] == 5
    assert values["classifier_batch_images_sum"] == 5
    assert sum(value for name, value in values.items() if name.startswith("classifier_predictions_total")) == 5
    assert values['classifier_drift_psi{quantity="predicted_class"}'] > 0


def test_who_hangs_up_gives_back_his_place(model: Path) -> None:
    held = HeldModel(model)

    async def conversation(client: httpx.AsyncClient) -> str:
        first = asyncio.create_task(client.post("/predict", content=photos(1)[0]))
        await asyncio.to_thread(held.has_begun.wait)
        app = client._transport.app  # type: ignore[attr-defined]  # httpx itself never hangs up
        has_gone = asyncio.Event()
        messages = iter([{"type": "http.request", "body": photos(1)[0], "more_body": False}])

        async def receive() -> Any:
            for message in messages:
                return message
            await has_gone.wait()
            return {"type": "http.disconnect"}

        async def send(_: Any) -> None:
            """Nobody reads it."""

        scope = {"type": "http", "method": "POST", "path": "/predict", "headers": [], "query_string": b""}
        gone = asyncio.create_task(app(scope, receive, send))

        async def number_in_flight(number: int) -> bool:
            return f"classifier_images_in_flight {number}.0" in (await client.get("/metrics")).text

        await until(lambda: number_in_flight(2))
        has_gone.set()
        await gone
        await until(lambda: number_in_flight(1))
        held.may_end.set()
        assert (await first).status_code == 200
        return (await client.get("/metrics")).text

    assert "classifier_hung_up_total 1.0" in talk(held, conversation)
    assert held.batches == [1]  # that of the other one never ran


def test_base64_has_to_be_whole(model: Path) -> None:
    text = base64.b64encode(photos(1)[0]).decode()
    answer = ask(model, "POST", "/v2/models/shirts/infer", content=changed_tensor(data=[text[:-1]]))
    assert answer.status_code == 400


def test_what_the_model_decides_is_in_the_answer(tmp_path: Path) -> None:
    contents = photos(6)
    plain = Classifier(make_served(tmp_path / "plain.onnx"))
    logits = np.concatenate([found for _, found in plain.logits_of_files(contents)])
    highest, probabilities = np.median(logits[:, 0]), softmax(logits)
    lowest = np.median(probabilities.max(axis=1))
    unknown = UnknownCard(kind="energy", threshold=float(highest), known_share=0.95, num_images=20)
    decision = Decision(num_images=20, abstain_threshold=float(lowest), set_threshold=0.2)
    path = make_served(tmp_path / "model.onnx", unknown=unknown, decision=decision)

    async def conversation(client: httpx.AsyncClient) -> list[Any]:
        rows = [(await client.post("/predict", content=content)).json() for content in contents]
        answer = await client.post("/v2/models/shirts/infer", json=tensor(*contents))
        return [rows, {one["name"]: one["data"] for one in answer.json()["outputs"]}]

    rows, tensors = talk(path, conversation)

    for row, one, shares in zip(rows, logits, probabilities, strict=True):
        assert row["unknown_score"] == pytest.approx(one[0], abs=1e-6)
        assert row["unknown"] is bool(one[0] > highest)
        assert row["abstain"] is bool(shares.max() < lowest)
        assert row["prediction_set"] == [
            name for name, share in zip(plain.classes, shares, strict=True) if share >= 0.2
        ]
    assert {row["unknown"] for row in rows} == {row["abstain"] for row in rows} == {False, True}
    for name in ("abstain", "unknown", "unknown_score"):
        assert tensors[name] == [row[name] for row in rows]
    sets = np.reshape(tensors["prediction_set"], (6, 3))
    assert [list(np.array(plain.classes)[one]) for one in sets] == [row["prediction_set"] for row in rows]
