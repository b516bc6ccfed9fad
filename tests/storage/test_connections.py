"""Connections to PostgreSQL, with and without PgBouncer: how many, and what the server says."""

import logging
import multiprocessing
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.synchronize import Barrier
from typing import Any

import optuna
import psycopg
import pytest
import sqlalchemy

from storage.addresses import parse_url
from storage.configuration import StorageConfig
from storage.engines import IDLE_SECONDS
from storage.errors import DatabaseAwayError, DatabaseRejectionError, StorageError
from storage.leases import Heartbeat, end
from storage.study_storage import StudyStorage, create_study_storage, open_study_storage
from study.workers.claims import Claimant
from tests.pgbouncer import pgbouncer, requires_pgbouncer
from tests.postgresql import PostgreSQLServer, postgresql_server, requires_postgresql
from tests.storage.races import race_for_leases
from tests.tools.processes import wait_until
from tests.tools.small_disk import small_disk

pytestmark = [pytest.mark.slow, requires_postgresql]
N_WORKERS = 64
N_MORE = 6  # that a server is still ending, and those that count
DELETION = "DELETE FROM attempts"
FOR_EVER = 1e6  # an error that is retried for so long ends the test by its timeout
SESSIONS = (
    "SELECT application_name, count(*) FROM pg_stat_activity "
    "WHERE datname = '{}' AND application_name <> 'psql' GROUP BY 1"
)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQLServer]:
    with postgresql_server(timezone="Asia/Tokyo") as running:
        yield running


@pytest.fixture
def url(server: PostgreSQLServer) -> str:
    return server.url(server.create_database())


@contextmanager
def created(url: str) -> Iterator[StudyStorage]:
    """Create a database's tables; close every connection afterwards."""
    handle = create_study_storage(url, outage_seconds=30)
    try:
        yield handle
    finally:
        handle.remove_session()
        handle.engine.dispose()


def count_sessions(server: PostgreSQLServer, url: str) -> dict[str, int]:
    """Return the number of sessions of a database, by the name of their application."""
    lines = server.run_sql(SESSIONS.format(url.rpartition("/")[2]))
    return {name: int(n) for name, _, n in (line.rpartition("|") for line in lines)}


def be_a_worker(url: str, all_train: Barrier, go_on: Any, ends: Any) -> None:
    """Claim a trial, be busy with its epoch, send heartbeats and report, as a worker does."""
    place = StorageConfig(url=url, heartbeat_seconds=2, outage_seconds=60, grace_seconds=100)
    handle = open_study_storage(url, outage_seconds=60)
    study = optuna.load_study(study_name="many", storage=handle)
    claimant = Claimant(handle, study, place)
    lease = claimant.claim()
    assert lease is not None
    poll = claimant.watch.poll
    with Heartbeat(handle.database, lease, seconds=2, between=poll) as heartbeat:
        for _ in range(5):  # beside its beats
            heartbeat.confirm()
            handle.get_trial(lease.trial_id)
    all_train.wait()
    go_on.wait()
    end(handle.database, lease, "complete")
    ends.put(lease.trial_id)


@pytest.mark.timeout(900)
def test_64_workers_hold_64_connections_at_most_and_none_over_an_epoch() -> None:
    processes = multiprocessing.get_context("fork")
    all_train, go_on, ends = (
        processes.Barrier(N_WORKERS + 1),
        processes.Event(),
        processes.Queue(),
    )
    with postgresql_server(max_connections=N_WORKERS + N_MORE) as server:
        url = server.url(server.create_database())
        with created(url) as handle:
            study = optuna.create_study(study_name="many", storage=handle)
            for slot in range(N_WORKERS):
                study.enqueue_trial({}, user_attrs={"slot": slot})
        workers = [
            processes.Process(target=be_a_worker, args=(url, all_train, go_on, ends))
            for _ in range(N_WORKERS)
        ]
        most = most_of_one = 0
        for worker in workers:
            worker.start()
        try:
            while all_train.n_waiting < N_WORKERS:
                time.sleep(0.2)
                assert all(worker.exitcode is None for worker in workers)
                counts = count_sessions(server, url).values()
                most, most_of_one = max(most, sum(counts)), max(most_of_one, *counts, 0)
            all_train.wait()
            wait_until(lambda: not count_sessions(server, url), "the end of their connections")
            go_on.set()
            trials = {ends.get(timeout=60) for _ in workers}
        finally:
            for worker in workers:
                worker.kill() if worker.exitcode is None and not go_on.is_set() else None
                worker.join()
    print(f"{N_WORKERS} workers: {most} connections at most, {most_of_one} of one worker")
    assert len(trials) == N_WORKERS and most <= N_WORKERS + N_MORE  # the server allows no more
    assert [worker.exitcode for worker in workers] == [0] * N_WORKERS


def test_burst_of_transactions_shares_a_connection_that_is_closed_after_it(
    server: PostgreSQLServer, url: str
) -> None:
    with created(url) as handle:
        read = "SELECT pg_backend_pid()"
        pids = {
            handle.database.read(lambda connection: connection.exec_driver_sql(read).scalar())
            for _ in range(50)
        }
        assert len(pids) < 10  # one, unless this machine stood still for half a second
        wait_until(lambda: not count_sessions(server, url), "its end", seconds=60 * IDLE_SECONDS)


def test_thread_that_asks_for_a_second_connection_is_told_so_and_does_not_hang(url: str) -> None:
    with created(url) as handle:
        nested = handle.database

        def ask(_connection: sqlalchemy.Connection) -> object:
            return nested.read(lambda connection: connection)

        with pytest.raises(RuntimeError, match="must not ask for a second connection"):
            nested.read(ask)
        nested.read(lambda connection: None)


@contextmanager
def no_connection_left(port: int) -> Iterator[None]:
    """Take every connection within the context."""
    with ExitStack() as taken:
        while True:
            try:
                taken.enter_context(
                    psycopg.connect(f"host=127.0.0.1 port={port} user=tester dbname=postgres")
                )
            except psycopg.OperationalError:
                break
        yield


def test_no_connection_left_is_waited_for_and_names_max_connections(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with postgresql_server(max_connections=8) as server, created(server.url()) as handle:
        wait_until(lambda: not count_sessions(server, server.url()), "the end of connections")
        with no_connection_left(server.port), caplog.at_level(logging.WARNING):
            read = threading.Thread(target=ask, args=(handle, "SELECT 1"))
            read.start()
            wait_until(lambda: "raise max_connections" in caplog.text, "its complaint")
        read.join()
        with no_connection_left(server.port), pytest.raises(DatabaseAwayError, match="PgBouncer"):
            open_study_storage(server.url(), outage_seconds=0)


@requires_pgbouncer
def test_pooler_that_takes_no_more_clients_names_max_client_conn(server: PostgreSQLServer) -> None:
    with (
        pgbouncer(server, max_client_conn=4) as port,
        no_connection_left(port),
        pytest.raises(DatabaseAwayError, match=r"max_client_conn.*raise max_connections"),
    ):
        open_study_storage(server.url(port=port), outage_seconds=0)


def test_settings_of_address_and_environment_hold(
    server: PostgreSQLServer, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = url.rpartition("/")[2]
    for schema in ("ours", "theirs"):
        server.run_sql(f"CREATE SCHEMA {schema}", name)
    monkeypatch.setenv("PGOPTIONS", "-csearch_path=theirs")
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = '{}'"
    with created(f"{url}?options=-csearch_path%3Dours&application_name=mine") as handle:
        handle.database.read(lambda connection: None)
        assert server.run_sql(tables.format("ours"), name) > ["10"]
        assert server.run_sql(tables.format("theirs"), name) == ["0"]
        wait_until(lambda: "mine" in ask(handle, "SHOW application_name"), "its name")
        assert ask(handle, "SHOW timezone") == "UTC"
        assert ask(handle, "SHOW idle_in_transaction_session_timeout") == "1min"
    with created(url):
        assert server.run_sql(tables.format("theirs"), name) > ["10"]


def ask(handle: StudyStorage, statement: str) -> Any:
    """Return what one transaction answers."""
    return handle.database.read(lambda connection: connection.exec_driver_sql(statement).scalar())


def test_database_without_an_encoding_keeps_every_name(server: PostgreSQLServer) -> None:
    name = server.create_database("--encoding=SQL_ASCII", "--locale=C", "--template=template0")
    with created(server.url(name)) as handle:
        optuna.create_study(study_name="Größe 大", storage=handle)
        assert [study.study_name for study in handle.get_all_studies()] == ["Größe 大"]


@requires_pgbouncer
def test_pooler_that_rejects_options_is_final_and_one_that_ignores_them_does(
    server: PostgreSQLServer,
) -> None:
    name = server.create_database()
    with pgbouncer(server) as port:
        with pytest.raises(StorageError, match="ignore_startup_parameters"):
            create_study_storage(
                server.url(f"{name}?options=-csearch_path%3Dpublic", port=port),
                outage_seconds=FOR_EVER,
            )
        with created(server.url(name, port=port)) as handle:
            assert ask(handle, "SHOW timezone") == "UTC"


def test_server_that_cannot_be_written_is_final_and_may_be_read(
    server: PostgreSQLServer, url: str
) -> None:
    written = "SELECT count(*) FROM attempts"
    read_only = f"{url}?options=-cdefault_transaction_read_only%3Don"
    with pytest.raises(StorageError, match="usable database.*can be written"):
        create_study_storage(read_only, outage_seconds=FOR_EVER)
    with created(url):
        handle = open_study_storage(read_only, outage_seconds=FOR_EVER)
        with pytest.raises(DatabaseRejectionError, match="can be written"):
            handle.database.write(lambda connection: connection.exec_driver_sql(DELETION))
        with pytest.raises(DatabaseRejectionError, match="can be written"):
            optuna.create_study(storage=handle)
        assert ask(handle, written) == 0
        handle.remove_session()
        handle.engine.dispose()


@requires_pgbouncer
def test_reader_cannot_write_through_a_pooler_that_drops_options(server: PostgreSQLServer) -> None:
    with (
        pgbouncer(server, ignore_startup_parameters="options,extra_float_digits") as port,
        created(server.url(server.create_database(), port=port)) as handle,
    ):
        place = handle.engine.url.render_as_string(hide_password=False)
        reader = open_study_storage(place, outage_seconds=FOR_EVER, read_only=True)
        for _ in range(
            3
        ):  # and nothing of it is left for the next one of the pooler's connections
            with pytest.raises(DatabaseRejectionError, match="read-only transaction"):
                reader.database.write(lambda connection: connection.exec_driver_sql(DELETION))
            with pytest.raises(DatabaseRejectionError, match="read-only transaction"):
                optuna.create_study(storage=reader)
            handle.database.write(lambda connection: connection.exec_driver_sql(DELETION))
        reader.remove_session()
        reader.engine.dispose()


def test_acquire_in_serializable_transactions_is_granted_to_one(url: str) -> None:
    strict = f"{url}?options=-cdefault_transaction_isolation%3Dserializable"
    with created(strict) as handle:
        assert ask(handle, "SHOW transaction_isolation") == "serializable"
        assert race_for_leases(strict, n_workers=6, n_trials=10) == 10


@pytest.mark.parametrize("limit", ["lock_timeout", "statement_timeout"])
def test_timeouts_of_the_server_are_retried(
    url: str, caplog: pytest.LogCaptureFixture, limit: str
) -> None:
    with created(url), created(f"{url}?options=-c{limit}%3D100ms") as limited:
        lock = sqlalchemy.create_engine(parse_url(url), poolclass=sqlalchemy.NullPool)
        with lock.begin() as holder, caplog.at_level(logging.WARNING):
            holder.exec_driver_sql("LOCK TABLE attempts IN ACCESS EXCLUSIVE MODE")
            write = threading.Thread(
                target=limited.database.write,
                args=(lambda connection: connection.exec_driver_sql(DELETION),),
            )
            write.start()
            wait_until(lambda: caplog.text.count("canceling statement") > 1, "two retries")
            assert write.is_alive()
        write.join()


def test_full_tablespace_is_waited_for(
    server: PostgreSQLServer, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with small_disk(server.folder / "space", megabytes=8) as disk, created(url) as handle:
        (disk.folder / "tables").mkdir()
        shutil.chown(disk.folder / "tables", "postgres")
        server.run_sql(f"CREATE TABLESPACE small LOCATION '{disk.folder}/tables'")
        handle.engine.dispose()
        server.run_sql("ALTER TABLE study_user_attributes SET TABLESPACE small", name_of(url))
        study = optuna.create_study(storage=handle)
        disk.fill()
        with caplog.at_level(logging.WARNING):
            write = threading.Thread(target=study.set_user_attr, args=("large", "x" * 2000))
            write.start()
            wait_until(lambda: "No space left on device" in caplog.text, "its complaint")
            disk.free()
            write.join()
        assert study.user_attrs["large"] == "x" * 2000
        server.run_sql("ALTER TABLE study_user_attributes SET TABLESPACE pg_default", name_of(url))
        server.run_sql("DROP TABLESPACE small")


def name_of(url: str) -> str:
    return url.rpartition("/")[2]


def vacuum_while(server: PostgreSQLServer, url: str, work: Callable[[], None]) -> int:
    """Vacuum a database again and again while something is done; return how often."""
    done, n_times = threading.Event(), 0
    worker = threading.Thread(target=lambda: (work(), done.set()))
    worker.start()
    while not done.is_set():
        server.run_sql("VACUUM FULL", name_of(url))
        n_times += 1
    worker.join()
    return n_times


def test_vacuum_of_a_whole_database_costs_nothing(server: PostgreSQLServer, url: str) -> None:
    granted: list[int] = []
    with created(url):
        race = lambda: granted.append(race_for_leases(url, n_workers=4, n_trials=20))  # noqa: E731
        assert vacuum_while(server, url, race) > 0
    assert granted == [20]
