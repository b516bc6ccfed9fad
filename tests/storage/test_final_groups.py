from dataclasses import replace

from storage.final_groups import CONTROL, WINNER, FinalGroup, first_runs, role_of
from storage.trial_rows import TrialRow

ROW = TrialRow(
    trial_id=0,
    number=0,
    slot=0,
    state="complete",
    value=0.5,
    best_epoch=1,
    epochs_done=1,
    last_macro_f1=0.5,
    params={},
    reason=None,
    host=None,
    seconds=1.0,
    attributes={},
)


def run(slot: int, role: str, group: FinalGroup, *, state: str = "complete") -> TrialRow:
    noted = group.attributes(role, seed=slot)
    return replace(ROW, trial_id=slot, number=slot, slot=slot, state=state, attributes=noted)


def test_roles_are_the_winners_then_the_controls_and_those_missing_are_known() -> None:
    group = FinalGroup(0, seeds=2, with_control=True)
    assert group.roles == [WINNER, WINNER, CONTROL, CONTROL]
    assert group.missing([]) == group.roles
    assert group.missing([CONTROL, WINNER]) == [WINNER, CONTROL]
    assert group.missing([*group.roles, WINNER]) == []
    assert FinalGroup.of(3, group.attributes(CONTROL, seed=5)) == group
    assert FinalGroup.of(3, {}) == FinalGroup(3) and role_of({}) == WINNER


def test_first_run_is_the_first_named_winner_that_did_not_fail() -> None:
    old = replace(ROW, trial_id=9)
    group = FinalGroup(1, seeds=2, with_control=True)
    runs = [
        run(1, WINNER, group, state="failed"),
        replace(run(2, WINNER, group), value=0.1),
        replace(run(3, CONTROL, group), value=0.9),
        replace(run(4, WINNER, group), value=0.8),
    ]
    assert [row.trial_id for row in first_runs([*runs[::-1], old])] == [9, 2]
    assert [row.trial_id for row in first_runs(runs[:1])] == [1]
