"""TensorBoard's event files: one run folder for each trial.

Imports torch, so nothing light may import this module.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tensorboard.compat.tensorflow_stub.io import gfile
from torch.utils.tensorboard.writer import SummaryWriter

from dashboards.formatting import shows_top5
from dashboards.tensorboard.hparams import HParam, row_summaries
from model.rate_curve import RateCurve
from storage.atomic_files import open_without_following, remove, writing
from storage.group_rights import create_file, make_folders
from storage.records import EpochRecord

COLUMNS = {
    "best/macro_f1": "best macro-F1",
    "best/accuracy": "accuracy",
    "best/top5_accuracy": "top-5 accuracy",
    "best/train_accuracy": "train accuracy",
    "best/loss": "loss",
    "best/epoch": "best epoch",
    "test/macro_f1": "test macro-F1",
    "test/accuracy": "test accuracy",
}
"""Metrics of the HPARAMS tab: the validation of the best epoch, then what only a final run has.

TensorBoard shows five at first, and draws no line for a run that lacks one of those shown. So the
train accuracy is in the place of the top-5 accuracy where there is none.
"""
TOP5 = "top5_accuracy"
TEST_METRICS = ("test/macro_f1", "test/accuracy")


class OwnFiles(gfile.LocalFileSystem):  # type: ignore[misc]
    """Where event files are written, which TensorBoard opens by their names again and again."""

    def write(self, filename: str, file_content: bytes, binary_mode: bool = False) -> None:
        """Create a file."""
        with create_file(Path(os.fsdecode(filename))) as file:
            file.write(file_content)

    def makedirs(self, path: str) -> None:
        """Create a folder and those above it."""
        make_folders(Path(os.fsdecode(path)))

    def append(self, filename: str, file_content: bytes, binary_mode: bool = False) -> None:
        """Append to a file, but follow no link."""
        with open(filename, "ab", opener=open_without_following) as file:
            file.write(file_content)


gfile.register_filesystem("", OwnFiles())


class TensorBoardLog:
    """Writes one trial's run; steps are epochs, the first is 1.

    Args:
        folder: The run's folder, made if missing. Event files of earlier attempts stay.
        next_epoch: First epoch that will be written. Points that an earlier attempt wrote at it
            or later are purged, so that a resumed trial shows no point twice.
        n_classes: Classes of the images: of few, there is no top-5 accuracy.
    """

    def __init__(self, folder: Path, *, next_epoch: int, n_classes: int) -> None:
        self._next_epoch = next_epoch
        self._shows_top5 = shows_top5(n_classes)
        self._folder = folder
        with writing(folder):
            self._writer = _opened(folder, purge_step=next_epoch)

    def write(self, record: EpochRecord) -> None:
        """Write the scalars of an epoch and flush them to disk."""
        values = {
            f"{metric}/{split}": getattr(record, f"{split}_{metric}")
            for split in ("train", "validation")
            for metric in ("loss", "accuracy", TOP5, "macro_f1")
            if metric != TOP5 or self._shows_top5
        }
        for name in ("learning_rate", "gradient_norm", "images_per_second"):
            values[name] = getattr(record, name)
        with writing(self._folder):
            for tag, value in values.items():
                self._writer.add_scalar(tag, value, record.epoch)
            self._writer.flush()
        self._next_epoch = record.epoch + 1

    def write_row(
        self,
        name: str,
        hparams: Mapping[str, HParam],
        metrics: Mapping[str, float],
    ) -> None:
        """Write the row of the HPARAMS tab, into this same run.

        `SummaryWriter.add_hparams` would open a second run folder. The metrics get the step after
        the last epoch: a resume after it purges them.

        Args:
            name: Of the row.
            hparams: By setting.
            metrics: Some of `COLUMNS`.
        """
        headings = {
            _tag(column): heading
            for column, heading in COLUMNS.items()
            if column != ("best/train_accuracy" if self._shows_top5 else "best/top5_accuracy")
        }
        with writing(self._folder):
            for summary in row_summaries(name, hparams, headings):
                self._writer._get_file_writer().add_summary(summary)  # type: ignore[no-untyped-call]
            for column, value in metrics.items():
                if _tag(column) in headings:
                    self._writer.add_scalar(_tag(column), value, self._next_epoch)
            self._writer.flush()

    def close(self) -> None:
        """Flush and close the event file."""
        with writing(self._folder):
            self._writer.close()


def _opened(folder: Path, *, purge_step: int) -> SummaryWriter:
    """Return a writer of a file that TensorBoard reads after those that are there.

    It reads them in the order of their names, which begin with the second they were opened in.
    """
    seconds = [int(path.name.split(".")[3]) for path in folder.glob("events.out.tfevents.*")]
    now = time.time()
    if int(now) in seconds:
        time.sleep(1 - now % 1)
    return SummaryWriter(str(folder), purge_step=purge_step)


def _tag(column: str) -> str:
    return f"hparam/{column}"


def write_test(
    folder: Path,
    *,
    after_epoch: int,
    metrics: Mapping[str, float],
    pictures: Mapping[str, Path],
) -> None:
    """Add a test to the run of its training, in the row of the HPARAMS tab and as pictures.

    Idempotent: points of an earlier call are purged.

    Args:
        folder: The run's folder.
        after_epoch: The last epoch of the training.
        metrics: Values of `TEST_METRICS`.
        pictures: PNG files by tag.

    Raises:
        RunFolderError: If the folder cannot be written.
    """
    step = after_epoch + 2  # the step before is that of `write_row`
    with writing(folder), _opened(folder, purge_step=step) as writer:
        for name in TEST_METRICS:
            writer.add_scalar(_tag(name), metrics[name], step)
        for tag, path in pictures.items():
            with Image.open(path) as image:
                pixels_HWC = np.asarray(image.convert("RGB"))
            writer.add_image(tag, pixels_HWC, step, dataformats="HWC")


def write_pictures(folder: Path, pictures: Mapping[str, NDArray[np.uint8]]) -> None:
    """Write a run that holds only pictures; an older run in the folder is replaced.

    Args:
        folder: The run's folder.
        pictures: RGB images, (N, H, W, 3), by tag.

    Raises:
        RunFolderError: If the folder cannot be written.
    """
    remove(folder)
    with writing(folder), SummaryWriter(str(folder)) as writer:
        for tag, images_NHWC in pictures.items():
            writer.add_images(tag, images_NHWC, 0, dataformats="NHWC")


def write_rate_curve(folder: Path, curve: RateCurve) -> None:
    """Write an LR finder run as a run of its own, in a folder that is empty or missing."""
    with writing(folder), SummaryWriter(str(folder)) as writer:
        steps = zip(curve.rates, curve.losses, curve.smoothed, strict=True)
        for step, (rate, loss, smoothed) in enumerate(steps, start=1):
            writer.add_scalar("lr_range/learning_rate", rate, step)
            writer.add_scalar("lr_range/loss", loss, step)
            writer.add_scalar("lr_range/smoothed_loss", smoothed, step)
