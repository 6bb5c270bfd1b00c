"""The stages of `.venv`: the real Makefile and set-up script on a project without dependencies, without a network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SYSTEM_PATH = "/usr/bin:/bin"

PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "tiny"
version = "0"

[project.optional-dependencies]
demo = ["needed-by-demo"]
dev = ["needed-by-dev"]
docs = ["needed-by-docs"]
"""

BACKEND = '''
"""Builds the editable wheel of tiny."""
import zipfile

EXTRA = "Provides-Extra: {0}\\nRequires-Dist: needed-by-{0}; extra == '{0}'\\n"
EXTRAS = "".join(EXTRA.format(name) for name in ("demo", "dev", "docs"))


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    with zipfile.ZipFile(f"{wheel_directory}/tiny-0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny-0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: tiny\\nVersion: 0\\n" + EXTRAS)
        wheel.writestr("tiny-0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("tiny-0.dist-info/RECORD", "")
    return "tiny-0-py3-none-any.whl"
'''


def write_wheel(folder: Path, name: str, script: tuple[str, str] | None = None) -> None:
    """Writes an empty package, with one ``script`` (name, content) where there is one."""
    with zipfile.ZipFile(folder / f"{name}-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}/__init__.py", "")
        if script is not None:
            wheel.writestr(f"{name}-1.data/scripts/{script[0]}", script[1])
        wheel.writestr(f"{name}-1.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        wheel.writestr(f"{name}-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{name}-1.dist-info/RECORD", "")


def real_uv() -> str | None:
    """The uv that runs, not a version manager's shim."""
    found = subprocess.run(
        ["uv", "run", "--no-project", "--offline", "sh", "-c", "echo $UV"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or None if found.returncode == 0 else None


class Checkout:
    """A folder with this project's Makefile and set-up script, and packages to install."""

    def __init__(self, folder: Path, wheels: Path, path: str) -> None:
        self.folder = folder
        self.environment = {
            "PATH": path,
            "HOME": str(folder.parent),
            "PYTHON": str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"),
            "UV_OFFLINE": "1",
            "UV_FIND_LINKS": str(wheels),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(wheels),
        }

    def make(self, stamp: str, **variables: str) -> tuple[int, str]:
        """Makes one stage; returns the exit code and all output."""
        ended = subprocess.run(
            ["make", f".venv/{stamp}"],
            cwd=self.folder,
            env={**self.environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return ended.returncode, ended.stdout

    def set_up(self, stamp: str, **variables: str) -> str:
        code, output = self.make(stamp, **variables)
        assert code == 0, output
        return output

    def installed(self) -> set[str]:
        """The extras whose packages are in `.venv`."""
        packages = self.folder.glob(".venv/lib/*/*/needed_by_*/__init__.py")
        return {path.parent.name.removeprefix("needed_by_") for path in packages}


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    for extra in ("demo", "dev", "docs"):
        write_wheel(folder, f"needed_by_{extra}")
    return folder


def make_checkout(tmp_path: Path, wheels: Path, path: str) -> Checkout:
    folder = tmp_path / "checkout"
    (folder / "scripts").mkdir(parents=True)
    (folder / "src").mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    shutil.copy(ROOT / "scripts" / "setup.sh", folder / "scripts")
    (folder / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    (folder / "backend.py").write_text(BACKEND, encoding="utf-8")
    (folder / "constraints.txt").touch()
    return Checkout(folder, wheels, path)


@pytest.fixture
def checkout(tmp_path: Path, wheels: Path) -> Checkout:
    """Where uv is on the PATH."""
    uv = real_uv()
    if uv is None:
        pytest.skip("there is no uv on this machine")
    return make_checkout(tmp_path, wheels, f"{Path(uv).parent}:{SYSTEM_PATH}")


@pytest.fixture
def checkout_without_uv(tmp_path: Path, wheels: Path) -> Checkout:
    if shutil.which("uv", path=SYSTEM_PATH):
        pytest.skip(f"there is a uv in {SYSTEM_PATH}")
    return make_checkout(tmp_path, wheels, SYSTEM_PATH)


def test_each_stage_installs_its_own_packages_and_nothing_is_set_up_twice(checkout: Checkout) -> None:
    assert "Setting up .venv for demo" in checkout.set_up(".ready")
    assert checkout.installed() == {"demo"}
    assert "Setting up .venv for dev" in checkout.set_up(".ready-dev")
    assert checkout.installed() == {"demo", "dev"}
    for stamp in (".ready", ".ready-dev"):
        assert "Setting up" not in checkout.set_up(stamp)


def test_the_later_stage_alone_sets_up_both(checkout: Checkout) -> None:
    output = checkout.set_up(".ready-docs")
    assert output.index("for demo") < output.index("for docs")
    assert checkout.installed() == {"demo", "docs"}
    assert "Setting up" not in checkout.set_up(".ready")


def test_a_moved_environment_is_rebuilt(checkout: Checkout) -> None:
    checkout.set_up(".ready-dev")
    checkout.folder = checkout.folder.rename(checkout.folder.with_name("moved"))
    checkout.set_up(".ready")
    assert checkout.installed() == {"demo"}
    script = checkout.folder / ".venv" / "bin" / "activate"
    assert str(checkout.folder) in script.read_text(encoding="utf-8")
    checkout.set_up(".ready-dev")
    assert checkout.installed() == {"demo", "dev"}


def test_an_interrupted_setup_is_rebuilt(checkout: Checkout) -> None:
    checkout.set_up(".ready")
    (checkout.folder / ".venv" / ".unfinished").touch()
    (checkout.folder / ".venv" / "left-behind").touch()
    checkout.set_up(".ready-dev")
    assert not (checkout.folder / ".venv" / "left-behind").exists()
    assert checkout.installed() >= {"dev"}


def test_an_environment_without_its_python_is_rebuilt(checkout: Checkout) -> None:
    checkout.set_up(".ready")
    (checkout.folder / ".venv" / "bin" / "python").unlink()
    assert "Setting up" in checkout.set_up(".ready")


def test_new_requirements_renew_the_environment(checkout: Checkout) -> None:
    checkout.set_up(".ready-dev")
    (checkout.folder / ".venv" / "kept").touch()
    project = checkout.folder / "pyproject.toml"
    newer = (checkout.folder / ".venv" / ".ready-dev").stat().st_mtime + 1
    os.utime(project, (newer, newer))
    assert "for demo" in checkout.set_up(".ready")
    assert (checkout.folder / ".venv" / "kept").exists()


def test_a_failed_installation_leaves_no_stamp(checkout: Checkout, wheels: Path) -> None:
    (wheels / "needed_by_demo-1-py3-none-any.whl").unlink()
    code, output = checkout.make(".ready")
    assert code != 0
    assert "set-up: the installation failed (see above)" in output
    assert not (checkout.folder / ".venv" / ".ready").exists()


def test_pip_fetches_uv_where_there_is_none(checkout_without_uv: Checkout, wheels: Path) -> None:
    uv = real_uv()
    if uv is None:
        pytest.skip("there is no uv on this machine")
    write_wheel(wheels, "uv", ("uv", f'#!/bin/sh\nexec "{uv}" "$@"\n'))
    output = checkout_without_uv.set_up(".ready")
    assert "pip takes longer" not in output
    assert (checkout_without_uv.folder / ".venv" / "bin" / "uv").exists()
    assert checkout_without_uv.installed() == {"demo"}


def test_pip_goes_on_alone_where_uv_cannot_be_had(checkout_without_uv: Checkout) -> None:
    assert "uv could not be installed; pip takes longer" in checkout_without_uv.set_up(".ready-dev")
    assert checkout_without_uv.installed() == {"demo", "dev"}
    code, output = checkout_without_uv.make(".ready-docs", TORCH="cpu")
    assert code != 0
    assert "set-up: TORCH=cpu needs uv" in output


def test_the_kind_of_pytorch_is_passed_to_uv(checkout: Checkout) -> None:
    checkout.set_up(".ready", TORCH="cpu")
    assert checkout.installed() == {"demo"}
    code, output = checkout.make(".ready-docs", TORCH="abacus")
    assert code != 0
    assert "abacus" in output


def test_an_old_python_is_refused_by_name(checkout: Checkout) -> None:
    code, output = checkout.make(".ready", PYTHON="/bin/false")
    assert code != 0
    assert "set-up: PYTHON=/bin/false is not a Python that runs; Python 3.11 or newer is needed" in output
    assert not (checkout.folder / ".venv").exists()
