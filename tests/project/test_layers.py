import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("study", "dashboards", "model", "data", "storage")


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("lint-imports"), "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_imports_run_downwards() -> None:
    ended = lint_imports(ROOT)
    assert ended.returncode == 0, ended.stdout


FORBIDDEN = {
    "model.sideways": "storage.records",
    "data.upwards": "study.configuration.config",
    "study.session.upwards": "study.creation.create",
    "dashboards.analysis.upwards": "dashboards.report.html",
    "study.commands.sql": "sqlalchemy",
}


def test_import_upwards_or_sideways_is_found(tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package)
    shutil.copy(ROOT / "setup.cfg", tmp_path)
    for importer, imported in FORBIDDEN.items():
        (tmp_path / importer.replace(".", "/")).with_suffix(".py").write_text(
            f"import {imported}\n"
        )
    (tmp_path / "study" / "roomless.py").touch()
    ended = lint_imports(tmp_path)
    assert ended.returncode == 1
    for importer, imported in FORBIDDEN.items():
        assert f"{importer} -> {imported}" in ended.stdout
    assert "study.roomless" in ended.stdout


def test_packages_are_those_of_this_project() -> None:
    script = "\n".join(f"import {name}; print({name}.__file__)" for name in PACKAGES)
    command = [sys.executable, "-c", script]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.splitlines() == [str(ROOT / name / "__init__.py") for name in PACKAGES]
