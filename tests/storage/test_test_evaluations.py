import pytest

from storage.errors import StorageError
from storage.study_storage import StudyStorage
from storage.test_evaluations import (
    TestEvaluation,
    claim_tests,
    count_openings,
    finish_tests,
    read_tests,
)

GROUP = [TestEvaluation(number, "pets", 2, "the first", f"{number}" * 3) for number in (5, 6, 7)]


def test_claim_is_granted_once_for_each_final_run(handle: StudyStorage) -> None:
    claim = TestEvaluation(5, "pets", 2, "the first", "aaa")
    assert claim_tests(handle.database, [claim]) == [claim]
    assert claim_tests(handle.database, [claim])[0].metrics is None  # died before the evaluation
    finish_tests(handle.database, {5: {"macro_f1": 0.5}})
    assert claim_tests(handle.database, [claim])[0].metrics == {"macro_f1": 0.5}
    with pytest.raises(StorageError, match="--reopen REASON"):
        claim_tests(handle.database, [TestEvaluation(5, "pets", 2, "again", "bbb")])
    assert [row.reason for row in read_tests(handle.database, "pets")] == ["the first"]


def test_runs_that_claim_together_open_the_split_once(handle: StudyStorage) -> None:
    assert count_openings(handle.database, "pets") == 0
    for _ in range(2):
        assert claim_tests(handle.database, GROUP) == GROUP
        assert count_openings(handle.database, "pets") == 1
    for number, reason in ((8, "again"), (9, "once more")):  # however fast they follow
        claim_tests(handle.database, [TestEvaluation(number, "pets", 2, reason, "c")])
    assert count_openings(handle.database, "pets") == 3
    assert [row.trial_id for row in read_tests(handle.database, "pets")] == [5, 6, 7, 8, 9]
    assert count_openings(handle.database, "cars") == 0


def test_group_with_other_weights_of_one_run_claims_nothing(handle: StudyStorage) -> None:
    claim_tests(handle.database, GROUP[1:2])
    others = [*GROUP[:1], TestEvaluation(6, "pets", 2, "the first", "others"), *GROUP[2:]]
    with pytest.raises(StorageError, match="weights 666, not others"):
        claim_tests(handle.database, others)
    assert read_tests(handle.database, "pets") == GROUP[1:2]


def test_tests_are_finished_all_at_once(handle: StudyStorage) -> None:
    claim_tests(handle.database, GROUP)
    finish_tests(handle.database, {5: {"macro_f1": 0.5}, 7: {"macro_f1": 0.7}})
    found = [row.metrics for row in read_tests(handle.database, "pets")]
    assert found == [{"macro_f1": 0.5}, None, {"macro_f1": 0.7}]
