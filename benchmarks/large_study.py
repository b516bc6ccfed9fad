"""Measure what each command takes on a large study, beside an older version of the code.

The study is not trained: rows and run folders are written in bulk, as workers leave them. Every
checkout fills a database of its own from the same seed, then each of its commands runs as a
process; the dashboard is asked for the page of the study. All in one run, so that what else runs
here meets both.

    python -m benchmarks.large_study --out large-study.json --beside before=FOLDER_OF_A_CHECKOUT
    python -m benchmarks.large_study --trials 300 --epochs 5
"""

import argparse
import functools
import json
import os
import platform
import random
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from optuna.distributions import FloatDistribution, IntDistribution, distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import Connection, Table

from dashboards.optuna_dashboard.artifacts import links_to
from dashboards.optuna_dashboard.notes import render_trial_note
from storage.process_identity import Owner
from storage.records import EpochRecord, raise_budget, read_protocol
from storage.run_paths import RunPaths, TrialPaths
from storage.study_storage import StudyStorage, open_study_storage
from storage.tables import attempts, epochs
from storage.trial_rows import STATE_NAMES, TrialRow

NAME = "large"
SPACE = {
    "blocks_1": IntDistribution(1, 4),
    "blocks_2": IntDistribution(1, 4),
    "blocks_3": IntDistribution(1, 4),
    "learning_rate": FloatDistribution(1e-3, 1.0, log=True),
    "weight_decay": FloatDistribution(1e-6, 1e-2, log=True),
    "dropout": FloatDistribution(0.0, 0.5),
}
VERSIONS = dict.fromkeys(("python", "torch", "optuna", "datasets", "numpy", "pillow"), "2.11.0")
PRUNED, FAILED = 0.28, 0.02
EPOCH_SECONDS = 10.0
N_WORKERS = 16
CHUNK = 1000
UNCOMPILED = "PYTHONDONTWRITEBYTECODE"
"""With it every process would compile all that it imports, for seconds."""
COMMANDS = ("status", "best", "trials", "metrics --once", "worker", "doctor", "report")
FINAL_STATES = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)

Rows = dict[Table, list[dict[str, Any]]]


def fill(
    handle: StudyStorage,
    name: str,
    *,
    runs: Path,
    n_trials: int,
    n_epochs: int,
    seed: int = 1,
    with_files: bool = False,
) -> None:
    """Give a study finished trials after those that it has, and a budget that counts them.

    Args:
        handle: The database.
        name: The study, which has a protocol.
        runs: The folder of all runs.
        n_trials: How many trials.
        n_epochs: Epochs of a complete one.
        seed: What is drawn follows from it and the trial's place.
        with_files: Whether run folders are written too.
    """
    protocol = read_protocol(handle.database, name)
    study_id = handle.get_study_id_from_name(name)
    first_id = handle.database.read(_next_trial_id)
    first = len(handle.get_all_trials(study_id, deepcopy=False))
    paths = RunPaths(runs, name)
    for start in range(0, n_trials, CHUNK):
        rows: Rows = defaultdict(list)
        for index in range(start, min(start + CHUNK, n_trials)):
            folder = paths.trial(first + index)
            if with_files:
                _write_files(folder)
            trial = DrawnTrial(first_id + index, first + index, n_epochs, seed)
            trial.add_rows(rows, study_id, folder, protocol.study_key, paths.folder)
        handle.database.write(functools.partial(_insert, rows))
    raise_budget(handle.database, name, first + n_trials)


def _next_trial_id(connection: Connection) -> int:
    table: Table = models.TrialModel.__table__
    ids = connection.execute(table.select().order_by(table.c.trial_id.desc()).limit(1)).first()
    return 1 if ids is None else int(ids.trial_id) + 1


def _insert(rows: Rows, connection: Connection) -> None:
    for table, some in rows.items():
        if some:
            connection.execute(table.insert(), some)


class DrawnTrial:
    """A finished trial as a worker leaves it, drawn from its place in the queue."""

    def __init__(self, trial_id: int, slot: int, n_epochs: int, seed: int) -> None:
        draw = random.Random(f"{seed} {slot}")
        self.trial_id, self.slot, self.n_epochs = trial_id, slot, n_epochs
        self.state = draw.choices(FINAL_STATES, (1 - PRUNED - FAILED, PRUNED, FAILED))[0]
        is_complete = self.state is TrialState.COMPLETE
        self.n_done = n_epochs if is_complete else draw.randint(1, n_epochs - 1)
        self.params = {
            **{f"blocks_{stage}": draw.randint(1, 4) for stage in (1, 2, 3)},
            "learning_rate": 10 ** draw.uniform(-3, 0),
            "weight_decay": 10 ** draw.uniform(-6, -2),
            "dropout": draw.uniform(0, 0.5),
        }
        top = draw.betavariate(2, 3)
        self.curve = [
            top * (1 - 0.8**epoch) * draw.uniform(0.9, 1) for epoch in range(1, self.n_done + 1)
        ]
        self.owner = Owner("node1", "m:b:4026531836", 1000 + slot % N_WORKERS, "123456")
        self.started_at = 1.75e9 + slot // N_WORKERS * n_epochs * EPOCH_SECONDS
        self.ended_at = self.started_at + self.n_done * EPOCH_SECONDS
        self.reason = {
            TrialState.PRUNED: {
                "kind": "pruned",
                "message": f"the pruner gave up after epoch {self.n_done}",
            },
            TrialState.FAIL: {
                "kind": "exception",
                "message": "RuntimeError: the device is gone",
                "traceback": "  File worker.py, line 1, in run\n" * 60,
            },
        }.get(self.state)

    def add_rows(
        self, rows: Rows, study_id: int, folder: TrialPaths, study_key: str, runs: Path
    ) -> None:
        """Add the rows that a worker has written in Optuna's tables and ours."""

        def add(table: Any, *some: Mapping[str, Any]) -> None:
            rows[getattr(table, "__table__", table)].extend(
                {"trial_id": self.trial_id, **one} for one in some
            )

        def time_of(seconds: float) -> datetime:
            return datetime(1970, 1, 1) + timedelta(seconds=seconds)

        best = max(self.curve)
        add(
            models.TrialModel,
            {
                "number": self.slot,
                "study_id": study_id,
                "state": self.state,
                "datetime_start": time_of(self.started_at),
                "datetime_complete": time_of(self.ended_at),
            },
        )
        if self.state is TrialState.COMPLETE:
            kind = models.TrialValueModel.TrialValueType.FINITE
            add(models.TrialValueModel, {"objective": 0, "value": best, "value_type": kind})
        finite = models.TrialIntermediateValueModel.TrialIntermediateValueType.FINITE
        steps = [
            {"step": step, "intermediate_value": value, "intermediate_value_type": finite}
            for step, value in enumerate(self.curve, start=1)
        ]
        add(models.TrialIntermediateValueModel, *steps)
        drawn = [
            {
                "param_name": name,
                "param_value": SPACE[name].to_internal_repr(value),
                "distribution_json": distribution_to_json(SPACE[name]),
            }
            for name, value in self.params.items()
        ]
        add(models.TrialParamModel, *drawn)
        noted = {
            "slot": self.slot,
            "seed": 10**9 + self.slot,
            "host": "node1",
            "device": "cpu",
            "n_parameters": 123456,
            "versions": VERSIONS,
            "git_revision": "0" * 40,
            "best_epoch": self.curve.index(best) + 1,
        }
        noted |= {"reason": self.reason} if self.reason else {}
        add(models.TrialUserAttributeModel, *_attributes(noted))
        links = links_to(study_key, runs, [folder.configuration, folder.epochs])
        linked = {f"artifacts:{link.artifact_id}": json.dumps(vars(link)) for link in links}
        add(models.TrialSystemAttributeModel, *_attributes(linked))
        records = [self._record(epoch) for epoch in range(1, self.n_done + 1)]
        add(epochs, *map(vars, records))
        add(attempts, self._attempt())
        body = render_trial_note(self._row(noted, records), folder, n_epochs=self.n_epochs)
        prefix = f"dashboard:{self.trial_id}"
        note = {f"{prefix}:note_ver": 0, f"{prefix}:note_str:0": body}
        table: Table = models.StudySystemAttributeModel.__table__
        rows[table] += [{"study_id": study_id} | one for one in _attributes(note)]

    def _attempt(self) -> dict[str, Any]:
        return {
            "attempt": 1,
            "owner": str(self.owner),
            "fruitless_attempts": 0,
            "epochs_at_start": 0,
            "started_at": self.started_at,
            "beat_at": self.ended_at,
            "ending": STATE_NAMES[self.state],
        }

    def _record(self, epoch: int) -> EpochRecord:
        score = self.curve[epoch - 1]
        loss = 2.3 - 2 * score
        metrics = (loss, score, min(1.0, 2 * score), score)
        return EpochRecord(epoch, *metrics, *metrics, 0.05, 1.5, EPOCH_SECONDS, 900.0 + self.slot)

    def _row(self, noted: Mapping[str, Any], records: Sequence[EpochRecord]) -> TrialRow:
        best = max(records, key=lambda record: record.validation_macro_f1)
        return TrialRow(
            trial_id=self.trial_id,
            number=self.slot,
            slot=self.slot,
            state=STATE_NAMES[self.state],
            value=best.validation_macro_f1,
            best_epoch=best.epoch,
            epochs_done=len(records),
            last_macro_f1=records[-1].validation_macro_f1,
            params=self.params,
            reason=self.reason,
            host="node1",
            seconds=EPOCH_SECONDS * len(records),
            attributes=dict(noted),
            best=best,
            newest=records[-1],
            curve=tuple(self.curve),
        )


def _attributes(values: Mapping[str, Any]) -> list[dict[str, str]]:
    return [{"key": key, "value_json": json.dumps(value)} for key, value in values.items()]


def _write_files(paths: TrialPaths) -> None:
    paths.tensorboard.mkdir(parents=True, exist_ok=True)
    paths.checkpoints.mkdir(exist_ok=True)
    for file in (paths.configuration, paths.epochs):
        file.write_text("{}")


class Checkout:
    """A version of the code, with a study of its own."""

    def __init__(self, code: Path, folder: Path) -> None:
        self._code = code
        self._folder = folder
        self._location = ["--storage", f"sqlite:///{folder}/study.db", "--runs", f"{folder}/runs"]

    def prepare(self, *, n_trials: int, n_epochs: int, seed: int) -> None:
        """Create the study and fill it."""
        settings = (f"search.n_epochs={n_epochs}", f"data.cache={self._folder}/cache")
        options = [option for one in settings for option in ("--set", one)]
        init = ["init", "--preset", "quickstart", "--name", NAME, "--trials", "1", *options]
        subprocess.run(self._command(*init), env=self._environment, check=True)
        filling = [sys.executable, "-W", "ignore", "-P", __file__, "--fill", str(self._folder)]
        numbers = {"--trials": n_trials, "--epochs": n_epochs, "--seed": seed}
        filling += [str(part) for option in numbers.items() for part in option]
        subprocess.run(filling, env=self._environment, check=True)

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-P", "-m", "study", *arguments, *self._location]

    @property
    def _environment(self) -> dict[str, str]:
        inherited = {key: value for key, value in os.environ.items() if key != UNCOMPILED}
        return inherited | {"PYTHONPATH": str(self._code), "COLUMNS": "100"}

    def measure(self, command: str) -> dict[str, float]:
        """Return what a command takes."""
        with (self._folder / "said.txt").open("w") as said:
            start = time.monotonic()
            process = subprocess.Popen(
                self._command(*command.split()), stdout=said, stderr=said, env=self._environment
            )
            return self._ended(process, start)

    def _ended(self, process: subprocess.Popen[bytes], start: float) -> dict[str, float]:
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        return {
            "seconds": round(time.monotonic() - start, 2),
            "cpu_seconds": round(used.ru_utime + used.ru_stime, 2),
            "peak_megabytes": round(used.ru_maxrss / 1024),
            "exit_code": process.returncode,
        }

    def measure_page(self) -> dict[str, float]:
        """Return how long optuna-dashboard takes to send the page of the study, and its size."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        start = time.monotonic()
        process = subprocess.Popen(
            self._command("dashboard", "--port", str(port)),
            stdout=subprocess.DEVNULL,
            env=self._environment,
        )
        address = f"http://127.0.0.1:{port}/api"
        try:
            while True:
                try:
                    _ask(f"{address}/meta")
                    break
                except OSError:
                    time.sleep(0.1)
            first, n_bytes = _ask(f"{address}/studies/1")
            again, _ = _ask(f"{address}/studies/1")
        finally:
            process.send_signal(signal.SIGINT)
            used = self._ended(process, start)
        return {
            "first_answer_seconds": round(first, 2),
            "next_answer_seconds": round(again, 2),
            "megabytes": round(n_bytes / 1e6, 1),
            "peak_megabytes": used["peak_megabytes"],
        }


def _ask(address: str) -> tuple[float, int]:
    start = time.monotonic()
    with urllib.request.urlopen(address, timeout=600) as answer:
        return time.monotonic() - start, len(answer.read())


def measure(checkouts: Mapping[str, Checkout]) -> Iterator[dict[str, Any]]:
    """Yield what each command takes with each version of the code, one after the other."""
    for version, checkout in checkouts.items():
        yield {"command": "dashboard", "code": version} | checkout.measure_page()
    for command in COMMANDS:
        for version, checkout in checkouts.items():
            yield {"command": command, "code": version} | checkout.measure(command)


@contextmanager
def opened(folder: Path) -> Iterator[StudyStorage]:
    """Open the database of a folder, and close its connections afterwards."""
    handle = open_study_storage(f"sqlite:///{folder}/study.db", outage_seconds=5)
    try:
        yield handle
    finally:
        handle.remove_session()
        handle.engine.dispose()


def main() -> None:
    """Measure, or only fill a study."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--beside", default=[], action="append", help="LABEL=FOLDER of a checkout")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--fill", type=Path, help="only fill the study in this folder")
    arguments = parser.parse_args()
    size = {"n_epochs": arguments.epochs, "seed": arguments.seed}
    if arguments.fill:
        with opened(arguments.fill) as handle:
            _drop_the_queue(handle)
            runs = arguments.fill / "runs"
            fill(handle, NAME, runs=runs, n_trials=arguments.trials, with_files=True, **size)
        return
    codes = dict(one.split("=", 1) for one in arguments.beside)
    codes["now"] = str(Path(__file__).parents[1])
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        checkouts = {}
        for label, code in codes.items():
            (Path(folder) / label).mkdir()
            checkouts[label] = Checkout(Path(code).resolve(), Path(folder) / label)
            checkouts[label].prepare(n_trials=arguments.trials, **size)
        for row in measure(checkouts):
            rows.append(row)
            print(json.dumps(row), flush=True)
            if arguments.out:
                _write(arguments, rows)


def _write(arguments: argparse.Namespace, rows: Sequence[Mapping[str, Any]]) -> None:
    report = {
        "command": shlex.join(["python", "-m", "benchmarks.large_study", *sys.argv[1:]]),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu_cores": os.cpu_count(),
        "load": round(os.getloadavg()[2], 1),
        "python": platform.python_version(),
        "n_trials": arguments.trials,
        "n_epochs": arguments.epochs,
        "seed": arguments.seed,
        "rows": rows,
    }
    arguments.out.write_text(json.dumps(report, indent=2) + "\n")


def _drop_the_queue(handle: StudyStorage) -> None:
    """Remove the one waiting trial that `study init` has queued."""

    def drop(connection: Connection) -> None:
        for model in (models.TrialUserAttributeModel, models.TrialModel):
            connection.execute(model.__table__.delete())

    handle.database.write(drop)


if __name__ == "__main__":
    main()
