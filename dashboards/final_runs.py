"""The final runs of a study, with what their one test evaluation found, ready to be shown."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from markupsafe import Markup
from matplotlib.figure import Figure

from dashboards.confusion_csv import load_confusion_csv
from dashboards.plots import confusion_matrix_figure, split_curves_figure, svg
from dashboards.trials import TrialRow, read_trials
from model.evaluation import ClassReport, per_class_report
from storage.errors import StudyNotFoundError
from storage.records import EpochRecord, TestEvaluation, read_epochs, read_tests
from storage.run_paths import FINAL_SUFFIX, RunPaths
from storage.study_storage import StudyStorage

MOST_CLASSES = 8


@dataclass(frozen=True)
class FinalRun:
    """A final run as the report shows it; what has not happened yet is None."""

    row: TrialRow
    test: TestEvaluation | None
    best: EpochRecord | None
    curves: Markup | None
    confusion: Markup | None
    best_classes: Sequence[ClassReport]
    worst_classes: Sequence[ClassReport]


def read_final_runs(storage: StudyStorage, study_name: str, paths: RunPaths) -> list[FinalRun]:
    """Return the final runs of a study, oldest first; none where there is none yet.

    Raises:
        DashboardError: If a confusion matrix is damaged.
    """
    try:
        rows = read_trials(storage, study_name + FINAL_SUFFIX)
    except StudyNotFoundError:
        return []
    tests = {test.trial_id: test for test in read_tests(storage.database, study_name)}
    records = read_epochs(storage.database, [row.trial_id for row in rows])
    return [
        _final_run(row, tests.get(row.trial_id), records.get(row.trial_id, []), paths)
        for row in rows
    ]


def _final_run(
    row: TrialRow, test: TestEvaluation | None, records: Sequence[EpochRecord], paths: RunPaths
) -> FinalRun:
    figure = split_curves_figure(
        [record.train_macro_f1 for record in records],
        [record.validation_macro_f1 for record in records],
    )
    confusion, class_names = None, list[str]()
    if row.slot is not None and (file := paths.final(row.slot).confusion_csv).is_file():
        confusion, class_names = load_confusion_csv(file)
    classes: list[ClassReport] = []
    if confusion is not None:
        classes = per_class_report(torch.from_numpy(confusion), class_names)
        classes.sort(key=lambda report: -report.f1)
    n_easy = min(MOST_CLASSES, (len(classes) + 1) // 2)
    n_hard = min(MOST_CLASSES, len(classes) // 2)
    return FinalRun(
        row=row,
        test=test,
        best=next((record for record in records if record.epoch == row.best_epoch), None),
        curves=drawn(figure) if records else None,
        confusion=(
            None if confusion is None else drawn(confusion_matrix_figure(confusion, class_names))
        ),
        best_classes=classes[:n_easy],
        worst_classes=classes[::-1][:n_hard],
    )


def drawn(figure: Figure) -> Markup:
    """Return a figure as markup; matplotlib escapes the texts that it draws."""
    return Markup(svg(figure))
