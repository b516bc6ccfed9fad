"""What may be chosen about the data: which images, how they are split, how they are augmented.

Read by every command, rejections included, so it must import neither torch nor datasets.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, Field, model_validator


class DataConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Which images are used, at which size, and how they are divided."""

    source: str = Field(
        default="synthetic",
        min_length=1,
        description="Hub id (owner/name), folder of parquet files or class folders, or synthetic.",
    )
    configuration: str | None = Field(
        default=None, description="Configuration of a hub data set; none: its only or default one."
    )
    splits: dict[Literal["train", "validation", "test"], str] | None = Field(
        default=None,
        description="What the source calls the splits to use; none: found by the usual names.",
    )
    label_file: Path | None = Field(
        default=None,
        description="CSV of file names and classes; none: metadata.csv or class folders.",
    )
    image_column: str | None = Field(
        default=None, description="Column that holds the images; none: found by its type."
    )
    label_column: str | None = Field(
        default=None, description="Column that holds the classes; none: found by its type."
    )
    image_size: int = Field(
        default=64, ge=8, description="Height and width of the prepared images, in pixels."
    )
    resize: Literal["crop", "pad", "squash"] = Field(
        default="crop",
        description="How an image becomes square: centre crop, black border, or squashed.",
    )
    value_range: tuple[float, float] | None = Field(
        default=None,
        description="Black and white of images with more than 8 bits; none: by their own tags.",
    )
    n_classes: int | None = Field(
        default=None, ge=2, description="Use the first so many classes; none: all of them."
    )
    train_limit: int | None = Field(
        default=None, ge=1, description="At most so many training images, stratified."
    )
    validation_limit: int | None = Field(
        default=None,
        ge=1,
        description="At most so many validation images, and as many to confirm, stratified.",
    )
    test_limit: int | None = Field(
        default=None, ge=1, description="At most so many test images, stratified."
    )
    validation_fraction: float = Field(
        default=0.1,
        gt=0,
        lt=0.5,
        description="Part of train held out where the source has no labelled validation split.",
    )
    test_fraction: float = Field(
        default=0.1,
        gt=0,
        lt=0.5,
        description="Part of train held out where the source has no labelled test split.",
    )
    confirm_fraction: float | None = Field(
        default=None,
        ge=0,
        lt=0.5,
        description="Part of train to confirm the winner; none: half of validation; 0: nothing.",
    )
    split_seed: int = Field(
        default=42, ge=0, description="Seed of the splits and of the stratified subsets."
    )
    broken_images: Literal["stop", "drop"] = Field(
        default="stop", description="An image that cannot be decoded: stop, or drop and count it."
    )
    cache: Path = Field(
        default=Path(".cache/images"), description="Folder that keeps the decoded images."
    )

    @model_validator(mode="after")
    def _splits_and_range_make_sense(self) -> Self:
        if self.splits is not None and "train" not in self.splits:
            raise ValueError("splits must name the train split")
        if self.splits is not None and len(set(self.splits.values())) < len(self.splits):
            raise ValueError(f"splits must name another one for each split, got {self.splits}")
        if self.value_range is not None and not self.value_range[0] < self.value_range[1]:
            raise ValueError(f"value_range must satisfy black < white, got {self.value_range}")
        held_out = self.validation_fraction + self.test_fraction + (self.confirm_fraction or 0)
        if held_out >= 1:
            raise ValueError(
                "confirm_fraction must leave images to train on, with validation_fraction and "
                f"test_fraction less than 1 in all, got {held_out:g}"
            )
        return self


class AugmentationConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """How training images are varied: each with its own draw, but for CutMix."""

    flip_probability: float = Field(
        default=0.5, ge=0, le=1, description="Probability of a horizontal flip."
    )
    crop: Literal["none", "padded", "resized"] = Field(
        default="none",
        description="none, padded (random shift over a zero border) or resized (random part).",
    )
    padding: int = Field(default=4, ge=1, description="Largest shift of a padded crop, in pixels.")
    scale: tuple[float, float] = Field(
        default=(0.8, 1.0), description="Range of a resized crop's area, as part of the image."
    )
    ratio: tuple[float, float] = Field(
        default=(0.9, 1.1), description="Range of a resized crop's width divided by its height."
    )
    brightness: float = Field(
        default=0.0, ge=0, description="x: factor drawn from max(0, 1 - x) to 1 + x."
    )
    contrast: float = Field(
        default=0.0, ge=0, description="x: factor drawn from max(0, 1 - x) to 1 + x."
    )
    saturation: float = Field(
        default=0.0, ge=0, description="x: factor drawn from max(0, 1 - x) to 1 + x."
    )
    hue: float = Field(
        default=0.0, ge=0, le=0.5, description="x: turn drawn from -x to x of the colour circle."
    )
    after_normalisation: bool = Field(
        default=False,
        description="Known defect, to compare: colours change after normalising, clipped to 0..1.",
    )
    cutmix_probability: float = Field(
        default=0.0, ge=0, le=1, description="Probability that CutMix mixes the images of a batch."
    )
    cutmix_alpha: float = Field(
        default=1.0, gt=0, description="CutMix draws the share kept from Beta(x, x); 1: uniform."
    )
    cutmix_until: float = Field(
        default=0.75, gt=0, le=1, description="Part of the run after which CutMix is off."
    )

    @model_validator(mode="after")
    def _ranges_are_ordered(self) -> Self:
        if not 0 < self.scale[0] <= self.scale[1] <= 1:
            raise ValueError(f"scale must satisfy 0 < low <= high <= 1, got {self.scale}")
        if not 0 < self.ratio[0] <= self.ratio[1]:
            raise ValueError(f"ratio must satisfy 0 < low <= high, got {self.ratio}")
        return self
