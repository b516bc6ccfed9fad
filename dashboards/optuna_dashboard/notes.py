"""The notes that optuna-dashboard shows beside a study and its trials, as Markdown.

Must not import torch, nor matplotlib.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dashboards.analysis.baselines import known_baselines
from dashboards.analysis.comparison import (
    RULE,
    Variant,
    compare_variants,
    is_comparison,
    read_variants,
    shown_number,
)
from dashboards.analysis.confirmation.reading import CANDIDATE, CONFIRMS, Confirmation
from dashboards.analysis.confirmation.sentences import sentences
from dashboards.analysis.lr_range import load_range_record
from dashboards.analysis.spending import describe_budget
from dashboards.formatting import bullets, code, shown_classes, shown_duration, shown_params
from storage.final_groups import CONTROL
from storage.records import Protocol
from storage.run_paths import RunPaths, TrialPaths
from storage.study_names import CONFIRM_SUFFIX, follows_a_search, searched_name
from storage.trial_rows import TrialRow

MOST_NAMED_CLASSES = 20
MOST_VARIANTS = 60


def render_trial_note(
    row: TrialRow,
    paths: TrialPaths,
    *,
    n_epochs: int,
    metrics: Mapping[str, Any] | None = None,
) -> str:
    """Return the note of a trial that has ended.

    Args:
        row: The trial, with the state that it ends in.
        paths: Its files.
        n_epochs: Configured epochs.
        metrics: Of a final run's test, as in its `metrics.json`.
    """
    parts = [f"**{row.state}** after {row.epochs_done} of {n_epochs} epochs"]
    if CONFIRMS in row.attributes:
        parts.append(_confirming(row.attributes[CONFIRMS]))
    if row.reason is not None:
        parts.append(f"{code(row.reason['kind'])}: {code(row.reason['message'])}")
    if row.audited_at is not None:
        parts.append(f"It was to be cut after epoch {row.audited_at}, and ran on for the audit")
    if row.best is not None:
        best = row.best
        parts.append(
            f"Best validation macro-F1 **{best.validation_macro_f1:.4f}** in epoch {best.epoch}, "
            f"accuracy {best.validation_accuracy:.4f}, loss {best.validation_loss:.4f}"
        )
    if metrics is not None:
        parts.append(_tested(metrics))
    params = [(code(name), code(text)) for name, text in shown_params(row).items()]
    return "\n\n".join([*parts, bullets([*params, *_circumstances(row, paths)])])


def _confirming(confirms: Mapping[str, Any]) -> str:
    """Return what a confirmation run is for, and which score is its value."""
    role, trial = confirms["role"], confirms["trial"]
    who = "the default" if role == CONTROL else f"trial {trial} of the search"
    images = "the images of the search" if role == CANDIDATE else "the confirmation images"
    return (
        f"Confirmation run, no trial of the search: it trains {who} ({role}) with a fresh seed. "
        f"Its value is macro-F1 on {images} after the last epoch."
    )


def _tested(metrics: Mapping[str, Any]) -> str:
    test = metrics["test"]
    n_present = metrics.get("n_test_classes")  # not known of older runs
    classes = shown_classes(n_present, metrics["n_classes"]) if n_present else ""
    return (
        f"Test macro-F1 **{test['macro_f1']:.4f}**{classes}, accuracy {test['accuracy']:.4f} ± "
        f"{metrics['test_accuracy_standard_error']:.4f} (standard error), loss "
        f"{test['loss']:.4f}, on {metrics['n_test_images']:,} images; the winner was trial "
        f"{metrics['searched_trial']}"
    )


def _circumstances(row: TrialRow, paths: TrialPaths) -> Iterator[tuple[str, str]]:
    yield "run folder", code(paths.folder.absolute())
    if row.host is not None:
        yield "host", code(row.host)
    for name in ("device", "seed", "n_parameters"):
        if name in row.attributes:
            yield name.removeprefix("n_"), code(row.attributes[name])
    if row.seconds:
        yield "time of its epochs", shown_duration(row.seconds)


def render_study_note(
    protocol: Protocol,
    paths: RunPaths,
    rows: Sequence[TrialRow],
    *,
    space: Sequence[str],
    confirmation: Confirmation | None = None,
) -> str:
    """Return the note of a study: whether its winner holds up, its protocol, and what was found.

    Args:
        protocol: Its stored configuration.
        paths: Its files.
        rows: Its trials, if they are given points.
        space: A text for each hyperparameter with its range.
        confirmation: Of the study; None where it has none.

    Raises:
        StorageError: If the file of learned baselines is damaged.
        DashboardError: If the record of the LR finder is.
    """
    parts = [_following(protocol)] if follows_a_search(protocol.study_name) else []
    if confirmation is not None:
        headline, *others = sentences(confirmation)
        parts += [
            "### Confirmation",
            "\n".join([f"- **{headline}**", *(f"- {x}" for x in others)]),
        ]
    parts += ["### Protocol", bullets([*_protocol(protocol, paths, space)])]
    parts += ["### Baselines on the validation images", _baselines(protocol, paths)]
    suggestion = _lr_finder(paths)
    if suggestion is not None:
        parts += ["### LR finder", suggestion]
    given = protocol.configuration["search"].get("space") == "given"
    variants = read_variants(rows) if given else []
    if is_comparison(variants):
        parts += ["### Comparison", _comparison(variants)]
    return "\n\n".join(parts)


def _following(protocol: Protocol) -> str:
    """Return what is queued in a study that follows a search."""
    searched = code(searched_name(protocol.study_name))
    if protocol.study_name.endswith(CONFIRM_SUFFIX):
        return f"Runs with fresh seeds that confirm the winner of study {searched}: no trials."
    return f"Final runs of study {searched}: no trials."


def _protocol(
    protocol: Protocol, paths: RunPaths, space: Sequence[str]
) -> Iterator[tuple[str, str]]:
    configuration, facts = protocol.configuration, protocol.facts
    if configuration.get("description"):
        yield "description", code(configuration["description"])
    yield "fingerprint", code(protocol.fingerprint)
    data, search = configuration["data"], configuration["search"]
    yield "data", f"{code(data['source'])}, fingerprint {code(facts['data_fingerprint'])}"
    splits = [f"{name} {count:,}" for name, count in facts["n_examples"].items()]
    n_dropped = sum(facts.get("n_dropped", {}).values())
    dropped = f"; {n_dropped:,} broken images left out" if n_dropped else ""
    yield "splits", f"{code(', '.join(splits))} images of {data['image_size']} pixels{dropped}"
    names = facts["class_names"]
    more = ", ..." if len(names) > MOST_NAMED_CLASSES else ""
    yield f"{len(names)} classes", ", ".join(map(code, names[:MOST_NAMED_CLASSES])) + more
    classes = shown_classes(protocol.n_validation_classes, protocol.n_classes)
    if classes:
        yield "validation macro-F1", f"the mean{classes}"
    yield "budget", describe_budget(protocol)
    yield "space", ", ".join(map(code, space)) or "nothing varies"
    chosen = {key: search.get(key) for key in ("sampler", "pruner", "patience_epochs")}
    yield from ((key.replace("_", " "), code(value)) for key, value in chosen.items() if value)
    yield "seed", f"{code(configuration.get('seed'))}; each trial's follows from it and its slot"
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    code_version = (
        f"git {code(facts['git_revision'])}"
        if facts["git_revision"]
        else f"source digest {code(protocol.source_digest)}"
    )
    yield "versions", f"{code(versions)}, {code_version}"
    yield "run folder", code(paths.folder.absolute())


def _baselines(protocol: Protocol, paths: RunPaths) -> str:
    return bullets(
        [
            (code(name), f"macro-F1 {scores['macro_f1']:.4f}, accuracy {scores['accuracy']:.4f}")
            for name, scores in known_baselines(protocol, paths.runs).items()
        ]
    )


def _lr_finder(paths: RunPaths) -> str | None:
    """Return what the LR finder suggests, None where it has not run."""
    record = load_range_record(paths.range_test.record)
    if record is None:
        return None
    suggested = record.suggested_rate
    if suggested is None:
        return f"No rate is suggested: the loss never falls in {record.n_steps} steps."
    return f"Suggested: **{suggested:.2g}**, after {record.n_steps} steps at rising rates."


def _comparison(variants: Sequence[Variant]) -> str:
    lines = []
    for one in compare_variants(variants)[:MOST_VARIANTS]:
        variant = one.variant
        spread = "" if variant.spread is None else f" ± {variant.spread:.4f}"
        found = f"macro-F1 {shown_number(variant.mean, '.4f')}{spread}"
        if one.verdict:
            found += f", {shown_number(one.difference, '+.4f')}: {one.verdict}"
        lines.append((code(variant.label), found))
    return f"{bullets(lines)}\n\n{RULE}"
