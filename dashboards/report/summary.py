"""The report of a study as one short page of Markdown, for a wiki or a pull request.

Texts from data are code, within which GitHub and GitLab see no markup.
"""

from collections.abc import Iterator, Sequence

from dashboards.formatting import bullets, code, shown_classes, shown_duration, shown_params
from dashboards.report.confirmation_section import ConfirmationSection
from dashboards.report.content import ReportContent
from dashboards.report.final_section import FinalRun
from dashboards.report.html import as_sentence, shown_accuracy, shown_score, shown_spread
from storage.records import Protocol
from storage.trial_rows import PAUSED_STATE, TrialRow


def render_summary(content: ReportContent, *, page: str) -> str:
    """Return the page.

    Args:
        content: What the report says.
        page: File name of the HTML page, which shows all of it.
    """
    parts = [
        f"# Study {code(content.protocol.study_name)}",
        f"Written {content.written_at}. Scores are macro-F1 unless named otherwise"
        f"{_validation_classes(content.protocol)}. {code(page)} has the whole report.",
        bullets([*_headline(content)]),
    ]
    if content.confirmation:
        parts += ["## Confirmation", _confirmation(content.confirmation)]
    if content.status.diagnosis:
        parts += ["## Diagnosis", "\n".join(f"- {each}" for each in content.status.diagnosis)]
    if content.audit is not None:
        parts += ["## Pruning audit", str(content.audit)]
    if content.rows:
        parts += ["## Best trials", _best_trials(content.rows, content.n_validation)]
    facts = [*content.provenance.hashes, *content.provenance.facts]
    parts += [
        "## Provenance",
        bullets([(name, code(text)) for name, text in facts]),
        f"To repeat it, save the configuration that {code(page)} shows as `study.yaml` and run",
        f"```sh\n{content.provenance.commands}\n```",
        "To cite the program:",
        f"```bibtex\n{content.provenance.citation}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _validation_classes(protocol: Protocol) -> str:
    classes = shown_classes(protocol.n_validation_classes, protocol.n_classes)
    return classes and f", on validation images{classes}"


def _headline(content: ReportContent) -> Iterator[tuple[str, str]]:
    status, best, baseline = content.status, content.status.best, content.best_baseline
    if content.confirmation:
        yield "verdict", f"**{content.confirmation.headline}**"
    counts = [
        f"{getattr(status, state)} {state}"
        for state in ("complete", "pruned", "failed", PAUSED_STATE, "running")
        if state != PAUSED_STATE or status.paused
    ]
    if status.spending.unit == "trials":
        yield "trials", f"{status.done} of {status.budget}: {', '.join(counts)}"
    else:
        yield "budget", f"{status.spending} spent"
        yield "trials", f"{status.done} over: {', '.join(counts)}"
    yield (
        "best in the search",
        f"**{shown_score(best.value)}** (validation, trial {best.number})"
        if best
        else "no trial complete yet",
    )
    yield (
        "best baseline",
        f"{shown_score(baseline.macro_f1)} (validation, {code(baseline.name)})",
    )
    found = content.confirmation.found if content.confirmation else None
    if found and found.winner and found.confirmed_score is not None:
        trial = f"mean of {len(found.winner_scores)} fresh seeds, trial {found.winner.number}"
        yield "confirmed", f"**{shown_score(found.confirmed_score)}** ({trial})"
    elif best and not found and content.confirm_command:
        yield (
            "confirmed",
            f"not yet, `{content.confirm_command}` tests the winner with fresh seeds",
        )
    tested = [final for final in content.finals if final.metrics]
    for number, final in enumerate(tested, start=1):
        which = f" {number} of {len(tested)}" if len(tested) > 1 else ""
        yield f"final run{which}, test", _tested(final)
        if len(final.together) > 1:
            yield f"the {len(final.together)} final runs together", "; ".join(final.together_lines)
    if not tested:
        yield "final run, test", "test images not used yet"


def _tested(final: FinalRun) -> str:
    metrics, classes = final.metrics or {}, final.classes
    macro_f1 = f"**{shown_score(metrics['macro_f1'])}**"
    accuracy = f"accuracy {100 * metrics['accuracy']:.2f} %"
    if classes is not None:
        macro_f1 += f" ± {shown_score(classes.macro_f1_error)}"
        macro_f1 += shown_classes(classes.n_present, len(classes.reports))
        accuracy += f" ± {100 * classes.accuracy_error:.2f} % (standard errors)"
    trial = f", trial {final.test.searched_trial} of the search" if final.test else ""
    return f"{macro_f1}, {accuracy}{trial}"


def _confirmation(section: ConfirmationSection) -> str:
    judged = "confirmation images" if section.found.is_on_own_images else "judged"
    lines = [
        *(f"- {as_sentence(line)}" for line in section.details),
        *([""] if section.details else []),
        f"| setting | search | fresh seeds | {judged} |",
        "| --- | ---: | ---: | ---: |",
    ]
    for one in section.settings:
        cells = [
            f"**{one.label}**, recommended" if one.is_recommended else one.label,
            shown_score(one.search_score),
            shown_spread(one.selection),
            shown_spread(one.judged),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    note = "Means of macro-F1 ± their standard deviation over seeds."
    return "\n".join([*lines, "", note])


def _best_trials(rows: Sequence[TrialRow], n_validation: int) -> str:
    lines = [
        "| trial | state | macro-F1 | accuracy | best epoch | time | hyperparameters |",
        "| ---: | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for row in rows:
        params = ", ".join(f"{name} {text}" for name, text in shown_params(row).items())
        cells = [
            f"{row.number} (imported)" if row.is_imported else str(row.number),
            row.state,
            shown_score(row.value),
            shown_accuracy(row, n_validation),
            f"{row.best_epoch}/{row.epochs_done}",
            shown_duration(row.seconds),
            code(params).replace("|", "\\|"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    note = f"± is the standard error of the accuracy on {n_validation:,} validation images."
    return "\n".join([*lines, "", note])
