"""What the report of a study says of its data: counts, how even they are, and pictures.

Pictures come from the images that were decoded for the study, where they still are; only training
images are opened. Imports torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from dashboards.analysis.baselines import known_baselines
from dashboards.figures.base import class_counts_figure
from dashboards.report.html import thumbnail
from data.augmented_samples import AugmentedSamples, draw_samples
from data.configuration import AugmentationConfig, DataConfig
from data.image_cache import PreparedData, find_prepared
from data.sources.encoded_images import LeftOut
from data.statistics import DataDescription
from storage.records import Protocol

MOST_CLASSES = 12
N_PICTURES = 5
N_SAMPLES = 4
N_DRAWS = 4

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class SplitCounts:
    """How the images of one split are divided among the classes.

    The last three are None where the decoded images are not at hand, the origin in studies of
    early versions.
    """

    split: str
    n_images: int
    origin: str | None
    least: int | None = None
    most: int | None = None
    figure: Figure | None = None


@dataclass(frozen=True)
class PicturedClass:
    """Images of one class: different ones, or one image and what augmentation makes of it."""

    name: str
    pictures: Sequence[Picture]


@dataclass(frozen=True)
class DataSection:
    """What there is to say of a study's data.

    Attributes:
        source: Where they come from.
        fingerprint: Of the data.
        image_size: Height and width of the images of the search.
        n_classes: Number of classes.
        splits: The splits, with the figures where the images are at hand.
        left_out: What of the source is not used.
        cautions: Why scores on these data tell less than their digits.
        baselines: Scores on the validation images, by name.
        cache: Folder of the decoded images.
        classes: A few classes with training images; None where the images are not at hand.
        augmented: A few training images, each before and after augmentation; None likewise.
    """

    source: str
    fingerprint: str
    image_size: int
    n_classes: int
    splits: Sequence[SplitCounts]
    left_out: Sequence[LeftOut]
    cautions: Sequence[str]
    baselines: Mapping[str, Mapping[str, float]]
    cache: Path
    classes: Sequence[PicturedClass] | None
    augmented: Sequence[PicturedClass] | None


def read_data_section(protocol: Protocol, *, runs: Path, cache: Path | None = None) -> DataSection:
    """Return what the report says of the data; it needs neither their source nor their images.

    Args:
        protocol: The stored configuration.
        runs: The folder of all runs.
        cache: The folder of the decoded images; default that of the study's configuration.

    Raises:
        StorageError: If the file of learned baselines is damaged.
    """
    config = DataConfig.model_validate(protocol.configuration["data"])
    cache = cache or config.cache
    fingerprint: str = protocol.facts["data_fingerprint"]
    prepared = find_prepared(cache, fingerprint)
    return DataSection(
        source=config.source,
        fingerprint=fingerprint,
        image_size=config.image_size,
        n_classes=len(protocol.facts["class_names"]),
        splits=(
            count_splits(prepared.description)
            if prepared
            else [
                SplitCounts(split, count, protocol.origins.get(split))
                for split, count in protocol.facts["n_examples"].items()
            ]
        ),
        left_out=[LeftOut.model_validate(one) for one in protocol.left_out],
        cautions=protocol.cautions,
        baselines=known_baselines(protocol, runs),
        cache=cache,
        classes=_pictured_classes(prepared, protocol) if prepared else None,
        augmented=_augmented(prepared, protocol) if prepared else None,
    )


def count_splits(described: DataDescription) -> list[SplitCounts]:
    """Return how the images of each split are divided among the classes, with a figure."""
    return [
        SplitCounts(
            split,
            described.counts[split],
            described.origins[split],
            min(counts),
            max(counts),
            class_counts_figure(counts, described.class_names),
        )
        for split, counts in described.class_counts.items()
    ]


def _pictured_classes(prepared: PreparedData, protocol: Protocol) -> list[PicturedClass]:
    """Return a few images of some classes, which are spread evenly over all."""
    examples = prepared.train()
    n_shown = min(MOST_CLASSES, prepared.n_classes)
    shown = np.linspace(0, prepared.n_classes - 1, n_shown).round().astype(int)
    random = np.random.default_rng(int(protocol.configuration["seed"]))
    pictured = []
    for label in shown:
        rows_N = np.flatnonzero(examples.labels_N == label)
        n_pictures = min(N_PICTURES, len(rows_N))
        chosen = np.sort(random.choice(rows_N, n_pictures, replace=False))
        pictures = [thumbnail(examples.images_NHWC[row]) for row in chosen]
        pictured.append(PicturedClass(prepared.class_names[label], pictures))
    return pictured


def _augmented(prepared: PreparedData, protocol: Protocol) -> list[PicturedClass]:
    samples = draw_samples(
        prepared.train(),
        AugmentationConfig.model_validate(protocol.configuration.get("augmentation", {})),
        seed=int(protocol.configuration["seed"]),
        n_images=N_SAMPLES,
        n_draws=N_DRAWS,
    )
    return augmented_images(samples, prepared.class_names)


def augmented_images(samples: AugmentedSamples, class_names: Sequence[str]) -> list[PicturedClass]:
    """Return each sample with its class: the image as it is, then its augmentations."""
    return [
        PicturedClass(class_names[label], [thumbnail(one) for one in (before_HWC, *after_DHWC)])
        for label, before_HWC, after_DHWC in zip(
            samples.labels_N, samples.before_NHWC, samples.after_NDHWC, strict=True
        )
    ]
