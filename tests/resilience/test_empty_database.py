import time

import pytest

from tests.resilience.conftest import on_both_databases
from tests.tools.studies import SmallStudy, epochs_said

N_WORKERS = 8


@pytest.mark.slow
@on_both_databases
def test_workers_started_before_init_wait_for_it_and_all_work(study: SmallStudy) -> None:
    study = study.with_settings(search={"n_trials": 2 * N_WORKERS}, optimization={"batch_size": 4})
    workers = [study.start_worker() for _ in range(N_WORKERS)]
    time.sleep(5)
    assert [worker.poll() for worker in workers] == [None] * N_WORKERS
    study.init()
    assert [worker.wait(120) for worker in workers] == [0] * N_WORKERS
    study.assert_whole(2 * N_WORKERS)
    print("epochs by worker:", [len(worker.epochs()) for worker in workers])
    assert all(worker.epochs() for worker in workers)
    assert epochs_said(*workers) == [
        (trial, epoch) for trial in range(2 * N_WORKERS) for epoch in range(1, 5)
    ]


@pytest.mark.slow
@on_both_databases
def test_many_inits_at_once_make_one_study_for_all_workers(study: SmallStudy) -> None:
    study = study.with_settings(search={"n_trials": 6})
    started = [
        study.processes.start(*study.arguments(command), folder=study.folder)
        for command in ("worker", "init", "init", "worker", "init", "worker", "init")
    ]
    assert [process.wait(120) for process in started] == [0] * len(started)
    study.assert_whole(6)


@pytest.mark.slow
def test_worker_without_a_study_says_so_after_a_minute(study: SmallStudy) -> None:
    start = time.monotonic()
    worker = study.start_worker()
    assert worker.wait(75) == 2
    assert time.monotonic() - start > 55
    last = worker.errors.read_text().splitlines()[-1]
    assert last.startswith("study: ") and "create it with `study init`" in last
