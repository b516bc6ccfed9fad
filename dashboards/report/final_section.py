"""The final runs of a study, with what their one test evaluation found, ready to be shown.

All of it was written by the test evaluation: nothing here opens the test split.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from matplotlib.figure import Figure

from dashboards.analysis.confusion import (
    ConfusedPair,
    load_confusion_csv,
    most_confused,
    neighbour_order,
)
from dashboards.figures.base import MOST_NAMED_CLASSES
from dashboards.figures.confusion_matrix import confusion_matrix_figure
from dashboards.figures.mistakes import PicturedMistake, load_mistakes
from dashboards.figures.split_curves import clear_top, split_curves_figure
from dashboards.report.captioned import CaptionedFigure
from dashboards.report.final_runs_together import ListedRun, list_runs, read_group_lines
from dashboards.report.html import thumbnail
from model.evaluation import ClassReport, per_class_report
from model.standard_errors import accuracy_standard_error, macro_f1_standard_error
from storage.errors import StudyNotFoundError
from storage.final_groups import first_runs, group_of
from storage.records import (
    EpochRecord,
    read_epochs,
)
from storage.run_paths import RunPaths, TrialPaths
from storage.study_names import FINAL_SUFFIX
from storage.study_storage import StudyStorage
from storage.test_evaluations import (
    TestEvaluation,
    read_tests,
)
from storage.trial_rows import TrialRow, read_trials

MOST_CLASSES = 8
MOST_PAIRS = 12


@dataclass(frozen=True)
class TestedClasses:
    """What the test says of each class.

    Attributes:
        n_images: Test images of all classes.
        n_present: Classes that have test images.
        accuracy_error: Binomial standard error of the accuracy.
        macro_f1_error: Bootstrap standard error of macro-F1.
        matrix: The confusion matrix, in the order of the classes.
        ordered_matrix: The same, classes often confused side by side; None where they are few.
        reports: Every class, in order.
        best: Those of the highest F1; classes without test images are left out.
        worst: Those of the lowest F1, the lowest first.
        pairs: The pairs with the most mistakes.
    """

    __test__ = False  # pytest, this is no test

    n_images: int
    n_present: int
    accuracy_error: float
    macro_f1_error: float
    matrix: Figure
    ordered_matrix: Figure | None
    reports: Sequence[ClassReport]
    best: Sequence[ClassReport]
    worst: Sequence[ClassReport]
    pairs: Sequence[ConfusedPair]


@dataclass(frozen=True)
class FinalRun:
    """A final run as the report shows it; what has not happened yet is None.

    Attributes:
        row: The run itself.
        test: Its test evaluation.
        best: Its best epoch.
        curves: macro-F1 after each epoch.
        losses: Loss after each epoch.
        classes: What the test says of each class.
        mistakes: The surest mistakes; None also for a run older than they are kept.
        mistakes_file: Their file, below the folder of all runs.
        together: All runs that were queued with it, itself among them.
        together_lines: What they have shown together.
    """

    row: TrialRow
    test: TestEvaluation | None
    best: EpochRecord | None
    curves: CaptionedFigure | None
    losses: CaptionedFigure | None
    classes: TestedClasses | None
    mistakes: Sequence[PicturedMistake] | None
    mistakes_file: str | None
    together: Sequence[ListedRun]
    together_lines: Sequence[str]

    @property
    def metrics(self) -> Mapping[str, float] | None:
        """Metrics on the test images."""
        return self.test.metrics if self.test else None

    @property
    def gap(self) -> dict[str, float] | None:
        """Validation minus test, of each score."""
        if self.metrics is None or self.best is None:
            return None
        return {
            name: getattr(self.best, f"validation_{name}") - self.metrics[name]
            for name in ("macro_f1", "accuracy", "top5_accuracy", "loss")
        }


def read_final_runs(storage: StudyStorage, study_name: str, paths: RunPaths) -> list[FinalRun]:
    """Return the final runs of a study, oldest first, of those queued together the first.

    Raises:
        DashboardError: If a confusion matrix, the metrics or the mistakes are damaged.
    """
    try:
        rows = read_trials(storage, study_name + FINAL_SUFFIX)
    except StudyNotFoundError:
        return []
    tests = {test.trial_id: test for test in read_tests(storage.database, study_name)}
    records = read_epochs(storage.database, [row.trial_id for row in rows])
    found = []
    for first in first_runs(rows):
        group = [row for row in rows if group_of(row) == group_of(first)]
        group.sort(key=lambda row: row.slot or 0)
        listed = list_runs(group, tests, paths, first=first)
        mine = records.get(first.trial_id, [])
        found.append(_final_run(first, tests.get(first.trial_id), mine, paths, listed))
    return found


def _final_run(
    row: TrialRow,
    test: TestEvaluation | None,
    records: Sequence[EpochRecord],
    paths: RunPaths,
    together: Sequence[ListedRun],
) -> FinalRun:
    files = None if row.slot is None else paths.final(row.slot)
    return FinalRun(
        row=row,
        test=test,
        best=next((record for record in records if record.epoch == row.best_epoch), None),
        curves=_curves(records),
        losses=_losses(records),
        classes=_tested_classes(files) if files and files.confusion_csv.is_file() else None,
        mistakes=_mistakes(files) if files and files.mistakes.is_file() else None,
        mistakes_file=files.mistakes.relative_to(paths.runs).as_posix() if files else None,
        together=together,
        together_lines=read_group_lines(files) if files else (),
    )


def _mistakes(files: TrialPaths) -> list[PicturedMistake]:
    return [
        replace(mistake, picture=thumbnail(mistake.picture))
        for mistake in load_mistakes(files.mistakes)
    ]


def _curves(records: Sequence[EpochRecord]) -> CaptionedFigure | None:
    if not records:
        return None
    figure = split_curves_figure(*_by_split(records, "macro_f1"))
    caption = "Macro-F1 after each epoch; training images are augmented."
    return CaptionedFigure("Learning curve", caption, figure)


def _losses(records: Sequence[EpochRecord]) -> CaptionedFigure | None:
    if not records:
        return None
    curves = _by_split(records, "loss")
    top = clear_top(*curves)
    figure = split_curves_figure(*curves, metric="cross-entropy in nats", top=top)
    caption = (
        "After each epoch; that of the training has label smoothing in it, where there is any."
    )
    if top is not None:
        highest = max(value for values in curves for value in values)
        caption += f" Outliers, up to {highest:.3g}, lie above the axis."
    return CaptionedFigure("Loss", caption, figure)


def _by_split(records: Sequence[EpochRecord], name: str) -> tuple[list[float], list[float]]:
    train, validation = (
        [getattr(record, f"{split}_{name}") for record in records]
        for split in ("train", "validation")
    )
    return train, validation


def _tested_classes(files: TrialPaths) -> TestedClasses:
    confusion, names = load_confusion_csv(files.confusion_csv)
    reports = per_class_report(torch.from_numpy(confusion), names)
    present = [report for report in reports if report.support]
    ranked = sorted(present, key=lambda report: -report.f1)
    n_images = int(confusion.sum())
    ordered = None
    if len(names) > MOST_NAMED_CLASSES:
        ordered = confusion_matrix_figure(confusion, names, order=neighbour_order(confusion))
    return TestedClasses(
        n_images=n_images,
        n_present=len(present),
        accuracy_error=accuracy_standard_error(confusion.trace() / n_images, n_images),
        macro_f1_error=macro_f1_standard_error(confusion),
        matrix=confusion_matrix_figure(confusion, names),
        ordered_matrix=ordered,
        reports=reports,
        best=ranked[: min(MOST_CLASSES, (len(ranked) + 1) // 2)],
        worst=ranked[::-1][: min(MOST_CLASSES, len(ranked) // 2)],
        pairs=most_confused(confusion, names, most=MOST_PAIRS),
    )
