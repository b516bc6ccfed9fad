"""Ctrl-C at any moment, and standard streams that are closed or that nobody reads any more."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage.study_storage import create_study_storage
from study.cli import main
from tests.study.conftest import ROOT

STUCK = """
import ctypes, signal, threading
from pathlib import Path
from study.interrupts import answering_interrupts

MILLISECONDS = 61_234
def tell_when_stuck(system_call):
    while f" {hex(MILLISECONDS)} " not in system_call.read_text():
        pass
    print("stuck", flush=True)

with answering_interrupts():
    # The thread alone is left to hear the signal, as where the main one is in native code.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    system_call = Path(f"/proc/self/task/{threading.get_native_id()}/syscall")
    threading.Thread(target=tell_when_stuck, args=[system_call], daemon=True).start()
    ctypes.CDLL(None).poll(None, 0, MILLISECONDS)
"""


def run(code: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("STUDY_")}
    return subprocess.run(
        code,
        shell=True,
        executable="/bin/bash",
        cwd=folder,
        env=environment
        | {"PYTHONPATH": f"{folder}:{ROOT}", "STUDY": f"{sys.executable} -m study"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_interrupt_while_the_first_modules_load_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "click.py").write_text(
        "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(60)\n"
    )
    ended = run("$STUDY --help", tmp_path)
    assert (ended.returncode, ended.stdout) == (130, "")
    assert ended.stderr == "study: stopped before anything was begun\n"


def test_interrupt_of_a_command_that_is_stuck_is_answered_and_a_second_one_ends_it(
    tmp_path: Path,
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STUCK], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"stuck\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline() == b"study: stopping; Ctrl-C again ends at once\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130


def test_command_leaves_signals_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        monkeypatch.setattr(sys, "argv", ["study", "--help"])
        with pytest.raises(SystemExit):
            main()
    assert signal.set_wakeup_fd(-1) == -1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 1  # the last thread may close its end


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("$STUDY config >&-", 0, ""),
        ("$STUDY config <&- >&- 2>&-", 0, ""),
        ("$STUDY status >&-", 2, "study: storage.url must name"),
        ("$STUDY status >&- 2>&-", 2, ""),
        ("$STUDY --help | true", 0, ""),
        ("$STUDY config | head -1", 0, ""),
        ("$STUDY status --schema | true; exit ${PIPESTATUS[0]}", 0, ""),
        ("$STUDY list --storage sqlite:///study.db | true; exit ${PIPESTATUS[0]}", 0, ""),
    ],
)
def test_closed_or_unread_output_ends_quietly(
    tmp_path: Path, line: str, code: int, said: str
) -> None:
    create_study_storage(f"sqlite:///{tmp_path}/study.db", outage_seconds=5)
    ended = run(line, tmp_path)
    assert ended.returncode == code
    assert ended.stderr.startswith(said) and ended.stderr.count("\n") == bool(said)
    assert not (tmp_path / "study-error.log").exists()
