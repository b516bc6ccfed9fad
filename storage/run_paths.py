"""The one place that knows the names of files and folders below the runs folder."""

import itertools
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from storage.access import describe_obstacle
from storage.errors import AccessDeniedError, RunFolderError, StorageError, StudyNotFoundError
from storage.group_rights import create_file, make_folders, share

FINAL_SUFFIX = "-final"
"""Ends the name under which the final runs of a study are queued."""
MARKER = ".study-key"
RUNS_MARKER = ".study-runs"
"""Lies in folders that no source of images enters; repeats `data.sources.folder_walk`."""
RANGE_TEST = "lr-range"
PART = re.compile(r"\..+\.([0-9]+)\.part")


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
        """Class and predictions of each image of the test split."""
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

    def trial_folders(self) -> dict[int, TrialPaths]:
        """Return the trials that have a folder, by slot."""
        there = {entry.name for entry in _subfolders(self.folder / "trials")}
        slots = sorted(int(name) for name in there if name.isdecimal())
        return {slot: self.trial(slot) for slot in slots if self.trial(slot).folder.name in there}

    def final_folders(self) -> dict[int, TrialPaths]:
        """Return the final runs that have a folder, by slot."""
        names = {entry.name for entry in _subfolders(self.folder)}
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

    def reject_read_only(self) -> None:
        """Reject a folder that cannot be written.

        Raises:
            RunFolderError: If it cannot.
        """
        if _is_mounted_read_only(self.folder):
            raise RunFolderError(
                f"storage.runs must be a folder that can be written, {self.folder} cannot: "
                "mount it writable, or give the right folder with --runs"
            )
        for folder in (self.folder, self.folder / "trials", self.logs):
            if folder.exists() and not os.access(folder, os.W_OK):
                raise AccessDeniedError(
                    f"storage.runs must be a folder that you can write, {self.folder} is not: "
                    f"{describe_obstacle(folder)}"
                )

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


def _is_mounted_read_only(folder: Path) -> bool:
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


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


@dataclass(frozen=True)
class PartFile:
    """What a process was writing beside a file that it would then replace.

    Attributes:
        pid: The process.
        age_seconds: Time since it last wrote.
    """

    path: Path
    pid: int
    age_seconds: float


def part_files(folder: Path, *, below: bool) -> list[PartFile]:
    """Return the unfinished files in a folder, or everywhere below it too."""
    found = []
    for path in sorted(folder.glob("**/.*.part" if below else ".*.part")):
        name = PART.fullmatch(path.name)
        if name is not None:
            with suppress(FileNotFoundError):  # its process has just finished it
                age_seconds = time.time() - path.lstat().st_mtime
                found.append(PartFile(path, int(name[1]), age_seconds))
    return found


def claimed_folders(runs: Path) -> dict[Path, str]:
    """Return the run folders of all studies, of whichever database, with the keys in them."""
    studies = [RunPaths(runs, entry.name) for entry in _subfolders(runs)]
    keys = {paths.folder: paths.key() for paths in studies}
    return {folder: key for folder, key in keys.items() if key is not None}


def mark_runs(folder: Path) -> None:
    """Mark a folder of the runs folder, and that one, as none of a source that it lies in.

    What cannot be written is left to whoever writes there next.
    """
    for marked in (folder.parent, folder):
        with suppress(OSError):
            make_folders(marked)
            create_file(marked / RUNS_MARKER).close()


def lies_in_runs(path: Path) -> bool:
    """Return whether a path lies in the run folder of a study, whose files are its own."""
    return any(
        (above / RUNS_MARKER).exists() and (above.parent / RUNS_MARKER).exists()
        for above in path.resolve().parents
    )


def free_name(folder: Path) -> Path:
    """Return a name beside a folder that nothing has: `tiny-old`, `tiny-old-2`, ..."""
    numbers = itertools.count(2)
    found = folder.with_name(f"{folder.name}-old")
    while found.exists():
        found = folder.with_name(f"{folder.name}-old-{next(numbers)}")
    return found


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it; one that is gone is fine.

    Raises:
        RunFolderError: If it cannot be removed.
    """
    with writing(path), suppress(FileNotFoundError):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _subfolders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.is_symlink())


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash, sees the old or the new one but no half.

    Raises:
        RunFolderError: If the disk is full or the folder cannot be written; no half file stays.
    """
    with writing(path):
        replace_file(path, content)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the errors of a full disk, of missing rights and of a lost mount into one line.

    Raises:
        RunFolderError: If one comes from inside.
    """
    try:
        yield
    except PermissionError as error:
        raise AccessDeniedError(
            f"storage.runs must be open to you, {path} cannot be written "
            f"({error.strerror}): {describe_obstacle(Path(error.filename or path))}"
        ) from None
    except OSError as error:
        raise RunFolderError(
            f"storage.runs must have room and be writable, {path} cannot be written "
            f"({error.strerror or error}): free space, or repair the rights or the mount"
        ) from None


def open_without_following(path: str, flags: int) -> int:
    """Open a file, but not where a link leads to: the `opener` of names that others can tell."""
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


def replace_file(path: Path, content: bytes) -> None:
    """Do the same anywhere.

    Creates the file's folder, but none above it: a runs folder whose disk is gone stays empty.

    Raises:
        OSError: If the disk is full or the folder cannot be written; no half file stays.
    """
    if not path.parent.is_dir():
        path.parent.mkdir(exist_ok=True)
        share(path.parent)
    with replacing_file(path) as file:
        file.write(content)


@contextmanager
def replacing_file(path: Path) -> Iterator[BinaryIO]:
    """Give a file to write in parts, which takes its name when the context ends without an error.

    Raises:
        OSError: If the disk is full or the folder cannot be written; no half file stays.
    """
    # Nobody who may write the folder can know the name, to plant a link there.
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}.{os.getpid()}.part")
    try:
        with create_file(beside) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
