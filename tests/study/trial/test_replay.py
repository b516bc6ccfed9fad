"""Trials trained anew: a real study of every kind of trial, which must stay as it is."""

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace as changed
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.trial import TrialState

from model.training_state import EpochResult
from storage.records import EpochRecord, put_epoch, read_epochs
from storage.trial_rows import best_complete, read_trials
from study.configuration.config import Request, validated
from study.creation.create import initialise
from study.errors import StudyError
from study.final.final_run import open_final
from study.session.location import Location
from study.session.session import StudySession, final_name, open_session
from study.stop_signal import StopFlag, StopRequested
from study.trial.replay import describe_replay, find_difference, read_recorded_trial, replay
from tests.study.conftest import Call
from tests.study.workers.test_worker import StopAfter, work
from tests.tools.pictures import write_pictures
from tests.tools.searches import record
from tests.tools.studies import NAME, small_settings

N_TRIALS, N_EPOCHS = 3, 3
WAITING = N_TRIALS
PRUNING = {
    "budget": {"trials": N_TRIALS},
    "n_epochs": N_EPOCHS,
    "pruner": "percentile",
    "pruner_percentile": 1.0,
    "pruner_startup_trials": 1,
    "pruner_warmup_epochs": 1,
}


@pytest.fixture(autouse=True)
def _same_threads() -> Iterator[None]:
    n_threads = torch.get_num_threads()
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study: its first trial was resumed twice, another is pruned, one waits."""
    folder = tmp_path_factory.mktemp("searched")
    settings = small_settings(
        write_pictures(folder / "pictures", n_per_class=12), folder / "cache"
    )
    settings["search"] |= PRUNING
    settings["optimization"]["ema_decay"] = 0.9
    settings["final"] = {"n_epochs": 2, "image_size": 12}
    settings["storage"] |= {"url": f"sqlite:///{folder}/study.db", "runs": str(folder / "runs")}
    session = initialise(validated(settings))
    said = work(session, StopAfter(8)) + work(session, StopAfter(8))
    assert session.optuna_study().trials[0].state == TrialState.WAITING and said
    work(session)
    best = best_complete(read_trials(session.storage_handle, NAME))
    assert best is not None
    work(open_final(session, best, reopen=None))
    session.optuna_study().add_trial(
        optuna.create_trial(state=TrialState.WAITING, user_attrs={"slot": N_TRIALS})
    )
    session.location.close()
    return folder


@pytest.fixture
def copied(searched: Path, tmp_path: Path) -> Path:
    """Another database of the same study, which a test may change."""
    shutil.copy(searched / "study.db", tmp_path / "study.db")
    return tmp_path / "study.db"


@contextmanager
def opened(database: Path, name: str = NAME, **options: Any) -> Iterator[StudySession]:
    request = Request(options={"storage.url": f"sqlite:///{database}", **options})
    with Location(request.location().storage, read_only=True) as location:
        yield open_session(request, name, location=location)


def repeat(
    session: StudySession, number: int, *, threads: int = 1, stop: StopFlag | None = None
) -> tuple[str, list[int]]:
    """Return what is said of a trial that is trained anew, and the epochs that are."""
    said: list[EpochResult] = []
    found = replay(
        session,
        read_recorded_trial(session, number),
        threads=threads,
        stop=stop or StopFlag(),
        announce=said.append,
    )
    return "\n".join(describe_replay(found, "it")), [result.epoch for result in said]


def change(database: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        assert connection.execute(statement, values).rowcount == 1


def set_attribute(database: Path, number: int, key: str, value: object) -> None:
    where = (
        "key = ? AND trial_id = (SELECT trial_id FROM trials WHERE number = ? AND study_id = 1)"
    )
    statement = f"UPDATE trial_user_attributes SET value_json = ? WHERE {where}"
    change(database, statement, json.dumps(value), key, number)


def snapshot(folder: Path) -> tuple[list[str], dict[Path, tuple[int, bytes]]]:
    """Return every row of the database, and every file of the runs with time and content."""
    with closing(sqlite3.connect(folder / "study.db")) as connection:
        rows = list(connection.iterdump())
    paths = [path for path in (folder / "runs").rglob("*") if path.is_file()]
    return rows, {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def trials_of(session: StudySession, state: TrialState) -> list[int]:
    return [one.number for one in session.optuna_study().get_trials(states=(state,))]


def test_every_trial_and_the_final_run_are_bit_identical_and_nothing_changes(
    searched: Path, call: Call
) -> None:
    before = snapshot(searched)
    with opened(searched / "study.db") as session:
        complete, pruned = (
            trials_of(session, state) for state in (TrialState.COMPLETE, TrialState.PRUNED)
        )
        assert 0 in complete and pruned
        n_recorded = len(read_recorded_trial(session, pruned[0]).epochs)
        assert n_recorded < N_EPOCHS
        for number, n_epochs in ((0, N_EPOCHS), (pruned[0], n_recorded)):
            said, epochs = repeat(session, number)
            assert epochs == list(range(1, n_epochs + 1))
            shown = f"it is bit-identical: every figure of {n_epochs} epoch"
            assert said.startswith(shown) and ", and the weights after the last (" in said
            assert "\n" not in said
    place = ("--storage", f"sqlite:///{searched}/study.db", "--runs", str(searched / "runs"))
    ended = call("replay", "final", *place)
    assert ended.code == 0, ended.err
    *shown_epochs, answer = ended.out.splitlines()
    assert answer.startswith("final run 0 is bit-identical: every figure of 2 epochs, and")
    assert [line[:33] for line in shown_epochs] == [
        f"replay of final run 0 epoch {n}/2: "[:33] for n in (1, 2)
    ]
    assert snapshot(searched) == before


def test_first_figure_that_differs_is_named_with_both_values(copied: Path, call: Call) -> None:
    with opened(copied) as session:
        old = read_epochs(session.storage_handle.database, [1])[1][1].validation_loss
    new = old * (1 + 1e-15)
    assert new != old
    change(copied, "UPDATE epochs SET validation_loss = ? WHERE trial_id = 1 AND epoch = 2", new)
    ended = call("replay", "0", "--storage", f"sqlite:///{copied}")
    assert ended.code == 1 and ended.err == ""
    lines = ended.out.splitlines()
    assert [line.partition(":")[0] for line in lines[:2]] == [
        f"replay of trial 0 epoch {epoch}/{N_EPOCHS}" for epoch in (1, 2)
    ]
    assert lines[2] == (
        "trial 0 differs from its record in epoch 2: "
        f"validation_loss is {new!r} there, {old!r} here"
    )
    assert lines[3].startswith("nothing that is recorded is different here: code, data, versions")


def test_weights_that_differ_are_named_where_every_figure_is_equal(copied: Path) -> None:
    set_attribute(copied, 0, "last_weights", {"epoch": N_EPOCHS, "sha256": "0" * 64})
    with opened(copied) as session:
        said, epochs = repeat(session, 0)
    assert len(epochs) == N_EPOCHS
    assert said.startswith(f"it differs from its record in weights after epoch {N_EPOCHS}: ")
    assert f"their SHA-256 is {'0' * 64} there, " in said


def test_hash_of_an_earlier_epoch_is_not_compared(copied: Path) -> None:
    set_attribute(copied, 0, "last_weights", {"epoch": N_EPOCHS - 1, "sha256": "0" * 64})
    with opened(copied) as session:
        said, _ = repeat(session, 0)
    assert said.startswith(f"it is bit-identical in every figure of {N_EPOCHS} epochs; the hash")


def test_what_is_different_here_is_named(copied: Path) -> None:
    execution = {"device_model": "Abacus", "precision": "bfloat16", "threads": 64}
    set_attribute(copied, 0, "execution", execution)
    set_attribute(copied, 0, "versions", {"torch": "0.1"})
    set_attribute(copied, 0, "git_revision", "0123abc")
    set_attribute(copied, 0, "source_digest", "0123")
    set_attribute(copied, 0, "device", "cuda:3")
    change(copied, "UPDATE epochs SET train_loss = 9 WHERE trial_id = 1 AND epoch = 1")
    with opened(copied) as session:
        answer, different, unknown = repeat(session, 0)[0].splitlines()
    assert "epoch 1: train_loss is 9.0 there, " in answer
    for known in (
        "threads is 64 there, 1 here",
        "precision is 'bfloat16' there, 'float32' here",
        "device is 'cuda' there, 'cpu' here",
        "device_model is 'Abacus' there, ",
        "torch is '0.1' there, ",
        "git_revision is '0123abc' there, ",
        "source_digest is '0123' there, ",
    ):
        assert known in different
    assert "data_fingerprint" not in different
    assert unknown.startswith("not known: cpu_instructions, datasets, numpy, ")


def test_number_of_threads_is_named_whether_it_has_an_effect_or_not(searched: Path) -> None:
    with opened(searched / "study.db") as session:
        said, _ = repeat(session, 0, threads=2)
    assert "different here" in said.splitlines()[1]
    assert "threads is 1 there, 2 here" in said.splitlines()[1]


def test_trial_of_an_early_version_is_compared_by_its_figures(copied: Path) -> None:
    with closing(sqlite3.connect(copied)) as connection, connection:
        connection.execute(
            "DELETE FROM trial_user_attributes WHERE key IN ('last_weights', 'execution')"
        )
    with opened(copied) as session:
        assert repeat(session, 0)[0] == (
            f"it is bit-identical in every figure of {N_EPOCHS} epochs; "
            "the hash of its weights is not recorded"
        )
        assert "threads is 1 there, 2 here" in repeat(session, 0, threads=2)[0]


def test_other_data_are_named(searched: Path, copied: Path, tmp_path: Path) -> None:
    other = shutil.copytree(searched / "pictures", tmp_path / "others")
    for number in range(6):
        shutil.copy(other / "rows" / f"{number}.png", other / "dots" / f"{number}.png")
    with opened(copied, **{"data.source": str(other)}) as session:
        answer, different, *_ = repeat(session, 0)[0].splitlines()
    assert "differs from its record in epoch 1: " in answer
    fingerprint = "".join(different.split("data_fingerprint is '")[1:])
    assert " there, '" in fingerprint


def test_training_that_is_over_before_the_last_recorded_epoch_differs(copied: Path) -> None:
    change(
        copied,
        "INSERT INTO epochs SELECT trial_id, 4, "
        + ", ".join(name for name in EpochRecord.__dataclass_fields__ if name != "epoch")
        + " FROM epochs WHERE trial_id = 1 AND epoch = 3",
    )
    with opened(copied) as session:
        assert (
            "epoch 4: recorded there, the training is over before it here"
            in (repeat(session, 0)[0])
        )


def test_training_that_diverges_here_differs(tiny_settings: dict[str, Any]) -> None:
    settings = tiny_settings
    settings["search"] = {"budget": {"trials": 1}, "n_epochs": 2, "space": "fixed"}
    settings["optimization"] = {"learning_rate": 1e38, "warmup_epochs": 0}
    session = initialise(validated(settings))
    work(session)
    with pytest.raises(StudyError, match="TRIAL must have a recorded epoch, trial 0 is pruned"):
        read_recorded_trial(session, 0)
    session.storage_handle.database.write(
        lambda connection: put_epoch(connection, 1, record(1, 0.5))
    )
    said, _ = repeat(session, 0)
    assert "epoch 1: trained to its end there, diverges here (" in said
    assert "loss must be finite" in said
    assert "last_weights" not in session.optuna_study().trials[0].user_attrs


def test_stop_signal_ends_a_replay(searched: Path) -> None:
    with opened(searched / "study.db") as session, pytest.raises(StopRequested):
        repeat(session, 0, stop=StopAfter(8))


def give_to_another_program(database: Path) -> None:
    change(database, "DELETE FROM trial_user_attributes WHERE trial_id = 1 AND key = 'slot'")


def import_from_another_study(database: Path) -> None:
    change(
        database,
        "INSERT INTO trial_user_attributes (trial_id, key, value_json) VALUES (1, ?, ?)",
        "taken_over_from",
        json.dumps({"study": "older", "trial": 5}),
    )


@pytest.mark.parametrize(
    ("number", "spoil", "hint"),
    [
        (99, None, "one of the 4 trials of study 'small', whose numbers begin with 0, got 99"),
        (WAITING, None, "a recorded epoch, trial 3 is waiting and has none: `study trials --name"),
        (0, give_to_another_program, "our workers trained, trial 0 is of another program"),
        (0, import_from_another_study, "`study replay 5 --name older --storage sqlite:"),
    ],
)
def test_trial_that_cannot_be_repeated_is_rejected_in_one_line(
    copied: Path, call: Call, number: int, spoil: Callable[[Path], None] | None, hint: str
) -> None:
    if spoil is not None:
        spoil(copied)
    ended = call("replay", str(number), "--storage", f"sqlite:///{copied}")
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert hint in ended.err and "TRIAL must " in ended.err


def test_final_run_that_is_not_there_is_rejected_with_its_command(
    tiny_settings: dict[str, Any], call: Call
) -> None:
    session = initialise(validated(tiny_settings))
    url = session.config.storage.url
    ended = call("replay", "final", "--storage", url)
    assert ended.code == 2
    assert "study 'tiny' has a final run, it has none yet: train it with `study final" in ended.err


def test_final_run_is_found_by_the_name_of_its_queue_too(searched: Path) -> None:
    with opened(searched / "study.db", final_name(NAME)) as session:
        assert session.is_final
        assert read_recorded_trial(session, 0).identity.configuration.data.image_size == 12


def test_what_is_no_number_equals_itself_and_what_the_clock_says_does_not_count() -> None:
    one = record(1, 0.5)
    other = changed(one, seconds=99.0, images_per_second=1.0)
    assert find_difference(one, other) is None
    nothing: Any = None
    infinite = changed(one, gradient_norm=float("nan"))
    assert find_difference(changed(one, gradient_norm=nothing), infinite) is None
    assert find_difference(one, infinite) == "epoch 1: gradient_norm is 1.5 there, nan here"
