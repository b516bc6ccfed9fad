import optuna

from storage.leases import acquire, read_endings
from storage.orphaned_rows import remove_orphans
from storage.process_identity import Owner
from storage.records import (
    EpochRecord,
    put_epoch,
    read_epochs,
)
from storage.study_storage import StudyStorage
from storage.test_evaluations import (
    TestEvaluation,
    claim_tests,
    finish_tests,
    read_tests,
)


def test_orphans_are_the_rows_of_deleted_trials_only(handle: StudyStorage) -> None:
    for name in ("stays", "goes"):
        number = optuna.create_study(study_name=name, storage=handle).ask()._trial_id
        for epoch in (1, 2):
            record = EpochRecord(epoch, *(0.5,) * 12)
            handle.database.write(
                lambda connection, number=number, record=record: put_epoch(
                    connection, number, record
                )
            )
        acquire(handle.database, number, Owner.current())
    optuna.delete_study(study_name="goes", storage=handle)
    assert len(read_epochs(handle.database, [1, 2])) == 2
    remove_orphans(handle.database)
    assert read_endings(handle.database, [1, 2]) == {1: [None]}
    assert list(read_epochs(handle.database, [1, 2])) == [1]


def test_test_of_a_deleted_run_is_remembered_but_stands_in_no_later_ones_way(
    handle: StudyStorage,
) -> None:
    for weights in ("aaa", "bbb", "ccc"):
        remove_orphans(handle.database)
        run = optuna.create_study(study_name="pets-final", storage=handle).ask()._trial_id
        assert run == 1  # SQLite's again
        claim = TestEvaluation(run, "pets", 2, "the first", weights)
        assert claim_tests(handle.database, [claim]) == [claim]
        finish_tests(handle.database, {run: {"macro_f1": 0.5}})
        optuna.delete_study(study_name="pets-final", storage=handle)
    tests = read_tests(handle.database, "pets")
    assert [test.checkpoint_sha256 for test in tests] == ["aaa", "bbb", "ccc"]
    assert [test.trial_id for test in tests] == [-1, -2, 1]
