"""The user's own files may have the names of this program's packages."""

import os
import shutil
import subprocess
import sys
import sysconfig
import types
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from study.errors import ForeignPackageError
from study.foreign_packages import PACKAGES, reject_foreign_packages
from tests.study.conftest import ROOT

MODULE = (sys.executable, "-m", "study")
SAFE = (sys.executable, "-P", "-m", "study")


def run(
    command: Sequence[str], folder: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def spoil(folder: Path, name: str, *, is_folder: bool = False) -> Path:
    """Write a module of this name, or a folder, that says so when it is imported."""
    if is_folder:
        (folder / name).mkdir()
        return folder / name
    path = folder / f"{name}.py"
    path.write_text(f"print('{name} of the user')\n")
    return path


@pytest.mark.parametrize("name", PACKAGES)
def test_module_of_the_current_folder_is_named_with_remedy(tmp_path: Path, name: str) -> None:
    path = spoil(tmp_path, name)
    ended = run([*MODULE, "status"], tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        f"study: package {name!r} must be the one in {ROOT}, Python finds {path}: rename "
        f"{name}.py, or start Python elsewhere; the command `study` and `python -P -m study` do "
        "not look into the current folder\n"
    )
    assert run([*SAFE, "--help"], tmp_path).returncode == 0


@pytest.mark.parametrize("is_folder", [False, True])
def test_package_on_pythonpath_is_named(tmp_path: Path, is_folder: bool) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "here").mkdir()
    path = spoil(tmp_path / "lib", "data", is_folder=is_folder)
    if is_folder:
        (path / "__init__.py").touch()
    ended = run([*SAFE, "--help"], tmp_path / "here", PYTHONPATH=f"{tmp_path / 'lib'}:{ROOT}")
    assert ended.returncode == 2
    assert f"Python finds {path}: remove {tmp_path / 'lib'} from PYTHONPATH" in ended.stderr


def test_empty_entry_of_pythonpath_is_named(tmp_path: Path) -> None:
    spoil(tmp_path, "storage")
    ended = run([*SAFE, "worker"], tmp_path, PYTHONPATH=f":{ROOT}")
    assert ended.returncode == 2
    assert "remove the empty entry, which means the current folder, from PYTH" in ended.stderr


def test_notebook_beside_a_module_gets_a_clear_error(tmp_path: Path) -> None:
    path = spoil(tmp_path, "model")
    ended = run([sys.executable, "-c", "from study import Study"], tmp_path)
    assert "of the user" not in ended.stdout
    assert ended.stderr.splitlines()[-1].startswith(
        f"study.errors.ForeignPackageError: package 'model' must be the one in {ROOT}, Python "
        f"finds {path}: rename model.py"
    )


def test_module_that_was_imported_before_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    reject_foreign_packages()
    monkeypatch.setitem(sys.modules, "data", types.ModuleType("data"))
    with pytest.raises(ForeignPackageError, match="Python finds a module data: rename"):
        reject_foreign_packages()


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """The program of an environment into which the wheel is installed.

    A `.pth` file adds the libraries of the tests last, so that the wheel's packages come first.
    """
    source, environment = tmp_path / "source", tmp_path / "venv"
    source.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("study", *PACKAGES):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index", "--no-build-isolation"]
    python = environment / "bin/python"
    wheels = str(tmp_path / "wheels")

    def call(*command: str) -> None:
        ended = subprocess.run(command, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stdout + ended.stderr

    call(*pip, "wheel", *offline, "--wheel-dir", wheels, str(source))
    call(sys.executable, "-m", "venv", "--without-pip", str(environment))
    (wheel,) = Path(wheels).iterdir()
    call(*pip, "--python", str(python), "install", *offline, str(wheel))
    (packages,) = environment.glob("lib/python*/site-packages")
    (packages / "libraries.pth").write_text(sysconfig.get_path("purelib"))
    return environment / "bin/study"


@pytest.mark.slow
def test_installed_program_works_beside_files_of_these_names(
    installed: Path, tiny_settings: dict[str, object], tmp_path: Path
) -> None:
    folder = tmp_path / "here"
    folder.mkdir()
    for name in ("model", "data", "dashboards", "study"):
        spoil(folder, name)
    spoil(folder, "storage", is_folder=True)
    tiny_settings |= {"search": {"budget": {"trials": 1}, "n_epochs": 1}}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(tiny_settings))
    ended = run([str(installed), "run", "--config", "tiny.yaml"], folder, PYTHONPATH="")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "1/1 done" in ended.stdout
    python = installed.with_name("python")
    worker = run(
        [str(python), "-P", "-m", "study", "worker"],
        folder,
        PYTHONPATH="",
        STUDY_STORAGE=f"sqlite:///{tmp_path}/study.db",
        STUDY_RUNS=str(tmp_path / "runs"),
    )
    assert worker.returncode == 0, worker.stdout + worker.stderr

    (folder / "study.py").unlink()
    beside = run([str(python), "-m", "study", "--help"], folder, PYTHONPATH="")
    assert beside.returncode == 2
    assert f"Python finds {folder / 'dashboards.py'}: rename" in beside.stderr
