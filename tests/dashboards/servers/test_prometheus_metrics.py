"""Metrics as Prometheus' own programs read them."""

import shutil
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.exc import OperationalError

from dashboards.analysis.status import StudyStatus
from dashboards.errors import DashboardError
from dashboards.servers.prometheus import build_app, serve_metrics
from dashboards.servers.prometheus_metrics import (
    StudiesReader,
    StudyCollector,
    metrics_text,
    registry_of,
)
from storage.errors import StudyNotFoundError
from storage.study_storage import StudyStorage
from tests.dashboards.confirmations import BETTER, add_confirmation
from tests.dashboards.conftest import STUDY_NAME
from tests.dashboards.statuses import example

requires_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs Debian's package prometheus (promtool)"
)
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def text_of(read: Callable[[], list[StudyStatus]]) -> str:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StudyCollector(read))
    return metrics_text(registry)


def get(
    registry: CollectorRegistry, path: str = "/metrics", method: str = "GET"
) -> tuple[str, str]:
    """Ask the application in process; return the status and the body."""
    answered: list[str] = []
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": ""}

    def start(status: str, _headers: Any) -> None:
        answered.append(status)

    body = b"".join(build_app(registry)(environ, start))
    return answered[0], body.decode()


def test_metrics_of_running_study_say_what_the_status_says(searched_study: StudyStorage) -> None:
    status, text = get(registry_of(StudiesReader(lambda: searched_study)))
    assert status == "200 OK"
    found = samples(text)
    assert value(found, "study_database_up") == 1
    counts = {"waiting": 1, "running": 1, "complete": 2, "pruned": 1, "failed": 1}
    for state, count in counts.items():
        assert value(found, "study_trials", study="pets", state=state) == count
    reason = {"state": "failed", "reason": "exception"}
    assert value(found, "study_early_ends", study="pets", **reason) == 1
    assert value(found, "study_budget_trials", study="pets") == 6
    assert value(found, "study_trials", study="pets", state="paused") == 0
    assert value(found, "study_budget", study="pets", unit="trials") == 6
    assert value(found, "study_budget_spent", study="pets", unit="trials") == 4
    assert value(found, "study_best_macro_f1", study="pets") == 0.61
    assert value(found, "study_recorded_epochs", study="pets") == 11
    assert value(found, "study_images_per_second", study="pets") == 900
    assert value(found, "study_running_epoch", study="pets", trial="4") == 1
    (age,) = (each for (name, _), each in found.items() if name == "study_heartbeat_age_seconds")
    assert 0 <= age < 60
    assert {name.split("_")[0] for name, _ in found} == {"study"}


def test_metrics_of_new_study_have_no_best_and_no_estimate(empty_study: StudyStorage) -> None:
    found = samples(metrics_text(registry_of(StudiesReader(lambda: empty_study))))
    names = {name for name, _ in found}
    assert "study_trials" in names
    assert names.isdisjoint({"study_best_macro_f1", "study_remaining_seconds"})


@given(name=st.text(min_size=1), host=st.text(min_size=1), kind=st.text(min_size=1))
def test_any_names_come_back_as_they_were(name: str, host: str, kind: str) -> None:
    status = example()
    running = tuple(replace(trial, host=host) for trial in status.running_trials)
    reasons = tuple(replace(reason, kind=kind) for reason in status.reasons)
    hostile = replace(status, study_name=name, running_trials=running, reasons=reasons)
    found = samples(text_of(lambda: [hostile]))
    worker = {"trial": "4", "worker": f"{host}:123456"}
    assert value(found, "study_heartbeat_age_seconds", study=name, **worker) == 2
    assert value(found, "study_early_ends", study=name, state="failed", reason=kind) == 1


def test_only_running_trials_have_series_of_their_own(searched_study: StudyStorage) -> None:
    found = samples(metrics_text(registry_of(StudiesReader(lambda: searched_study))))
    assert {dict(labels)["trial"] for _, labels in found if "trial" in dict(labels)} == {"4"}


def test_database_that_is_away_is_a_metric_and_no_error() -> None:
    away = OperationalError("SELECT 1", None, Exception("connection refused"))
    turns: list[Exception | None] = [None, away, None]

    def read() -> list[StudyStatus]:
        turn = turns.pop(0)
        if turn is not None:
            raise turn
        return [example()]

    registry = CollectorRegistry(auto_describe=False)
    registry.register(StudyCollector(read))
    for up in (1, 0, 1):
        status, text = get(registry)
        assert status == "200 OK"
        found = samples(text)
        assert value(found, "study_database_up") == up
        assert (len(found) > 1) == bool(up)


def test_deleted_study_has_no_metrics_and_takes_none_from_the_others(
    searched_study: StudyStorage, caplog: pytest.LogCaptureFixture
) -> None:
    optuna.create_study(study_name="cats", storage=searched_study)
    with searched_study.engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO protocols SELECT 'cats', 'cats', budget, configuration, fingerprint, "
            "facts, created_at + 1 FROM protocols"
        )
    everything, named = (
        StudiesReader(lambda: searched_study, name=name) for name in (None, "pets")
    )
    registry, only = registry_of(everything), registry_of(named)
    assert 'study="pets"' in metrics_text(registry) and 'study="pets"' in metrics_text(only)
    optuna.delete_study(study_name="pets", storage=searched_study)
    for reader in (everything, StudiesReader(lambda: searched_study)):
        for _ in range(2):
            text = metrics_text(registry_of(reader))
            assert "study_database_up 1.0" in text
            assert 'study="cats"' in text and 'study="pets"' not in text
    told = [
        one.getMessage()
        for one in caplog.records
        if one.name == "dashboards.servers.prometheus_metrics"
    ]
    assert told == ["study pets was deleted, save for its protocol: it has no metrics"] * 2
    text = metrics_text(only)
    assert "study_database_up 1.0" in text and 'study="' not in text
    with pytest.raises(StudyNotFoundError, match="got 'pets'"):
        StudiesReader(lambda: searched_study, name="pets").read()


def test_final_runs_belong_to_a_named_study_and_others_do_not(
    searched_study: StudyStorage, final_trial_id: int
) -> None:
    with searched_study.engine.begin() as connection:
        for name in ("pets-final", "cats"):
            connection.exec_driver_sql(
                "INSERT INTO protocols SELECT ?, ?, budget, configuration, fingerprint, facts, "
                "created_at + 1 FROM protocols WHERE study_name = 'pets'",
                (name, name),
            )
    named = StudiesReader(lambda: searched_study, name=STUDY_NAME)
    assert [status.study_name for status in named.read()] == ["pets", "pets-final"]
    with pytest.raises(StudyNotFoundError, match="got 'dogs'"):
        StudiesReader(lambda: searched_study, name="dogs").read()


def test_other_paths_and_methods_are_rejected(searched_study: StudyStorage) -> None:
    registry = registry_of(StudiesReader(lambda: searched_study))
    assert get(registry, "/")[0] == "404 Not Found"
    assert get(registry, method="POST")[0] == "405 Method Not Allowed"


def serve(host: str) -> tuple[CollectorRegistry, list[str]]:
    """Serve metrics in a thread; return them, and what was said."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StudyCollector(lambda: [example()]))
    said: list[str] = []
    is_served = threading.Event()

    def say(line: str) -> None:
        said.append(line)
        if line.startswith("metrics: "):
            is_served.set()

    serving = {"host": host, "port": 0, "say": say}
    threading.Thread(target=serve_metrics, args=(registry,), kwargs=serving, daemon=True).start()
    assert is_served.wait(10)
    return registry, said


def test_served_metrics_can_be_scraped_at_the_address_that_is_said() -> None:
    registry, (line,) = serve("localhost")
    address = line.split()[1]
    assert address.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(address, timeout=10) as answer:
        assert value(samples(answer.read().decode()), "study_budget_trials", study="pets") == 3
    with pytest.raises(urllib.error.HTTPError, match="404") as rejected:
        urllib.request.urlopen(address.removesuffix("metrics"), timeout=10)
    rejected.value.close()
    port = int(address.rpartition(":")[2].partition("/")[0])
    with pytest.raises(DashboardError, match=f"127.0.0.1 and {port} cannot be had"):
        serve_metrics(registry, host="localhost", port=port, say=print)


def test_metrics_on_loopback_answer_to_names_of_this_machine_and_to_small_requests() -> None:
    _, (line,) = serve("localhost")
    address = line.split()[1]
    evil = urllib.request.Request(address, headers={"Host": "evil.example"})
    large = urllib.request.Request(address, data=b"x" * 2**16)
    for asked, code in ((evil, "403"), (large, "413")):
        with pytest.raises(urllib.error.HTTPError, match=code) as rejected:
            urllib.request.urlopen(asked, timeout=10)
        rejected.value.close()


def test_address_that_others_reach_is_said_to_have_no_login() -> None:
    _, (warning, line) = serve("0.0.0.0")
    assert "no login" in warning and f"http://{socket.gethostname()}:" in line


@pytest.mark.parametrize("host", ["no.such.host.invalid", "256.1.1.1", "x" * 300])
def test_host_that_is_none_is_rejected(host: str) -> None:
    with pytest.raises(DashboardError, match="--host must be an address"):
        serve_metrics(CollectorRegistry(), host=host, port=0, say=print)


@requires_promtool
def test_promtool_finds_nothing_to_complain_about(searched_study: StudyStorage) -> None:
    text = metrics_text(registry_of(StudiesReader(lambda: searched_study)))
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, timeout=60
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_confirmation_runs_are_no_trials_of_the_study(searched_study: StudyStorage) -> None:
    before = samples(text_of(StudiesReader(lambda: searched_study).read))
    assert not any(name.startswith("study_confirm") for name, _ in before)
    add_confirmation(searched_study, BETTER)
    found = samples(text_of(StudiesReader(lambda: searched_study, name="pets").read))
    assert value(found, "study_confirmed_macro_f1", study="pets") == pytest.approx(0.55)
    assert value(found, "study_winner_is_better", study="pets") == 1
    assert value(found, "study_confirmation_runs", study="pets", state="complete") == 10
    assert value(found, "study_confirmation_runs", study="pets", state="waiting") == 0
    assert value(found, "study_trials", study="pets", state="complete") == 2
    assert value(found, "study_best_macro_f1", study="pets") == 0.61
    assert value(found, "study_trials", study="pets-confirm", state="complete") == 10


def test_confirmation_under_way_has_no_score_yet(searched_study: StudyStorage) -> None:
    add_confirmation(searched_study, n_done=3)
    found = samples(text_of(StudiesReader(lambda: searched_study).read))
    assert value(found, "study_confirmation_runs", study="pets", state="running") == 1
    names = {name for name, _ in found}
    assert not names & {"study_confirmed_macro_f1", "study_winner_is_better"}
