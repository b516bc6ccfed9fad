"""The one place that knows the names of files and folders below the runs folder."""

import itertools
import re
from dataclasses import dataclass
from pathlib import Path

from storage.atomic_files import PART, remove, replace_file, writing
from storage.errors import StorageError, StudyNotFoundError
from storage.group_rights import make_folders

MARKER = ".study-key"
RUNS_MARKER = ".study-runs"
"""Lies in folders that no source of images enters; repeats `data.sources.folder_walk`."""
RANGE_TEST = "lr-range"


@dataclass(frozen=True)
class TrialPaths:
    """Files of one trial or final run."""

    folder: Path

    @property
    def configuration(self) -> Path:
        """The resolved configuration with the trial's hyperparameters."""
        return self.folder / "configuration.json"

    @property
    def epochs(self) -> Path:
        """A copy of the trial's rows in the table `epochs`."""
        return self.folder / "epochs.csv"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's event files."""
        return self.folder / "tensorboard"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints from which the trial resumes."""
        return self.folder / "checkpoints"

    def checkpoint(self, epoch: int) -> Path:
        """The checkpoint after an epoch."""
        return self.checkpoints / f"epoch-{epoch:05d}.pt"

    @property
    def best(self) -> Path:
        """The weights of the best epoch by validation macro-F1."""
        return self.folder / "best.pt"

    @property
    def metrics(self) -> Path:
        """Validation and test metrics of a final run."""
        return self.folder / "metrics.json"

    @property
    def confusion_csv(self) -> Path:
        """Confusion matrix on the test split, rows are true classes."""
        return self.folder / "confusion_matrix.csv"

    @property
    def confusion_picture(self) -> Path:
        """The same as a picture."""
        return self.folder / "confusion_matrix.png"

    @property
    def per_class(self) -> Path:
        """Precision, recall, F1 and support of each class on the test split."""
        return self.folder / "per_class.csv"

    @property
    def predictions(self) -> Path:
        """Class and predictions of each image of the test split, or of the confirmation images."""
        return self.folder / "predictions.csv"

    @property
    def model(self) -> Path:
        """The model folder of a final run."""
        return self.folder / "model"

    @property
    def mistakes(self) -> Path:
        """The surest mistakes on the test split, with their pictures."""
        return self.folder / "mistakes.json"

    @property
    def mistakes_picture(self) -> Path:
        """The same as one picture."""
        return self.folder / "mistakes.png"

    def set_aside(self) -> Path:
        """Rename the folder to a free name beside it, where no view looks for its files.

        Raises:
            RunFolderError: If it cannot be renamed.
        """
        with writing(self.folder):
            for events in list(
                self.tensorboard.glob("*tfevents*")
            ):  # TensorBoard looks everywhere
                events.rename(events.with_name(events.name.replace("tfevents", "set-aside")))
            names = (f"{self.folder.name}.set-aside-{n}" for n in itertools.count(1))
            free = next(name for name in names if not self.folder.with_name(name).exists())
            return self.folder.rename(self.folder.with_name(free))

    def remove_unfinished(self) -> None:
        """Remove what a process that died while it wrote has left; the trial must be ours."""
        for part in self.folder.rglob(".*.part"):
            remove(part)


@dataclass(frozen=True)
class RangeTestPaths:
    """Files of a study's range test, which may be older than the study."""

    folder: Path

    @property
    def record(self) -> Path:
        """Learning rates and losses, and what they were measured with."""
        return self.folder / "lr-range.json"

    @property
    def picture(self) -> Path:
        """Loss over learning rate."""
        return self.folder / "lr-range.png"

    @property
    def configuration(self) -> Path:
        """A configuration with the narrowed range, for `--config`."""
        return self.folder / "study.yaml"

    @property
    def tensorboard(self) -> Path:
        """TensorBoard's event files."""
        return self.folder / "tensorboard"


@dataclass(frozen=True)
class RunPaths:
    """Folders of one study.

    Attributes:
        runs: The folder of all studies, shared by all workers.
        study_name: Name of the searched study.
    """

    runs: Path
    study_name: str

    @property
    def folder(self) -> Path:
        """Everything of this study."""
        return self.runs / self.study_name

    @property
    def logs(self) -> Path:
        """One log file for each worker."""
        return self.folder / "logs"

    @property
    def report(self) -> Path:
        """The report of the study."""
        return self.folder / "report.html"

    @property
    def heat_map(self) -> Path:
        """Scores over the two axes of a grid, as a picture; `.svg` beside it."""
        return self.folder / "heat_map.png"

    @property
    def comparison(self) -> Path:
        """Learning curves of what was compared, as a picture; `.svg` beside it."""
        return self.folder / "comparison.png"

    @property
    def range_test(self) -> RangeTestPaths:
        """The folder of the range test."""
        return RangeTestPaths(self.folder / RANGE_TEST)

    def trial(self, slot: int) -> TrialPaths:
        """The folder of a place in the queue."""
        return TrialPaths(self.folder / "trials" / f"{slot:05d}")

    def final(self, slot: int) -> TrialPaths:
        """The folder of the first final run, or of one after a reopening."""
        return TrialPaths(self.folder / ("final" if slot == 0 else f"final-{slot + 1}"))

    def confirmation(self, slot: int) -> TrialPaths:
        """The folder of a run that confirms the winner."""
        return TrialPaths(self.folder / "confirmation" / f"{slot:05d}")

    def trial_folders(self) -> dict[int, TrialPaths]:
        """Return the trials that have a folder, by slot."""
        there = {entry.name for entry in subfolders(self.folder / "trials")}
        slots = sorted(int(name) for name in there if name.isdecimal())
        return {slot: self.trial(slot) for slot in slots if self.trial(slot).folder.name in there}

    def confirmation_folders(self) -> dict[int, TrialPaths]:
        """Return the runs that confirm the winner and have a folder, by slot."""
        there = {entry.name for entry in subfolders(self.folder / "confirmation")}
        slots = sorted(int(name) for name in there if name.isdecimal())
        found = {slot: self.confirmation(slot) for slot in slots}
        return {slot: files for slot, files in found.items() if files.folder.name in there}

    def final_folders(self) -> dict[int, TrialPaths]:
        """Return the final runs that have a folder, by slot."""
        names = {entry.name for entry in subfolders(self.folder)}
        found = [re.fullmatch(r"final(?:-([0-9]+))?", name) for name in names]
        slots = sorted(int(name[1] or 1) - 1 for name in found if name)
        return {slot: self.final(slot) for slot in slots if self.final(slot).folder.name in names}

    @property
    def _marker(self) -> Path:
        return self.folder / MARKER

    def key(self) -> str | None:
        """Return the key of the study that the folder belongs to, None where nothing says so."""
        try:
            return self._marker.read_text()
        except OSError:
            return None

    def is_unused(self) -> bool:
        """Return whether no study is in the folder.

        What a cut-off `claim` left is none, nor is a range test, which may come before `init`.
        """
        try:
            names = {entry.name for entry in self.folder.iterdir()} - {RANGE_TEST, RUNS_MARKER}
            return all(map(PART.fullmatch, names))
        except FileNotFoundError:
            return True

    def claim(self, study_key: str) -> None:
        """Leave the study's key in its folder, so that every worker can tell that it is the same.

        Raises:
            RunFolderError: If the folder cannot be written.
            StorageError: If it belongs to another study.
        """
        with writing(self._marker):
            if not self._marker.exists():
                make_folders(self.folder)
                replace_file(self._marker, study_key.encode())
        self.check(study_key)

    def check(self, study_key: str) -> None:
        """Reject a folder that is not the one of the study.

        Raises:
            StudyNotFoundError: If the folder is missing.
            StorageError: If it holds the runs of another study.
        """
        rule = f"storage.runs must be the folder given at `study init`, {self.runs}"
        remedy = "give that folder with --runs, or another --name"
        if not self._marker.is_file():
            raise StudyNotFoundError(f"{rule} has no such study: {remedy}")
        if self._marker.read_text() != study_key:
            raise StorageError(f"{rule} holds another study of this name: {remedy}")


@dataclass(frozen=True)
class DataPaths:
    """Files about a prepared data set, whichever studies use it.

    Attributes:
        runs: The folder of all studies.
        fingerprint: Of the data.
    """

    runs: Path
    fingerprint: str

    @property
    def folder(self) -> Path:
        """Everything about these data."""
        return self.runs / f"data-{self.fingerprint[:12]}"

    @property
    def report(self) -> Path:
        """The report of the data."""
        return self.folder / "report.html"

    @property
    def tensorboard(self) -> Path:
        """Event files with images before and after augmentation."""
        return self.folder / "tensorboard"

    @property
    def baselines(self) -> Path:
        """What cheap learners achieve on these data."""
        return self.folder / "baselines.json"


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder, by name, without links; none where it is missing."""
    if not folder.is_dir():
        return []
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.is_symlink())
