import sys
from dataclasses import replace
from pathlib import Path

import pytest
from optuna.trial import TrialState

from storage.leases import read_endings
from study.configuration.config import validated
from study.creation.create import initialise
from study.errors import StudyError
from study.session.session import StudySession
from study.stop_signal import StopFlag
from study.workers import launcher, local_workers
from study.workers.gpus import VARIABLE
from study.workers.launcher import postgresql_hint, run_workers
from tests.tools.processes import ROOT

CLAIM = f"""#!{sys.executable}
import os, signal, sys, time
from pathlib import Path

sys.path.insert(0, {str(ROOT)!r})
from storage.leases import acquire_waiting
from storage.process_identity import Owner
from storage.study_storage import open_study_storage

handle = open_study_storage(os.environ["STUDY_STORAGE"], outage_seconds=5)
lease = acquire_waiting(handle.database, 1, Owner.current(), last=set())
"""
SAY = f'#!/bin/sh\necho "{VARIABLE}=${{{VARIABLE}-unset}} $*"\n'


@pytest.fixture
def session(tiny_settings: dict[str, object]) -> StudySession:
    return initialise(validated(tiny_settings))


@pytest.fixture
def fake_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for the interpreter that the launcher starts; says what it was given."""
    program = tmp_path / "python"
    program.write_text(SAY)
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    return program


def said_by_workers(session: StudySession) -> list[str]:
    logs = sorted(session.paths.logs.iterdir(), key=lambda path: int(path.stem.split("-")[-1]))
    return [path.read_text() for path in logs]


def test_every_worker_gets_its_own_gpu_and_must_use_it(
    session: StudySession, fake_python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "5,6")
    run_workers(session, [{VARIABLE: "6"}, {VARIABLE: "MIG-5b1f"}, {}], stop=StopFlag())
    first, second, third = said_by_workers(session)
    assert first.startswith(f"{VARIABLE}=6 ") and "--device cuda " in first
    assert second.startswith(f"{VARIABLE}=MIG-5b1f ") and "--device cuda " in second
    assert third.startswith(f"{VARIABLE}=5,6 ") and "--device auto " in third


def test_workers_check_first_only_where_an_option_says_so(
    session: StudySession, fake_python: Path
) -> None:
    run_workers(session, [{}], stop=StopFlag())
    (before,) = said_by_workers(session)
    run_workers(session, [{}], stop=StopFlag(), check_first=True)
    assert "--check-first" not in before
    assert sorted("--check-first" in said for said in said_by_workers(session)) == [False, True]


def test_workers_on_cpus_keep_the_environment(
    session: StudySession, fake_python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    run_workers(session, [{}], stop=StopFlag())
    assert said_by_workers(session)[0].startswith(
        f"{VARIABLE}=unset -P -m study worker --name tiny"
    )


def test_nine_workers_on_sqlite_get_a_hint_and_work(
    session: StudySession, fake_python: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_workers(session, [{}] * 9, stop=StopFlag())
    hints = [line for line in capsys.readouterr().out.splitlines() if line.startswith("hint: ")]
    assert len(hints) == 1
    assert "9 workers" in hints[0] and "--storage postgresql+psycopg://USER@HOST/NAME" in hints[0]
    assert len(said_by_workers(session)) == 9


def test_few_workers_or_postgresql_need_no_hint(session: StudySession) -> None:
    assert postgresql_hint(session, 8) is None
    place = session.config.storage.model_copy(update={"url": "postgresql+psycopg://me@db/studies"})
    config = session.config.model_copy(update={"storage": place})
    assert postgresql_hint(replace(session, config=config), 64) is None


def test_worker_that_fails_is_reported_with_its_last_line(
    session: StudySession, fake_python: Path
) -> None:
    fake_python.write_text("#!/bin/sh\necho study: no such GPU\nexit 2\n")
    with pytest.raises(StudyError, match=r"a worker failed: no such GPU \(log: .*worker-.*-0.log"):
        run_workers(session, [{}], stop=StopFlag())


class StopWhenReady(StopFlag):
    """A stop that comes as soon as a worker says that it is ready."""

    def __init__(self, ready: Path) -> None:
        super().__init__()
        self._ready = ready

    @property
    def is_set(self) -> bool:
        return self._ready.exists()


def test_worker_that_got_a_signal_before_it_could_listen_has_not_failed(
    session: StudySession, fake_python: Path, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    die, wait = "kill -USR1 $$", "while sleep 0.05; do :; done"
    fake_python.write_text(f"#!/bin/sh\ntrap '{die}' TERM\ntouch {ready}\n{wait}\n")
    run_workers(session, [{}], stop=StopWhenReady(ready))
    assert ready.exists()
    fake_python.write_text(f"#!/bin/sh\n{die}\n")
    with pytest.raises(StudyError, match=r"a worker was killed by SIGUSR1 outside a trial \(log"):
        run_workers(session, [{}], stop=StopFlag())
    assert len(said_by_workers(session)) == 2  # the next would end like it, so there is none


def test_worker_is_starting_until_it_has_had_a_trial(
    session: StudySession,
    fake_python: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(launcher, "REFRESH_SECONDS", 0.01)
    begin = tmp_path / "begin"
    shebang, script = CLAIM.split("\n", 1)
    wait = f"import time, pathlib\nwhile not pathlib.Path({str(begin)!r}).exists():\n"
    fake_python.write_text(f"{shebang}\n{wait}    time.sleep(0.01)\n{script}\ntime.sleep(600)\n")

    class StopWhenClaimed(StopFlag):
        said = ""

        @property
        def is_set(self) -> bool:
            self.said += capsys.readouterr().out
            if "1 starting" in self.said:
                begin.touch()
            return "1 running" in self.said

    stop = StopWhenClaimed()
    run_workers(session, [{}], stop=stop)
    first, *_, last = stop.said.splitlines()
    assert first == "0/3 done, 0 running, 1 starting, no result yet"
    assert last == "0/3 done, 1 running, no result yet"


def test_worker_deaf_to_sigterm_is_killed_and_its_trial_released(
    session: StudySession, fake_python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_workers, "KILLED_AFTER_SECONDS", 0.1)
    ready = tmp_path / "ready"
    fake_python.write_text(
        CLAIM + f"signal.signal(signal.SIGTERM, signal.SIG_IGN)\nPath({str(ready)!r}).touch()\n"
        "while True:\n    time.sleep(1)\n"
    )
    run_workers(session, [{}], stop=StopWhenReady(ready))
    assert read_endings(session.storage_handle.database, [1]) == {1: ["preempted"]}
    assert session.slots()[0].state == TrialState.WAITING


@pytest.mark.slow
def test_worker_killed_in_a_trial_is_named_recorded_and_replaced(
    session: StudySession, fake_python: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_python.write_text(CLAIM + "if lease.attempt < 3: os.kill(os.getpid(), signal.SIGSEGV)\n")
    run_workers(session, [{}], stop=StopFlag())
    endings = read_endings(session.storage_handle.database, [1])
    assert endings == {1: ["lost: SIGSEGV", "lost: SIGSEGV", None]}
    said = [line for line in capsys.readouterr().out.splitlines() if "killed" in line]
    assert len(said) == 2
    assert said[0].startswith(
        "a worker was killed by SIGSEGV (a fault in native code) in trial 0 "
    )
    assert len(said_by_workers(session)) == 3
