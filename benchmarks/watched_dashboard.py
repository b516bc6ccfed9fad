"""Measure `study dashboard` on a study of 500 trials while workers write, and those workers.

    python -m benchmarks.watched_dashboard --databases sqlite postgresql

Prints the times of pages, and of claims and reports with and without the dashboard. Ends with an
error where a page or a worker is slow, or a trial ran twice.
"""

import argparse
import importlib
import json
import multiprocessing
import socket
import statistics
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import optuna
from optuna.trial import TrialState, create_trial
from optuna_dashboard._note import note_ver_key, split_body

from dashboards.optuna_dashboard.app import build_dashboard, serve_dashboard
from storage.engines import BUSY_TIMEOUT_SECONDS
from storage.records import EpochRecord, put_epoch, read_epochs
from storage.study_storage import create_study_storage, open_study_storage
from tests.postgresql import BINARIES, running_server

# Type checkers take the folder of this name for the module.
THROUGHPUT = importlib.import_module("benchmarks.storage_throughput")
N_FINISHED = 500
N_WAITING = 400
N_EPOCHS = 20
N_WRITERS = 4
EPOCH_SECONDS = 0.05
WATCHED_SECONDS = 30.0
POLL_SECONDS = 0.5
NOTE = "| setting | value |\n| --- | --- |\n" + "| learning rate | 0.0123456 |\n" * 40
processes = multiprocessing.get_context("fork")


@contextmanager
def database(kind: str) -> Iterator[str]:
    """Yield the address of a database of this kind."""
    if kind == "postgresql":
        with running_server() as server:
            yield server
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite:///{folder}/study.db"


def fill(url: str) -> None:
    """Create a study of finished trials, each with epochs and a note, and a queue."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    handle = create_study_storage(url, outage_seconds=5)
    optuna_study = optuna.create_study(
        study_name=THROUGHPUT.NAME, storage=handle, direction="maximize"
    )
    params = {"learning_rate": 0.1, "weight_decay": 1e-4, "dropout": 0.2}
    params |= {"blocks_1": 1, "blocks_2": 2, "blocks_3": 3}
    curve = {epoch: epoch / 100 for epoch in range(1, N_EPOCHS + 1)}
    for slot in range(N_FINISHED + N_WAITING):
        attributes = {"slot": slot, "host": "node1", "n_parameters": 123456, "best_epoch": 20}
        if slot >= N_FINISHED:
            waiting = create_trial(state=TrialState.WAITING, user_attrs={"slot": slot})
            optuna_study.add_trial(waiting)
            continue
        optuna_study.add_trial(
            create_trial(
                value=slot / N_FINISHED,
                params=params,
                distributions=importlib.import_module("benchmarks.large_study").SPACE,
                user_attrs=attributes,
                intermediate_values=curve,
            )
        )
    trials = optuna_study.get_trials(deepcopy=False)[:N_FINISHED]
    for trial in trials:  # as `save_note` does, which reads all notes before each
        note = {note_ver_key(trial._trial_id): 1, **split_body(NOTE, trial._trial_id)}
        for key, value in note.items():
            handle.set_study_system_attr(optuna_study._study_id, key, value)

    def put_epochs(connection: Any) -> None:
        for trial in trials:
            for epoch in curve:
                put_epoch(connection, trial._trial_id, EpochRecord(epoch, *(0.5,) * 12))

    handle.database.write(put_epochs)


def write(url: str, until: Any, answers: Any) -> None:
    """Claim trials and report their epochs as a worker does, quicker than any trains."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    calls = THROUGHPUT.Calls()
    with calls.noted():
        claim = THROUGHPUT.claim_ours(url)
        while not until.is_set():
            with calls.timed("claim"):
                held = claim()
            assert held is not None, "the queue is empty"
            for epoch in range(1, N_EPOCHS + 1):
                time.sleep(EPOCH_SECONDS)
                with calls.timed("report"):
                    held.report(epoch)
            held.tell()
            calls.trials.append(held.number)
    answers.put(calls)


@contextmanager
def writers(url: str) -> Iterator[list[Any]]:
    """Let workers write within the context; what they did is there after it."""
    until, answers = processes.Event(), processes.Queue()
    started = [
        processes.Process(target=write, args=(url, until, answers)) for _ in range(N_WRITERS)
    ]
    for one in started:
        one.start()
    every: list[Any] = []
    try:
        yield every
    finally:
        until.set()
        every += [answers.get(timeout=120) for _ in started]
        for one in started:
            one.join()


def serve(url: str, port: int) -> None:
    """Serve the dashboard."""
    handle = open_study_storage(url, outage_seconds=5, read_only=True)
    serve_dashboard(build_dashboard(handle), host="127.0.0.1", port=port)


@contextmanager
def dashboard(url: str) -> Iterator[str]:
    """Yield the address of a dashboard that runs in a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = processes.Process(target=serve, args=(url, port))
    server.start()
    address = f"http://127.0.0.1:{port}"
    try:
        yield address
    finally:
        server.terminate()
        server.join()


def ask(address: str) -> tuple[float, dict[str, Any], int]:
    """Return the seconds that an answer took, the answer, and its size in bytes."""
    start = time.monotonic()
    with closing(urllib.request.urlopen(address, timeout=60)) as answer:
        body = answer.read()
    return time.monotonic() - start, json.loads(body), len(body)


def wait_for(address: str) -> None:
    """Wait until a dashboard answers."""
    until = time.monotonic() + 60
    while True:
        try:
            ask(f"{address}/api/meta")
            return
        except urllib.error.HTTPError:
            raise
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.1)


def first_unfinished(trials: list[dict[str, Any]], default: int) -> int:
    """Return where a page asks from next: what is finished before, it keeps."""
    numbers = [one["number"] for one in trials if one["state"] in ("Running", "Waiting")]
    return min(numbers, default=default)


def seconds_of(every: list[Any], kind: str) -> list[float]:
    """Return the sorted durations of one kind of call of all workers."""
    spans = [span for calls in every for span in calls.spans[kind]]
    return sorted(end - start for start, end in spans)


def p95(seconds: list[float]) -> float:
    """Return the 95th percentile."""
    return statistics.quantiles(seconds, n=20)[-1]


def shown(seconds: list[float]) -> str:
    """Return durations as a line."""
    middle = statistics.median(seconds)
    return f"median {middle:.3f}, p95 {p95(seconds):.3f}, longest {max(seconds):.3f} s"


def measure(url: str) -> None:
    """Measure on one database, print what was found, and check it."""
    filling = processes.Process(target=fill, args=(url,))
    filling.start()
    filling.join()
    assert filling.exitcode == 0
    with writers(url) as alone:
        time.sleep(WATCHED_SECONDS / 2)
    full, polls, sizes = [], [], []
    with writers(url) as watched, dashboard(url) as address:
        wait_for(address)
        until = time.monotonic() + WATCHED_SECONDS
        seconds, page, size = ask(f"{address}/api/studies/1")
        full.append(seconds)
        after = first_unfinished(page["trials"], 0)
        while time.monotonic() < until:
            time.sleep(POLL_SECONDS)
            seconds, polled, n_bytes = ask(f"{address}/api/studies/1?after={after}")
            polls.append(seconds)
            sizes.append(n_bytes)
            after = first_unfinished(polled["trials"], after)
            if len(polls) % 5 == 0:
                full.append(ask(f"{address}/api/studies/1")[0])

    print(f"\n{url.partition(':')[0]}, {N_FINISHED} trials of {N_EPOCHS} epochs and more")
    print(f"  full page: first {full[0]:.3f} s, later {max(full[1:]):.3f} s, {size:,} bytes")
    print(f"  {len(polls)} polls: {shown(polls)}, {max(sizes):,} bytes")
    for label, every in (("alone", alone), ("watched", watched)):
        for kind in ("claim", "report"):
            print(f"  {kind} {label}: {shown(seconds_of(every, kind))}")

    assert max(full) < 4.0
    assert p95(polls) < 1.0
    assert [error for calls in alone + watched for error in calls.errors] == []
    told = Counter(number for calls in alone + watched for number in calls.trials)
    assert set(told.values()) == {1} and len(told) > N_WRITERS
    handle = open_study_storage(url, outage_seconds=5)
    trials = handle.get_all_trials(1)
    epochs = read_epochs(handle.database, [trial._trial_id for trial in trials])
    handle.engine.dispose()
    expected = {*range(N_FINISHED), *told}
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    assert {trial.number for trial in complete} == expected
    for trial in complete:
        assert len(trial.intermediate_values) == len(epochs[trial._trial_id]) == N_EPOCHS
    reports = seconds_of(watched, "report")
    assert p95(reports) < 3 * p95(seconds_of(alone, "report")) + 0.25
    assert max(reports + seconds_of(watched, "claim")) < BUSY_TIMEOUT_SECONDS / 10


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    kinds = ["sqlite", "postgresql"] if BINARIES else ["sqlite"]
    parser.add_argument("--databases", nargs="+", choices=kinds, default=kinds)
    for kind in parser.parse_args().databases:
        with database(kind) as url:
            measure(url)


if __name__ == "__main__":
    main()
