import time

import pytest

from tests.resilience.conftest import on_both_databases
from tests.resilience.preludes import GO_ON
from tests.tools.processes import wait_until
from tests.tools.studies import SmallStudy, epochs_said

N_WORKERS = 8


@pytest.mark.slow
@on_both_databases
def test_workers_started_before_init_wait_for_it_and_all_work(study: SmallStudy) -> None:
    study = study.with_settings(
        search={"budget": {"trials": 2 * N_WORKERS}}, optimization={"batch_size": 4}
    )
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
    study = study.with_settings(search={"budget": {"trials": 6}})
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
    assert ": study: " in last and "create it with `study init`" in last


@pytest.mark.slow
@on_both_databases
@pytest.mark.parametrize(
    ("pause", "waits_for"),
    [
        ("pause_while_filling_the_queue", "--name must say which study, there are none yet"),
        ("pause_before_the_marker", "has no such study"),
    ],
)
def test_worker_without_a_name_waits_for_an_init_that_is_half_way(
    study: SmallStudy, pause: str, waits_for: str
) -> None:
    study = study.with_settings(search={"budget": {"trials": 2}, "n_epochs": 2})
    init = study.processes.start(
        *study.arguments("init"),
        folder=study.folder,
        prelude=f"tests.resilience.preludes:{pause}",
    )
    place = ["--storage", study.url, "--runs", str(study.runs)]
    worker = study.processes.start("worker", *place, folder=study.folder)
    wait_until(lambda: waits_for in worker.errors.read_text(), "its patience")
    assert init.poll() is None
    assert worker.poll() is None
    (study.folder / GO_ON).touch()
    assert init.wait() == 0
    assert worker.wait() == 0
    study.assert_whole(2)
    assert epochs_said(worker) == [(0, 1), (0, 2), (1, 1), (1, 2)]
