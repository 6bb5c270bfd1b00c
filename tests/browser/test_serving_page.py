"""The page of a server, in a real browser, with real pictures."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, Page, expect
from tests.helpers.browser import ColorScheme
from tests.helpers.images import make_image, make_pixels
from tests.helpers.serving import Served, make_served, serving

from classifier_training import predict
from classifier_training.inference.decision import Decision

KEY: Final = "secret"
TRANSFER: Final = """
([kind, names, contents]) => {
  const transfer = new DataTransfer();
  names.forEach((name, at) => {
    const bytes = Uint8Array.from(atob(contents[at]), (letter) => letter.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type: "image/jpeg" }));
  });
  const name = kind === "paste" ? "clipboardData" : "dataTransfer";
  const event = kind === "paste" ? new ClipboardEvent(kind, { clipboardData: transfer, bubbles: true })
    : new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true });
  document.querySelector("#drop").dispatchEvent(event);
}
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    return [make_image(folder / f"{seed}.jpg", make_pixels(120, 80, seed)) for seed in range(4)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, photos: list[Path]) -> Path:
    """It abstains on the least certain of the photos, and its sets hold all classes."""
    path = make_served(tmp_path_factory.mktemp("model") / "model.onnx")
    confidence = sorted(one.probability for one in predict(path, photos))
    decision = Decision(num_images=4, abstain_threshold=sum(confidence[:2]) / 2, set_threshold=0.01)
    return make_served(path, decision=decision)


@pytest.fixture(scope="module")
def server(model: Path) -> Iterator[Served]:
    with serving(model, "--name", "<i>shirts", environment={"CLASSIFIER_TRAINING_API_KEY": KEY}) as server:
        yield server


@pytest.fixture(params=["light", "dark"])
def page(request: pytest.FixtureRequest, browser: Browser, server: Served) -> Iterator[Page]:
    """The page on a screen, or dark on a phone; it must not ask for anything from elsewhere."""
    scheme: ColorScheme = request.param
    size = {"width": 1200, "height": 900} if scheme == "light" else {"width": 360, "height": 740}
    context = browser.new_context(viewport=size, color_scheme=scheme)  # type: ignore[arg-type]  # a ViewportSize
    page = context.new_page()
    requests, faults = list[str](), list[str]()
    page.on("request", lambda one: requests.append(one.url))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text))
    page.goto(server.address)
    page.get_by_label("This server asks for its API key").fill(KEY)
    page.get_by_role("button", name="Use").click()
    yield page
    assert all(fault.startswith("Failed to load resource: the server responded with a status of 4") for fault in faults)
    assert requests
    assert all(address.startswith((server.address, "blob:", "data:")) for address in requests)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()


def test_pictures_are_classified(page: Page, model: Path, photos: list[Path]) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text("<i>shirts")
    expect(page.locator("#about")).to_have_text("3 classes")

    page.locator("#files").set_input_files(photos)
    expect(page.locator(".result dl")).to_have_count(4)

    answers = {Path(str(one.file)).name: one for one in predict(model, photos)}
    least = min(answers.values(), key=lambda one: one.probability)
    for name, answer in answers.items():
        row = page.locator(".result").filter(has=page.get_by_text(name, exact=True))
        expect(row.locator(".label")).to_have_text("not certain enough" if answer is least else answer.label)
        expect(row.locator(".share").first).to_have_text(f"{100 * max(answer.probabilities):.1f} %")
        shares = sorted(zip(answer.probabilities, ("red", "green", "blue"), strict=True), reverse=True)
        expect(row).to_contain_text(f"possible: {', '.join(label for _, label in shares)}")
        if answer is least:
            expect(row).to_contain_text(f"The most probable class is {answer.label}, but with ")
    expect(page.locator("#status")).to_have_text("")
    assert all(page.locator(".result img").evaluate_all("images => images.map(one => one.naturalWidth > 0)"))


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_pictures_are_dropped_and_pasted(page: Page, photos: list[Path], kind: str) -> None:
    contents = [base64.b64encode(photo.read_bytes()).decode() for photo in photos[:2]]

    page.evaluate(TRANSFER, [kind, ["<i>a</i>.jpg", "b.jpg"], contents])

    expect(page.locator(".result dl")).to_have_count(2)
    expect(page.get_by_text("<i>a</i>.jpg", exact=True)).to_be_visible()


def test_what_cannot_be_read_is_said(page: Page, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_bytes(b"no picture")

    page.locator("#files").set_input_files(tmp_path / "text.jpg")

    expect(page.get_by_role("alert")).to_contain_text("it is not an image, or of another kind than JPEG")
