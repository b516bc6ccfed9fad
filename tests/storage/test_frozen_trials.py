import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import sqlalchemy
from optuna.distributions import CategoricalDistribution
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial

from benchmarks.large_study import fill
from storage.study_storage import StudyStorage
from tests.tools.searches import create_search


def add_odd_trials(handle: StudyStorage) -> None:
    optuna_study = optuna.load_study(study_name="pets", storage=handle)
    choices = {"crop": CategoricalDistribution((None, "padded", 3))}
    for value, crop in ((math.inf, None), (0.5, "padded")):
        trial = create_trial(
            value=value,
            params={"crop": crop},
            distributions=choices,
            intermediate_values={3: math.nan, 1: -math.inf, 2: 0.25},
        )
        optuna_study.add_trial(trial)
    optuna_study.ask().suggest_float("x", 0, 1)
    optuna_study.enqueue_trial({"crop": 3}, user_attrs={"slot": 99})


def test_trials_are_read_as_optuna_reads_them(handle: StudyStorage, tmp_path: Path) -> None:
    create_search(handle, "pets", n_trials=30, n_epochs=4)
    fill(handle, "pets", runs=tmp_path, n_trials=30, n_epochs=4)
    add_odd_trials(handle)
    optuna.create_study(study_name="birds", storage=handle).ask()
    for included, after in ((set(), -1), ({2, 31}, 28), (set(range(70_000)), 10), ({1}, 99)):
        ours = handle._get_trials(1, None, included, after)
        # A nan equals nothing, not even itself; as text it does.
        theirs = RDBStorage._get_trials(handle, 1, None, included, after)
        for mine, other in zip(ours, theirs, strict=True):
            for name, value in vars(other).items():
                assert _shown(vars(mine)[name]) == _shown(value), name
            assert list(mine.params) == list(other.params)
    waiting = handle._get_trials(1, (TrialState.WAITING,), set(), -1)
    assert [trial.user_attrs["slot"] for trial in waiting] == [99]


def _shown(value: object) -> str:
    return str(sorted(map(str, value.items())) if isinstance(value, dict) else value)


@contextmanager
def statements(handle: StudyStorage) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    sqlalchemy.event.listen(handle.engine, "before_cursor_execute", note)
    yield seen
    sqlalchemy.event.remove(handle.engine, "before_cursor_execute", note)


def test_reading_takes_as_many_statements_for_many_trials_as_for_few(
    handle: StudyStorage, tmp_path: Path
) -> None:
    create_search(handle, "pets", n_trials=0, n_epochs=2)
    counts = []
    for n_trials in (3, 300):
        fill(handle, "pets", runs=tmp_path, n_trials=n_trials, n_epochs=2)
        with statements(handle) as seen:
            handle.get_all_trials(1)
        counts.append(len(seen))
    assert counts[0] == counts[1] < 10
