import signal
import time

import pytest

from tests.resilience.conftest import on_both_databases
from tests.tools.processes import StartedProcess, wait_until
from tests.tools.studies import SmallStudy
from tests.tools.transactions import in_transaction

SHORT_GRACE = {"heartbeat_seconds": 0.3, "outage_seconds": 1.0, "grace_seconds": 2.5}


def freeze(worker: StartedProcess, study: SmallStudy) -> None:
    """Stop a process, but not within a transaction, where everybody would wait for it."""
    worker.send_signal(signal.SIGSTOP)
    time.sleep(0.05)
    while in_transaction(study.url):
        worker.send_signal(signal.SIGCONT)
        time.sleep(0.05)
        worker.send_signal(signal.SIGSTOP)
        time.sleep(0.05)


@pytest.mark.slow
@on_both_databases
@pytest.mark.parametrize("wakes", ["after the trial's end", "while its follower trains"])
def test_worker_frozen_for_longer_than_grace_drops_its_trial_and_goes_on(
    study: SmallStudy, wakes: str
) -> None:
    study = study.with_settings(
        search={"n_epochs": 12}, optimization={"batch_size": 2}, storage=SHORT_GRACE
    ).init()
    straight = study.with_settings(search={"budget": {"trials": 2}}).straight()

    frozen = study.start_worker()
    frozen.wait_for_epoch(2)
    freeze(frozen, study)
    n_said_before = len(frozen.epochs())
    follower = study.start_worker()
    _, first = follower.wait_for_epoch(1)
    assert first in (n_said_before, n_said_before + 1)  # it went on from the last checkpoint
    study.extend(1)
    if wakes == "after the trial's end":
        # Its own trial done, the follower is sent away, so that the other one stays for the first.
        wait_until(lambda: (0, 12) in follower.epochs(), "the end of trial 0")
        follower.send_signal(signal.SIGTERM)
        assert follower.wait(10) == 0
    frozen.send_signal(signal.SIGCONT)
    assert frozen.wait() == 0
    assert follower.wait() == 0

    study.assert_whole(2)
    assert [study.run_sha256(slot) for slot in (0, 1)] == [
        straight.run_sha256(slot) for slot in (0, 1)
    ]
    of_its_own = [epoch for epoch in frozen.epochs() if epoch[0] == 0]
    assert len(of_its_own) <= n_said_before + 1  # woken between the look and the line
    assert [epoch for epoch in frozen.epochs() if epoch[0] == 1]  # it went on with another
    print(f"frozen worker:\n{frozen.said()}\nits follower:\n{follower.said()}")
