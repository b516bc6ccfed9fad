"""How much a study may spend: one unit of three, given in any way a setting is given."""

from pathlib import Path

import pytest

from storage.budget import Budget
from study.commands.options import SETTING_OF_OPTION
from study.configuration.config import Request, as_yaml
from study.configuration.sections import BudgetConfig
from study.configuration.stored_settings import completed
from study.errors import ConfigurationError


@pytest.mark.parametrize(
    ("assignment", "shown"),
    [
        ("search.budget.trials=1", "1 trial"),
        ("search.budget.epochs=1200", "1200 epochs"),
        ("search.budget={epochs: 1200, hours: none}", "1200 epochs"),
        ("search.budget.hours=0.5", "0.5 hours"),
        ("search={budget: {hours: 8}}", "8 hours"),
    ],
)
def test_budget_of_another_unit_replaces_that_of_the_preset(assignment: str, shown: str) -> None:
    assert str(Request("quickstart", assignments=(assignment,)).resolve().search.budget) == shown


def test_number_of_trials_as_an_option_replaces_any_other_unit(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("search: {budget: {epochs: 1200}}\n")
    option = {SETTING_OF_OPTION["trials"]: 7}
    assigned = ("search.budget.hours=2",)
    budget = Request(file=file, assignments=assigned, options=option).resolve().search.budget
    assert budget == BudgetConfig(trials=7)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("search.budget={}", r"budget: must be trials, epochs or hours, one of them, got {}: for"),
        ("search.budget=60", r"budget: must be trials, epochs or hours, one of them, got 60: for"),
        ("search.budget.epochs=none", r"one of them, got {'epochs': None}: for example search"),
        ("search.budget={trials: 3, hours: 1}", r"one of them, got trials and hours: for example"),
        ("search.budget.trials=0", r"search\.budget\.trials: .*greater than or equal to 1, got 0"),
        ("search.budget.hours=0", r"search\.budget\.hours: .*greater than 0, got 0"),
        ("search.budget.hours=nan", r"search\.budget\.hours: .*finite number"),
        ("search.budget.hours=true", r"search\.budget\.hours: true and false are no numbers"),
        ("search.budget.epochs=2.5", r"search\.budget\.epochs: .*valid integer.*got 2\.5"),
        ("search.budget.days=2", r"budget\.days is no setting: did you mean search\.budget\."),
        ("search.n_trials=9", r"^search\.n_trials is no setting: give it as search\.budget\.tri"),
        (
            "search.budget.epochs=5",
            r"at least the n_epochs of one trial, got 5 epochs for 6: set search.budget.epochs=6",
        ),
    ],
)
def test_budget_that_is_none_is_one_line_with_a_remedy(assignment: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as rejected:
        Request("quickstart", assignments=(assignment,)).resolve()
    assert "\n" not in str(rejected.value)


@pytest.mark.parametrize("unit", ["epochs", "hours"])
def test_given_points_are_counted_in_trials(unit: str) -> None:
    point = "search.points=[{network.dropout: 0.1}]"
    assigned = ("search.space=given", point, f"search.budget.{unit}=100")
    with pytest.raises(ConfigurationError, match=r"got 100 \w+ for 1: set search.budget.trials=1"):
        Request("quickstart", assignments=assigned).resolve()


def test_budget_is_stored_as_it_was_given() -> None:
    config = Request("quickstart", assignments=("search.budget.hours=8",)).resolve()
    assert config.search.budget.limit == Budget("hours", 8.0)
    assert config.search.budget.n_first_slots == 1
    assert "  budget:\n    hours: 8.0\n" in as_yaml(config)


def test_stored_number_of_trials_of_an_early_version_is_its_budget() -> None:
    stored = {"search": {"n_trials": 40, "n_epochs": 5}}
    assert completed(stored)["search"]["budget"] == {"trials": 40}
    assert Request().resolve(base=completed(stored)).search.budget == BudgetConfig(trials=40)
    assert stored["search"]["n_trials"] == 40
