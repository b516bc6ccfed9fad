"""What cheap learners achieved on a data set, as a file beside its report.

A file and no row: the data are there before the first study of them, and no database with it.
"""

import json
from dataclasses import asdict, dataclass

from storage.atomic_files import write_atomically
from storage.errors import StorageError
from storage.run_folders import mark_runs
from storage.run_paths import DataPaths

Scores = dict[str, dict[str, float]]
"""accuracy, top5_accuracy and macro_f1 on the validation split, by name of the baseline."""


@dataclass(frozen=True)
class LearnedBaselines:
    """Scores, and what they were learned from.

    Attributes:
        data_fingerprint: Of the data.
        recipe: Version of the learners.
        n_train_images: How many training images they saw.
        scores: What they achieved.
    """

    data_fingerprint: str
    recipe: int
    n_train_images: int
    scores: Scores


def save_baselines(paths: DataPaths, learned: LearnedBaselines) -> None:
    """Write the scores; older ones are replaced.

    Raises:
        RunFolderError: If the file cannot be written.
    """
    mark_runs(paths.folder)
    write_atomically(paths.baselines, (json.dumps(asdict(learned), indent=2) + "\n").encode())


def find_baselines(paths: DataPaths) -> LearnedBaselines | None:
    """Return the scores of these data, None where nothing was learned from them yet.

    Raises:
        StorageError: If the file is damaged.
    """
    try:
        learned = LearnedBaselines(**json.loads(paths.baselines.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, RecursionError):
        raise StorageError(
            f"{paths.baselines} must be a file that `study baselines` wrote, it is damaged: "
            "remove it, and give that command again"
        ) from None
    # Folders are named by the first digits only.
    return learned if learned.data_fingerprint == paths.fingerprint else None
