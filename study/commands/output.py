"""What commands show, and how they end with a line and an exit code."""

import json
import os
from typing import Any

from rich.console import Console

from dashboards.analysis.baselines import BestBaseline, best_of, known_baselines
from dashboards.analysis.comparison import (
    comparison_table,
    is_comparison,
    read_variants,
    remarks,
)
from dashboards.analysis.confirmation.reading import read_confirmation
from dashboards.formatting import shown_classes, shows_top5
from dashboards.terminal.confirmation import confirmation_note, confirmation_table
from dashboards.terminal.data import data_lines
from dashboards.terminal.trials import TrialsTable
from data.split_writer import Track
from storage.configuration import shown_url
from storage.database import is_transient, reason_of
from storage.study_totals import best_ids, count_states
from storage.trial_rows import lowest_loss, read_some, read_trials
from study.configuration.network_cost import find_costly_stem
from study.configuration.spaces.nearest import moved_settings
from study.progress import EpochProgress, fail, say, track
from study.session.session import StudySession
from study.stop_signal import INTERRUPTED, StopFlag
from study.trial.rung_pruner import find_missing_rungs

MOST_LISTED = 100
PIPED_WIDTH = 160
"""Columns where no terminal says how many there are."""


def outage_of(error: Exception) -> str | None:
    """Return what the database said where it, and nobody else, is at fault."""
    return reason_of(error) if is_transient(error) else None


def say_location(session: StudySession) -> None:
    """Say where a study is, which data it has, what it does without, and what is too costly."""
    say(
        f"study {session.protocol.study_name}: a budget of {session.protocol.limit}, "
        f"database {shown_url(session.config.storage.url)}, runs {session.paths.folder}"
    )
    for line in data_lines(session.protocol):
        say(line)
    if n_dropped := session.protocol.n_dropped:
        say(f"{n_dropped} broken {'image was' if n_dropped == 1 else 'images were'} dropped")
    if caution := find_costly_stem(session.config, n_classes=session.protocol.n_classes):
        say(caution)
    if caution := find_missing_rungs(session.config):
        say(caution)
    if moved := moved_settings(session.config):
        say(
            "caution: the configured values lie outside the space, the first trial has "
            f"{', '.join(moved)}: widen search.space, or configure values within it"
        )


def stoppable(stop: StopFlag) -> Track:
    """Return a way to show progress that a signal ends between two steps."""
    return lambda *loop: stop.interrupting(track(*loop))


def end_early(what: str, stop: StopFlag, stop_after: str | None) -> None:
    """Say that a command has stopped before its end; after a signal, end with its exit code.

    Args:
        what: What has not come to its end.
        stop: What stopped it.
        stop_after: The option of the command, None without.
    """
    message = f"stopped before the end of the {what}: the same command continues"
    if stop.is_signalled or stop_after is None:
        fail(message, INTERRUPTED)
    say(message)


def epoch_progress(session: StudySession) -> EpochProgress:
    """Return what shows the epochs of a study as they end."""
    n_epochs = session.config.search.n_epochs
    if session.is_final:  # counted from 1, as everywhere
        return EpochProgress(kind="final run", n_epochs=n_epochs, first=1)
    kind = "confirmation run" if session.is_confirmation else "trial"
    return EpochProgress(kind=kind, n_epochs=n_epochs)


def print_trials(session: StudySession) -> None:
    """Print the table of the best trials, and the baseline that they have to beat."""
    name, handle = session.protocol.study_name, session.storage_handle
    if session.is_confirmation and (own := read_confirmation(handle, session.searched_name)):
        print_rich(confirmation_table(own))
        say(confirmation_note(own))
        return
    print_rich(TrialsTable(read_some(handle, best_ids(handle.database, name, MOST_LISTED))))
    n_trials = sum(count_states(handle.database, name).values())
    if n_trials > MOST_LISTED:
        say(f"the best {MOST_LISTED} of {n_trials} trials: `study trials --json` lists all")
    say(str(best_baseline(session)))
    confirmation = read_confirmation(handle, name)
    if confirmation is not None:
        say(confirmation_note(confirmation))


def best_baseline(session: StudySession) -> BestBaseline:
    """Return the best baseline that is known for the data of a study."""
    return best_of(known_baselines(session.protocol, session.config.storage.runs))


def print_given(session: StudySession) -> None:
    """Print what a study of given points has found, and write its figures."""
    from dashboards.figures.comparison import write_figures

    rows = read_trials(session.storage_handle, session.protocol.study_name)
    variants = read_variants(rows)
    if is_comparison(variants):
        print_rich(comparison_table(variants))
        for line in remarks(variants):
            say(line)
    else:
        print_rich(TrialsTable(rows, with_loss=True))
        least = lowest_loss(rows)
        if least is not None and least.best is not None:
            say(f"lowest validation loss: {least.best.validation_loss:.4f}, trial {least.number}")
    say(str(best_baseline(session)))
    for path in write_figures(variants, session.paths):
        say(f"figure: {path} (and .svg)")


def print_metrics(metrics: dict[str, Any]) -> None:
    """Print what was measured on each split, a line each."""
    for split in ("validation", "test"):
        if split in metrics:
            values = metrics[split]
            # Not known of older runs, in whose splits every class has images.
            n_present = metrics.get(f"n_{split}_classes")
            classes = shown_classes(n_present, metrics["n_classes"]) if n_present else ""
            top5 = f"top-5 accuracy {values['top5_accuracy']:.4f}, "
            if n_present and not shows_top5(metrics["n_classes"]):
                top5 = ""
            say(
                f"{split}: macro-F1 {values['macro_f1']:.4f}{classes}, "
                f"accuracy {values['accuracy']:.4f}, {top5}loss {values['loss']:.4f}"
            )
    if "test" in metrics:
        score_error = metrics.get("test_macro_f1_standard_error")  # not known of older runs
        say(
            f"standard error of the test: "
            f"{'' if score_error is None else f'macro-F1 {score_error:.4f}, '}"
            f"accuracy {metrics['test_accuracy_standard_error']:.4f} "
            f"({metrics['n_test_images']} images)"
        )


def print_json(value: Any) -> None:
    """Print JSON that people can read too."""
    print(json.dumps(value, indent=2))


class _PipedConsole(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to the command line, for rich would end with 1."""
        raise BrokenPipeError


def print_rich(*renderables: Any) -> None:
    """Print what rich can lay out, wide where neither a terminal nor COLUMNS says how wide."""
    console = _PipedConsole()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = _PipedConsole(width=PIPED_WIDTH)
    for renderable in renderables:  # one call would join texts to one line
        console.print(renderable)


def reject_dumb_terminal() -> None:
    """End where the terminal cannot go back and draw anew."""
    if Console().is_dumb_terminal:
        fail(
            "--watch must have a terminal that can draw anew, "
            f"TERM is {os.environ['TERM']!r}: set TERM to the terminal that it is "
            "(xterm-256color, for most), or leave --watch out and repeat the command when needed",
            2,
        )
