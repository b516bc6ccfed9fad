"""Exports to MLflow, read back with its own client."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from optuna.trial import TrialState

from dashboards.errors import DashboardError
from dashboards.export.mlflow_runs import METRICS, ExportedRuns, export_runs, folder_uri
from storage.records import read_protocol
from storage.study_storage import StudyStorage
from storage.trial_records import TrialRecord, stream_trial_records
from tests.dashboards.conftest import STUDY_NAME, build_record, put

ROOT = Path(__file__).parents[3]
STATUS = {0: "FINISHED", 1: "FINISHED", 2: "KILLED", 3: "FAILED", 4: "RUNNING", 6: "FINISHED"}


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    return folder_uri(tmp_path / "mlruns")


def export(handle: StudyStorage, uri: str | None) -> ExportedRuns:
    protocol = read_protocol(handle.database, STUDY_NAME)
    return export_runs(stream_trial_records(handle, STUDY_NAME), protocol, uri)


def runs_in(uri: str) -> dict[int, Run]:
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(STUDY_NAME)
    assert experiment is not None
    found = client.search_runs([experiment.experiment_id])
    runs = {int(run.data.tags["study.trial"]): run for run in found}
    assert len(runs) == len(found)
    return runs


def curves_in(uri: str) -> dict[int, dict[str, list[tuple[int, float]]]]:
    """Return every metric of every run as steps and values."""
    client = MlflowClient(tracking_uri=uri)
    return {
        number: {
            name: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
            for name in METRICS
        }
        for number, run in runs_in(uri).items()
    }


def assert_equals_the_study(handle: StudyStorage, uri: str) -> None:
    """Check states, hyperparameters and every metric of every epoch."""
    records = {one.row.number: one for one in stream_trial_records(handle, STUDY_NAME)}
    begun = {number: one for number, one in records.items() if one.row.state != "waiting"}
    runs = runs_in(uri)
    assert runs.keys() == begun.keys()
    for number, record in begun.items():
        assert runs[number].data.params == {k: str(v) for k, v in record.row.params.items()}
        assert runs[number].data.tags["study.state"] == record.row.state
    assert curves_in(uri) == {
        number: {
            name: [(epoch.epoch, getattr(epoch, name)) for epoch in record.epochs]
            for name in METRICS
        }
        for number, record in begun.items()
    }


def test_mlflow_lists_every_begun_trial_with_params_and_metrics(
    forked_study: StudyStorage, uri: str
) -> None:
    done = export(forked_study, uri)
    assert (done.n_new, done.n_updated, done.n_complete, done.n_waiting) == (6, 0, 0, 1)
    assert_equals_the_study(forked_study, uri)
    runs = runs_in(uri)
    assert {number: run.info.status for number, run in runs.items()} == STATUS
    assert runs[1].data.metrics["best_validation_macro_f1"] == 0.61
    assert runs[3].data.tags["study.reason"] == "<b>no memory</b>"
    assert runs[6].data.tags["study.imported_from"] == "older, trial 3"
    first = next(stream_trial_records(forked_study, STUDY_NAME))
    assert first.started_at is not None
    assert runs[0].info.start_time == int(first.started_at.timestamp() * 1000)
    client = MlflowClient(tracking_uri=uri)
    times = [m.timestamp for m in client.get_metric_history(runs[0].info.run_id, "seconds")]
    assert times == [runs[0].info.start_time + 10_000 * epoch for epoch in (1, 2, 3, 4)]


def test_second_export_adds_only_what_is_new(searched_study: StudyStorage, uri: str) -> None:
    export(searched_study, uri)
    ids = {number: run.info.run_id for number, run in runs_in(uri).items()}
    optuna_study = optuna.load_study(study_name=STUDY_NAME, storage=searched_study)
    running = optuna_study.get_trials()[4]
    put(searched_study, running._trial_id, build_record(2, 0.35))
    done = export(searched_study, uri)
    assert (done.n_new, done.n_updated, done.n_complete) == (0, 1, 4)
    assert_equals_the_study(searched_study, uri)

    put(searched_study, running._trial_id, build_record(3, 0.3))
    searched_study.set_trial_user_attr(running._trial_id, "best_epoch", 2)
    searched_study.set_trial_state_values(running._trial_id, TrialState.COMPLETE, (0.35,))
    export(searched_study, uri)
    done = export(searched_study, uri)
    assert (done.n_new, done.n_updated, done.n_complete) == (0, 0, 5)
    assert_equals_the_study(searched_study, uri)
    runs = runs_in(uri)
    assert {number: run.info.run_id for number, run in runs.items()} == ids
    assert runs[4].info.status == "FINISHED"
    assert runs[4].data.metrics["best_validation_macro_f1"] == 0.35


@pytest.mark.parametrize("call", ["log_batch", "set_terminated", "set_tag"])
@pytest.mark.parametrize("nth", [0, 2])
def test_export_that_broke_off_is_completed_without_doubles(
    searched_study: StudyStorage, uri: str, monkeypatch: pytest.MonkeyPatch, call: str, nth: int
) -> None:
    whole, n_calls = getattr(MlflowClient, call), 0

    def breaking(*arguments: Any, **options: Any) -> Any:
        nonlocal n_calls
        n_calls += 1
        if n_calls > nth:
            raise OSError("the disk is away")
        return whole(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, call, breaking)
        with pytest.raises(DashboardError, match="the disk is away"):
            export(searched_study, uri)
    done = export(searched_study, uri)
    assert done.n_updated >= 1
    assert_equals_the_study(searched_study, uri)


def test_long_trial_is_sent_in_requests_of_accepted_size(
    searched_study: StudyStorage, uri: str
) -> None:
    trial_id = optuna.load_study(study_name=STUDY_NAME, storage=searched_study).trials[4]._trial_id
    for epoch in range(2, 101):
        put(searched_study, trial_id, build_record(epoch, 0.3))
    export(searched_study, uri)
    assert_equals_the_study(searched_study, uri)
    assert len(curves_in(uri)[4]["seconds"]) == 100


def test_renamed_experiment_is_found_again(searched_study: StudyStorage, uri: str) -> None:
    export(searched_study, uri)
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(STUDY_NAME)
    assert experiment is not None
    client.rename_experiment(experiment.experiment_id, "dogs")
    done = export(searched_study, uri)
    assert (done.experiment, done.n_new, done.n_complete) == ("dogs", 0, 4)


def test_experiment_of_another_study_is_left_alone(searched_study: StudyStorage, uri: str) -> None:
    client = MlflowClient(tracking_uri=uri)
    other = client.create_experiment(STUDY_NAME)
    with pytest.raises(DashboardError, match="rename that one there") as told:
        export(searched_study, uri)
    assert "\n" not in str(told.value)
    assert client.search_runs([other]) == []


def test_deleted_experiment_of_the_study_is_told_as_such(
    searched_study: StudyStorage, uri: str
) -> None:
    export(searched_study, uri)
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name(STUDY_NAME)
    assert experiment is not None
    for name in ("renamed", STUDY_NAME):
        client.rename_experiment(experiment.experiment_id, name)
        client.delete_experiment(experiment.experiment_id)
        with pytest.raises(DashboardError, match="of this study is not deleted") as told:
            export(searched_study, uri)
        assert f"{name!r} (ID {experiment.experiment_id}) is in its trash" in str(told.value)
        client.restore_experiment(experiment.experiment_id)
    assert export(searched_study, uri).n_complete == 4


def test_deleted_experiment_of_another_study_is_told_as_such(
    searched_study: StudyStorage, uri: str
) -> None:
    client = MlflowClient(tracking_uri=uri)
    client.delete_experiment(client.create_experiment(STUDY_NAME))
    with pytest.raises(DashboardError, match="of this name is not deleted, .* in its trash"):
        export(searched_study, uri)


def test_study_of_the_same_name_and_another_key_is_no_repetition(
    searched_study: StudyStorage, uri: str
) -> None:
    export(searched_study, uri)
    protocol = replace(read_protocol(searched_study.database, STUDY_NAME), study_key="0" * 32)
    records: list[TrialRecord] = list(stream_trial_records(searched_study, STUDY_NAME))
    with pytest.raises(DashboardError, match="is not of this study"):
        export_runs(records, protocol, uri)


def test_missing_mlflow_is_told_with_the_command_that_adds_it(
    searched_study: StudyStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(DashboardError, match=r"pip install '\.\[mlflow\]'"):
        export(searched_study, None)


@pytest.fixture
def rejecting_server() -> Iterator[str]:
    """A server that rejects every request."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65536)
                    connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        yield f"http://me:hunter2@127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_server_that_rejects_is_told_in_one_line_without_its_password(
    searched_study: StudyStorage, rejecting_server: str
) -> None:
    with pytest.raises(DashboardError, match="does not") as told:
        export(searched_study, rejecting_server)
    assert "\n" not in str(told.value) and "hunter2" not in str(told.value)


def test_server_that_is_not_there_is_told_without_its_password(
    searched_study: StudyStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(DashboardError, match="onnection refused") as told:
        export(searched_study, f"http://me:hunter2@127.0.0.1:{port}")
    assert "\n" not in str(told.value) and "hunter2" not in str(told.value)


@pytest.mark.parametrize("scheme", ["sqlite", "file"])
def test_file_that_is_no_store_is_told_in_one_line_and_left_alone(
    searched_study: StudyStorage, tmp_path: Path, scheme: str
) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("no store " * 1000)
    with pytest.raises(DashboardError, match="not a database|Not a directory") as told:
        export(searched_study, f"{scheme}:///{file}" if scheme == "sqlite" else folder_uri(file))
    assert "\n" not in str(told.value)
    assert file.read_text() == "no store " * 1000


@pytest.mark.parametrize(
    ("scheme", "path"),
    [
        ("sqlite", "folder"),
        ("sqlite", "notes.txt/new/mlflow.db"),
        ("sqlite+pysqlite", "notes.txt/mlflow.db"),
        ("sqlite+pysqlite", "missing/mlflow.db"),
    ],
)
def test_file_that_cannot_be_opened_is_told_at_once(
    searched_study: StudyStorage, tmp_path: Path, scheme: str, path: str
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(DashboardError, match=r"can be opened, .* cannot \(.*is (a|no) f") as told:
        export(searched_study, f"{scheme}:///{tmp_path / path}")
    assert "\n" not in str(told.value)


def test_retries_of_a_database_are_told_without_its_password(
    searched_study: StudyStorage,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("mlflow.store.db.utils.MAX_RETRY_COUNT", 2)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(DashboardError, match="does not"):
        export(searched_study, f"postgresql+psycopg://me:hunter2@127.0.0.1:{port}/runs")
    (line,) = caplog.messages
    assert "does not open" in line and "retried for two minutes" in line
    assert "\n" not in line and "hunter2" not in line


@pytest.mark.slow
def test_export_in_a_process_of_its_own_talks_to_no_server(
    searched_study: StudyStorage, tmp_path: Path
) -> None:
    code = (
        "import sys, time\n"
        "from dashboards.export.mlflow_runs import export_runs\n"
        "from storage.records import read_protocol\n"
        "from storage.study_storage import open_study_storage\n"
        "from storage.trial_records import stream_trial_records\n"
        "handle = open_study_storage(sys.argv[1], outage_seconds=5, read_only=True)\n"
        f"protocol = read_protocol(handle.database, {STUDY_NAME!r})\n"
        f"records = stream_trial_records(handle, {STUDY_NAME!r})\n"
        "print(export_runs(records, protocol, sys.argv[2]).n_new)\n"
    )
    database = f"sqlite:///{searched_study.address.database}"
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        # MLflow's telemetry is silent under pytest and on CI; nothing here says that this is one.
        environment = {
            name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ
        }
        environment |= {"HTTPS_PROXY": address, "HTTP_PROXY": address, "PYTHONPATH": str(ROOT)}
        ended = subprocess.run(
            [sys.executable, "-c", code, database, folder_uri(tmp_path / "mlruns")],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert (ended.returncode, ended.stdout) == (0, "5\n"), ended.stderr
        proxy.setblocking(False)
        with pytest.raises(BlockingIOError):  # nobody has called
            proxy.accept()


@pytest.mark.slow
def test_sqlite_store_takes_the_same_runs(
    forked_study: StudyStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert export(forked_study, None).uri == uri
    assert_equals_the_study(forked_study, uri)
    assert export(forked_study, None).n_complete == 5
    assert_equals_the_study(forked_study, uri)
