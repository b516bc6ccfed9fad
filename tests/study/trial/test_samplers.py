import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from study.configuration.config import StudyConfig
from study.configuration.sections import SearchConfig
from study.trial.samplers import build_pruner, build_sampler, skip_draws


def first_point(search: SearchConfig, *, seed: int, number: int) -> float:
    sampler = build_sampler(search, seed=seed, number=number)
    return optuna.create_study(sampler=sampler).ask().suggest_float("x", 0, 1)


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp"])
def test_sampler_draws_the_same_point_for_the_same_trial_only(sampler: str) -> None:
    search = SearchConfig.model_validate({"sampler": sampler, "pruner": "none"})
    drawn = {first_point(search, seed=1, number=number) for number in range(5)}
    assert len(drawn) == 5
    assert first_point(search, seed=1, number=3) == first_point(search, seed=1, number=3)
    assert first_point(search, seed=1, number=3) != first_point(search, seed=2, number=3)


def test_gp_learns_from_complete_trials() -> None:
    search = SearchConfig(sampler="gp", pruner="none", n_startup_trials=4)
    optuna_study = optuna.create_study(direction="maximize")
    for number in range(12):
        optuna_study.sampler = build_sampler(search, seed=1, number=number)
        trial = optuna_study.ask()
        optuna_study.tell(trial, -((trial.suggest_float("x", 0, 1) - 0.3) ** 2))
    late = [trial.params["x"] for trial in optuna_study.trials[8:]]
    assert all(abs(x - 0.3) < 0.15 for x in late)


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp"])
@pytest.mark.parametrize("is_log", [False, True])
def test_range_of_one_value_is_fixed_beside_others_that_are_searched(
    sampler: str, is_log: bool
) -> None:
    search = SearchConfig.model_validate(
        {"sampler": sampler, "pruner": "none", "n_startup_trials": 3}
    )
    optuna_study = optuna.create_study(direction="maximize")
    for number in range(8):
        optuna_study.sampler = build_sampler(search, seed=1, number=number)
        trial = optuna_study.ask()
        fixed = trial.suggest_float("fixed", 0.3, 0.3, log=is_log)
        fixed += trial.suggest_int("whole", 2, 2)
        optuna_study.tell(trial, fixed - abs(trial.suggest_float("x", 0, 1) - 0.3))
    trials = optuna_study.trials
    assert {(trial.params["fixed"], trial.params["whole"]) for trial in trials} == {(0.3, 2)}
    assert len({trial.params["x"] for trial in trials}) == 8
    shares = get_param_importances(optuna_study, evaluator=PedAnovaImportanceEvaluator())
    assert shares == {"x": 1.0, "fixed": 0.0, "whole": 0.0}


def pruned_at(search: SearchConfig, values: list[float]) -> int | None:
    """Run a bad trial after five good ones; return the epoch at which it is pruned."""
    optuna_study = optuna.create_study(
        direction="maximize", pruner=build_pruner(StudyConfig(search=search))
    )
    for good in range(5):
        trial = optuna_study.ask()
        for epoch in range(1, 7):
            trial.report(0.5 + 0.01 * good + 0.05 * epoch, epoch)
            trial.should_prune()  # halving compares what it was asked about
        optuna_study.tell(trial, 0.9)
    trial = optuna_study.ask()
    for epoch, value in enumerate(values, start=1):
        trial.report(value, epoch)
        if trial.should_prune():
            return epoch
    return None


@pytest.mark.parametrize("pruner", ["percentile", "median"])
def test_pruner_gives_up_a_bad_trial_only_after_its_warm_up(pruner: str) -> None:
    search = SearchConfig.model_validate(
        {"pruner": pruner, "n_epochs": 6, "pruner_warmup_epochs": 3, "pruner_startup_trials": 5}
    )
    assert pruned_at(search, [0.1] * 6) == 3
    assert pruned_at(search, [0.95] * 6) is None


def test_pruner_halving_and_none_do_what_they_say() -> None:
    halving = SearchConfig(pruner="halving", n_epochs=6, pruner_warmup_epochs=2)
    assert pruned_at(halving, [0.1] * 6) == 2
    assert pruned_at(SearchConfig(pruner="none"), [0.0] * 6) is None


@given(n_drawn=st.integers(0, 5))
@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_trial_that_died_between_two_suggestions_comes_to_the_same_point(
    sampler: str, n_drawn: int
) -> None:
    search = SearchConfig(sampler=sampler)  # type: ignore[arg-type]
    names = ["a", "b", "c", "d", "e"]

    def resume(optuna_study: optuna.Study, n_suggested: int) -> dict[str, float]:
        optuna_study.sampler = build_sampler(search, seed=3, number=0)
        trial = optuna.Trial(optuna_study, optuna_study.trials[0]._trial_id)
        skip_draws(trial)
        for name in names[:n_suggested]:
            trial.suggest_float(name, 0, 1)
        return dict(trial.params)

    straight, killed = optuna.create_study(), optuna.create_study()
    for each in (straight, killed):
        each.ask()
    expected = resume(straight, 5)
    resume(killed, n_drawn)
    assert resume(killed, 5) == expected
