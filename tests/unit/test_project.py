"""Facts about the repository that must stay true."""

import os
import re
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import classifier_training

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FOLDERS = (".ci", "benchmarks", "docs", "scripts", "src", "tests")
MAX_LINES = 400

# In pieces, so that this file does not hold what it forbids.
REGISTRY_HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("files", "pythonhosted"),
        ("download", "pytorch", "org"),
        ("registry", "npmjs"),
        ("conda", "anaconda", "org"),
        ("repo", "anaconda", "com"),
    )
)


def repository_files() -> Iterator[Path]:
    yield from (path for path in ROOT.iterdir() if path.is_file() and path.name != ".git")
    for folder in FOLDERS:
        yield from (path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def requirements() -> dict[str, Requirement]:
    extras = PROJECT["project"]["optional-dependencies"].values()
    lines = [*PROJECT["project"]["dependencies"], *(line for extra in extras for line in extra)]
    named = {canonicalize_name(Requirement(line).name): Requirement(line) for line in lines}
    return {name: line for name, line in named.items() if name != "classifier-training"}  # an extra may take another


def pins() -> dict[str, Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if not line.startswith("#")]
    by_name: dict[str, Requirement] = {canonicalize_name(pin.name): pin for pin in found}
    assert len(by_name) == len(found), "a name is pinned twice"
    return by_name


def test_no_file_names_a_registry() -> None:
    searched = list(repository_files())
    assert Path(__file__).resolve() in [path.resolve() for path in searched]
    for path in searched:
        content = path.read_bytes().lower()
        named = [host for host in REGISTRY_HOSTS if host.encode() in content]
        assert not named, f"{path.relative_to(ROOT)} names {named}"


def test_no_lock_file_with_addresses_is_there() -> None:
    assert not [name for name in ("uv.lock", "pixi.lock", "poetry.lock", "pdm.lock") if (ROOT / name).exists()]


def test_no_source_file_is_too_long() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / "src").rglob("*.py")}
    assert lengths
    assert not {str(path): length for path, length in lengths.items() if length > MAX_LINES}


def test_the_package_ships_its_types() -> None:
    assert files("classifier_training").joinpath("py.typed").is_file()
    assert PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["src/classifier_training"]
    assert (ROOT / "src" / "classifier_training" / "py.typed").is_file()


def test_the_compromised_releases_of_lightning_are_below_the_floor() -> None:
    lightning = requirements()["lightning"].specifier
    assert not lightning.contains(Version("2.6.2"))
    assert not lightning.contains(Version("2.6.3"))
    assert lightning.contains(Version("2.6.4"))


def test_constraints_are_pins_and_nothing_else() -> None:
    assert pins()
    for pin in pins().values():
        assert pin.url is None
        assert re.fullmatch(r"==[^*,+]+", str(pin.specifier)), pin


@pytest.mark.parametrize("name", sorted(requirements()))
def test_constraints_pin_what_the_project_asks_for(name: str) -> None:
    pinned = str(pins()[name].specifier).removeprefix("==")
    assert requirements()[name].specifier.contains(pinned, prereleases=True)


def test_the_version_is_the_same_everywhere() -> None:
    assert classifier_training.__version__ == PROJECT["project"]["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [{PROJECT['project']['version']}]" in changelog


@pytest.mark.skipif(os.name == "nt", reason="there is no executable bit")
def test_ci_can_be_run() -> None:
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
