"""Who trained what, and when: a figure of the attempts at all trials. Must not import torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from dashboards.figures.base import draw_legend, empty_figure, rasterise_many
from dashboards.figures.palette import INK, STATES
from storage.attempts import Attempt
from storage.optuna_rows import PAUSED
from storage.process_identity import Owner
from storage.trial_rows import PAUSED_STATE

MOST_WORKERS = 40
RELEASED = "released or lost"
"""Of an attempt after which the trial goes on with another one, but at no rung."""
# At least so many seconds, seconds of a unit, its name.
UNITS = ((5400.0, 3600.0, "hours"), (180.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))


@dataclass(frozen=True)
class Bar:
    """An attempt at a trial.

    Attributes:
        trial_id: Optuna's row number of the trial.
        state: Of the trial, or that the attempt paused at a rung, was released or lost.
        row: Of its worker, from 0.
        begin: Since the first claim, in the unit of the timeline.
        length: Up to its last heartbeat, likewise.
    """

    trial_id: int
    state: str
    row: int
    begin: float
    length: float


@dataclass(frozen=True)
class Timeline:
    """Who trained what, and when.

    Attributes:
        workers: Host and process of each, in the order of their first claims.
        unit: Of all times: hours, minutes or seconds.
        bars: The earliest first.
    """

    workers: Sequence[str]
    unit: str
    bars: Sequence[Bar]


def build_timeline(attempts: Sequence[Attempt], states: Mapping[int, str]) -> Timeline:
    """Return a bar for each attempt from its claim to its last heartbeat.

    Args:
        attempts: The earliest first; at least one.
        states: State of each trial, by trial id; it is that of the last attempt at it.
    """
    workers = list(dict.fromkeys(one.owner for one in attempts))[:MOST_WORKERS]
    places = {owner: index for index, owner in enumerate(workers)}
    start = attempts[0].started_at
    seconds = max(one.beat_at for one in attempts) - start
    unit_seconds, unit = next((each, name) for least, each, name in UNITS if seconds >= least)
    last = {one.trial_id: one for one in attempts}
    bars = [
        Bar(
            trial_id=one.trial_id,
            state=_state(one, states, is_last=last[one.trial_id] is one),
            row=places[one.owner],
            begin=(one.started_at - start) / unit_seconds,
            length=(one.beat_at - one.started_at) / unit_seconds,
        )
        for one in attempts
        if one.owner in places
    ]
    return Timeline([*map(_name, workers)], unit, bars)


def _state(attempt: Attempt, states: Mapping[int, str], *, is_last: bool) -> str:
    if not is_last:
        return PAUSED_STATE if attempt.ending == PAUSED else RELEASED
    state = states[attempt.trial_id]
    return RELEASED if state == "waiting" else state


def colour_of(state: str) -> str:
    """Return the colour of a bar; a released trial waits."""
    return STATES.get(state, STATES["waiting"])


def timeline_figure(timeline: Timeline) -> Figure:
    """Draw a bar for each attempt, a row for each worker."""
    n_workers, n_bars = len(timeline.workers), len(timeline.bars)
    figure, axes = empty_figure(6.4, 0.2 * n_workers + 1.3)
    for bar in timeline.bars:
        drawn = axes.barh(
            -bar.row,
            bar.length,
            left=bar.begin,
            height=0.72,
            color=colour_of(bar.state),
            label=bar.state,
            edgecolor=INK,
            linewidth=0.3,
        )
        rasterise_many(drawn[0], 4 * n_bars)
    axes.set_yticks([-row for row in range(n_workers)], timeline.workers, parse_math=False)
    axes.grid(False, axis="y")
    axes.set_xlabel(f"{timeline.unit} since the first trial was claimed", color=INK)
    draw_legend(axes, columns=5)
    return figure


def _name(owner: Owner) -> str:
    host = owner.host if len(owner.host) <= 16 else owner.host[:15] + "…"
    return f"{host}, {owner.pid}"
