import json
from collections import Counter

import pytest
from optuna.trial import TrialState

from tests.resilience.isolation_probe import FIGURES
from tests.tools.studies import SmallStudy

N_TRIALS = 20


@pytest.mark.slow
def test_trials_leave_nothing_behind_in_their_process(study: SmallStudy) -> None:
    study = study.with_settings(
        network={"widths": [32, 64, 128]},  # 8 MB with its optimizer, so that a leak would show
        search={
            "budget": {"trials": N_TRIALS},
            "n_epochs": 3,
            "pruner": "percentile",
            "pruner_percentile": 50.0,
            "pruner_startup_trials": 2,
            "pruner_warmup_epochs": 1,
        },
    ).init()
    worker = study.processes.start(
        *study.arguments("worker"),
        folder=study.folder,
        prelude="tests.resilience.isolation_probe:install",
    )
    assert worker.wait(200) == 0

    trials = study.trials()
    reasons = Counter(trial.user_attrs.get("reason", {}).get("kind") for trial in trials)
    print("ends:", Counter(trial.state.name for trial in trials), reasons)
    assert all(trial.state.is_finished() for trial in trials)
    assert {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL} == {t.state for t in trials}
    assert {"exception", "diverged", "pruned"} <= reasons.keys()

    figures = json.loads((study.folder / FIGURES).read_text())
    for number, after in enumerate(figures, start=1):
        print(f"after attempt {number}: {after}")
    assert len(figures) >= N_TRIALS
    assert [number for number, after in enumerate(figures) if not after["network_is_dead"]] == []
    assert max(after["n_more_tensors"] for after in figures) <= 0
    second, last = figures[1]["resident_bytes"], figures[-1]["resident_bytes"]
    print(f"resident after the 2nd: {second / 2**20:.1f} MiB, the last: {last / 2**20:.1f} MiB")
    assert last < 1.15 * second
