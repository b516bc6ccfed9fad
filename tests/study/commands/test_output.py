import json
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from dashboards.analysis.baselines import baselines_table
from study.commands.output import print_metrics, print_rich
from study.configuration.config import validated
from study.creation.create import initialise
from tests.dashboards.confirmations import NOT_TOLD, add_confirmation
from tests.study.conftest import Call
from tests.study.searches import pretend_to_search

SCORES = {"macro_f1": 0.5, "accuracy": 0.75, "top5_accuracy": 1.0, "loss": 0.25}
REST = "accuracy 0.7500, top-5 accuracy 1.0000, loss 0.2500\n"
OF_FEW = "accuracy 0.7500, loss 0.2500\n"


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({}, f"validation: macro-F1 0.5000, {REST}"),  # metrics of an older run
        ({"n_classes": 6, "n_validation_classes": 6}, f"validation: macro-F1 0.5000, {REST}"),
        ({"n_classes": 5, "n_validation_classes": 5}, f"validation: macro-F1 0.5000, {OF_FEW}"),
        (
            {"n_classes": 9, "n_validation_classes": 3},
            f"validation: macro-F1 0.5000 over the 3 classes present of 9, {REST}",
        ),
    ],
)
def test_metrics_say_over_which_classes_they_are_where_some_have_no_images(
    capsys: pytest.CaptureFixture[str], known: dict[str, int], said: str
) -> None:
    print_metrics({"validation": SCORES, **known})
    assert capsys.readouterr().out == said


@pytest.mark.parametrize(("n_classes", "is_shown"), [(5, False), (6, True)])
def test_baselines_have_a_top5_accuracy_where_it_says_something(
    n_classes: int, is_shown: bool
) -> None:
    table = baselines_table({"random": SCORES}, n_train=9, n_validation=9, n_classes=n_classes)
    console = Console(width=80)
    with console.capture() as capture:
        console.print(table)
    assert ("top-5" in capture.get()) == ("1.0000" in capture.get()) == is_shown


def test_init_says_where_no_rung_is_left(call: Call, config_file: str) -> None:
    words = ["--set", "search.pruner=rungs", "--set", "optimization.warmup_epochs=2.5"]
    ended = call("init", "--config", config_file, *words)
    assert ended.code == 0, ended.err
    (line,) = [line for line in ended.out.splitlines() if "search.rungs" in line]
    assert line.startswith("caution: search.rungs never apply") and "2.5 of 3 epochs" in line


def test_best_trial_is_shown_with_its_weights_or_why_there_are_none(
    tiny_settings: dict[str, object], call: Call, tmp_path: Path
) -> None:
    session = initialise(validated(tiny_settings))
    pretend_to_search(session)
    where = ["--storage", session.config.storage.url]
    runs = ["--runs", str(session.config.storage.runs)]
    assert "weights: not kept; storage.kept_trials keeps" in call("best", *where, *runs).out
    assert json.loads(call("best", "--json", *where, *runs).out)["weights"] is None
    weights = session.trial_paths(1).best
    weights.parent.mkdir(parents=True)
    weights.touch()
    assert call("best", *where, *runs).out.splitlines()[-1] == f"weights: {weights}"
    assert json.loads(call("best", "--json", *where, *runs).out)["weights"] == str(weights)
    elsewhere = call("best", *where, "--runs", str(tmp_path / "none")).out
    assert f"the study's runs folder is {session.config.storage.runs}" in elsewhere


def test_best_and_trials_say_whether_the_winner_is_confirmed(
    tiny_settings: dict[str, object], call: Call
) -> None:
    session = initialise(validated(tiny_settings))
    pretend_to_search(session)
    place = ["--storage", session.config.storage.url, "--runs", str(session.config.storage.runs)]
    assert "it is not confirmed, `study confirm --name tiny" in call("best", *place).out
    assert "confirmation" not in call("trials", *place).out
    assert json.loads(call("best", "--json", *place).out)["confirmation"] is None
    add_confirmation(session.storage_handle, NOT_TOLD, study_name="tiny")
    shown = call("best", *place).out
    assert "trial 1 is not told from the default: keep the default\n" in shown
    assert "\nleast detectable: such a test finds a difference of " in shown
    found = json.loads(call("best", "--json", *place).out)["confirmation"]
    assert (found["winner"], found["recommended"], found["is_better"]) == (1, 0, False)
    assert call("trials", *place).out.splitlines()[-1] == (
        "confirmation: trial 1 is not told from the default: keep the default; "
        "trial 1: 0.4500 confirmed, 0.6100 in the search"
    )
    runs = call("trials", *place, "--name", "tiny-confirm").out
    assert "candidate trial 1" in runs and "control trial 0" in runs
    assert runs.splitlines()[-1].startswith("confirmation: trial 1 is not told")


def test_texts_are_printed_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    print_rich(Text("caution: one"), Text("caution: two"))
    assert capsys.readouterr().out == "caution: one\ncaution: two\n"
