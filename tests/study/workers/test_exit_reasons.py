import signal

import pytest

from study.workers.exit_reasons import describe_losses, lost_by, name_signal


@pytest.mark.parametrize(
    ("endings", "said"),
    [
        (
            ["lost: SIGSEGV"] * 3,
            "its worker was killed by SIGSEGV (a fault in native code) 3 times "
            "without a new epoch",
        ),
        (["lost"] * 2, "its worker was lost 2 times without a new epoch"),
        (
            ["lost: SIGUSR2", "lost: SIGBUS"],
            "its worker was killed by SIGUSR2, SIGBUS (often a file that was cut short while "
            "mapped, or a full disk) 2 times without a new epoch",
        ),
        (
            ["lost: SIGKILL", "lost"],
            "its worker was lost 2 times without a new epoch, also killed by SIGKILL (often the "
            "kernel's out-of-memory killer)",
        ),
        (["lost"], "its worker was lost 1 time without a new epoch"),
    ],
)
def test_losses_are_said_with_signals_and_likely_reasons(endings: list[str], said: str) -> None:
    assert describe_losses(endings) == said


def test_every_signal_has_a_name_that_the_database_can_hold() -> None:
    for number in signal.valid_signals():
        assert len(lost_by(name_signal(number))) <= 32
