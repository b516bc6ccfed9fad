"""Claims of final runs on the test split: a row each, made before the split is opened.

Runs that were queued together claim it in one transaction, for it is opened once for all of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, func, select

from storage.database import Database
from storage.errors import StorageError
from storage.tables import test_evaluations

CLOCK_STEP_SECONDS = 1e-3
"""By how much the claims of two openings differ at least, whatever the database's clock says."""


@dataclass(frozen=True)
class TestEvaluation:
    """The one test evaluation of a final run.

    Attributes:
        trial_id: Optuna's row number of the final run; negative once that was deleted.
        study_name: Name of the searched study.
        searched_trial: Number of the trial that won the search.
        reason: Why the test split was opened.
        checkpoint_sha256: Hash of the weights that were tested.
        metrics: loss, accuracy, top5_accuracy and macro_f1; None until the evaluation is through.
    """

    __test__ = False  # pytest, this is no test

    trial_id: int
    study_name: str
    searched_trial: int
    reason: str
    checkpoint_sha256: str
    metrics: dict[str, float] | None = None


def claim_tests(database: Database, claims: Sequence[TestEvaluation]) -> list[TestEvaluation]:
    """Claim the one test evaluation of each of some final runs, all of them or none.

    Args:
        database: Where the claims are.
        claims: Of runs of one study, which are tested together.

    Returns:
        The claims; or, where they were made before by the same weights, those with their metrics.

    Raises:
        StorageError: If other weights were tested for one of these final runs already.
    """

    def insert(connection: Connection) -> list[TestEvaluation]:
        ids = [claim.trial_id for claim in claims]
        mine = select(test_evaluations).where(test_evaluations.c.trial_id.in_(ids))
        rows = connection.execute(mine).mappings().all()
        found = {row["trial_id"]: _test_evaluation(row) for row in rows}
        for claim in claims:
            _reject_other_weights(claim, found.get(claim.trial_id, claim))
        new = [claim for claim in claims if claim.trial_id not in found]
        if new:
            claimed_at = _next_time(database, connection, new[0].study_name)
            values = [asdict(claim) | {"claimed_at": claimed_at} for claim in new]
            connection.execute(test_evaluations.insert(), values)
        return [found.get(claim.trial_id, claim) for claim in claims]

    return database.write(insert)


def _next_time(database: Database, connection: Connection, study_name: str) -> float:
    """Return the time of a claim, later than those of all other openings of the split."""
    last = select(func.max(test_evaluations.c.claimed_at)).where(
        test_evaluations.c.study_name == study_name
    )
    before = connection.execute(last).scalar()
    now = database.now(connection)
    return now if before is None else max(now, before + CLOCK_STEP_SECONDS)


def _reject_other_weights(claim: TestEvaluation, found: TestEvaluation) -> None:
    if found.checkpoint_sha256 != claim.checkpoint_sha256:
        raise StorageError(
            f"the test split was opened for this final run with weights "
            f"{found.checkpoint_sha256[:12]}, not {claim.checkpoint_sha256[:12]}: "
            "start another final run with `study final --reopen REASON`"
        )


def finish_tests(database: Database, metrics: Mapping[int, Mapping[str, float]]) -> None:
    """Store the metrics of claimed test evaluations, by trial id, all of them or none."""

    def store(connection: Connection) -> None:
        for trial_id, values in metrics.items():
            mine = test_evaluations.c.trial_id == trial_id
            change = test_evaluations.update().where(mine).values(metrics=dict(values))
            connection.execute(change)

    database.write(store)


def read_tests(database: Database, study_name: str) -> list[TestEvaluation]:
    """Return every test evaluation of a study, oldest first."""
    order = (test_evaluations.c.claimed_at, test_evaluations.c.trial_id)
    wanted = (
        select(test_evaluations)
        .where(test_evaluations.c.study_name == study_name)
        .order_by(*order)
    )
    rows = database.read(lambda connection: connection.execute(wanted).mappings().all())
    return [_test_evaluation(row) for row in rows]


def count_openings(database: Database, study_name: str) -> int:
    """Return how often the test split of a study was opened: runs that claim together, once."""
    times = select(func.count(func.distinct(test_evaluations.c.claimed_at))).where(
        test_evaluations.c.study_name == study_name
    )
    return database.read(lambda connection: connection.execute(times).scalar_one())


def _test_evaluation(row: Any) -> TestEvaluation:
    values = dict(row)
    del values["claimed_at"]
    return TestEvaluation(**values)
