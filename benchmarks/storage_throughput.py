"""Measure claims and epoch reports of many workers, beside Optuna's plain storages.

Every worker is a process that claims its share of one queue; when all have, each reports all
epochs of its trials; when all have, each tells their end. Nothing is trained. Ours goes through
what a real worker calls: lease and state for a claim; lease, our row and Optuna's value for an
epoch. The peer is `optuna.create_study` with a plain address, `ask`, `report`, `tell`. Both run in
turn, so that what else runs here meets both. A rate is the number of calls over the time from
when all began to when the last had ended.

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
from typing import Any, Protocol

import optuna
import sqlalchemy
from optuna.samplers import RandomSampler
from optuna.trial import TrialState, create_trial
from sqlalchemy.engine import make_url

from storage.configuration import StorageConfig
from storage.engines import BUSY_TIMEOUT_SECONDS
from storage.leases import Heartbeat, Lease, end
from storage.lost_workers import Watch
from storage.records import EpochRecord, report
from storage.study_storage import StudyStorage, create_study_storage, open_study_storage
from study.workers.claims import Claimant
from tests.postgresql import BINARIES, running_server

NAME = "throughput"
PLACE = StorageConfig()
WORST_SECONDS = 120.0


@dataclass
class Calls:
    """What one worker did, and what went wrong.

    Attributes:
        spans: Begin and end of every call in seconds, by kind: claim or report.
        trials: Numbers of the trials it claimed.
        errors: First line of each error.
    """

    spans: dict[str, list[tuple[float, float]]] = field(
        default_factory=lambda: {"claim": [], "report": []}
    )
    trials: list[int] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @contextmanager
    def timed(self, kind: str) -> Iterator[None]:
        """Note when what happens inside begins and ends."""
        start = time.monotonic()
        yield
        self.spans[kind].append((start, time.monotonic()))

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Note an error and go on."""
        try:
            yield
        except Exception as error:
            self.errors.append(f"{type(error).__name__}: {error}".splitlines()[0])


class Held(Protocol):
    """A trial that a worker has claimed."""

    number: int

    def report(self, epoch: int) -> None:
        """Report an epoch."""

    def tell(self) -> None:
        """Tell its end."""


@dataclass(frozen=True)
class Throughput:
    """One storage with so many workers."""

    claims_per_second: float
    reports_per_second: float
    p95_seconds: float
    longest_seconds: float
    duplicates: int
    errors: int


class Ours:
    """A trial as a worker of this project holds it."""

    def __init__(
        self, handle: StudyStorage, optuna_study: optuna.Study, lease: Lease, watch: Watch
    ) -> None:
        self._handle = handle
        self._optuna_study = optuna_study
        self._lease = lease
        self._heartbeat = Heartbeat(
            handle.database, lease, seconds=PLACE.heartbeat_seconds, between=watch.poll
        )
        self.number = optuna.Trial(optuna_study, lease.trial_id).number

    def report(self, epoch: int) -> None:
        """Write lease, row and value."""
        records = [EpochRecord(epoch, *(0.5,) * 12)]
        self._heartbeat.within(
            functools.partial(report, trial_id=self._lease.trial_id, records=records)
        )

    def tell(self) -> None:
        """Tell Optuna, then end the lease."""
        self._heartbeat.confirm()
        self._optuna_study.tell(self.number, 0.5, state=TrialState.COMPLETE)
        end(self._handle.database, self._lease, "complete")


def claim_ours(url: str) -> Callable[[], Held | None]:
    """Return what claims a trial as a worker of this project does."""
    handle = open_study_storage(url, outage_seconds=PLACE.outage_seconds)
    optuna_study = optuna.load_study(
        study_name=NAME, storage=handle, sampler=RandomSampler(seed=0)
    )
    claimant = Claimant(handle, optuna_study, PLACE)

    def claim() -> Held | None:
        lease = claimant.claim()
        return Ours(handle, optuna_study, lease, claimant.watch) if lease else None

    return claim


class Plain:
    """A trial as Optuna's tutorial holds it."""

    def __init__(self, optuna_study: optuna.Study, trial: optuna.Trial) -> None:
        self._optuna_study = optuna_study
        self._trial = trial
        self.number = trial.number

    def report(self, epoch: int) -> None:
        """Report to Optuna."""
        self._trial.report(0.5, epoch)

    def tell(self) -> None:
        """Tell Optuna."""
        self._optuna_study.tell(self._trial, 0.5)


def claim_plain(url: str) -> Callable[[], Held | None]:
    """Return what asks for a trial as Optuna's tutorial does."""
    optuna_study = optuna.load_study(study_name=NAME, storage=url, sampler=RandomSampler(seed=0))

    def claim() -> Held | None:
        trial = optuna_study.ask()
        if "slot" in trial.user_attrs:
            return Plain(optuna_study, trial)
        optuna_study.tell(trial, state=TrialState.FAIL)  # the queue was empty, this one is new
        return None

    return claim


SYSTEMS: dict[str, Callable[[str], Callable[[], Held | None]]] = {
    "ours": claim_ours,
    "plain": claim_plain,
}


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
    together = context.Barrier(n_workers)
    answers: Any = context.Queue()

    def run() -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        calls = Calls()
        with calls.noted():
            work(SYSTEMS[system](url), calls, together, n_trials // n_workers, n_epochs)
        answers.put(calls)

    workers = [context.Process(target=run) for _ in range(n_workers)]
    for worker in workers:
        worker.start()
    every: list[Calls] = [answers.get(timeout=WORST_SECONDS) for _ in workers]
    for worker in workers:
        worker.join()
    return summarise(every)


def work(
    claim: Callable[[], Held | None],
    calls: Calls,
    together: Barrier,
    n_trials: int,
    n_epochs: int,
) -> None:
    """Claim so many trials, report their epochs, tell their ends; each when all others do."""
    mine: list[Held] = []
    is_empty = False
    together.wait(WORST_SECONDS)
    while len(mine) < n_trials and not is_empty:
        with calls.noted(), calls.timed("claim"):
            one = claim()
            is_empty = one is None
            mine += [one] if one else []
    together.wait(WORST_SECONDS)
    for one in mine:
        for epoch in range(1, n_epochs + 1):
            with calls.noted(), calls.timed("report"):
                one.report(epoch)
    together.wait(WORST_SECONDS)
    for one in mine:
        calls.trials.append(one.number)
        with calls.noted():
            one.tell()


def summarise(every: list[Calls]) -> Throughput:
    """Turn the calls of all workers into rates."""
    rates, seconds = {}, []
    for kind in ("claim", "report"):
        spans = [span for calls in every for span in calls.spans[kind]]
        starts, ends = zip(*spans, strict=True)
        rates[kind] = len(spans) / (max(ends) - min(starts))
        seconds += [end - start for start, end in spans]
    seconds.sort()
    runs = Counter(number for calls in every for number in calls.trials)
    return Throughput(
        claims_per_second=rates["claim"],
        reports_per_second=rates["report"],
        p95_seconds=seconds[int(0.95 * (len(seconds) - 1))],
        longest_seconds=seconds[-1],
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
    parser.add_argument("--trials", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=None)
    return parser.parse_args()


if __name__ == "__main__":
    main()
