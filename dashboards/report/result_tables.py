"""The tables of a report that papers print: best trials, results over seeds, test, classes."""

from collections.abc import Iterator, Sequence

from dashboards.analysis.comparison import Compared, compare_variants, read_variants
from dashboards.formatting import setting_name, shown_value, shows_top5
from dashboards.report.confirmation_section import (
    ConfirmationSection,
    SettingScores,
    deviation_of,
    mean_of,
)
from dashboards.report.content import ReportContent
from dashboards.report.final_section import FinalRun, TestedClasses
from dashboards.report.table_formats import Cell, Column, ResultTable
from model.standard_errors import accuracy_standard_error
from storage.trial_rows import TrialRow

TRIAL_COLUMNS = (
    Column("trial", "trial"),
    Column("state", "state", is_text=True),
    Column("validation_macro_f1", "macro-F1", ".4f"),
    Column("validation_accuracy", "accuracy", ".4f"),
    Column("validation_accuracy_standard_error", "s.e.", ".4f"),
    Column("best_epoch", "best epoch"),
    Column("epochs", "epochs"),
    Column("seconds", "seconds", ".0f"),
)
SEED_COLUMNS = (
    Column("run", "run", is_text=True),
    Column("complete_runs", "complete"),
    Column("runs", "runs"),
    Column("best_epoch_mean", "best epoch", ".1f"),
    Column("train_accuracy_mean", "train accuracy", ".4f"),
    Column("validation_loss_mean", "validation loss", ".4f"),
    Column("validation_accuracy_mean", "accuracy", ".4f"),
    Column("validation_accuracy_standard_deviation", "s.d.", ".4f"),
    Column("validation_macro_f1_mean", "macro-F1", ".4f"),
    Column("validation_macro_f1_standard_deviation", "s.d.", ".4f"),
    Column("difference", "difference", "+.4f"),
    Column("p_value_holm", "p (Holm)", ".3f"),
    Column("verdict", "verdict", is_text=True),
)
SETTING_COLUMNS = (
    Column("setting", "setting", is_text=True),
    Column("role", "role", is_text=True),
    Column("searched_trial", "trial"),
    Column("search_macro_f1", "search", ".4f"),
    Column("selection_seeds", "seeds"),
    Column("selection_macro_f1_mean", "mean", ".4f"),
    Column("selection_macro_f1_standard_deviation", "s.d.", ".4f"),
    Column("judged_seeds", "seeds"),
    Column("judged_macro_f1_mean", "confirmed", ".4f"),
    Column("judged_macro_f1_standard_deviation", "s.d.", ".4f"),
    Column("is_recommended", "recommended", is_text=True),
)
VERDICT_COLUMNS = (
    Column("verdict", "verdict", is_text=True),
    Column("difference", "difference", "+.4f"),
    Column("low", "90 % from", "+.4f"),
    Column("high", "to", "+.4f"),
    Column("seeds_standard_error", "s.e. of seeds", ".4f"),
    Column("images_standard_error", "of images", ".4f"),
    Column("degrees_of_freedom", "d.f.", ".1f"),
    Column("p_value", "p", ".3f"),
    Column("alpha", "alpha", ".3g"),
    Column("margin", "margin", ".4f"),
    Column("least_detectable", "detectable", ".4f"),
    Column("shrinkage", "shrinkage", "+.4f"),
    Column("images", "images"),
)
TOP5 = "test_top5_accuracy"
TEST_COLUMNS = (
    Column("final_run", "final run"),
    Column("searched_trial", "trial"),
    Column("epochs", "epochs"),
    Column("best_epoch", "best epoch"),
    Column("validation_macro_f1", "validation macro-F1", ".4f"),
    Column("test_macro_f1", "test macro-F1", ".4f"),
    Column("test_macro_f1_standard_error", "s.e.", ".4f"),
    Column("test_accuracy", "test accuracy", ".4f"),
    Column("test_accuracy_standard_error", "s.e.", ".4f"),
    Column(TOP5, "top-5 accuracy", ".4f"),
    Column("test_loss", "loss", ".4f"),
    Column("test_images", "images"),
)
TOGETHER_COLUMNS = (
    Column("run", "run", is_text=True),
    Column("role", "configuration", is_text=True),
    Column("searched_trial", "trial"),
    Column("seed", "seed"),
    Column("state", "state", is_text=True),
    Column("validation_macro_f1", "validation macro-F1", ".4f"),
    Column("test_macro_f1", "test macro-F1", ".4f"),
    Column("test_accuracy", "test accuracy", ".4f"),
)
CLASS_COLUMNS = (
    Column("class", "class", is_text=True),
    Column("precision", "precision", ".3f"),
    Column("recall", "recall", ".3f"),
    Column("f1", "F1", ".3f"),
    Column("images", "images"),
)


def compose_tables(content: ReportContent) -> list[ResultTable]:
    """Return the tables that a study has rows for."""
    tested = [(n, one) for n, one in enumerate(content.finals, start=1) if one.metrics]
    section = content.confirmation
    tables = [
        ResultTable("confirmation", SETTING_COLUMNS, [*_settings(section)]),
        ResultTable("confirmation-verdict", VERDICT_COLUMNS, [*_verdict(section)]),
        _best_trials(content.rows, content.n_validation),
        ResultTable("results-over-seeds", SEED_COLUMNS, _over_seeds(content)),
        _final_tests(tested, with_top5=shows_top5(content.data.n_classes)),
        ResultTable("final-runs-together", TOGETHER_COLUMNS, _together(content.finals)),
        *(
            ResultTable(f"final-{number}-classes", CLASS_COLUMNS, [*_classes(one.classes)])
            for number, one in tested
            if one.classes is not None
        ),
    ]
    return [table for table in tables if table.rows]


def _settings(section: ConfirmationSection | None) -> Iterator[list[Cell]]:
    for one in section.settings if section else ():
        yield [*_setting_cells(one)]


def _setting_cells(one: SettingScores) -> Iterator[Cell]:
    yield one.label
    yield one.role
    yield one.trial
    yield one.search_score
    for scores in (one.selection, one.judged):
        yield len(scores)
        yield mean_of(scores)
        yield deviation_of(scores)
    yield "yes" if one.is_recommended else "no"


def _verdict(section: ConfirmationSection | None) -> Iterator[list[Cell]]:
    verdict = section.found.verdict if section else None
    if section is None or verdict is None:
        return
    yield [
        section.headline,
        verdict.difference,
        verdict.low,
        verdict.high,
        verdict.seeds_error,
        verdict.images_error,
        verdict.degrees,
        verdict.p_value,
        verdict.alpha,
        verdict.margin,
        verdict.least_detectable,
        section.found.shrinkage,
        section.found.n_images,
    ]


def _best_trials(rows: Sequence[TrialRow], n_validation: int) -> ResultTable:
    names = list(dict.fromkeys(name for row in rows for name in row.params))
    params = [
        Column(name, setting_name(name), ".3g", is_text=_is_text(rows, name)) for name in names
    ]
    cells = [
        [*_trial_cells(row, n_validation), *(_param(row, name) for name in names)] for row in rows
    ]
    return ResultTable("best-trials", (*TRIAL_COLUMNS, *params), cells)


def _is_text(rows: Sequence[TrialRow], name: str) -> bool:
    return any(isinstance(_param(row, name), str) for row in rows)


def _param(row: TrialRow, name: str) -> Cell:
    """Return a hyperparameter; None where the trial has it not, for a condition did not hold."""
    if name not in row.params:
        return None
    value: Cell = row.params[name]
    return shown_value(value) if value is None or isinstance(value, bool) else value


def _trial_cells(row: TrialRow, n_validation: int) -> Iterator[Cell]:
    accuracy = row.best.validation_accuracy if row.best else None
    yield row.number
    yield f"{row.state}, imported" if row.is_imported else row.state
    yield row.value
    yield accuracy
    yield None if accuracy is None else accuracy_standard_error(accuracy, n_validation)
    yield row.best_epoch
    yield row.epochs_done
    yield row.seconds


def _over_seeds(content: ReportContent) -> list[list[Cell]]:
    """Return a row for each given point, where points are compared or repeated."""
    if not content.protocol.is_of_given_points:
        return []
    variants = read_variants([*content.by_number.values()])
    is_repeated = any(len(variant.rows) > 1 for variant in variants)
    if not (is_repeated or content.given.variants):
        return []
    return [[*_variant_cells(one)] for one in compare_variants(variants)]


def _variant_cells(compared: Compared) -> Iterator[Cell]:
    one = compared.variant
    yield one.label
    yield len(one.complete)
    yield len(one.rows)
    yield one.mean_at_best("epoch")
    yield one.mean_at_best("train_accuracy")
    yield one.mean_at_best("validation_loss")
    yield one.mean_at_best("validation_accuracy")
    yield one.spread_at_best("validation_accuracy")
    yield one.mean
    yield one.spread
    yield compared.difference
    yield compared.p_value
    yield compared.verdict


def _final_tests(tested: Sequence[tuple[int, FinalRun]], *, with_top5: bool) -> ResultTable:
    kept = [column for column in TEST_COLUMNS if with_top5 or column.key != TOP5]
    rows = [
        [
            cell
            for cell, column in zip(_tested(number, one), TEST_COLUMNS, strict=True)
            if column in kept
        ]
        for number, one in tested
    ]
    return ResultTable("final-test", kept, rows)


def _tested(number: int, final: FinalRun) -> list[Cell]:
    metrics, classes = final.metrics or {}, final.classes
    return [
        number,
        final.test.searched_trial if final.test else None,
        final.row.epochs_done,
        final.row.best_epoch,
        final.best.validation_macro_f1 if final.best else None,
        metrics["macro_f1"],
        classes.macro_f1_error if classes else None,
        metrics["accuracy"],
        classes.accuracy_error if classes else None,
        metrics["top5_accuracy"],
        metrics["loss"],
        classes.n_images if classes else None,
    ]


def _together(finals: Sequence[FinalRun]) -> list[list[Cell]]:
    """Return a row for each run of those that were queued with others."""
    return [
        [getattr(run, _FIELDS.get(column.key, column.key)) for column in TOGETHER_COLUMNS]
        for final in finals
        if len(final.together) > 1
        for run in final.together
    ]


_FIELDS = {"run": "folder"}


def _classes(classes: TestedClasses) -> Iterator[list[Cell]]:
    for one in classes.reports:
        recall, f1 = (one.recall, one.f1) if one.support else (None, None)
        yield [one.class_name, one.precision, recall, f1, one.support]
