"""The status of a study as a terminal shows it, in 80 columns or more, and as one log line.

Must not import torch.
"""

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from rich import box
from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dashboards.analysis.eta import RunningTrial
from dashboards.analysis.final_run_status import FinalRunStatus
from dashboards.analysis.spending import shown_amount
from dashboards.analysis.status import ReasonCount, StudyStatus
from dashboards.formatting import shown_duration, shown_params, shown_time
from dashboards.terminal.confirmation import confirmation_lines
from dashboards.terminal.trials import STATE_STYLES
from storage.budget import counted
from storage.study_names import CONFIRM_SUFFIX
from storage.trial_rows import PAUSED_STATE, TrialRow


def status_table(
    status: StudyStatus,
    *,
    most_running: int | None = None,
    now: datetime | None = None,
    n_starting: int | None = None,
) -> Group:
    """Return the status for a terminal of 80 columns or more.

    Args:
        status: Of the study.
        most_running: Rows of running trials at most; None: all of them.
        now: Local time of the reading, to which remaining times are added.
        n_starting: Workers that have been started and have not claimed a trial yet; None where
            nobody knows of any.
    """
    now = now or datetime.now()
    parts: list[Any] = [
        Text.assemble((status.study_name, "bold"), f"  {_spending(status)}"),
        _bar(status),
        _counts(status),
        *([] if _is_confirmation(status) else [_best(status.best)]),
        _time(status, now, n_starting),
    ]
    if status.running_trials:
        shown = status.running_trials[:most_running]
        parts += [_speed(status), Text(), _running_table(shown, now)]
        n_more = len(status.running_trials) - len(shown)
        parts += [Text(f"and {n_more} more", "dim")] if n_more else []
    if status.reasons:
        parts += [Text(), _early_ends(status)]
    if status.diagnosis:
        parts += [Text(), Text("diagnosis:", "bold"), _diagnosis(status.diagnosis)]
    if status.confirmation is not None:
        parts += [Text(), *confirmation_lines(status.confirmation, now)]
    if status.final_runs:
        parts += [Text(), *(_final_run(run, now) for run in status.final_runs)]
    return Group(*parts)


def status_line(status: StudyStatus, *, n_starting: int = 0) -> str:
    """Return the status as one plain line, for logs.

    Args:
        status: Of the study.
        n_starting: Workers that have been started and have not claimed a trial yet.
    """
    ended = {"complete": status.complete, "pruned": status.pruned, "failed": status.failed}
    parts = ", ".join(f"{count} {state}" for state, count in ended.items() if count)
    imported = f"{status.taken_over} imported, " if status.taken_over else ""
    paused = f"{status.paused} paused, " if status.paused else ""
    best = status.best
    so_far = [f"{status.running} running", *([f"{n_starting} starting"] if n_starting else [])]
    if not _is_confirmation(status):
        result = f"best {best.value:.3f} (trial {best.number})" if best else "no result yet"
        so_far.append(result)
    done = f"{_spent(status)} done{f' ({parts})' if parts else ''}"
    return f"{done}, {imported}{paused}{', '.join(so_far)}"


def _is_confirmation(status: StudyStatus) -> bool:
    """Return whether it is of a confirmation, whose stages have other images: none is the best."""
    return status.study_name.endswith(CONFIRM_SUFFIX)


def _spent(status: StudyStatus) -> str:
    """Return how much is done, for a line: `3/60`, or `340/1200 epochs, 20 trials`."""
    spending = status.spending
    if spending.unit == "trials":
        return f"{status.done}/{status.budget}"
    spent, amount = shown_amount(spending.spent), shown_amount(spending.amount)
    return f"{spent}/{amount} {spending.unit}, {counted(status.done, 'trials')}"


def _spending(status: StudyStatus) -> str:
    """Return how much of the budget is spent, and beside other units how many trials are over."""
    if status.spending.unit == "trials":
        return str(status.spending)
    return f"{status.spending}, {counted(status.done, 'trials')} over"


def clean_line(text: str) -> str:
    """Return the first line of a text from elsewhere, without control characters."""
    first = text.strip().partition("\n")[0]
    return "".join(each if each.isprintable() else "?" for each in first)


def _bar(status: StudyStatus) -> Table:
    # A bar ends no line of its own; a row of a grid does.
    grid = Table.grid()
    grid.add_row(ProgressBar(total=1.0, completed=status.spending.share, width=60))
    return grid


def _counts(status: StudyStatus) -> Text:
    # Few studies let trials pause: the others need not read of it.
    states = [state for state in STATE_STYLES if state != PAUSED_STATE or status.paused]
    counts = [(f"{getattr(status, state)} {state}", STATE_STYLES[state]) for state in states]
    if status.taken_over:
        counts.append((f"{status.taken_over} imported", "dim"))
    shown = Text("  ").join(Text(*count) for count in counts)
    if status.lost_attempts:
        shown.append(f"\n{_times(status.lost_attempts)} a worker was lost with its trial", "red")
    return shown


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _best(best: TrialRow | None) -> Text:
    if best is None:
        return Text("best: none complete yet", "dim")
    params = ", ".join(f"{name} {text}" for name, text in shown_params(best).items())
    return Text(
        f"best: validation macro-F1 {best.value:.4f}, trial {best.number}"
        f" at epoch {best.best_epoch}\n      {clean_line(params)}"
    )


def _time(status: StudyStatus, now: datetime, n_starting: int | None) -> Text:
    """Return time spent, which sums over workers, and time left, which is that of a clock."""
    spent = f"time: {shown_duration(status.seconds_spent)} of worker time"
    left = status.seconds_remaining
    if status.is_over:
        return Text(f"{spent}, nothing to go")
    to_go = (
        "time to go unknown yet"
        if left is None
        else f"about {shown_duration(left)} to go by the clock"
    )
    if status.has_live_worker:
        until = "" if left is None else f", until {shown_time(now + timedelta(seconds=left), now)}"
        return Text(f"{spent}; {to_go}{until}{_starting(n_starting)}")
    if n_starting is not None:  # whoever started them knows that they run
        return Text(f"{spent}; {to_go}{_starting(n_starting)}")
    by_one = "" if left is None else " with one worker"
    idle = "no worker is active" if status.running else "no worker trains (one starts in seconds)"
    return Text.assemble(f"{spent}; {to_go}{by_one}\n      ", (idle, "red"))


def _starting(n_starting: int | None) -> str:
    if not n_starting:
        return ""
    return (
        "\n      1 worker is starting"
        if n_starting == 1
        else f"\n      {n_starting} workers are starting"
    )


def _final_run(run: FinalRunStatus, now: datetime) -> Text:
    is_known = run.searched_trial is not None and run.searched_trial >= 0
    begin = f"final run {run.number}{f' of trial {run.searched_trial}' if is_known else ''}: "
    state = Text.assemble(begin, (run.state, STATE_STYLES[run.state]))
    state.append(f", epoch {run.epoch}/{run.n_epochs}")
    if run.state == "running" and not run.is_alive:
        state.append(", ").append("no worker is active", "red")
    elif run.seconds_left is not None:
        end = shown_time(now + timedelta(seconds=run.seconds_left), now)
        state.append(f", about {shown_duration(run.seconds_left)} to go, until {end}")
    facts = [run.role if run.seed is None else f"{run.role}, seed {run.seed}"]
    if run.validation_macro_f1 is not None:
        facts.append(f"validation macro-F1 {run.validation_macro_f1:.4f}")
    state.append(f"\n      {'; '.join(facts)}")
    if run.test_macro_f1 is not None and run.test_accuracy is not None:
        test = f"test macro-F1 {run.test_macro_f1:.4f}, accuracy {run.test_accuracy:.4f}"
        state.append(f"\n      {test}")
    elif run.state == "complete":
        state.append("; not tested yet")
    return state


def _speed(status: StudyStatus) -> Text:
    if not status.images_per_second:
        return Text("now:  no speed is known yet")
    return Text(
        f"now:  {_count(status.images_per_second)} images/s, "
        f"{_count(status.epochs_per_hour)} epochs/h"
    )


def _count(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _running_table(trials: Sequence[RunningTrial], now: datetime) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for heading in ("trial", "epoch", "macro-F1", "images/s"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("expected end", justify="right", no_wrap=True)
    table.add_column("heartbeat", justify="right", no_wrap=True)
    # This column shrinks first: host names differ at their beginning.
    table.add_column("worker", min_width=8)
    table.add_column("process", justify="right", no_wrap=True)
    for trial in trials:
        score, rate = trial.validation_macro_f1, trial.images_per_second
        table.add_row(
            str(trial.number),
            f"{trial.epoch}/{trial.n_epochs}",
            "" if score is None else f"{score:.4f}",
            "" if rate is None else _count(rate),
            _expected_end(trial, now),
            _beat(trial),
            _worker(trial),
            "" if trial.pid is None else str(trial.pid),
        )
    return table


def _expected_end(trial: RunningTrial, now: datetime) -> Text:
    left = trial.seconds_left
    if left is None:
        return Text("unknown yet" if trial.is_alive else "", "dim")
    end = shown_time(now + timedelta(seconds=left), now)
    return Text(f"{end}, {shown_duration(left)}")


def _beat(trial: RunningTrial) -> Text:
    if trial.beat_age_seconds is None:
        return Text("")
    age = f"{shown_duration(trial.beat_age_seconds)} ago"
    return Text(age, "" if trial.is_alive else "red")


def _worker(trial: RunningTrial) -> Text:
    if trial.host is None:
        return Text("nobody", "red")
    attempt = f" (attempt {trial.attempt})" if (trial.attempt or 1) > 1 else ""
    # Of the cell, for a column that must not wrap would not give way before the others.
    return Text(clean_line(trial.host) + attempt, no_wrap=True, overflow="ellipsis")


def _early_ends(status: StudyStatus) -> Text:
    lines = []
    for state in ("pruned", "failed"):
        kinds = [each for each in status.reasons if each.state == state]
        if kinds:
            counts = ", ".join(map(_reason_count, kinds))
            lines.append(Text.assemble((f"{state}:", STATE_STYLES[state]), " ", counts))
    lines += [
        Text(
            f"  trial {end.number} {end.state} after epoch {end.epoch}: {clean_line(end.message)}"
        )
        for end in status.newest_early_ends
    ]
    shown = Text("\n").join(lines)
    shown.no_wrap, shown.overflow = True, "ellipsis"
    return shown


def _diagnosis(sentences: Sequence[str]) -> Table:
    grid = Table.grid(padding=(0, 1, 0, 0))
    for sentence in sentences:
        # A command has a line of its own, to be copied whole.
        shown = re.sub(" (`study [^`]*`)", r"\n\1", clean_line(sentence))
        grid.add_row(Text("  -"), Text(shown, overflow="fold"))
    return grid


def _reason_count(reason: ReasonCount) -> str:
    kind = "by the pruner" if reason.kind == "pruned" else clean_line(reason.kind)
    return f"{reason.count} {kind}"
