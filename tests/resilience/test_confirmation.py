import os
import signal

import pytest

from dashboards.analysis.confirmation.reading import Confirmation, read_confirmation
from dashboards.analysis.status import read_status
from tests.resilience.conftest import on_both_databases
from tests.tools.processes import StartedProcess, wait_until
from tests.tools.studies import NAME, SmallStudy, opened


def confirmation(study: SmallStudy) -> Confirmation | None:
    with opened(study.url) as handle:
        return read_confirmation(handle, NAME)


def kill_within_a_run(study: SmallStudy, started: StartedProcess, *, n_done: int) -> None:
    """Kill the command and its workers once so many runs are over and another has begun."""

    def is_within() -> bool:
        assert started.poll() is None, started.said()
        found = confirmation(study)
        if found is None or found.n_done < n_done:
            return False
        return any(run.row.state == "running" and run.row.epochs_done for run in found.runs)

    wait_until(is_within, f"{n_done} runs of {started.name}", seconds=120)
    started.kill()
    with opened(study.url) as handle:
        running = read_status(handle, f"{NAME}-confirm").running_trials
    for trial in running:
        assert trial.pid is not None
        os.kill(trial.pid, signal.SIGKILL)


@pytest.mark.slow
@on_both_databases
def test_confirmation_killed_in_each_stage_comes_to_the_same_verdict(study: SmallStudy) -> None:
    study = study.with_settings(
        search={"budget": {"trials": 3}, "n_epochs": 4},
        confirm={"candidates": 2, "verdict_seeds": 2},
        optimization={"batch_size": 4},
    ).init()
    straight = study.straight()
    for one in (straight, study):
        one.work()
    straight.processes.run("confirm", *straight.arguments("confirm")[1:], folder=straight.folder)

    for n_done in (1, 4):
        started = study.processes.start(*study.arguments("confirm"), folder=study.folder)
        kill_within_a_run(study, started, n_done=n_done)
    ended = study.processes.run("confirm", *study.arguments("confirm")[1:], folder=study.folder)

    found, expected = confirmation(study), confirmation(straight)
    assert found is not None and expected is not None and found.is_over
    results = [
        [(run.role, run.searched_trial, run.score, run.row.attributes["seed"]) for run in one.runs]
        for one in (found, expected)
    ]
    assert results[0] == results[1]
    assert found.verdict == expected.verdict
    assert f"on {found.n_images} confirmation images" in ended.said()
    again = study.processes.run("confirm", *study.arguments("confirm")[1:], folder=study.folder)
    assert confirmation(study) == found
    assert again.said().splitlines()[-2:] == ended.said().splitlines()[-2:]
