from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.trial import TrialState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dashboards.analysis.comparison import read_variants, remarks
from dashboards.report.report import write_report
from storage.budget import Budget
from storage.trial_rows import read_trials
from study.configuration.config import Request
from study.configuration.grids import grid
from study.creation.create import initialise, open_or_create
from study.creation.extend import extend_budget
from study.creation.fork import fork
from study.creation.points_study import Plan, base_of_trial, open_given
from study.doctor.doctor import examine
from study.errors import ProtocolError, StudyError
from study.final.final_run import open_final, run_final
from study.session.session import StudySession
from study.session.winner import choose_winner
from study.stop_signal import StopFlag
from study.workers.worker import Worker
from tests.study.conftest import Call, Command
from tests.study.searches import configured, pretend_to_search
from tests.tools.run_hash import run_sha256

Settings = dict[str, Any]
AXES = {"network.dropout": (0.1, 0.3), "augmentation.crop": ("none", "padded")}
PLAN = Plan("-grid", lambda _config: grid(AXES), is_explicit=False)


@pytest.fixture
def request_(config_file: str) -> Request:
    short = ("search.n_epochs=1", "final.n_epochs=1")
    return Request(file=Path(config_file), assignments=short)


def train(session: StudySession) -> None:
    Worker(session, session.prepare_data(), stop=StopFlag(), announce=lambda *_: None).work()


def test_grid_trains_its_points_with_one_seed_and_its_winner_for_long(request_: Request) -> None:
    session = open_given(request_, PLAN)
    assert session.protocol.study_name == "tiny-grid"
    train(session)
    trials = session.optuna_study().trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 4
    assert [tuple(trial.params.values()) for trial in trials] == [
        (dropout, crop) for dropout in (0.1, 0.3) for crop in ("none", "padded")
    ]
    assert len({trial.user_attrs["seed"] for trial in trials}) == 1
    hashes = [run_sha256(session.trial_paths(slot)) for slot in range(4)]
    assert len(set(hashes)) == 4
    events = EventAccumulator(str(session.trial_paths(3).tensorboard)).Reload()
    shown = events.PluginTagToContent("hparams")["_hparams_/session_start_info"]
    assert b"augmentation.crop" in shown and b"padded" in shown

    train(open_given(request_, PLAN))  # nothing is left to do
    winner = choose_winner(session)
    final = open_final(session, winner, reopen=None)
    result = run_final(final, final.prepare_data(), stop=StopFlag(), announce=lambda *_: None)
    assert result is not None and result.searched_trial == winner.number
    (run,) = final.optuna_study().trials
    assert run.params == winner.params


def test_same_request_continues_and_other_points_are_rejected(request_: Request) -> None:
    session = open_given(request_, PLAN)
    assert (session.protocol.budget, session.config.search.pruner) == (4, "none")
    again = open_given(request_, PLAN)
    assert again.protocol.study_key == session.protocol.study_key
    place = {"storage.url": session.config.storage.url, "storage.runs": "runs"}
    named = Request(options={**place, "storage.runs": str(session.config.storage.runs)})
    named = replace(named, options={**named.options, "name": "tiny-grid"})
    other = Plan("", lambda _config: grid({"network.dropout": (0.2,)}), is_explicit=False)
    assert open_given(named, other).config == again.config  # says nothing: the study as it is
    with pytest.raises(ProtocolError, match=r"search\.points is .* or another --name"):
        open_given(named, replace(other, is_explicit=True))


def test_study_of_another_kind_is_not_taken_for_a_grid(
    request_: Request, tiny_settings: Settings
) -> None:
    initialise(configured(tiny_settings, {"search.n_epochs": 1}))
    with pytest.raises(StudyError, match="'tiny' is a search: choose another"):
        open_given(replace(request_, options={"name": "tiny"}), PLAN)


def test_extend_adds_the_next_points_and_rejects_more_than_there_are(request_: Request) -> None:
    session = open_given(replace(request_, options={"search.budget.trials": 2}), PLAN)
    larger = extend_budget(session, Budget("trials", 1))
    rows = read_trials(session.storage_handle, "tiny-grid")
    assert [row.params["network.dropout"] for row in rows] == [0.1, 0.1, 0.3]
    with pytest.raises(StudyError, match="within the 4 given points .* got 5 in all"):
        extend_budget(larger, Budget("trials", 2))
    assert len(session.slots()) == 3
    assert open_given(request_, PLAN).protocol.budget == 3


def test_doctor_queues_a_missing_point(request_: Request) -> None:
    session = open_given(request_, PLAN)
    handle = session.storage_handle
    with handle.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM trials WHERE trial_id = 4")
        connection.exec_driver_sql("DELETE FROM trial_user_attributes WHERE trial_id = 4")
        connection.exec_driver_sql("DELETE FROM trial_system_attributes WHERE trial_id = 4")
    place = session.config.storage
    options = {"storage.url": place.url, "storage.runs": str(place.runs), "name": "tiny-grid"}
    list(examine(Request(options=options), repair=True, say=print))
    row = read_trials(handle, "tiny-grid")[3]
    assert row.params == {"network.dropout": 0.3, "augmentation.crop": "padded"}


def test_fork_of_given_points_takes_nothing_over(
    request_: Request, tiny_settings: Settings
) -> None:
    session = open_given(request_, PLAN)
    pretend_to_search(session, [[0.2], [0.4]])
    place = session.config.storage
    options = {"storage.url": place.url, "storage.runs": str(place.runs), "name": "tiny-grid"}
    forked, ancestry = fork(Request(options=options), "other")
    assert ancestry.lines()[-1].startswith("none of 2 finished trials are imported: given")
    assert len(forked.slots()) == len(forked.optuna_study().trials) == 4


def test_comparison_starts_around_a_trial_of_another_study(tiny_settings: Settings) -> None:
    session = initialise(configured(tiny_settings, {}))
    pretend_to_search(session, [[0.2, 0.2, 0.2], [0.3, 0.5, 0.4], [0.1, 0.1, 0.3]])
    place = session.config.storage
    request = Request(options={"storage.url": place.url, "storage.runs": str(place.runs)})
    winner = session.optuna_study().trials[1]
    base = base_of_trial(request, "tiny", None)
    assert base["optimization"]["learning_rate"] == winner.params["optimization.learning_rate"]
    assert base == base_of_trial(request, "tiny", 1) != base_of_trial(request, "tiny", 0)
    with pytest.raises(StudyError, match="must be a trial of study 'tiny' that has begun, got 7"):
        base_of_trial(request, "tiny", 7)


@pytest.fixture
def recipes(tiny_settings: Settings, tmp_path: Path) -> Path:
    """Two recipes with three seeds each, as study/README.md begins it."""
    other = {"optimization.optimizer": "adamw", "optimization.learning_rate": "1e-3"}
    points = [
        point
        for seed in (1, 2, 3)
        for point in ({"label": "plain", "seed": seed}, {"label": "adam", "seed": seed, **other})
    ]
    search = {
        "space": "given",
        "points": points,
        "budget": {"trials": 6},
        "n_epochs": 1,
        "pruner": "none",
    }
    path = tmp_path / "recipes.yaml"
    path.write_text(yaml.safe_dump(tiny_settings | {"name": "recipes", "search": search}))
    return path


def test_two_recipes_with_three_seeds_are_compared_from_a_file(
    recipes: Path, tmp_path: Path
) -> None:
    session = open_or_create(Request(file=recipes))
    train(session)
    trials = session.optuna_study().trials
    assert len({trial.user_attrs["seed"] for trial in trials}) == 3
    plain, adam = read_variants(read_trials(session.storage_handle, "recipes"))
    assert (plain.label, len(plain.scores), adam.label, len(adam.scores)) == (
        "plain",
        3,
        "adam",
        3,
    )
    assert adam.settings["optimization.learning_rate"] == 0.001
    assert plain.spread is not None
    assert any(said in remarks([plain, adam])[0] for said in ("clear", "within the seeds' spread"))
    page = tmp_path / "report.html"
    runs = session.config.storage.runs
    write_report(session.storage_handle, "recipes", runs=runs, path=page)
    assert "Given points" in page.read_text() and "Welch" in page.read_text()


@pytest.mark.slow
def test_commands_run_a_grid_a_sweep_and_a_comparison_to_their_figures(
    command: Command, config_file: str, tmp_path: Path
) -> None:
    shared = ["--config", config_file, "--set", "search.n_epochs=1", "--workers", "2"]
    ended = command("grid", *shared, "--axis", "network.blocks=[1,1,1],[2,1,1]")
    assert ended.returncode == 0, ended.stderr
    assert "2-1-1" in ended.stdout and "lowest validation loss" in ended.stdout
    rates = ["--axis", "optimization.learning_rate=0.01,0.1"]
    decays = ["--axis", "optimization.weight_decay=0,1e-3"]
    ended = command("sweep", "lr-wd", *shared, *rates, *decays)
    assert ended.returncode == 0, ended.stderr
    assert "4/4 done" in ended.stdout
    assert (tmp_path / "runs/tiny-sweep-lr-wd/heat_map.png").is_file()
    place = ["--storage", f"sqlite:///{tmp_path}/study.db", "--runs", str(tmp_path / "runs")]
    around = ["--of", "tiny-grid", "--seeds", "2", "--factor", "dropout", "--workers", "2"]
    ended = command("compare", *place, *around)
    assert ended.returncode == 0, ended.stderr
    assert "6/6 done" in ended.stdout and "Welch" in ended.stdout
    assert (tmp_path / "runs/tiny-grid-compare/comparison.svg").is_file()
    ended = command("compare", *place, "--name", "tiny-grid-compare")
    assert ended.returncode == 0 and "the budget of 6 trials is done" in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["compare", "--around-trial", "3"], "add --of STUDY"),
        (["compare", "--of", "x", "--preset", "quickstart"], "leave --preset and --config out"),
        (["compare", "--factor", "colour"], "--factor must be one of learning-rate"),
        (["grid", "--axis", "data.image_size=8,16"], "got data.image_size"),
        (["grid", "--trials", "9"], "at most the number of points, got 9 trials for 4"),
        (["sweep", "lr-wd", "--axis", "network.dropout=0,0.1"], "`study grid`"),
        (["sweep", "depth"], "'lr-wd'"),
    ],
)
def test_misuse_of_a_command_for_points_is_one_line_exit_2(
    call: Call, tmp_path: Path, arguments: list[str], hint: str
) -> None:
    place = ["--storage", f"sqlite:///{tmp_path}/none.db", "--runs", str(tmp_path / "runs")]
    ended = call(*arguments, *place)
    assert ended.code == 2 and hint in ended.err
    assert len(ended.err.strip().splitlines()) == 1
    assert not (tmp_path / "none.db").exists()
