"""The description of a data set as tables for a terminal of 80 columns or more, and as lines.

What comes from the source may look like markup or steer a terminal: it is shown as clean text.
"""

from collections.abc import Iterator, Mapping, Sequence

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from data.cautions import cautions
from data.sources.encoded_images import LeftOut
from data.statistics import DataDescription, Duplicates
from storage.records import Protocol

MOST_CLASSES = 20
MOST_LEFT_OUT = 3
TEXTS = ("split", "from", "class", "modes", "sizes", "in", "why", "such as")
"""Headings of columns that hold no numbers."""


def data_tables(described: DataDescription) -> list[RenderableType]:
    """Return splits, classes, what is left out, how images are stored, channels, and lines.

    The lines are a caution each, the duplicates and the fingerprint.
    """
    parts: list[RenderableType] = [_splits(described), _classes(described)]
    if described.not_used:
        parts.append(_left_out(described.not_used))
    parts += [_stored(described), _channels(described)]
    lines = [_in_a_line(f"caution: {line}") for line in cautions(described)]
    lines += [_duplicates_line(described.duplicates), f"fingerprint {described.fingerprint}"]
    return [*parts, Text("\n".join(lines))]


def data_lines(protocol: Protocol) -> Iterator[str]:
    """Yield what a study says of its data: splits and where they come from, what is not used."""
    n_classes, origins = len(protocol.facts["class_names"]), protocol.origins
    splits = [
        f"{split} {count:,}" + (f" ({origins[split]})" if split in origins else "")
        for split, count in protocol.facts["n_examples"].items()
    ]
    yield _in_a_line(f"data: {n_classes:,} classes; {', '.join(splits)}")
    left_out = [LeftOut.model_validate(one) for one in protocol.left_out]
    # What settings leave out is a caution already.
    left_out = [
        one for one in left_out if not any(one.reason in line for line in protocol.cautions)
    ]
    if left_out:
        shown = [_in_words(one) for one in left_out[:MOST_LEFT_OUT]]
        n_more = len(left_out) - len(shown)
        more = [f"{n_more} more reasons: see `study data`"] if n_more else []
        yield _in_a_line(f"not used: {'; '.join(shown + more)}")
    yield from (_in_a_line(f"caution: {line}") for line in protocol.cautions)


def _in_words(one: LeftOut) -> str:
    where = f" in {one.split}" if one.split else ""
    examples = f" ({_examples(one)})" if one.examples else ""
    return f"{one.count:,}{where}: {one.reason}{examples}"


def _examples(one: LeftOut) -> str:
    more = ["..."] if one.examples and one.count > len(one.examples) else []
    return ", ".join([*one.examples, *more])


def _splits(described: DataDescription) -> Table:
    title = _in_a_line(f"{described.source}: {len(described.class_names):,} classes")
    table = _table("split", "from", "images", "per class", "dropped", title=title)
    for split, count in described.counts.items():
        table.add_row(
            split,
            _clean(described.origins[split]),
            f"{count:,}",
            _range(described.class_counts[split]),
            f"{described.dropped_counts[split]:,}",
        )
    return table


def _stored(described: DataDescription) -> Table:
    table = _table("split", "modes", "sizes")
    for split, modes in described.image_modes.items():
        table.add_row(split, _counts(modes), _counts(described.original_sizes[split]))
    return table


def _classes(described: DataDescription) -> Table | Text:
    """Return the classes with their images, the rarest first; only names where all are even."""
    names, n_more = described.class_names, len(described.class_names) - MOST_CLASSES
    more = f"and {n_more:,} more" if n_more > 0 else ""
    by_split = described.class_counts
    if all(min(counts) == max(counts) for counts in by_split.values()):
        return _clean(f"classes: {', '.join([*names[:MOST_CLASSES], *filter(None, [more])])}")
    table = _table("class", *by_split)
    rows = sorted(zip(zip(*by_split.values(), strict=True), names, strict=True))
    for counts, name in rows[:MOST_CLASSES]:
        table.add_row(_clean(name), *(f"{count:,}" for count in counts))
    if more:
        table.add_row(Text(more, "dim"))
    return table


def _left_out(left_out: Sequence[LeftOut]) -> Table:
    table = _table("not used", "in", "why", "such as")
    for one in left_out:
        where = one.split or "source"
        table.add_row(f"{one.count:,}", _clean(where), _clean(one.reason), _clean(_examples(one)))
    return table


def _channels(described: DataDescription) -> Table:
    of_what = f"training images at {described.image_size} px, scaled to [0, 1]"
    table = _table(of_what, "red", "green", "blue", texts=(of_what,))
    table.add_row("mean", *(f"{value:.4f}" for value in described.mean))
    table.add_row("std", *(f"{value:.4f}" for value in described.std))
    return table


def _table(*headings: str, texts: Sequence[str] = TEXTS, title: str | None = None) -> Table:
    table = Table(title=title and Text(title), box=box.SIMPLE)
    for heading in headings:
        table.add_column(heading, justify="left" if heading in texts else "right")
    return table


def _clean(text: str) -> Text:
    return Text(_in_a_line(text))


def _in_a_line(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text)


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
