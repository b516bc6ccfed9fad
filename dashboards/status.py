"""How far a study is, at a glance: for people, for scripts (JSON) and for one log line.

Only reads. Must not import torch: `study status` answers at once.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from dashboards.trials import (
    STATE_STYLES,
    TrialRow,
    best_complete,
    read_trials,
    shown_duration,
    shown_params,
)
from storage.leases import held_leases
from storage.owners import Owner
from storage.records import read_protocol
from storage.study_storage import StudyStorage


@dataclass(frozen=True)
class RunningTrial:
    """A trial under way and the worker that holds its lease.

    Attributes:
        host: Machine of the worker, None while nobody holds the lease.
        pid: Its process, likewise.
        beat_age_seconds: Time since its last sign of life, likewise.
        epoch: Epochs done; n_epochs is all of them.
        validation_macro_f1: Of the newest epoch.
    """

    number: int
    host: str | None
    pid: int | None
    beat_age_seconds: float | None
    epoch: int
    n_epochs: int
    validation_macro_f1: float | None


@dataclass(frozen=True)
class StudyStatus:
    """Counts of trials by state, the best one, and who is at work.

    Attributes:
        budget: Trials of the whole study, those not counted that it took over from another.
        best: The complete trial of the highest value.
        taken_over: Finished trials that another study ran; the counts by state leave them out.
        seconds_spent: Time of all recorded epochs, summed over workers.
        seconds_remaining: Estimated time until the queue is empty with as many workers as run
            now (one if none does); None before a trial is finished.
    """

    study_name: str
    budget: int
    waiting: int
    running: int
    complete: int
    pruned: int
    failed: int
    taken_over: int
    best: TrialRow | None
    running_trials: tuple[RunningTrial, ...]
    seconds_spent: float
    seconds_remaining: float | None

    @property
    def done(self) -> int:
        """Trials that are over, however they ended."""
        return self.complete + self.pruned + self.failed

    def as_json(self) -> dict[str, Any]:
        """Return the status as JSON values."""
        return asdict(self)


def read_status(storage: StudyStorage, study_name: str) -> StudyStatus:
    """Return where a study stands now.

    Raises:
        StudyNotFoundError: If the database has no study of that name.
    """
    protocol = read_protocol(storage.database, study_name)
    rows = read_trials(storage, study_name)
    n_epochs = int(protocol.configuration["search"]["n_epochs"])
    own = [row for row in rows if not row.is_taken_over]
    counts = Counter(row.state for row in own)
    return StudyStatus(
        study_name=study_name,
        budget=protocol.budget,
        **{state: counts[state] for state in STATE_STYLES},
        taken_over=len(rows) - len(own),
        best=best_complete(rows),
        running_trials=_running_trials(storage, rows, n_epochs),
        seconds_spent=sum(row.seconds for row in own),
        seconds_remaining=_seconds_remaining(rows, n_epochs),
    )


def _running_trials(
    storage: StudyStorage, rows: Sequence[TrialRow], n_epochs: int
) -> tuple[RunningTrial, ...]:
    held = held_leases(storage.database)
    running = []
    for row in rows:
        if row.state != "running":
            continue
        lease = held.get(row.trial_id)
        owner = Owner.parse(lease.owner) if lease else None
        running.append(
            RunningTrial(
                number=row.number,
                host=owner.host if owner else None,
                pid=owner.pid if owner else None,
                beat_age_seconds=lease.age_seconds if lease else None,
                epoch=row.epochs_done,
                n_epochs=n_epochs,
                validation_macro_f1=row.last_macro_f1,
            )
        )
    return tuple(running)


def _seconds_remaining(rows: Sequence[TrialRow], n_epochs: int) -> float | None:
    """Estimate from the mean time of finished trials (pruned ones included) and of epochs."""
    finished = [row for row in rows if row.state in ("complete", "pruned")]
    n_epochs_done = sum(row.epochs_done for row in finished)
    if n_epochs_done == 0:
        return None
    seconds = sum(row.seconds for row in finished)
    open_rows = [row for row in rows if row.state in ("waiting", "running")]
    untouched = [row for row in open_rows if row.epochs_done == 0]
    epochs_left = sum(n_epochs - row.epochs_done for row in open_rows if row.epochs_done)
    n_workers = max(1, sum(row.state == "running" for row in rows))
    work_seconds = len(untouched) * seconds / len(finished) + epochs_left * seconds / n_epochs_done
    return work_seconds / n_workers


def status_line(status: StudyStatus) -> str:
    """Return the status as one plain line, for logs."""
    ended = {"complete": status.complete, "pruned": status.pruned, "failed": status.failed}
    parts = ", ".join(f"{count} {state}" for state, count in ended.items() if count)
    taken_over = f"{status.taken_over} taken over, " if status.taken_over else ""
    best = status.best
    return (
        f"{status.done}/{status.budget} done{f' ({parts})' if parts else ''}, {taken_over}"
        f"{status.running} running, "
        + (f"best {best.value:.3f} (trial {best.number})" if best else "no result yet")
    )


def status_table(status: StudyStatus) -> Group:
    """Return the status for a terminal of 80 columns."""
    parts: list[Any] = [
        Text.assemble((status.study_name, "bold"), f"  {status.done} of {status.budget} trials"),
        _bar(status),
        _counts(status),
        _best(status.best),
        _time(status),
    ]
    if status.running_trials:
        parts += [Text(), _running_table(status.running_trials)]
    return Group(*parts)


def _bar(status: StudyStatus) -> Table:
    # A bar ends no line of its own; a row of a grid does.
    grid = Table.grid()
    grid.add_row(ProgressBar(total=max(1, status.budget), completed=status.done, width=60))
    return grid


def _counts(status: StudyStatus) -> Text:
    counts = [(f"{getattr(status, state)} {state}", STATE_STYLES[state]) for state in STATE_STYLES]
    if status.taken_over:
        counts.append((f"{status.taken_over} taken over", "dim"))
    return Text("  ").join(Text(*count) for count in counts)


def _best(best: TrialRow | None) -> Text:
    if best is None:
        return Text("best: none complete yet", "dim")
    params = ", ".join(f"{name} {text}" for name, text in shown_params(best).items())
    return Text(
        f"best: validation macro-F1 {best.value:.4f}, trial {best.number}"
        f" at epoch {best.best_epoch}\n      {params}"
    )


def _time(status: StudyStatus) -> Text:
    left = status.seconds_remaining
    estimate = "unknown yet" if left is None else f"about {shown_duration(left)}"
    return Text(f"time: {shown_duration(status.seconds_spent)} spent, {estimate} to go")


def _running_table(trials: Sequence[RunningTrial]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for heading in ("trial", "epoch", "macro-F1", "last beat"):
        table.add_column(heading, justify="right")
    table.add_column("worker", overflow="ellipsis", no_wrap=True, max_width=44)
    for trial in trials:
        beat, score = trial.beat_age_seconds, trial.validation_macro_f1
        table.add_row(
            str(trial.number),
            f"{trial.epoch}/{trial.n_epochs}",
            "" if score is None else f"{score:.4f}",
            "" if beat is None else f"{shown_duration(beat)} ago",
            Text(f"{trial.host}, process {trial.pid}" if trial.host else "nobody"),
        )
    return table
