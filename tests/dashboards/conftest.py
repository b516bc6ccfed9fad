"""A small real study: six queued trials in every state, in a SQLite file."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from storage.leases import acquire
from storage.process_identity import Owner
from storage.records import (
    IMPORTED_FROM,
    EpochRecord,
    Protocol,
    add_protocol,
    copy_epochs,
    put_epoch,
)
from storage.study_storage import StudyStorage, create_study_storage, open_study_storage

STUDY_NAME = "pets"
CLASS_NAMES = ["cat", "<script>alert(1)</script>", "$dog_1$"]
N_EPOCHS = 4
DISTRIBUTIONS: dict[str, optuna.distributions.BaseDistribution] = {
    "learning_rate": optuna.distributions.FloatDistribution(1e-3, 1.0, log=True),
    "blocks_1": optuna.distributions.IntDistribution(1, 4),
    "blocks_2": optuna.distributions.IntDistribution(1, 4),
    "blocks_3": optuna.distributions.IntDistribution(1, 4),
    "dropout": optuna.distributions.FloatDistribution(0.0, 0.5),
}

Record = Callable[..., EpochRecord]


def build_record(epoch: int, macro_f1: float = 0.5) -> EpochRecord:
    return EpochRecord(
        epoch=epoch,
        train_loss=2.0 / epoch,
        train_accuracy=0.4,
        train_top5_accuracy=0.8,
        train_macro_f1=0.35,
        validation_loss=2.5 / epoch,
        validation_accuracy=0.3,
        validation_top5_accuracy=0.7,
        validation_macro_f1=macro_f1,
        learning_rate=0.05,
        gradient_norm=1.5,
        seconds=10.0,
        images_per_second=900.0,
    )


@pytest.fixture
def record() -> Record:
    return build_record


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a study whose trials all wait."""
    file = tmp_path_factory.mktemp("empty") / "study.db"
    opened = create_study_storage(f"sqlite:///{file}", outage_seconds=5)
    optuna_study = optuna.create_study(study_name=STUDY_NAME, storage=opened, direction="maximize")
    for slot in range(6):
        optuna_study.enqueue_trial({}, user_attrs={"slot": slot})
    add_protocol(opened.database, _protocol())
    opened.engine.dispose()
    return file


@pytest.fixture(scope="session")
def searched_file(empty_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with two complete, one pruned, one failed, one running and one waiting trial."""
    file = tmp_path_factory.mktemp("searched") / "study.db"
    with _opened_copy(empty_file, file) as opened:
        _search(opened)
    return file


@contextmanager
def _opened_copy(file: Path, copy: Path) -> Iterator[StudyStorage]:
    shutil.copy(file, copy)
    opened = open_study_storage(f"sqlite:///{copy}", outage_seconds=5)
    yield opened
    opened.engine.dispose()


@pytest.fixture
def empty_study(empty_file: Path, tmp_path: Path) -> Iterator[StudyStorage]:
    with _opened_copy(empty_file, tmp_path / "empty.db") as opened:
        yield opened


@pytest.fixture
def searched_study(searched_file: Path, tmp_path: Path) -> Iterator[StudyStorage]:
    with _opened_copy(searched_file, tmp_path / "searched.db") as opened:
        # The file was made once for all tests; whoever runs in it has just sent a heartbeat.
        # By the database's clock, which counts milliseconds: no heartbeat may be later than now.
        with opened.engine.begin() as connection:
            now = opened.database.now(connection)
            connection.exec_driver_sql("UPDATE attempts SET beat_at = ?", (now,))
        yield opened


def _protocol() -> Protocol:
    baseline = {"accuracy": 1 / 3, "macro_f1": 1 / 6}
    return Protocol(
        study_name=STUDY_NAME,
        budget=6,
        configuration={
            "name": STUDY_NAME,
            "seed": 7,
            "data": {"source": "synthetic", "image_size": 32},
            "search": {
                "space": "joint",
                "budget": {"trials": 6},
                "n_epochs": N_EPOCHS,
                "sampler": "tpe",
            },
            "storage": {"url": "postgresql+psycopg://me:hunter2@db/x"},
        },
        fingerprint="f" * 64,
        facts={
            "data_fingerprint": "d" * 64,
            "class_names": CLASS_NAMES,
            "n_examples": {"train": 90, "validation": 10, "test": 10},
            "baselines": {"majority": baseline, "random": baseline},
            "versions": {"torch": "2.11.0", "optuna": "5.0.0"},
            "git_revision": "0123abc",
        },
    )


def _search(opened: StudyStorage) -> None:
    sampler = optuna.samplers.RandomSampler(seed=7)
    optuna_study = optuna.load_study(study_name=STUDY_NAME, storage=opened, sampler=sampler)
    scores = ([0.2, 0.4, 0.35, 0.3], [0.3, 0.5, 0.6, 0.61], [0.1, 0.15], [], [0.25])
    for curve in scores:
        trial = optuna_study.ask(DISTRIBUTIONS)
        for epoch, score in enumerate(curve, start=1):
            trial.report(score, epoch)
            put(opened, trial._trial_id, build_record(epoch, score))
        trial.set_user_attr("host", "node[1]")
        if trial.number == 2:
            trial.set_user_attr("reason", {"kind": "pruned", "message": "below the median"})
            optuna_study.tell(trial, state=TrialState.PRUNED)
        elif trial.number == 3:
            trial.set_user_attr("reason", {"kind": "exception", "message": "<b>no memory</b>"})
            optuna_study.tell(trial, state=TrialState.FAIL)
        elif trial.number == 4:
            acquire(opened.database, trial._trial_id, Owner.current())
        else:
            trial.set_user_attr("best_epoch", curve.index(max(curve)) + 1)
            optuna_study.tell(trial, max(curve))


def put(handle: StudyStorage, trial_id: int, record: EpochRecord) -> None:
    handle.database.write(lambda connection: put_epoch(connection, trial_id, record))


@pytest.fixture
def forked_study(searched_study: StudyStorage) -> StudyStorage:
    """The searched study with a complete trial more, which another study ran."""
    optuna_study = optuna.load_study(study_name=STUDY_NAME, storage=searched_study)
    first = optuna_study.get_trials()[0]
    first.values = [0.7]
    first.user_attrs = {IMPORTED_FROM: {"study": "older", "trial": 3}}
    trial_id = searched_study.create_new_trial(optuna_study._study_id, first)
    copy_epochs(searched_study.database, {first._trial_id: trial_id})
    with searched_study.engine.begin() as connection:
        origin = '{"study": "older"}'
        connection.exec_driver_sql(
            "UPDATE protocols SET facts = json_set(facts, '$.forked_from', json(?))", (origin,)
        )
    return searched_study


@pytest.fixture
def final_trial_id(searched_study: StudyStorage) -> int:
    """Optuna's row number of a complete final run of trial 1, not yet tested."""
    final = optuna.create_study(
        study_name=f"{STUDY_NAME}-final", storage=searched_study, direction="maximize"
    )
    final.add_trial(
        create_trial(value=0.7, user_attrs={"slot": 0, "n_parameters": 1234, "best_epoch": 3})
    )
    trial_id = final.get_trials()[0]._trial_id
    for epoch, score in enumerate((0.5, 0.6, 0.7, 0.65), start=1):
        put(searched_study, trial_id, build_record(epoch, score))
    return trial_id
