"""Measure claims and epoch reports of many workers, beside Optuna's plain storages.

Every worker is a process that claims trials from one queue, reports each epoch of them and tells
their end, without training anything. Ours goes through what a real worker calls: lease and state
for a claim; lease, our row and Optuna's value for an epoch. The peer is `optuna.create_study` with
a plain address, `ask`, `report`, `tell`. Both run in turn, so that what else runs here meets
both. A rate is the number of calls over the mean time that one worker spent in them.

    python -m benchmarks.storage_throughput --out storage-throughput.json
    python -m benchmarks.storage_throughput --workers 2 --trials 8 --repeats 1 --databases sqlite
"""

import argparse
import functools
import json
import multiprocessing
import os
import platform
import shlex
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.samplers import RandomSampler
from optuna.trial import TrialState, create_trial
from sqlalchemy.engine import make_url

from storage.configuration import StorageConfig
from storage.database import BUSY_TIMEOUT_SECONDS
from storage.leases import Heartbeat, end
from storage.records import EpochRecord, report
from storage.study_storage import create_study_storage, open_study_storage
from study.claiming import Claimant
from tests.postgresql import BINARIES, running_server

NAME = "throughput"
PLACE = StorageConfig()
WORST_SECONDS = 120.0


@dataclass
class Calls:
    """What one worker did: the duration of each call in seconds, and what went wrong."""

    claims: list[float] = field(default_factory=list)
    reports: list[float] = field(default_factory=list)
    trials: list[int] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Throughput:
    """One storage with so many workers."""

    claims_per_second: float
    reports_per_second: float
    p95_seconds: float
    longest_seconds: float
    duplicates: int
    errors: int


@contextmanager
def timed(durations: list[float]) -> Iterator[None]:
    """Add the time spent inside."""
    start = time.perf_counter()
    yield
    durations.append(time.perf_counter() - start)


def ours(url: str, n_epochs: int, calls: Calls) -> None:
    """Work as a worker of this project does, without training."""
    handle = open_study_storage(url, outage_seconds=PLACE.outage_seconds)
    optuna_study = optuna.load_study(
        study_name=NAME, storage=handle, sampler=RandomSampler(seed=0)
    )
    claimant = Claimant(handle, optuna_study, PLACE)
    seconds = PLACE.heartbeat_seconds
    while True:
        start = time.perf_counter()
        lease = claimant.claim()
        if lease is None:
            break
        trial = optuna.Trial(optuna_study, lease.trial_id)
        calls.claims.append(time.perf_counter() - start)
        calls.trials.append(trial.number)
        with Heartbeat(
            handle.database, lease, seconds=seconds, between=claimant.watch.look
        ) as heartbeat:
            for epoch in range(1, n_epochs + 1):
                records = [EpochRecord(epoch, *(0.5,) * 12)]
                write = functools.partial(report, trial_id=lease.trial_id, records=records)
                with timed(calls.reports):
                    heartbeat.within(write)
            heartbeat.confirm()
        optuna_study.tell(trial.number, 0.5, state=TrialState.COMPLETE)
        end(handle.database, lease, "complete")


def plain(url: str, n_epochs: int, calls: Calls) -> None:
    """Work as Optuna's tutorial does."""
    optuna_study = optuna.load_study(study_name=NAME, storage=url, sampler=RandomSampler(seed=0))
    while True:
        try:
            start = time.perf_counter()
            trial = optuna_study.ask()
            seconds = time.perf_counter() - start
            if "slot" not in trial.user_attrs:  # the queue was empty, a new trial was made
                optuna_study.tell(trial, state=TrialState.FAIL)
                break
            calls.claims.append(seconds)
            calls.trials.append(trial.number)
            for epoch in range(1, n_epochs + 1):
                with timed(calls.reports):
                    trial.report(0.5, epoch)
            optuna_study.tell(trial, 0.5)
        except Exception as error:
            calls.errors.append(f"{type(error).__name__}: {error}".splitlines()[0])


SYSTEMS: dict[str, Callable[[str, int, Calls], None]] = {"ours": ours, "plain": plain}


def fill(system: str, url: str, n_trials: int) -> None:
    """Create a study with a queue of waiting trials."""
    storage: Any = url
    if system == "ours":
        storage = create_study_storage(url, outage_seconds=PLACE.outage_seconds)
    optuna_study = optuna.create_study(study_name=NAME, storage=storage, direction="maximize")
    for slot in range(n_trials):
        waiting = create_trial(state=TrialState.WAITING, user_attrs={"slot": slot})
        optuna_study.add_trial(waiting)


def measure(system: str, url: str, *, n_workers: int, n_trials: int, n_epochs: int) -> Throughput:
    """Let so many workers empty one queue."""
    context = multiprocessing.get_context("fork")
    filling = context.Process(target=fill, args=(system, url, n_trials))
    filling.start()
    filling.join()
    barrier = context.Barrier(n_workers)
    answers: Any = context.Queue()

    def work(barrier: Barrier) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        calls = Calls()
        barrier.wait()
        try:
            SYSTEMS[system](url, n_epochs, calls)
        except Exception as error:
            calls.errors.append(f"{type(error).__name__}: {error}".splitlines()[0])
        answers.put(calls)

    workers = [context.Process(target=work, args=(barrier,)) for _ in range(n_workers)]
    for worker in workers:
        worker.start()
    every: list[Calls] = [answers.get(timeout=WORST_SECONDS) for _ in workers]
    for worker in workers:
        worker.join()
    return summarise(every)


def summarise(every: list[Calls]) -> Throughput:
    """Turn the calls of all workers into rates."""
    claims = [seconds for calls in every for seconds in calls.claims]
    reports = [seconds for calls in every for seconds in calls.reports]
    runs = Counter(number for calls in every for number in calls.trials)
    waits = sorted(claims + reports)
    return Throughput(
        claims_per_second=len(claims) / (sum(claims) / len(every)),
        reports_per_second=len(reports) / (sum(reports) / len(every)),
        p95_seconds=waits[int(0.95 * (len(waits) - 1))],
        longest_seconds=waits[-1],
        duplicates=sum(count - 1 for count in runs.values()),
        errors=sum(len(calls.errors) for calls in every),
    )


@contextmanager
def databases(kinds: list[str]) -> Iterator[dict[str, Callable[[str], str]]]:
    """Yield, by kind, a function from a name to the address of an empty database."""
    with tempfile.TemporaryDirectory() as folder:
        makers: dict[str, Callable[[str], str]] = {}
        if "sqlite" in kinds:
            makers["sqlite"] = lambda name: f"sqlite:///{folder}/{name}.db"
        if "postgresql" not in kinds:
            yield makers
            return
        with running_server() as server:
            makers["postgresql"] = lambda name: empty_database(server, name)
            yield makers


def empty_database(server: str, name: str) -> str:
    """Create a database on a PostgreSQL server and return its address."""
    engine = sqlalchemy.create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f'CREATE DATABASE "{name}"')
    engine.dispose()
    return make_url(server).set(database=name).render_as_string(hide_password=False)


def median(results: list[Throughput]) -> dict[str, float]:
    """Return the median of each rate and wait, the total of what went wrong."""
    rows = [asdict(result) for result in results]
    totals = {key: sum(row[key] for row in rows) for key in ("duplicates", "errors")}
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]} | totals


def main() -> None:
    """Measure what the command line asks for, print a table and write one JSON document."""
    arguments = parse_arguments()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    rows: list[dict[str, Any]] = []
    with databases(arguments.databases) as makers:
        for kind, make in makers.items():
            for n_workers in arguments.workers:
                results: dict[str, list[Throughput]] = {system: [] for system in SYSTEMS}
                for repeat in range(arguments.repeats):
                    for system in SYSTEMS:
                        url = make(f"{system}-{n_workers}-{repeat}")
                        results[system].append(
                            measure(
                                system,
                                url,
                                n_workers=n_workers,
                                n_trials=arguments.trials,
                                n_epochs=arguments.epochs,
                            )
                        )
                for system in SYSTEMS:
                    row = {"database": kind, "workers": n_workers, "storage": system}
                    rows.append(row | median(results[system]))
                    show(rows)
    report = {
        "command": shlex.join(["python", "-m", "benchmarks.storage_throughput", *sys.argv[1:]]),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}",
        "versions": {
            "python": platform.python_version(),
            "optuna": optuna.__version__,
            "sqlalchemy": sqlalchemy.__version__,
        },
        "busy_timeout_seconds": BUSY_TIMEOUT_SECONDS,
        "rows": rows,
    }
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


def show(rows: list[dict[str, Any]]) -> None:
    """Print the newest row; before the first, what the columns mean."""
    if len(rows) == 1:
        print("database    workers  storage  claims/s  reports/s  p95 s  longest s  twice  errors")
    row = rows[-1]
    line = (
        f"{row['database']:<11} {row['workers']:>7}  {row['storage']:<7} "
        f"{row['claims_per_second']:>9.1f} {row['reports_per_second']:>10.1f} "
        f"{row['p95_seconds']:>6.3f} {row['longest_seconds']:>10.2f} "
        f"{row['duplicates']:>6} {row['errors']:>7}"
    )
    if row["storage"] == "plain":
        own = rows[-2]
        claims = own["claims_per_second"] / row["claims_per_second"]
        reports = own["reports_per_second"] / row["reports_per_second"]
        line += f"   ours / plain: claims {claims:.2f}, reports {reports:.2f}"
    print(line, flush=True)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    kinds = ["sqlite", "postgresql"] if BINARIES else ["sqlite"]
    parser.add_argument("--databases", nargs="+", choices=["sqlite", "postgresql"], default=kinds)
    parser.add_argument("--workers", nargs="+", type=int, default=[1, 4, 16, 32])
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=None)
    return parser.parse_args()


if __name__ == "__main__":
    main()
