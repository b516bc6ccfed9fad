"""The code is known by its files; who owns the checkout, and who runs git, has no effect."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from study.session.versions import (
    OWN_PACKAGES,
    ROOT,
    digest_source,
    git_revision,
    read_revision,
    source_digest,
)

ANOTHER_USER = 54321
AUTHOR = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org")


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *AUTHOR, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of a commit with one file."""
    folder = tmp_path / "checkout"
    (folder / "study").mkdir(parents=True)
    (folder / "study/code.py").write_text("x = 1\n")
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "begin")
    return folder


def test_commit_is_that_of_git_with_a_plus_where_files_differ(checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    assert read_revision(checkout) == commit
    (checkout / "study/code.py").write_text("x = 2\n")
    assert read_revision(checkout) == commit + "+"


def test_commit_of_a_linked_worktree_is_its_own(checkout: Path, tmp_path: Path) -> None:
    beside = tmp_path / "beside"
    git(checkout, "worktree", "add", "--quiet", str(beside))
    (beside / "study/code.py").write_text("x = 3\n")
    git(beside, "commit", "--quiet", "--all", "--message", "go on")
    commit = git(beside, "rev-parse", "HEAD")
    assert read_revision(beside) == commit != read_revision(checkout)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files to another user")
def test_commit_of_another_users_checkout_is_read(checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    for path in (checkout, *checkout.rglob("*")):
        os.chown(path, ANOTHER_USER, ANOTHER_USER)
    with pytest.raises(subprocess.CalledProcessError) as rejection:
        git(checkout, "rev-parse", "HEAD")
    assert "dubious ownership" in rejection.value.stderr
    assert read_revision(checkout) == commit
    assert (checkout / ".git/index").stat().st_uid == ANOTHER_USER  # status writes no index


def hidden_by_own_settings(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "own").write_text("[status]\nshowUntrackedFiles = no\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(folder / "own"))


def hidden_by_own_ignored_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "git").mkdir()
    (folder / "git/ignore").write_text("*.py\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))


def called_by_a_git_hook(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", str(folder))
    monkeypatch.setenv("GIT_INDEX_FILE", str(folder / "index"))


@pytest.mark.parametrize(
    "environment", [hidden_by_own_settings, hidden_by_own_ignored_files, called_by_a_git_hook]
)
def test_settings_of_whoever_runs_git_do_not_count(
    checkout: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    environment: Callable[[Path, pytest.MonkeyPatch], None],
) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    (checkout / "study/more.py").touch()
    environment(tmp_path, monkeypatch)
    assert read_revision(checkout) == commit + "+"


def test_code_outside_git_or_without_git_has_no_commit(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_revision(tmp_path) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_revision(checkout) is None


def test_digest_is_of_all_python_files_wherever_they_lie(tmp_path: Path) -> None:
    for name in OWN_PACKAGES:
        shutil.copytree(ROOT / name, tmp_path / name)
    (tmp_path / "data/compiled.pyc").touch()
    (tmp_path / "notes.py").touch()
    assert digest_source(tmp_path) == source_digest()
    (tmp_path / "model/training.py").rename(tmp_path / "model/trained.py")
    assert digest_source(tmp_path) != source_digest()


def test_this_code_has_a_digest_and_a_commit_where_it_is_a_checkout() -> None:
    assert len(source_digest()) == 16
    assert (git_revision() is not None) == (ROOT / ".git").exists()
