import os
import signal
from collections.abc import Iterator

import pytest

from study.stopping import SIGNALS, StopFlag
from tests.tools.processes import wait_until


@pytest.fixture
def handlers() -> Iterator[None]:
    """Put back what `install` changes in this process."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
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
