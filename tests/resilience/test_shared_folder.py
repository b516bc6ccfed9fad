"""Several users work on one study, in folders of a group that they share."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml

from tests.tools.pictures import write_pictures
from tests.tools.processes import ProcessServer, StartedProcess, wait_until
from tests.tools.studies import NAME, small_settings
from tests.tools.users import User, requires_root

pytestmark = requires_root

LAB = 61000
ANN = User("ann", 61001, 61001, (LAB,))
BEN = User("ben", 61002, 61002, (LAB,))
EVE = User("eve", 61003, 61003, ())
OTHER_MOUNT = "/dev/shm"


@dataclass(frozen=True)
class SharedStudy:
    """A study in folders that belong to root and a group.

    Attributes:
        processes: Starts the processes.
        folder: Of the configuration, which everyone may read.
        runs: The runs folder, with the database.
        cache: The folder of decoded images.
        umask: Of every user.
    """

    processes: ProcessServer
    folder: Path
    runs: Path
    cache: Path
    umask: int = 0o027

    def home(self, user: User) -> Path:
        """Return a folder that only this user may write, and nobody else read."""
        home = self.folder / user.name
        if not home.exists():
            home.mkdir(mode=0o700)
            os.chown(home, user.uid, user.gid)
        return home

    def start(self, user: User, *arguments: str, configured: bool = False) -> StartedProcess:
        """Start a command as a user."""
        place = ["--storage", f"sqlite:///{self.runs}/study.db", "--runs", str(self.runs)]
        config = ["--config", str(self.folder / "study.yaml")] if configured else []
        command = [arguments[0], *config, *place, *arguments[1:]]
        return user.start(self.processes, *command, folder=self.home(user), umask=self.umask)

    def run(self, user: User, *arguments: str, configured: bool = False) -> str:
        """Run a command as a user, which must succeed; return what it says."""
        started = self.start(user, *arguments, configured=configured)
        assert started.wait(240) == 0, started.said()
        return started.said()

    def reject(self, user: User, *arguments: str) -> str:
        """Run a command as a user, which must be rejected in one line; return the line."""
        started = self.start(user, *arguments)
        assert started.wait() == 2, started.said()
        (line,) = started.errors.read_text().splitlines()
        return line

    def assert_shared(self) -> None:
        """Check that the group may use everything, and others what the umask lets them."""
        for top in (self.runs, self.cache):
            for path in top.rglob("*"):
                found = path.stat()
                rights = 0o070 if path.is_dir() else 0o060
                assert found.st_gid == LAB, path
                assert found.st_mode & 0o070 == rights, (path, stat.filemode(found.st_mode))
                assert not found.st_mode & 0o007 & self.umask, (path, oct(found.st_mode))


def make_shared(folder: Path, mode: int) -> Path:
    folder.mkdir()
    os.chown(folder, 0, LAB)
    folder.chmod(mode)
    return folder


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter; those of pytest are root's own."""
    folder = Path(tempfile.mkdtemp(prefix="shared-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def build_study(processes: ProcessServer, folder: Path, cache: Path, mode: int) -> SharedStudy:
    write_pictures(folder / "pictures", n_per_class=20)
    study = SharedStudy(
        processes, folder, make_shared(folder / "runs", mode), make_shared(cache, mode)
    )
    settings = small_settings(folder / "pictures", study.cache)
    settings["search"] |= {"n_epochs": 1}
    settings["optimization"] |= {"warmup_epochs": 0}
    settings["final"] = {"n_epochs": 1, "image_size": 8}
    (folder / "study.yaml").write_text(yaml.safe_dump(settings))
    return study


@pytest.fixture
def shared(processes: ProcessServer, open_folder: Path) -> SharedStudy:
    return build_study(processes, open_folder, open_folder / "cache", 0o2775)


def files_of(study: SharedStudy) -> set[Path]:
    return {path for path in study.runs.rglob("*")}


def test_colleague_of_the_group_adds_to_the_study_of_another(shared: SharedStudy) -> None:
    shared.run(ANN, "init", configured=True)
    shared.run(BEN, "extend", "--trials", "1")
    assert "now 3" in shared.run(ANN, "extend", "--trials", "1")
    shared.assert_shared()


@pytest.mark.slow
def test_other_user_reads_everything_and_leaves_nothing(shared: SharedStudy) -> None:
    shared = replace(shared, umask=0o002)
    shared.run(ANN, "init", configured=True)
    shared.run(ANN, "worker")
    before = files_of(shared)
    for command in ("status", "trials", "best", "doctor", "metrics --once"):
        shared.run(EVE, *command.split())
    own = shared.home(EVE)
    shared.run(EVE, "export-trials", "--to", str(own / "trials.csv"))
    shared.run(EVE, "export", "0", "--to", str(own / "model"))
    shared.run(EVE, "report", "--out", str(own / "report.html"))
    assert (own / "report.html").exists() and (own / "report.md").exists()
    dashboard = shared.start(EVE, "dashboard", "--port", "0")
    wait_until(lambda: "http" in dashboard.said(), "the address of the dashboard")
    dashboard.kill()
    line = shared.reject(EVE, "report")
    assert "--out" in line and "Permission denied" in line
    for command in ("worker", "extend", "final"):
        line = shared.reject(EVE, command, *(["--trials", "1"] if command == "extend" else []))
        assert f"{shared.runs} belongs to user root, group {LAB}" in line and "chgrp" in line
    assert files_of(shared) == before
    shared.run(ANN, "extend", "--trials", "1")


@pytest.mark.parametrize(
    "closed", ["study.db", pytest.param("study.db-wal", marks=pytest.mark.slow)]
)
def test_colleague_who_may_not_write_the_database_does_not_lock_out_its_owner(
    shared: SharedStudy, closed: str
) -> None:
    """As it was with databases of earlier versions: open to read, in a folder open to write."""
    shared = replace(shared, umask=0o002)
    shared.run(ANN, "init", configured=True)
    database = shared.runs / "study.db"
    if closed == "study.db":
        database.chmod(0o644)
    else:  # what a killed worker leaves
        for suffix in ("-wal", "-shm"):
            left = shared.runs / f"study.db{suffix}"
            left.touch()
            os.chown(left, ANN.uid, LAB)
            left.chmod(0o644)
    before = files_of(shared)
    shared.run(BEN, "status")
    assert files_of(shared) == before
    line = shared.reject(BEN, "extend", "--trials", "1")
    assert f"{shared.runs / closed} belongs to user {ANN.uid}" in line
    shared.run(ANN, "extend", "--trials", "1")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "umask", "command"),
    [
        (0o2775, 0o077, "run"),
        (0o2770, 0o027, "worker"),
        (0o775, 0o077, "worker"),
        (0o775, 0o002, "worker"),
    ],
)
def test_two_users_work_on_one_study_in_turn(
    processes: ProcessServer, open_folder: Path, mode: int, umask: int, command: str
) -> None:
    with tempfile.TemporaryDirectory(dir=OTHER_MOUNT) as elsewhere:
        Path(elsewhere).chmod(0o755)
        cache = Path(elsewhere) / "cache"
        assert Path(elsewhere).stat().st_dev != open_folder.stat().st_dev
        shared = replace(build_study(processes, open_folder, cache, mode), umask=umask)
        shared.run(ANN, "init", configured=True)
        shared.run(ANN, "worker")
        shared.assert_shared()
        shared.run(BEN, "extend", "--trials", "1")
        shared.run(BEN, command, "--name", NAME)
        shared.run(BEN, "report")
        shared.assert_shared()
        shared.run(ANN, "final")
        shared.run(ANN, "report")
        shared.run(BEN, "doctor", "--repair")
        shared.run(BEN, "export", "--to", str(shared.home(BEN) / "winner"))
        shared.assert_shared()
        left = {path.name for path in (shared.runs / NAME / "trials").iterdir()}
        assert left == {"00000", "00001"}


@pytest.mark.slow
def test_folder_of_one_user_stays_closed(shared: SharedStudy) -> None:
    for folder in (shared.runs, shared.cache):
        os.chown(folder, ANN.uid, LAB)
        folder.chmod(0o755)
    shared.run(ANN, "init", configured=True)
    for top in (shared.runs, shared.cache):
        assert not [path for path in top.rglob("*") if path.stat().st_mode & 0o020]
    assert f"{shared.runs} belongs to user" in shared.reject(BEN, "worker")


@pytest.mark.slow
@pytest.mark.parametrize(("rule", "rights"), [("true", 0o060), ("false", 0o040)])
def test_setting_overrules_the_folder(shared: SharedStudy, rule: str, rights: int) -> None:
    shared.run(ANN, "init", "--set", f"storage.group_writable={rule}", configured=True)
    files = [path for path in shared.runs.rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o060 for path in files} == {rights}
    shared.run(ANN, "worker")
    assert (shared.runs / NAME / "trials/00000/best.pt").stat().st_mode & 0o060 == rights


@pytest.mark.slow
def test_every_closed_file_is_named_in_one_line_with_its_owner(shared: SharedStudy) -> None:
    shared.run(ANN, "init", configured=True)
    shared.run(ANN, "worker")
    shared.run(ANN, "extend", "--trials", "1")
    (images,) = shared.cache.glob("images-*/digests.json")
    study_folder = shared.runs / NAME
    for closed, command in (
        (images, "worker"),
        (images.parent, "worker"),
        (study_folder / "trials", "worker"),
        (study_folder / ".study-key", "report"),
        (study_folder, "worker"),
        (shared.runs / "study.db", "status"),
    ):
        mode = closed.stat().st_mode
        closed.chmod(0o600 if closed.is_file() else 0o700)
        line = shared.reject(BEN, command)
        assert f"{closed} belongs to user {ANN.uid}, group {LAB}" in line
        closed.chmod(mode)
    shared.run(BEN, "worker")
    shared.assert_shared()
