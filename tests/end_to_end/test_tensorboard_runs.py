"""TensorBoard's own reader and its page show each kind of study with its metrics."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial
from playwright.sync_api import Browser
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from study.checks.lr_finder import free_paths, range_test, run_range_test
from study.configuration.ablations import one_factor_points
from study.configuration.config import Request
from study.configuration.grids import LEARNING_RATE, WEIGHT_DECAY, grid
from study.creation.create import open_or_create
from study.creation.points_study import Plan, open_given
from study.final.final_run import open_final, run_final
from study.session.session import StudySession
from study.session.suggested_commands import assignment
from study.session.winner import choose_winner
from study.stop_signal import StopFlag
from study.workers.worker import Worker
from tests.browser import requires_chromium, watched_page
from tests.tools.pictures import write_pictures
from tests.tools.processes import ProcessServer
from tests.tools.served_pages import served
from tests.tools.studies import SmallStudy, small_settings
from tests.tools.tensorboard_page import assert_quiet, hparams_table, time_series, wait_for_runs

pytestmark = pytest.mark.slow

PROTOCOL = Path(__file__).parents[2] / "benchmarks" / "protocol"
CURVES = {
    "gradient_norm",
    "images_per_second",
    "learning_rate",
    *(
        f"{metric}/{split}"
        for metric in ("loss", "accuracy", "macro_f1")
        for split in ("train", "validation")
    ),
}
BEST = {
    f"hparam/best/{name}" for name in ("macro_f1", "accuracy", "train_accuracy", "loss", "epoch")
}
TEST = {"hparam/test/macro_f1", "hparam/test/accuracy"}
RATES = {LEARNING_RATE: (0.01, 0.1), WEIGHT_DECAY: (0.0, 0.001)}
PLANS = {
    "sweep": Plan("-sweep-lr-wd", lambda _config: grid(RATES), is_explicit=False),
    "grid": Plan(
        "-grid", lambda _config: grid({"network.dropout": (0.1, 0.3)}), is_explicit=False
    ),
    "compare": Plan(
        "-compare",
        lambda config: one_factor_points(config, ("dropout", "augmentation"), n_seeds=1),
        is_explicit=False,
    ),
}
RECIPES = ("defect", "recipes")
HEADINGS = {
    "search": {"blocks", "dropout", "learning_rate", "weight_decay"},
    "sweep": {"learning_rate", "weight_decay"},
    "grid": {"dropout"},
    "compare": {"label", "dropout", "crop"},
    "defect": {"label", "seed", "after_normalisation"},
    "recipes": {"crop", "cutmix_probability"},
}


@dataclass(frozen=True)
class Trained:
    """A finished study.

    Attributes:
        session: The study.
        final: Its final runs, where there is one.
    """

    session: StudySession
    final: StudySession | None = None

    def runs(self) -> Iterator[tuple[str, FrozenTrial, Path]]:
        """Yield each run with the beginning of its row's name and its folder of events."""
        for session in filter(None, (self.session, self.final)):
            for trial in session.optuna_study().trials:
                name = f"{trial.number:03}"
                if session.is_final:
                    name = f"final {name}"
                elif "label" in trial.user_attrs:
                    name += f" {trial.user_attrs['label']}"
                folder = session.trial_paths(trial.user_attrs["slot"]).tensorboard
                yield f"{name} ({session.searched_name})", trial, folder


def train(session: StudySession) -> None:
    Worker(session, session.prepare_data(), stop=StopFlag(), announce=lambda *_: None).work()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("studies")


@pytest.fixture(scope="module")
def small(folder: Path) -> dict[str, Any]:
    """What makes any configuration small, by dotted key."""
    pictures = write_pictures(folder / "pictures", n_per_class=24)
    return {
        "data.source": str(pictures),
        "data.image_size": 8,
        "data.cache": str(folder / "cache"),
        "network.widths": [4, 4, 8],
        "network.blocks": [1, 1, 1],
        "optimization.warmup_epochs": 0,
        "search.n_epochs": 1,
        "search.patience_epochs": None,
        "workers.threads": 1,
        "storage.url": f"sqlite:///{folder}/study.db",
        "storage.runs": str(folder / "runs"),
    }


def asked(small: dict[str, Any], **named: Any) -> Request:
    assignments = tuple(assignment(key, value) for key, value in small.items())
    return Request(**named, assignments=assignments)


@pytest.fixture(scope="module")
def trained(small: dict[str, Any]) -> dict[str, Trained]:
    """Every kind of study, each in its smallest form, below one folder of runs."""
    found = {}
    for kind, plan in PLANS.items():
        found[kind] = Trained(open_given(asked(small | {"name": "tiny"}), plan))
    for kind in RECIPES:
        request = asked(
            small | {"name": kind}, preset="reference-a", file=PROTOCOL / f"{kind}.yaml"
        )
        found[kind] = Trained(open_or_create(request))
    searched = {
        "name": "searched",
        "search.budget.trials": 3,
        "search.space": "joint",
    }
    long = {"search.n_epochs": 2, "final.n_epochs": 3, "final.image_size": 12}
    session = open_or_create(asked(small | searched | long))
    for given in found.values():
        train(given.session)
    train(session)
    final = open_final(session, choose_winner(session), reopen=None)
    run_final(final, final.prepare_data(), stop=StopFlag(), announce=lambda *_: None)
    return found | {"search": Trained(session, final)}


def read_back(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()


def assert_each_epoch_once(events: EventAccumulator, n_epochs: int) -> None:
    assert set(events.Tags()["scalars"]) >= CURVES
    for tag in CURVES:
        assert [point.step for point in events.Scalars(tag)] == list(range(1, n_epochs + 1)), tag


@pytest.mark.parametrize("kind", HEADINGS)
def test_reader_finds_each_epoch_of_each_run_once_and_its_row(
    trained: dict[str, Trained], kind: str
) -> None:
    for name, trial, folder in trained[kind].runs():
        events = read_back(folder)
        assert_each_epoch_once(events, len(trial.intermediate_values))
        row = BEST | (TEST if name.startswith("final") else set())
        assert {tag for tag in events.Tags()["scalars"] if tag.startswith("hparam/")} == row
        assert all(len(events.Scalars(tag)) == 1 for tag in row)
        assert events.Scalars("hparam/best/macro_f1")[0].value == pytest.approx(trial.value)
        start = events.PluginTagToContent("hparams")["_hparams_/session_start_info"]
        assert name.encode() in start


def test_reader_finds_the_range_test(small: dict[str, Any]) -> None:
    request = asked(small | {"name": "ranged"})
    config = request.resolve()
    test = range_test(config, low=None, high=None, n_steps=12)
    paths = free_paths(config)
    prepared = open_or_create(asked(small | {"name": "unused"})).prepare_data()
    curve = run_range_test(config, prepared, test, paths)
    events = read_back(paths.tensorboard)
    for tag in ("learning_rate", "loss", "smoothed_loss"):
        assert len(events.Scalars(f"lr_range/{tag}")) == len(curve.rates)


@requires_chromium
@pytest.mark.parametrize("kind", HEADINGS)
def test_page_has_a_row_for_each_run_with_its_values_and_metrics(
    trained: dict[str, Trained], kind: str, processes: ProcessServer, chromium: Browser
) -> None:
    study = trained[kind]
    place = study.session.config.storage
    where = ["--storage", place.url, "--runs", str(place.runs)]
    named = ["--name", study.session.protocol.study_name]
    with (
        served(processes, "tensorboard", *where, *named, folder=place.runs) as address,
        watched_page(chromium, width=2200) as watched,
    ):
        expected = {name: trial for name, trial, _ in study.runs()}
        wait_for_runs(address, len(expected))
        rows = hparams_table(watched, address)
        assert rows.keys() == expected.keys()
        for name, trial in expected.items():
            row = rows[name]
            assert row.keys() >= HEADINGS[kind] | {"accuracy", "train accuracy", "loss"}
            assert all(row[heading] for heading in HEADINGS[kind])
            assert float(row["best macro-F1"]) == pytest.approx(trial.value, abs=1e-4)
            assert float(row["best epoch"]) == trial.user_attrs["best_epoch"]
        assert_quiet(watched, address)


@requires_chromium
def test_page_draws_the_curves_of_all_studies(
    trained: dict[str, Trained], processes: ProcessServer, chromium: Browser
) -> None:
    place = trained["search"].session.config.storage
    where = ["--storage", place.url, "--runs", str(place.runs)]
    with (
        served(processes, "tensorboard", *where, "--all", folder=place.runs) as address,
        watched_page(chromium, height=2000) as watched,
    ):
        expected = [folder for study in trained.values() for _, _, folder in study.runs()]
        wait_for_runs(address, len(expected))
        runs, groups = time_series(watched, address)
        assert {str(folder.relative_to(place.runs)) for folder in expected} <= set(runs)
        assert {tag.partition("/")[0] for tag in CURVES} <= set(groups)
        assert_quiet(watched, address)


def test_killed_run_shows_each_epoch_once(processes: ProcessServer, tmp_path: Path) -> None:
    pictures = write_pictures(tmp_path / "pictures", n_per_class=100)
    settings = small_settings(pictures, tmp_path / "cache")
    study = SmallStudy(processes, tmp_path, f"sqlite:///{tmp_path}/study.db", settings)
    study = study.with_settings(optimization={"batch_size": 4}).init()
    for least in (1, 2):
        worker = study.start_worker()
        worker.wait_for_epoch(least)
        time.sleep(0.1 * least)
        worker.kill()
    study.work()
    study.assert_whole(1)
    events = read_back(study.trial_paths(0).tensorboard)
    assert_each_epoch_once(events, 4)
    assert len(events.Scalars("hparam/best/macro_f1")) == 1
