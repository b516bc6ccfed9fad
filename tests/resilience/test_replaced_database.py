"""A SQLite file that is removed or replaced under those who have it open."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import TrialState

from tests.tools.processes import wait_until
from tests.tools.studies import NAME, SmallStudy, opened

FILES = ("study.db", "study.db-wal", "study.db-shm")


def move_away(folder: Path) -> None:
    (folder / "away").mkdir()
    for name in FILES:
        if (folder / name).exists():
            (folder / name).rename(folder / "away" / name)


def move_back(folder: Path) -> None:
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
        if (folder / "away" / name).exists():
            (folder / "away" / name).rename(folder / name)


def replace(folder: Path) -> None:
    """Put another, equal file where the study's was."""
    move_away(folder)
    for path in (folder / "away").iterdir():
        shutil.copy(path, folder / path.name)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "harm", "said"),
    [
        ("worker", move_away, "removed"),
        ("worker", replace, "replaced"),
        ("run", move_away, "removed"),
    ],
)
def test_removed_database_stops_whoever_writes_and_is_gone_on_with_when_it_is_back(
    study: SmallStudy, command: str, harm: Callable[[Path], None], said: str
) -> None:
    study = study.with_settings(
        search={"budget": {"trials": 2}, "n_epochs": 6}, optimization={"batch_size": 4}
    ).init()
    harmed = study.processes.start(*study.arguments(command), folder=study.folder)
    logs = study.runs / NAME / "logs"
    wait_until(
        lambda: any("epoch 2/" in one.read_text() for one in (harmed.output, *logs.glob("*.log"))),
        "epoch 2",
        seconds=180,
    )
    harm(study.folder)
    assert harmed.wait(180) == 1, harmed.said()
    last = harmed.errors.read_text().splitlines()[-1]
    assert f"study.db was {said} since: nothing more is written" in last
    assert "is done" not in harmed.output.read_text()
    move_back(study.folder)
    assert TrialState.COMPLETE not in {trial.state for trial in study.trials()}
    study.work()
    study.assert_whole(2)


def test_every_transaction_on_a_replaced_file_is_rejected_and_vacuum_replaces_none(
    study: SmallStudy,
) -> None:
    study.init()
    with opened(study.url) as handle:
        with handle.engine.connect() as connection:
            connection.connection.driver_connection.execute("VACUUM")  # type: ignore[union-attr]
        (trial,) = handle.get_all_trials(1)
        replace(study.folder)
        for transact in (
            lambda: handle.database.read(lambda connection: None),
            lambda: handle.database.write(lambda connection: None),
            lambda: handle.set_trial_user_attr(trial._trial_id, "key", 1),
        ):
            with pytest.raises(Exception, match="was replaced since") as rejected:
                transact()
            assert rejected.value.exit_code == 1  # type: ignore[attr-defined]
        move_back(study.folder)
        handle.database.write(lambda connection: None)
