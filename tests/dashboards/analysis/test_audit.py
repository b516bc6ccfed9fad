"""What became of trials that ran on though they were to be cut."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.analysis.audit import PruningAudit, audit_pruning, find_cuts, find_rungs
from storage.optuna_rows import AUDITED
from storage.records import IMPORTED_FROM, Protocol
from storage.trial_rows import TrialRow
from tests.dashboards.statuses import build_row

N_EPOCHS = 4


def row(number: int, *curve: float, audited: int | None = None, **known: Any) -> TrialRow:
    attributes = known.pop("attributes", {}) | ({AUDITED: audited} if audited else {})
    state = known.pop("state", "complete" if len(curve) == N_EPOCHS else "pruned")
    value = max(curve, default=None)
    return build_row(
        number,
        state=state,
        value=value,
        curve=curve,
        epochs_done=len(curve),
        attributes=attributes,
        **known,
    )


def flat(number: int, value: float, audited: int | None = None, **known: Any) -> TrialRow:
    return row(number, *[value] * N_EPOCHS, audited=audited, **known)


def test_nothing_is_said_without_an_audited_trial_that_has_ended() -> None:
    others = [flat(0, 0.5), row(1, 0.1)]
    running = row(2, 0.3, 0.3, audited=1, state="running")
    failed = row(3, 0.3, 0.3, audited=1, state="failed")
    for rows in ([], others, [*others, running], [*others, failed]):
        assert audit_pruning(rows, rungs=(), saved_epochs=3) is None


def test_nothing_is_said_where_no_other_trial_is_complete() -> None:
    rows = [flat(0, 0.5, audited=1), row(1, 0.1), row(2, 0.9, state="running")]
    assert audit_pruning(rows, rungs=(), saved_epochs=3) is None


def test_an_imported_trial_was_audited_elsewhere() -> None:
    mark = {IMPORTED_FROM: {"study": "old", "trial": 3}}
    rows = [flat(0, 0.5), flat(1, 0.9, audited=1, attributes=mark)]
    assert audit_pruning(rows, rungs=(), saved_epochs=0) is None


def test_audited_trials_are_compared_with_the_best_other_one_and_the_better_half() -> None:
    rows = [
        flat(0, 0.5),
        flat(1, 0.6),
        flat(2, 0.7, audited=1),
        flat(3, 0.55, audited=2),
        flat(4, 0.1, audited=3),
        row(5, 0.3, 0.2, audited=1, state="pruned", reason={"kind": "diverged", "message": "nan"}),
        row(6, 0.9),
    ]
    audit = audit_pruning(rows, rungs=(), saved_epochs=3)
    assert audit == PruningAudit(4, 1, 1, 3 + 2 + 1 + 1, 3)


def test_equal_to_the_best_is_not_better() -> None:
    rows = [flat(0, 0.5), flat(1, 0.5, audited=1)]
    audit = audit_pruning(rows, rungs=(), saved_epochs=0)
    assert audit is not None and (audit.n_winners, audit.n_better_half) == (0, 0)


def test_a_trial_that_would_have_gone_on_later_was_not_cut() -> None:
    alone = [flat(0, 0.8, audited=1), row(1, 0.1, state="paused")]
    # The better of two: it waits for the second only.
    assert find_cuts(alone, [1, 2]) == {0: 2}
    others = [row(number, 0.1, 0.1, 0.1, state="paused") for number in (2, 3)]
    assert find_cuts([*alone, *others], [1, 2]) == {}
    # By then 0.8 is in the worse half of the second rung.
    better = [flat(number, 0.9) for number in (4, 5)]
    assert find_cuts([*alone, *others, *better], [1, 2]) == {0: 2}
    assert find_cuts([*alone, *others, *better], []) == {0: 1}


@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from([None, 1, 2])), max_size=9))
def test_only_noted_trials_are_cut_and_not_before_they_were_noted(
    drawn: list[tuple[float, int | None]],
) -> None:
    rows = [flat(number, value, audited=at) for number, (value, at) in enumerate(drawn)]
    noted = {one.number: one.audited_at for one in rows if one.audited_at}
    assert find_cuts(rows, []) == noted
    cut_at = find_cuts(rows, [1, 2])
    assert all(epoch >= (noted[number] or 0) for number, epoch in cut_at.items())
    # Flat curves: half of the trials, rounded up, are in the worse half of either rung.
    worse = sorted(rows, key=lambda one: (-(one.value or 0.0), one.number))[len(rows) // 2 :]
    assert set(cut_at) == {one.number for one in worse} & set(noted)


@pytest.mark.parametrize(
    ("audit", "said"),
    [
        (
            PruningAudit(1, 0, 0, 3, 40),
            "1 trial that was to be cut ran on, for 3 epochs more. It ended no better than the "
            "best of all others: at 95 % confidence, at most 95 % of the cuts lose a winner. 0 "
            "came into the better half of the complete trials. Pruning saved 40 epochs.",
        ),
        (
            PruningAudit(14, 0, 2, 1_200, 40),
            "14 trials that were to be cut ran on, for 1200 epochs more. None of them ended "
            "better than the best of all others: at 95 % confidence, at most 19 % of the cuts "
            "lose a winner. 2 came into the better half of the complete trials. Pruning saved 40 "
            "epochs.",
        ),
        (
            PruningAudit(3, 1, 1, 9, 40),
            "3 trials that were to be cut ran on, for 9 epochs more. 1 ended better than the "
            "best of all others: a cut would have lost the winner. 1 came into the better half of "
            "the complete trials. Pruning saved 40 epochs.",
        ),
    ],
)
def test_audit_is_said_in_sentences(audit: PruningAudit, said: str) -> None:
    assert str(audit) == said


def test_rungs_are_those_at_which_trials_pause() -> None:
    search = {"pruner": "promotion", "rungs": [0.1, 0.25, 0.5], "n_epochs": 20}
    configuration = {"search": search, "optimization": {"warmup_epochs": 2.5}}
    protocol = Protocol("pets", 1, configuration, "f" * 64, {})
    assert find_rungs(protocol) == [3, 5, 10]
    search["pruner"] = "percentile"
    assert find_rungs(protocol) == []
