"""What the report of a study says, composed once for the page and for the summary.

All of it comes from the database, but final runs and the LR finder, which have folders of their
own.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dashboards.analysis.audit import PruningAudit, audit_pruning, find_rungs
from dashboards.analysis.baselines import BestBaseline, best_of
from dashboards.analysis.comparison import (
    Variant,
    is_comparison,
    rank_variants,
    read_variants,
)
from dashboards.analysis.confidence import Rivals, find_rivals
from dashboards.analysis.cost import Cost, compute_cost
from dashboards.analysis.grid import read_grid
from dashboards.analysis.importances import Importances, read_importances
from dashboards.analysis.lr_range import load_range_record
from dashboards.analysis.reproducibility import Provenance, read_provenance
from dashboards.analysis.search_space import Hyperparameter, read_space
from dashboards.analysis.status import StudyStatus, read_status
from dashboards.figures.base import rate_curve_figure
from dashboards.figures.comparison import comparison_figure, heat_map_figure
from dashboards.figures.live_shapes import live_timeline
from dashboards.figures.timeline import build_timeline, timeline_figure
from dashboards.report.captioned import CaptionedFigure
from dashboards.report.confirmation_section import (
    ConfirmationSection,
    read_confirmation_section,
    suggest_confirmation,
)
from dashboards.report.data_section import DataSection, read_data_section
from dashboards.report.final_section import FinalRun, read_final_runs
from dashboards.report.search_section import SearchSection, build_search_section
from storage.attempts import Attempt, read_attempts
from storage.records import Protocol, read_protocol
from storage.run_paths import RunPaths
from storage.study_storage import StudyStorage
from storage.trial_rows import TrialRow, by_value, read_trials

MOST_TRIALS = 20
MOST_ATTEMPTS = 600
MOST_REASONS = 10


@dataclass(frozen=True)
class GivenPoints:
    """What a study of given points found; empty for a search.

    Attributes:
        heat_map: Scores over the two axes of a grid, None where it is none.
        comparison: Curves laid over each other, None where no points are compared.
        variants: The points that are compared, the base first.
    """

    heat_map: CaptionedFigure | None = None
    comparison: CaptionedFigure | None = None
    variants: Sequence[Variant] = ()


@dataclass(frozen=True)
class ReportContent:
    """What the report of a study says.

    Attributes:
        protocol: The stored configuration.
        written_at: When the report was written.
        status: How far the study is.
        cost: What it has cost.
        timeline: Who trained what and when, None before the first claim.
        confirmation: Whether the winner holds up; None where nothing of it is queued.
        confirm_command: What confirms it; None where nothing was searched.
        reasons: State, kind and message of trials that ended early, with their number.
        space: The hyperparameters; empty before the first trial has begun.
        importances: Of these, or why there are none.
        search: The figures of the search.
        audit: What became of trials that ran on though they were to be cut, None where none did.
        given: What given points found.
        rows: The best trials.
        by_number: Every trial by its number.
        n_validation: Validation images that scores are measured on.
        rivals: Trials that do not differ clearly from the best.
        data: The data, with pictures where the decoded images are here.
        finals: The final runs, oldest first.
        lr_finder: Curve of the LR finder, None where it has not run.
        best_baseline: The best baseline.
        provenance: Where the results come from.
    """

    protocol: Protocol
    written_at: str
    status: StudyStatus
    cost: Cost
    timeline: CaptionedFigure | None
    confirmation: ConfirmationSection | None
    confirm_command: str | None
    reasons: Sequence[tuple[tuple[str, str, str], int]]
    space: Sequence[Hyperparameter]
    importances: Importances
    search: SearchSection
    audit: PruningAudit | None
    given: GivenPoints
    rows: Sequence[TrialRow]
    by_number: Mapping[int, TrialRow]
    n_validation: int
    rivals: Rivals | None
    data: DataSection
    finals: Sequence[FinalRun]
    lr_finder: CaptionedFigure | None
    best_baseline: BestBaseline
    provenance: Provenance


def compose_report(
    storage: StudyStorage, study_name: str, *, runs: Path, cache: Path | None = None
) -> ReportContent:
    """Return what there is to say of a study, finished or not.

    Args:
        storage: Its database.
        study_name: Its name.
        runs: The folder of all runs.
        cache: The folder of the decoded images; default that of the study's configuration.

    Raises:
        StorageError: If there is no such study, or the folder of runs is of another one.
        DashboardError: If a file of a final run or of the LR finder is damaged.
    """
    protocol = read_protocol(storage.database, study_name)
    paths = RunPaths(runs, study_name)
    paths.check(protocol.study_key)
    rows = read_trials(storage, study_name)
    status = read_status(storage, study_name)
    attempts = read_attempts(storage.database, [row.trial_id for row in rows])
    space = read_space(storage, study_name)
    is_given = protocol.configuration["search"].get("space") == "given"
    given = _given(rows) if is_given else GivenPoints()
    importances = read_importances(storage, study_name, space, is_given=is_given)
    data = read_data_section(protocol, runs=runs, cache=cache)
    confirmation = read_confirmation_section(storage, study_name)
    n_validation = int(protocol.facts["n_examples"]["validation"])
    cost = compute_cost(
        rows,
        attempts=attempts,
        budget=protocol.limit,
        n_epochs=int(protocol.configuration["search"]["n_epochs"]),
    )
    return ReportContent(
        protocol=protocol,
        written_at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        status=status,
        cost=cost,
        timeline=_timeline(attempts, rows),
        confirmation=confirmation,
        confirm_command=suggest_confirmation(protocol, is_search=bool(space) and not is_given),
        reasons=_reasons(rows),
        space=space,
        importances=importances,
        search=build_search_section(
            rows, space, importances, shown_below=bool(given.heat_map or given.comparison)
        ),
        audit=audit_pruning(
            rows, rungs=find_rungs(protocol), saved_epochs=cost.pruning_saved_epochs
        ),
        given=given,
        rows=by_value([row for row in rows if row.value is not None])[:MOST_TRIALS],
        by_number={row.number: row for row in rows},
        n_validation=n_validation,
        rivals=find_rivals(status.best, rows, n_validation),
        data=data,
        finals=read_final_runs(storage, study_name, paths),
        lr_finder=_lr_finder(paths),
        best_baseline=best_of(data.baselines),
        provenance=read_provenance(protocol, rows, is_confirmed=confirmation is not None),
    )


def _reasons(rows: Sequence[TrialRow]) -> list[tuple[tuple[str, str, str], int]]:
    """Return why the study's own trials ended early, the most frequent reason first."""
    return Counter(
        (row.state, row.reason["kind"], row.reason["message"])
        for row in rows
        if row.reason and not row.is_imported
    ).most_common(MOST_REASONS)


def _timeline(attempts: Sequence[Attempt], rows: Sequence[TrialRow]) -> CaptionedFigure | None:
    if not attempts:
        return None
    shown = attempts[-MOST_ATTEMPTS:]
    bars = "each attempt at a trial"
    if len(shown) < len(attempts):
        bars = f"each of the newest {len(shown):,} of {len(attempts):,} attempts at trials"
    caption = f"A row for each worker (host and process), a bar for {bars}."
    timeline = build_timeline(shown, {row.trial_id: row.state for row in rows})
    live = live_timeline(timeline, {row.trial_id: row.number for row in rows})
    return CaptionedFigure("Who trained when", caption, timeline_figure(timeline), live)


def _given(rows: Sequence[TrialRow]) -> GivenPoints:
    """Return heat map and comparison of given points, as far as the points are such."""
    variants = read_variants(rows)
    grid = read_grid(variants)
    compared = is_comparison(variants)
    heat_map = comparison = None
    if grid:
        caption = "Best validation macro-F1 of each point, the mean over seeds."
        heat_map = CaptionedFigure("Grid", caption, heat_map_figure(grid))
    if compared:
        caption = "Validation macro-F1 after each epoch, the mean over seeds; the base is thick."
        figure = comparison_figure(variants)
        comparison = CaptionedFigure("Comparison", caption, figure)
    return GivenPoints(heat_map, comparison, rank_variants(variants) if compared else ())


def _lr_finder(paths: RunPaths) -> CaptionedFigure | None:
    """Return the curve of the LR finder, None where it has not run."""
    record = load_range_record(paths.range_test.record)
    if record is None:
        return None
    figure = rate_curve_figure(record.curve)
    caption = "Training loss of each step, one run, the rate rising from step to step."
    return CaptionedFigure("Loss over a rising learning rate", caption, figure)
