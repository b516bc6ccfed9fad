import optuna

from storage.leases import acquire, read_endings
from storage.orphans import Orphans, count_orphans, remove_orphans
from storage.owners import Owner
from storage.records import EpochRecord, put_epoch, read_epochs
from storage.study_storage import StudyStorage


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
    assert count_orphans(handle.database) == Orphans(0, 0)
    optuna.delete_study(study_name="goes", storage=handle)
    assert count_orphans(handle.database) == Orphans(n_attempts=1, n_epochs=2)
    remove_orphans(handle.database)
    assert count_orphans(handle.database) == Orphans(0, 0)
    assert read_endings(handle.database, [1, 2]) == {1: [None]}
    assert list(read_epochs(handle.database, [1, 2])) == [1]
