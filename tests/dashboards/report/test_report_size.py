"""The report of a large study: how long it takes and how big it is."""

import time
from pathlib import Path

import pytest
from optuna.trial import TrialState

from dashboards.report.report import write_report
from storage.records import read_protocol
from storage.run_paths import RunPaths
from storage.study_storage import create_study_storage
from tests.tools.searches import add_trial, create_search

N_EPOCHS = 20


@pytest.mark.slow
@pytest.mark.parametrize(("n_trials", "n_classes"), [(200, 200), (500, 200)])
def test_large_report_is_written_in_half_a_minute_and_stays_small(
    tmp_path: Path, n_trials: int, n_classes: int
) -> None:
    handle = create_study_storage(f"sqlite:///{tmp_path / 'study.db'}", outage_seconds=5)
    names = [f"n{number:08}" for number in range(n_classes)]
    create_search(handle, "large", n_trials=n_trials, n_epochs=N_EPOCHS, class_names=names)
    for slot in range(n_trials):
        state = TrialState.PRUNED if slot % 3 == 2 else TrialState.COMPLETE
        n_epochs = 12 if state is TrialState.PRUNED else N_EPOCHS
        add_trial(handle, "large", slot=slot, state=state, n_epochs=n_epochs)
    runs = tmp_path / "runs"
    RunPaths(runs, "large").claim(read_protocol(handle.database, "large").study_key)
    path = runs / "large" / "report.html"
    started_at = time.process_time()
    write_report(handle, "large", runs=runs, path=path)
    seconds = time.process_time() - started_at
    handle.engine.dispose()
    n_bytes = path.stat().st_size
    print(f"{n_trials} trials: {seconds:.1f} s, {n_bytes:,} bytes")
    assert seconds < 30 and n_bytes < 15e6
