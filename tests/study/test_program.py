import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from study.program import CALLER, TARGETS, command_line, name_program, program
from study.progress import fail
from tests.study.conftest import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A console script that this process seems to be, not on the PATH, in a folder below it."""
    path = tmp_path / ".venv" / "bin" / "study"
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "argv", [str(path)])
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.delenv("UV_RUN_RECURSION_DEPTH", raising=False)
    monkeypatch.delenv(CALLER, raising=False)
    monkeypatch.chdir(tmp_path)
    return path


def test_program_off_the_path_is_its_relative_path_below_here_else_its_whole_path(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert program() == ".venv/bin/study"
    monkeypatch.setattr(sys, "argv", [".venv/bin/study"])
    assert program() == ".venv/bin/study"
    (script.parents[2] / "elsewhere").mkdir()
    monkeypatch.setattr(sys, "argv", [str(script)])
    monkeypatch.chdir("elsewhere")
    assert program() == str(script)


def test_program_on_the_path_is_its_name_but_not_where_another_one_is(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(script.parent))
    assert program() == "study"
    other = script.parents[2] / "other"
    other.mkdir()
    shutil.copy(script, other / "study")
    monkeypatch.setenv("PATH", f"{other}:{script.parent}")
    assert program() == ".venv/bin/study"
    (other / "study").unlink()
    (other / "study").symlink_to(script)
    assert program() == "study"


def test_program_below_uv_is_run_by_uv(script: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(script.parent))
    monkeypatch.setenv("UV_RUN_RECURSION_DEPTH", "1")
    assert program() == "uv run --no-sync study"


def test_program_in_a_folder_with_a_space_is_quoted(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spaced = script.parents[2] / "my code" / "study"
    spaced.parent.mkdir()
    shutil.copy(script, spaced)
    monkeypatch.setattr(sys, "argv", [str(spaced)])
    assert program() == "'my code/study'"


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["final", "--name", "quickstart"], "make final NAME=quickstart"),
        (
            ["run", "--name", "a", "--storage", "sqlite:///a.db"],
            "make study NAME=a STORAGE=sqlite:///a.db",
        ),
        (["status", "--watch"], "make watch"),
        (["final", "--name", "a", "--data", "zh/t"], "make final NAME=a DATA=zh/t"),
        (
            ["report", "--name", "a", "--data", "zh/t"],
            ".venv/bin/study report --name a --data zh/t",
        ),
        (["final", "--name", "it's"], """.venv/bin/study final --name 'it'"'"'s'"""),
        (["final", "--name", "$HOME"], ".venv/bin/study final --name '$HOME'"),
        (["final", "--name", "a", "--runs", "r"], ".venv/bin/study final --name a --runs r"),
        (["trials", "--name", "a", "--json"], ".venv/bin/study trials --name a --json"),
        (["run", "--skip-checks"], ".venv/bin/study run --skip-checks"),
    ],
)
def test_command_of_make_is_suggested_where_make_can_express_it(
    script: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], line: str
) -> None:
    assert command_line(words).startswith(".venv/bin/study ")
    monkeypatch.setenv(CALLER, "make")
    assert command_line(words) == line


@pytest.mark.parametrize("words", TARGETS)
def test_target_of_the_makefile_runs_the_command_that_it_stands_for(
    words: tuple[str, ...],
) -> None:
    target = TARGETS[words]
    dry = subprocess.run(
        ["make", "--no-print-directory", "-n", "-o", ".venv/.ready", target, "NAME=mine"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    begins = f".venv/bin/study {' '.join(words)} "
    called = [line for line in dry.stdout.splitlines() if line.startswith(begins)]
    assert called and "--name 'mine'" in called[0]
    exporting = next(line for line in MAKEFILE.splitlines() if f"export {CALLER} := make" in line)
    assert target in exporting.partition(":")[0].split()


def test_messages_name_the_program_that_works_here(
    script: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rule = "`study final --reopen REASON`, `study trials`, study 'tiny', `best`"
    here = (
        "`.venv/bin/study final --reopen REASON`, `.venv/bin/study trials`, study 'tiny', `best`"
    )
    assert name_program(rule) == here
    assert name_program(here) == here
    with pytest.raises(SystemExit):
        fail("see `study status`", 2)
    assert capsys.readouterr().err == "study: see `.venv/bin/study status`\n"
    monkeypatch.setenv(CALLER, "make")
    assert name_program("see `study status`, don't") == "see `make status`, don't"


def test_suggested_program_starts_from_where_it_is_suggested(tmp_path: Path) -> None:
    code = "from study.program import program; print(program())"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, text=True, capture_output=True
    ).stdout.strip()
    helped = subprocess.run(
        f"{told} --help", shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert helped.returncode == 0 and "Usage:" in helped.stdout
