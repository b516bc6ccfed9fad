"""No value is attributed to other hyperparameters, and the test split is opened once."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.study.histories import World
from tests.tools.pictures import write_pictures

Step = Callable[[World], None]
ALL = 99
run = partial(World.run, n_epochs=ALL)
final = partial(World.final, n_epochs=ALL)
reopened = partial(World.final, n_epochs=ALL, reopen="again")
restore = partial(World.restore, backup=0)
N_EPOCHS = st.sampled_from([1, 2, 3, ALL])
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.just(World.back_up),
    st.builds(lambda number: partial(World.restore, backup=number), st.integers(0, 3)),
    st.just(World.extend),
    st.builds(lambda n, dies: partial(World.run, n_epochs=n, dies=dies), N_EPOCHS, st.booleans()),
    st.builds(
        lambda n, dies, reopen: partial(World.final, n_epochs=n, dies=dies, reopen=reopen),
        N_EPOCHS,
        st.booleans(),
        st.sampled_from([None, "again", "and again"]),
    ),
)
HISTORIES = st.lists(STEPS, min_size=5, max_size=12)
EXAMPLES: list[list[Step]] = [
    [World.back_up, run, restore, run, final],
    [run, World.back_up, final, restore, final, reopened],
    [run, final, final, reopened],
    [run, World.back_up, final, restore, run, final, reopened, restore, reopened, final],
    [partial(World.run, n_epochs=3), World.back_up, run, final, restore, run, final, reopened],
    [run, World.back_up, World.extend, run, restore, World.extend, run, final],
    [run, partial(World.final, n_epochs=1), World.back_up, final, restore, final, reopened],
    [partial(World.run, n_epochs=1, dies=True), World.back_up, run, restore, run, final],
]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("data") / "pictures", n_per_class=12)


def live_through(history: list[Step], pictures: Path, folder: Path) -> None:
    values: dict[str, Any] = {
        "name": "tiny",
        "data": {
            "source": str(pictures),
            "image_size": 8,
            "cache": f"{pictures}-cache",
        },
        "network": {"widths": [4, 4, 8]},
        "optimization": {"warmup_epochs": 0.5},
        "search": {
            "budget": {"trials": 2},
            "n_epochs": 2,
            "n_startup_trials": 1,
            "pruner": "none",
            "space": {
                "network.blocks": {"low": 1, "high": 1},
                "network.dropout": "default",
                "optimization.learning_rate": "default",
                "optimization.weight_decay": "default",
            },
        },
        "final": {"n_epochs": 3, "image_size": 8},
        "workers": {"threads": 1},
        "storage": {"url": f"sqlite:///{folder}/study.db", "runs": str(folder / "runs")},
    }
    with pytest.MonkeyPatch.context() as patch:
        world = World(values, patch)
        for step in history:
            world.do(step)
        world.close()


@pytest.mark.parametrize(
    "history",
    [*EXAMPLES[:1], *(pytest.param(one, marks=pytest.mark.slow) for one in EXAMPLES[1:])],
)
def test_history_keeps_every_value_with_its_hyperparameters(
    history: list[Step], pictures: Path, tmp_path: Path
) -> None:
    live_through(history, pictures, tmp_path)


@pytest.mark.slow
@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[*HealthCheck],
    phases=[Phase.generate],
)
@given(history=HISTORIES)
def test_random_histories_keep_every_value_with_its_hyperparameters(
    history: list[Step], pictures: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    live_through(history, pictures, tmp_path_factory.mktemp("world"))
