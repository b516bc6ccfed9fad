import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from study.stop_signal import HEARD, LAUNCHER_DIED, LAUNCHER_PID, StopFlag
from tests.tools.processes import ROOT, wait_until


@pytest.fixture
def handlers() -> Iterator[None]:
    """Put back what `install` changes in this process."""
    before = {number: signal.getsignal(number) for number in HEARD}
    yield
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        signal.signal(number, handler)


def test_time_left_is_not_rounded_up_where_an_epoch_has_to_fit() -> None:
    assert not StopFlag(after_seconds=0.9).leaves_time_for(lambda: 0.75)


def test_signal_that_comes_while_the_flag_is_installed_is_heard(
    handlers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_handler = signal.signal
    sent: list[int] = []

    def set_and_send(number: int, handler: signal.Handlers) -> object:
        before = set_handler(number, handler)
        if not sent:
            sent.append(number)
            os.kill(os.getpid(), number)
        return before

    monkeypatch.setattr(signal, "signal", set_and_send)
    stop = StopFlag().install()
    wait_until(lambda: stop.is_signalled, "the signal", seconds=5)


def pending_signals(pid: int) -> int:
    """Return the signals that a process has not received yet, as bits."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("ShdPnd:")[2].split()[0], 16)


LISTEN = """
import time
from study.stop_signal import StopFlag, follow_launcher
follow_launcher()
stop = StopFlag().install()
print("ready", flush=True)
while True:
    time.sleep(0.01)
    if stop.is_signalled:
        print("signalled", flush=True)
        time.sleep(600)
"""


@pytest.mark.parametrize(
    ("launched", "numbers", "ends"),
    [
        (False, [signal.SIGTERM], signal.SIGTERM),
        (True, [signal.SIGTERM, signal.SIGUSR1], signal.SIGTERM),
        (False, [signal.SIGHUP, signal.SIGHUP, signal.SIGHUP], signal.SIGUSR1),
        (True, [signal.SIGHUP, signal.SIGHUP, signal.SIGTERM, signal.SIGINT], signal.SIGUSR1),
        (True, [LAUNCHER_DIED, LAUNCHER_DIED, LAUNCHER_DIED, signal.SIGTERM], signal.SIGTERM),
    ],
)
def test_second_signal_ends_but_not_one_of_the_launcher_or_of_a_closed_terminal(
    launched: bool, numbers: list[signal.Signals], ends: signal.Signals
) -> None:
    environment = os.environ | ({LAUNCHER_PID: str(os.getpid())} if launched else {})
    with subprocess.Popen(
        [sys.executable, "-c", LISTEN],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"ready\n"
        for number in numbers:
            process.send_signal(number)
            # One after the other: of several the kernel delivers the lowest number first.
            wait_until(lambda: not pending_signals(process.pid), "the end of a signal's way")
        assert process.stdout.readline() == b"signalled\n"
        process.send_signal(ends)
        process.stdout.read()
        said = process.stderr.read().decode()
    assert process.returncode == 128 + ends
    assert ("finished epochs are kept, the one under way is dropped" in said) != launched
    assert ("a signal again ends at once" in said) != launched


def test_closed_terminal_is_unheard_where_nohup_has_let_it_be_ignored(handlers: None) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    StopFlag().install()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
