"""A whole study through PgBouncer in transaction mode, as its package configures it."""

from dataclasses import replace

import pytest

from tests.pgbouncer import pgbouncer, requires_pgbouncer
from tests.postgresql import PostgreSQLServer, requires_postgresql
from tests.tools.studies import SmallStudy

N_WORKERS = 3
N_TRIALS = 6
N_SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}'"


@pytest.mark.slow
@pytest.mark.timeout(900)
@requires_postgresql
@requires_pgbouncer
@pytest.mark.parametrize("study", ["postgresql"], indirect=True)
def test_study_through_a_pooler_of_transactions_is_whole_though_workers_are_killed(
    study: SmallStudy, postgresql: PostgreSQLServer
) -> None:
    name = study.url.rpartition("/")[2]
    with pgbouncer(postgresql, default_pool_size=4) as port:
        study = replace(study, url=postgresql.url(name, port=port))
        study = study.with_settings(
            search={"budget": {"trials": N_TRIALS}, "n_epochs": 8}, optimization={"batch_size": 2}
        ).init()
        for _ in range(2):
            workers = [study.start_worker() for _ in range(N_WORKERS)]
            for worker in workers:
                worker.wait_for_epoch(1, seconds=300)
            (n_sessions,) = postgresql.run_sql(N_SESSIONS.format(name))
            print(f"{N_WORKERS} workers: {n_sessions} sessions of the server")
            assert int(n_sessions) <= 4
            for worker in workers:
                worker.kill()
        study.work(seconds=600)
        study.assert_whole(N_TRIALS)
        place = ["--storage", study.url, "--runs", str(study.runs)]
        study.processes.run("doctor", *place, folder=study.folder)
        status = study.processes.run("status", "--json", *place, folder=study.folder)
    assert f'"complete": {N_TRIALS}' in status.said()
