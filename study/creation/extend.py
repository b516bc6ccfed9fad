"""Adding to the budget of a study that exists."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from storage.addresses import parse_url
from storage.budget import Budget
from storage.init_lock import initialising
from storage.optuna_rows import FIXED_PARAMS
from storage.orphaned_rows import remove_orphans
from storage.records import raise_amount, raise_budget, read_protocol
from study.configuration.spaces.nearest import nearest_params
from study.creation.queue import Point, build_points, fill_queue, nearest_point
from study.errors import StudyError
from study.session.enqueue import adopt_all
from study.session.session import StudySession
from study.trial.dashboard_notes import note_study


def extend_budget(session: StudySession, more: Budget) -> StudySession:
    """Add to the budget of a study; return the study with its larger budget.

    Trials are added to the queue; where epochs or hours are counted, it grows by itself.

    Args:
        session: The study.
        more: How much to add.

    Raises:
        StudyError: If the budget has another unit, or the study is one of given points and has
            not so many more.
    """
    fixed = session.protocol.limit
    if more.unit != fixed.unit:
        raise StudyError(
            f"--{more.unit} must be the unit of the budget, study {session.protocol.study_name!r} "
            f"has {fixed}: add to it with --{fixed.unit}"
        )
    if more.unit != "trials":
        return _extend_amount(session, more.amount)
    n_more = int(more.amount)

    def from_slot(first: int) -> Sequence[Point]:
        points = build_points(session.config, range(first, first + n_more))
        return points if _has_nearest(session) else [nearest_point(session.config), *points[1:]]

    return extend_from(session, from_slot)


def _has_nearest(session: StudySession) -> bool:
    """Return whether the configured values are a trial of a study, or it has given points."""
    nearest = nearest_params(session.config)
    trials = session.optuna_study().get_trials(deepcopy=False)
    return not nearest or any(
        trial.system_attrs.get(FIXED_PARAMS, {}) | trial.params == nearest for trial in trials
    )


def _extend_amount(session: StudySession, more: float) -> StudySession:
    database, name = session.storage_handle.database, session.protocol.study_name
    with initialising(parse_url(session.config.storage.url)):
        amount = read_protocol(database, name).limit.amount + more
        database.write(lambda connection: raise_amount(connection, name, amount))
        session = replace(session, protocol=read_protocol(database, name))
    note_study(session)
    return session


def extend(session: StudySession, points: Sequence[Point]) -> StudySession:
    """Add given slots to the queue of a study; return the study with its larger budget."""
    return extend_from(session, lambda _first: points)


def extend_from(
    session: StudySession, from_slot: Callable[[int], Sequence[Point]]
) -> StudySession:
    """Add slots to the queue of a study; return the study with its larger budget.

    Args:
        session: The study.
        from_slot: Called under the init lock with the number of slots that are there; returns
            those to add.
    """
    name = session.protocol.study_name
    database = session.storage_handle.database
    with initialising(parse_url(session.config.storage.url)):
        adopt_all(session)
        protocol = read_protocol(database, name)
        points = from_slot(protocol.budget)
        remove_orphans(database)
        larger = replace(protocol, budget=protocol.budget + len(points))
        # The trials first: a crash in between leaves slots that the same command finds again.
        fill_queue(session.optuna_study(), points, first_slot=protocol.budget)
        raise_budget(database, name, larger.budget)
    session = replace(session, protocol=larger)
    note_study(session)
    return session
