"""Who trained what, and when: a figure of the attempts at all trials. Must not import torch."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from dashboards.figures.base import draw_legend, empty_figure, rasterise_many
from dashboards.figures.palette import INK, STATES
from storage.attempts import Attempt
from storage.process_identity import Owner

MOST_WORKERS = 40
RELEASED = "released or lost"  # in the colour of waiting, which its trial did then
# At least so many seconds, seconds of a unit, its name.
UNITS = ((5400.0, 3600.0, "hours"), (180.0, 60.0, "minutes"), (0.0, 1.0, "seconds"))


def timeline_figure(attempts: Sequence[Attempt], states: Mapping[int, str]) -> Figure:
    """Draw a bar for each attempt from its claim to its last heartbeat, a row for each worker.

    Args:
        attempts: The earliest first; at least one.
        states: State of each trial, by trial id; it sets the colour of the last attempt at it.
    """
    workers = list(dict.fromkeys(one.owner for one in attempts))[:MOST_WORKERS]
    heights = {owner: -index for index, owner in enumerate(workers)}
    figure, axes = empty_figure(6.4, 0.2 * len(workers) + 1.3)
    start = attempts[0].started_at
    seconds = max(one.beat_at for one in attempts) - start
    unit_seconds, unit = next((each, name) for least, each, name in UNITS if seconds >= least)
    last = {one.trial_id: one for one in attempts}
    for one in attempts:
        if one.owner not in heights:
            continue
        is_last = last[one.trial_id] is one and states[one.trial_id] != "waiting"
        state = states[one.trial_id] if is_last else RELEASED
        begin, length = one.started_at - start, one.beat_at - one.started_at
        bars = axes.barh(
            heights[one.owner],
            length / unit_seconds,
            left=begin / unit_seconds,
            height=0.72,
            color=STATES.get(state, STATES["waiting"]),
            label=state,
            edgecolor=INK,
            linewidth=0.3,
        )
        rasterise_many(bars[0], 4 * len(attempts))
    axes.set_yticks(
        [heights[owner] for owner in workers],
        [_name(owner) for owner in workers],
        parse_math=False,
    )
    axes.grid(False, axis="y")
    axes.set_xlabel(f"{unit} since the first trial was claimed", color=INK)
    draw_legend(axes, columns=5)
    return figure


def _name(owner: Owner) -> str:
    host = owner.host if len(owner.host) <= 16 else owner.host[:15] + "…"
    return f"{host}, {owner.pid}"
