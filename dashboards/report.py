"""The report of a study: one HTML file that needs no network, no server and no other file.

Says what was searched, what came out, what it cost and how far the result may be trusted. Every
figure comes from the database, but the confusion matrix, which is read from the final run's
folder, and the range test, which has one too.
"""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from dashboards.baselines import best_of, known_baselines
from dashboards.comparison import RULE, is_comparison, ranked, read_variants
from dashboards.data_part import read_data_part
from dashboards.final_runs import drawn, read_final_runs
from dashboards.grid import read_grid
from dashboards.pages import write_page
from dashboards.plots import (
    LearningCurve,
    history_figure,
    learning_curves_figure,
    rate_curve_figure,
)
from dashboards.point_plots import comparison_figure, heat_map_figure
from dashboards.status import StudyStatus, read_status
from dashboards.trials import (
    TAKEN_OVER_MARK,
    TrialRow,
    by_value,
    read_trials,
)
from model.rate_curve import RateCurve
from storage.records import (
    Protocol,
    read_epochs,
    read_protocol,
)
from storage.run_paths import RunPaths
from storage.study_storage import StudyStorage

MOST_TRIALS = 20


def write_report(
    storage: StudyStorage,
    study_name: str,
    *,
    runs: Path,
    path: Path,
    cache: Path | None = None,
) -> None:
    """Write the report of a study, at whatever point it stands.

    Args:
        storage: Its database.
        study_name: Its name.
        runs: The folder of all runs.
        path: The HTML file; an older one is replaced.
        cache: The folder of the decoded images; default that of the study's configuration.

    Raises:
        StorageError: If there is no such study, or the folder of runs is of another one.
        DashboardError: If the file cannot be written.
    """
    protocol = read_protocol(storage.database, study_name)
    paths = RunPaths(runs, study_name)
    paths.check(protocol.study_key)
    rows = read_trials(storage, study_name)
    status = read_status(storage, study_name)
    baselines = known_baselines(protocol, runs)
    context = {
        "protocol": protocol,
        "status": status,
        "baselines": baselines,
        "best_baseline": best_of(baselines),
        "rows": by_value([row for row in rows if row.value is not None])[:MOST_TRIALS],
        "n_rows": len(rows),
        "mark": TAKEN_OVER_MARK,
        "by_number": {row.number: row for row in rows},
        "reasons": Counter(
            (row.state, row.reason["kind"], row.reason["message"])
            for row in rows
            if row.reason and not row.is_taken_over
        ).most_common(10),
        "settings": _settings(protocol),
        "configuration": _configuration_text(protocol),
        "commands": _commands(study_name),
        "cost": _cost(protocol, rows),
        "data_part": read_data_part(protocol, runs=runs, cache=cache),
        "finals": read_final_runs(storage, study_name, paths),
        "revisions": _noted(rows, "git_revision"),
        "devices": _noted(rows, "device"),
        "written_at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "range_test": _range_test(paths),
        **_figures(storage, rows, status),
        **_given(protocol, rows),
    }
    write_page(path, "report.html", context)


def _settings(protocol: Protocol) -> dict[str, list[tuple[str, str]]]:
    """Return the settings as name and value, by section; the database's may hold a password."""
    sections: dict[str, list[tuple[str, str]]] = {"general": []}
    for name, content in protocol.configuration.items():
        if name == "storage":
            continue
        if isinstance(content, dict):
            sections[name] = _flatten(content)
        else:
            sections["general"].append((name, str(content)))
    return sections


def _flatten(content: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in content.items():
        if isinstance(value, dict) and value:
            pairs += _flatten(value, f"{prefix}{name}.")
        elif name == "points" and value:
            pairs.append((f"{prefix}{name}", f"{len(value)}, listed under Repeat it"))
        else:
            pairs.append((f"{prefix}{name}", "none" if value is None else str(value)))
    return pairs


def _configuration_text(protocol: Protocol) -> str:
    """Return the configuration as a file for `--config`; JSON is YAML."""
    shared = {name: part for name, part in protocol.configuration.items() if name != "storage"}
    return json.dumps(shared, indent=1, ensure_ascii=False)


def _commands(study_name: str) -> str:
    return "\n".join(
        (
            "study run --config study.yaml",
            f"study final --name {study_name}",
            f"study report --name {study_name}",
        )
    )


def _cost(protocol: Protocol, rows: Sequence[TrialRow]) -> dict[str, Any]:
    """Compare the epochs trained with those of a search that prunes nothing."""
    n_epochs = int(protocol.configuration["search"]["n_epochs"])
    own = [row for row in rows if not row.is_taken_over]
    pruned = [row for row in own if row.state == "pruned"]
    return {
        "epochs": sum(row.epochs_done for row in own),
        "full_epochs": protocol.budget * n_epochs,
        "saved_epochs": sum(n_epochs - row.epochs_done for row in pruned),
    }


def _noted(rows: Sequence[TrialRow], name: str) -> str:
    values = sorted({str(row.attributes[name]) for row in rows if row.attributes.get(name)})
    return ", ".join(values) or "not noted"


def _given(protocol: Protocol, rows: Sequence[TrialRow]) -> dict[str, Any]:
    """Return heat map and comparison of given points, None where the study has none."""
    is_given = protocol.configuration["search"].get("space") == "given"
    variants = read_variants(rows) if is_given else []
    grid = read_grid(variants)
    compared = is_comparison(variants)
    return {
        "heat_map": drawn(heat_map_figure(grid)) if grid else None,
        "variants": ranked(variants) if compared else [],
        "comparison": drawn(comparison_figure(variants)) if compared else None,
        "rule": RULE,
    }


def _range_test(paths: RunPaths) -> Markup | None:
    """Return the curve of the range test, None where there was none."""
    try:
        record = json.loads(paths.range_test.record.read_text())
    except FileNotFoundError:
        return None
    return drawn(rate_curve_figure(RateCurve.from_dict(record["curve"])))


def _figures(
    storage: StudyStorage, rows: Sequence[TrialRow], status: StudyStatus
) -> dict[str, Markup | None]:
    """Return the figures of the search, None where there is nothing to draw."""
    records = read_epochs(storage.database, [row.trial_id for row in rows])
    best_number = status.best.number if status.best else None
    curves = [
        LearningCurve(
            label=f"trial {row.number}, the best",
            scores=tuple(record.validation_macro_f1 for record in records[row.trial_id]),
            pruned=row.state == "pruned",
            best=row.number == best_number,
        )
        for row in rows
        if row.trial_id in records
    ]
    if not curves:
        return {"history": None, "curves": None}
    return {
        "history": drawn(history_figure(rows)),
        "curves": drawn(learning_curves_figure(curves)),
    }
