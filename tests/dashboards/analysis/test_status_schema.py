"""What `study status --json` prints, held against its schema."""

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import fields, replace
from importlib import resources
from typing import Any

import jsonschema
import optuna
import pytest
from optuna.trial import TrialState

from dashboards.analysis.confirmation.verdict import Verdict
from dashboards.analysis.confirmation_status import ConfirmationRunStatus, ConfirmationStatus
from dashboards.analysis.final_run_status import FinalRunStatus
from dashboards.analysis.status import (
    BEST_KEYS,
    EarlyEnd,
    ReasonCount,
    RunningTrial,
    StudyStatus,
    read_status,
)
from storage.leases import acquire
from storage.process_identity import Owner
from storage.records import (
    add_protocol,
    read_protocol,
)
from storage.study_storage import StudyStorage
from storage.test_evaluations import (
    TestEvaluation,
    claim_tests,
    finish_tests,
)
from tests.dashboards.confirmations import BETTER, NOT_TOLD, add_confirmation
from tests.dashboards.conftest import STUDY_NAME

SCHEMA = json.loads(
    resources.files("dashboards.analysis").joinpath("status_schema.json").read_text()
)
FREE = {"params"}


def validated(status: StudyStatus) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(status.as_json(), allow_nan=False))
    jsonschema.Draft202012Validator(SCHEMA).validate(found)
    return found


def end_the_rest(storage: StudyStorage, state: TrialState, reason: dict[str, str] | None) -> None:
    optuna_study = optuna.load_study(study_name=STUDY_NAME, storage=storage)
    for trial in optuna_study.get_trials():
        if not trial.state.is_finished():
            if trial.state == TrialState.WAITING:
                storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
            if reason:
                storage.set_trial_user_attr(trial._trial_id, "reason", reason)
            values = [0.3] if state == TrialState.COMPLETE else None
            storage.set_trial_user_attr(trial._trial_id, "best_epoch", 1)
            storage.set_trial_state_values(trial._trial_id, state, values)


def test_schema_is_one_and_leaves_nothing_open() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for name, described in objects(SCHEMA):
        if name not in FREE:
            assert described["additionalProperties"] is False, name
            assert set(described["required"]) == set(described["properties"]), name


def objects(described: dict[str, Any], name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if "object" in described.get("type", ()):
        yield name, described
    for key, value in described.get("properties", {}).items():
        yield from objects(value, key)
    if "items" in described:
        yield from objects(described["items"], f"{name}[]")


def test_schema_names_what_the_code_has() -> None:
    kinds = {"running_trials[]": RunningTrial, "reasons[]": ReasonCount}
    kinds |= {"newest_early_ends[]": EarlyEnd, "": StudyStatus, "final_runs[]": FinalRunStatus}
    kinds |= {"confirmation": ConfirmationStatus, "verdict": Verdict}
    kinds |= {"runs[]": ConfirmationRunStatus}
    assert kinds.keys() <= {name for name, _ in objects(SCHEMA)}
    for name, described in objects(SCHEMA):
        if name in kinds:
            assert set(described["properties"]) == {field.name for field in fields(kinds[name])}
        elif name == "best":
            assert set(described["properties"]) == set(BEST_KEYS)


def test_status_of_empty_study_is_valid(empty_study: StudyStorage) -> None:
    found = validated(read_status(empty_study, STUDY_NAME))
    assert found["waiting"] == 6 and found["best"] is None and found["newest_epoch_at"] is None


def test_status_of_running_study_is_valid(searched_study: StudyStorage) -> None:
    found = validated(read_status(searched_study, STUDY_NAME))
    assert len(found["running_trials"]) == 1 and len(found["reasons"]) == 2


def test_status_of_study_with_imported_trials_is_valid(forked_study: StudyStorage) -> None:
    assert validated(read_status(forked_study, STUDY_NAME))["best"]["slot"] is None


def test_status_of_failed_study_is_valid_without_any_reason_too(
    empty_study: StudyStorage,
) -> None:
    end_the_rest(empty_study, TrialState.FAIL, None)
    found = validated(read_status(empty_study, STUDY_NAME))
    assert found["reasons"] == [{"state": "failed", "kind": "unknown", "count": 6}]
    assert [end["number"] for end in found["newest_early_ends"]] == [5, 4, 3]


def test_status_of_finished_study_is_valid(searched_study: StudyStorage) -> None:
    end_the_rest(searched_study, TrialState.COMPLETE, None)
    status = read_status(searched_study, STUDY_NAME)
    found = validated(status)
    assert status.is_over and found["running_trials"] == []
    assert found["seconds_remaining"] == 0


def test_status_shows_the_final_run_before_and_after_its_test(
    searched_study: StudyStorage, final_trial_id: int
) -> None:
    protocol = read_protocol(searched_study.database, STUDY_NAME)
    configuration = deepcopy(protocol.configuration)
    configuration["search"]["n_epochs"] = 5
    final = {"study_name": f"{STUDY_NAME}-final", "study_key": "0" * 32, "budget": 1}
    add_protocol(searched_study.database, replace(protocol, configuration=configuration, **final))
    (before,) = validated(read_status(searched_study, STUDY_NAME))["final_runs"]
    assert (before["number"], before["state"], before["epoch"]) == (1, "complete", 4)
    assert (before["validation_macro_f1"], before["n_epochs"]) == (0.7, 5)
    assert before["test_macro_f1"] is None and before["host"] is None
    claim = TestEvaluation(final_trial_id, STUDY_NAME, 1, "the first", "0" * 64)
    claim_tests(searched_study.database, [claim])
    metrics = {"macro_f1": 0.65, "accuracy": 0.66, "top5_accuracy": 1.0, "loss": 1.0}
    finish_tests(searched_study.database, {final_trial_id: metrics})
    status = read_status(searched_study, STUDY_NAME)
    (after,) = validated(status)["final_runs"]
    assert (after["test_macro_f1"], after["test_accuracy"]) == (0.65, 0.66)
    assert read_status(searched_study, f"{STUDY_NAME}-final").final_runs == ()


def test_status_shows_the_confirmation_before_and_after_its_first_stage(
    searched_study: StudyStorage,
) -> None:
    assert validated(read_status(searched_study, STUDY_NAME))["confirmation"] is None
    add_confirmation(searched_study, n_done=3)
    status = read_status(searched_study, STUDY_NAME)
    found = validated(status)["confirmation"]
    assert found["sentences"] == ["not confirmed: 3 of 4 runs of the first stage are done"]
    assert (found["is_over"], found["winner"], found["confirmed_score"]) == (False, None, None)
    assert [run["state"] for run in found["runs"]] == ["complete"] * 3 + ["running"]
    assert [run["searched_trial"] for run in found["runs"]] == [1, 1, 0, 0]
    assert found["runs"][0] | {"number": 0} == {
        "number": 0,
        "role": "candidate",
        "searched_trial": 1,
        "state": "complete",
        "host": None,
        "pid": None,
        "beat_age_seconds": None,
        "epoch": 4,
        "n_epochs": 4,
        "macro_f1": 0.55,
        "seconds_left": None,
    }
    assert not status.has_live_confirmation
    running = optuna.load_study(study_name=f"{STUDY_NAME}-confirm", storage=searched_study)
    acquire(searched_study.database, running.get_trials()[3]._trial_id, Owner.current())
    assert read_status(searched_study, STUDY_NAME).has_live_confirmation


def test_status_without_a_confirmation_that_was_deleted_is_valid(
    searched_study: StudyStorage,
) -> None:
    add_confirmation(searched_study, BETTER)
    optuna.delete_study(study_name=f"{STUDY_NAME}-confirm", storage=searched_study)
    assert validated(read_status(searched_study, STUDY_NAME))["confirmation"] is None


@pytest.mark.parametrize(
    ("judged", "is_better", "recommended"), [(BETTER, True, 1), (NOT_TOLD, False, 0)]
)
def test_status_shows_the_verdict_of_a_confirmation(
    searched_study: StudyStorage,
    judged: dict[str, tuple[float, ...]],
    is_better: bool,
    recommended: int,
) -> None:
    add_confirmation(searched_study, judged)
    found = validated(read_status(searched_study, STUDY_NAME))["confirmation"]
    assert found["is_over"] and found["is_better"] is is_better
    assert (found["winner"], found["control"], found["recommended"]) == (1, 0, recommended)
    assert found["confirmed_score"] == pytest.approx(sum(judged["winner"]) / 3)
    assert found["control_score"] == pytest.approx(sum(judged["control"]) / 3)
    assert found["shrinkage"] == pytest.approx(0.61 - found["confirmed_score"])
    assert (found["verdict"]["p_value"] <= 0.05) is is_better
    assert found["is_on_own_images"] and found["n_images"] == 200


def test_schema_rejects_what_it_does_not_name(searched_study: StudyStorage) -> None:
    found = validated(read_status(searched_study, STUDY_NAME))
    for wrong in (
        found | {"colour": "red"},
        {key: value for key, value in found.items() if key != "read_at"},
        found | {"waiting": -1},
        found | {"best": found["best"] | {"trial_id": 1}},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, SCHEMA)
