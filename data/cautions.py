"""What a data set is too small or too uneven for, in words: one line for each kind.

Counts alone decide; nothing is rejected here. Must not open images.
"""

from collections.abc import Iterator, Sequence

from data.sources.encoded_images import LeftOut
from data.sources.split_names import split_of
from data.splits import CONFIRMATION, TEST, TRAIN, VALIDATION
from data.statistics import HELD_OUT, DataDescription

FEWEST_OF_A_CLASS = 10
"""Fewer training images teach little; of so many, a recall has a standard error of 16 points."""
FEWEST_EVALUATED = 200
"""Of so many images, an accuracy has a standard error of 3.5 points, and each counts for 0.5."""
MOST_UNEVEN = 100
"""Training images of the largest class for one of the smallest."""
MOST_NAMED = 3
EVALUATED = (VALIDATION, CONFIRMATION, TEST)

Counted = list[tuple[str, int]]
"""Names of classes with their images, the rarest first."""


def cautions(described: DataDescription) -> list[str]:
    """Say why scores on these data tell less than their digits.

    Args:
        described: the prepared data.
    """
    return [
        *_left_out_by_settings(described),
        *_held_out_beside_own(described),
        *_no_confirmation(described),
        *_uneven_training(described),
        *_few_to_learn_from(described),
        *_missing_in_evaluation(described),
        *_few_of_a_class(described),
        *_few_altogether(described),
    ]


def _left_out_by_settings(described: DataDescription) -> Iterator[str]:
    """Say what a preset that is meant for other images may leave out unnoticed."""
    for one in described.left_out_by_settings:
        what = (
            f"{one.count:,} {one.reason}"
            if _is_of_images(one)
            else f"{_count(one.count, 'image', 's')} of '{one.split}' {one.reason}"
        )
        yield f"settings leave out {what}"


def _held_out_beside_own(described: DataDescription) -> Iterator[str]:
    """Say where the source has images of a split that is held out from train all the same."""
    for one in described.left_out:
        split = split_of(one.split.rpartition("/")[2]) if one.split else None
        if (
            split in (VALIDATION, TEST)
            and HELD_OUT in described.origins[split]
            and _is_of_images(one)
        ):
            yield (
                f"{split} is {described.origins[split]}, for {one.count:,} of "
                f"'{one.split}' are not used: {one.reason}"
            )


def _no_confirmation(described: DataDescription) -> Iterator[str]:
    if described.lacks_confirmation:
        yield (
            "no confirmation images, for no class has two validation images to divide: a winner "
            "can only be judged by the images that chose it; data.confirm_fraction=0.1 takes some "
            "from train"
        )


def _is_of_images(one: LeftOut) -> bool:
    return one.reason.startswith(("images", "rows", "samples"))


def _uneven_training(described: DataDescription) -> Iterator[str]:
    ranked = _ranked(described, TRAIN)
    (rarest, least), (commonest, most) = ranked[0], ranked[-1]
    if most > MOST_UNEVEN * least:
        yield (
            f"training images are uneven, 1 to {most // least:,}: {least:,} of {rarest}, "
            f"{most:,} of {commonest}; accuracy hides the rare classes, macro-F1 shows them"
        )


def _few_to_learn_from(described: DataDescription) -> Iterator[str]:
    few = [(name, n) for name, n in _ranked(described, TRAIN) if n < FEWEST_OF_A_CLASS]
    if few:
        n_classes = len(described.class_names)
        yield (
            f"{len(few):,} of {n_classes:,} classes {'has' if len(few) == 1 else 'have'} fewer "
            f"than {FEWEST_OF_A_CLASS} training images: {_named(few)}"
        )


def _missing_in_evaluation(described: DataDescription) -> Iterator[str]:
    missing: dict[str, list[str]] = {}
    for split in _evaluated(described):
        names = _listed([name for name, n in _ranked(described, split) if n == 0])
        if names:
            missing.setdefault(names, []).append(split)
    found = [f"no image of {names} in {_joined(splits)}" for names, splits in missing.items()]
    if found:
        yield f"{', '.join(found)}: macro-F1 there is the mean over the classes present"


def _few_of_a_class(described: DataDescription) -> Iterator[str]:
    few = {
        split: [n for n in described.class_counts[split] if 0 < n < FEWEST_OF_A_CLASS]
        for split in _evaluated(described)
    }
    found = [
        f"{_count(len(counts), 'class', 'es')} in {split}"
        for split, counts in few.items()
        if counts
    ]
    if found:
        least = min(map(min, filter(None, few.values())))
        yield (
            f"{_joined(found)} with fewer than {FEWEST_OF_A_CLASS} images, the fewest "
            f"{least}: their recall has a standard error of up to {_points(0.5 / least**0.5)}"
        )


def _few_altogether(described: DataDescription) -> Iterator[str]:
    found = [
        f"{split} has {_count(n, 'image', 's')} of "
        f"{_count(sum(map(bool, described.class_counts[split])), 'class', 'es')}, "
        f"one changes accuracy by {_points(1 / n)}"
        for split in _evaluated(described)
        if (n := described.counts[split]) < FEWEST_EVALUATED
    ]
    if found:
        yield "; ".join(found)


def _evaluated(described: DataDescription) -> list[str]:
    return [split for split in EVALUATED if split in described.counts]


def _ranked(described: DataDescription, split: str) -> Counted:
    counted = zip(described.class_names, described.class_counts[split], strict=True)
    return sorted(counted, key=lambda each: each[1])


def _named(counted: Counted) -> str:
    return _listed([f"{name} ({n})" for name, n in counted])


def _listed(names: Sequence[str]) -> str:
    n_more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {n_more:,} more" if n_more > 0 else "")


def _joined(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(parts[:-1]), parts[-1]]))


def _count(n: int, noun: str, plural: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else plural}"


def _points(share: float) -> str:
    points = 100 * share
    return f"{points:.0f} points" if points >= 10 else f"{points:.2g} points"
