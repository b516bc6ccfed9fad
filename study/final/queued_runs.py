"""The queue of a study's final runs: which runs a command adds to it, and what it must not change.

Runs that one command queues are a group: `seeds` runs of the winner, then as many of the control,
if there is one. A run that fails has not seen the test split, so another seed takes its role.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from storage.final_groups import (
    CONTROL,
    SEARCHED_TRIAL,
    TEST_REASON,
    WINNER,
    FinalGroup,
    role_of,
)
from storage.optuna_rows import FIXED_PARAMS, SLOT
from storage.own_study import own_trials
from storage.test_evaluations import read_tests
from storage.trial_rows import TrialRow
from study.configuration.points import SEED
from study.confirmation.candidates import find_control, is_same
from study.creation.queue import Point
from study.errors import ProtocolError
from study.session.session import StudySession, final_name
from study.session.suggested_commands import suggest_command
from study.trial.identity import final_seed

FIRST_REASON = "the first final run of the study"
UNKNOWN_TRIAL = -1
FAILED = (TrialState.FAIL, TrialState.PRUNED)


@dataclass(frozen=True)
class Plan:
    """What a command asks of the final runs of a study.

    Attributes:
        session: The searched study.
        winner: Its winner.
        reopen: Why another run may see the test split after an earlier one has.
        seeds: Runs of each configuration; None: as queued, or as configured.
        with_control: Whether the configured values are asked for beside the winner.
    """

    session: StudySession
    winner: TrialRow
    reopen: str | None
    seeds: int | None
    with_control: bool

    @property
    def reason(self) -> str:
        """Why its runs may see the test split."""
        return self.reopen or FIRST_REASON

    def new_group(self, first_slot: int, *, like: FinalGroup | None = None) -> list[Point]:
        """Return the slots of a group.

        Args:
            first_slot: Position of the first.
            like: A group that has failed as a whole, whose size counts where none is asked for.
        """
        configured = self.session.config.final.seeds
        group = FinalGroup(
            first_slot,
            seeds=self.seeds or (like.seeds if like else configured),
            with_control=self.with_control or (like is not None and like.with_control),
        )
        return self._points(group, group.roles, first_slot)

    def completed(
        self, group: FinalGroup, members: Sequence[FrozenTrial], first_slot: int
    ) -> list[Point]:
        """Return the slots that a group lacks, in the place of those that failed.

        Args:
            group: The group.
            members: Its runs.
            first_slot: Position of the first slot to add.
        """
        return self._points(group, missing_roles(members), first_slot, like=members)

    def _points(
        self,
        group: FinalGroup,
        roles: Sequence[str],
        first_slot: int,
        like: Sequence[FrozenTrial] = (),
    ) -> list[Point]:
        points = []
        for slot, role in enumerate(roles, start=first_slot):
            same = next((run for run in like if role_of(run.user_attrs) == role), None)
            begins = self._begin(role) if same is None else _begin_again(same)
            seed = final_seed(begins.params.get(SEED, self.session.config.seed), slot)
            attributes = {**begins.attributes, **group.attributes(role, seed=seed)}
            points.append(Point(begins.params, attributes))
        return points

    def _begin(self, role: str) -> Point:
        params: Mapping[str, Any] = self.winner.params
        trial = self.winner.number
        if role == CONTROL:
            control = find_control(self.session)
            params = control.params
            trial = UNKNOWN_TRIAL if control.trial is None else control.trial
        return Point(params, {SEARCHED_TRIAL: trial, TEST_REASON: self.reason})

    def is_queued_as(self, run: FrozenTrial) -> bool:
        """Return whether a run of the winner is what the command asks for."""
        noted = run.user_attrs
        is_winner = noted[SEARCHED_TRIAL] == self.winner.number
        return is_winner and self.reopen in (None, noted[TEST_REASON])

    def reject_other(self, group: FinalGroup) -> None:
        """Reject another size than that of the group that is continued.

        Raises:
            ProtocolError: If other seeds were asked for, or a control that was not queued.
        """
        if self.seeds not in (None, group.seeds):
            rule = f"--seeds must be {group.seeds}, as the final runs were queued"
            raise ProtocolError(f"{rule}, got {self.seeds}: {_REMEDY}")
        if self.with_control and not group.with_control:
            rule = "--with-control must be given when the final runs are queued"
            raise ProtocolError(f"{rule}, these have no control: {_REMEDY}")


_REMEDY = "leave it out to continue them, or add `--reopen REASON` for others after their test"


def next_points(plan: Plan, runs: Sequence[FrozenTrial], budget: int) -> list[Point]:
    """Return the slots that a plan adds to the queue; none where it only continues.

    Args:
        plan: What is asked for.
        runs: All final runs, in the order of their slots.
        budget: Slots of the queue. A command that was cut off has left more runs: the first of
            the returned points stand for these.

    Raises:
        ProtocolError: If it differs from what is queued, and no reason is given.
    """
    beyond = [run for run in runs if slot_of(run) >= budget]
    first_slot = budget + len(beyond)
    return [Point({}, {})] * len(beyond) + _added(plan, runs, first_slot)


def _added(plan: Plan, runs: Sequence[FrozenTrial], first_slot: int) -> list[Point]:
    if not runs:
        return plan.new_group(first_slot)
    members = newest_group(runs)
    group = FinalGroup.of(slot_of(members[0]), members[0].user_attrs)
    if not is_tested(plan.session, members):
        if not not_failed(members):
            return plan.new_group(first_slot, like=group)
        if missing_roles(members) or not all(run.state.is_finished() for run in members):
            plan.reject_other(group)
            return plan.completed(group, members, first_slot)
    winner = next(run for run in members if role_of(run.user_attrs) == WINNER)
    if plan.is_queued_as(winner) and not missing_roles(members):
        plan.reject_other(group)
        return []
    if plan.reopen is None:
        raise ProtocolError(
            f"the final run of study {plan.session.protocol.study_name!r} is that of trial "
            f"{winner.user_attrs[SEARCHED_TRIAL]}, the winner is now trial {plan.winner.number}: "
            "add `--reopen REASON` for another final run"
        )
    return plan.new_group(first_slot)


def read_queue(session: StudySession) -> list[FrozenTrial]:
    """Return the final runs of a study in the order of their slots.

    Args:
        session: The searched study, or its queue of final runs.
    """
    handle = session.storage_handle
    names = {study.study_name: study._study_id for study in handle.get_all_studies()}
    study_id = names.get(final_name(session.searched_name))
    if study_id is None:
        return []
    return sorted(own_trials(handle.get_all_trials(study_id)), key=slot_of)


def describe_runs(final: StudySession) -> list[str]:
    """Return what was queued, in lines, where the newest group has several runs.

    Args:
        final: The queue of final runs.
    """
    members = not_failed(newest_group(read_queue(final)))
    if len(members) < 2:
        return []
    seeds = {
        role: [str(run.user_attrs["seed"]) for run in members if role_of(run.user_attrs) == role]
        for role in (WINNER, CONTROL)
    }
    parts = [
        f"{len(found)} of {what} (seeds {', '.join(found)})"
        for what, found in (("the winner", seeds[WINNER]), ("the control", seeds[CONTROL]))
        if found
    ]
    name, place = final.protocol.study_name, final.config.storage
    help_out = suggest_command("worker", "--name", name, storage=place)
    return [
        f"{len(members)} final runs, one after the other: {'; '.join(parts)}; the model is that "
        "of the first",
        f"other machines may train some of them: `{help_out}`",
    ]


def queued_trial(final: StudySession) -> int:
    """Return the number of the searched trial that the newest group repeats.

    Args:
        final: The queue of final runs.
    """
    members = newest_group(read_queue(final))
    winner = next(run for run in members if role_of(run.user_attrs) == WINNER)
    return int(winner.user_attrs[SEARCHED_TRIAL])


def newest_group(runs: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the runs of the group that was queued last, in the order of their slots."""
    groups = [FinalGroup.of(slot_of(run), run.user_attrs) for run in runs]
    newest = max(group.first_slot for group in groups)
    return [run for run, one in zip(runs, groups, strict=True) if one.first_slot == newest]


def not_failed(members: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Return the runs that are complete, or may become so."""
    return [run for run in members if run.state not in FAILED]


def missing_roles(members: Sequence[FrozenTrial]) -> list[str]:
    """Return the roles that the runs of a group leave open, those of failed runs among them."""
    group = FinalGroup.of(slot_of(members[0]), members[0].user_attrs)
    return group.missing(role_of(run.user_attrs) for run in not_failed(members))


def is_tested(session: StudySession, runs: Sequence[FrozenTrial]) -> bool:
    """Return whether a test of any of these runs was claimed."""
    tests = read_tests(session.storage_handle.database, session.searched_name)
    return not {test.trial_id for test in tests}.isdisjoint(run._trial_id for run in runs)


def slot_of(run: FrozenTrial) -> int:
    """Return the position of a run in the queue."""
    return int(run.user_attrs[SLOT])


def is_control(session: StudySession, winner: TrialRow) -> bool:
    """Return whether the winner has the configured values, so that nothing is beside it."""
    return is_same(winner.params, find_control(session).params)


def _begin_again(run: FrozenTrial) -> Point:
    noted = run.user_attrs
    kept = {name: noted[name] for name in (SEARCHED_TRIAL, TEST_REASON)}
    return Point(_params(run), kept)


def _params(trial: FrozenTrial) -> dict[str, Any]:
    given: dict[str, Any] = trial.system_attrs.get(FIXED_PARAMS, {})
    return given | trial.params
