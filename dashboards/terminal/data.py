"""The description of a data set as tables for a terminal."""

from collections.abc import Mapping

from rich import box
from rich.table import Table
from rich.text import Text

from dashboards.terminal.status import clean_line
from data.statistics import DataDescription, Duplicates


def data_tables(described: DataDescription) -> tuple[Table, Table, str]:
    """Return splits with particularities, channel statistics, and two lines.

    The lines are the duplicates and the fingerprint.
    """
    title = clean_line(f"{described.source}: {len(described.class_names)} classes")
    splits = Table(title=Text(title), box=box.SIMPLE)  # a path may look like markup
    for heading in ("split", "images", "per class", "dropped", "modes", "sizes"):
        numeric = heading in ("images", "per class", "dropped")
        splits.add_column(heading, justify="right" if numeric else "left")
    for split, count in described.counts.items():
        splits.add_row(
            split,
            f"{count:,}",
            _range(described.class_counts[split]),
            str(described.dropped_counts[split]),
            _counts(described.image_modes[split]),
            _counts(described.original_sizes[split]),
        )
    channels = Table(box=box.SIMPLE)
    channels.add_column(f"training images at {described.image_size} px, scaled to [0, 1]")
    for heading in ("red", "green", "blue"):
        channels.add_column(heading, justify="right")
    channels.add_row("mean", *(f"{value:.4f}" for value in described.mean))
    channels.add_row("std", *(f"{value:.4f}" for value in described.std))
    duplicates = _duplicates_line(described.duplicates)
    return splits, channels, f"{duplicates}\nfingerprint {described.fingerprint}"


def _duplicates_line(duplicates: Duplicates) -> str:
    if duplicates.n_groups == 0:
        return "duplicates: none"
    within = [f"{count:,} in {split}" for split, count in duplicates.within.items() if count]
    across = [
        f"{count:,} of {split} in {earlier} too"
        for split, shared in duplicates.across.items()
        for earlier, count in shared.items()
        if count
    ]
    return f"duplicates: {', '.join(within + across)}"


def _range(class_counts: tuple[int, ...]) -> str:
    least, most = min(class_counts), max(class_counts)
    return str(least) if least == most else f"{least} to {most}"


def _counts(counted: Mapping[str, int], *, most: int = 3) -> str:
    ranked = sorted(counted.items(), key=lambda item: -item[1])
    shown = [f"{name} {count:,}" for name, count in ranked[:most]]
    rest = len(ranked) - most
    return ", ".join(shown) + (f" and {rest} more" if rest > 0 else "")
