"""Preludes of `ProcessServer.start` that kill the process at a certain moment."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any


def within_the_write_of_checkpoint() -> None:
    """Kill it when the second checkpoint is written but not yet in its place."""
    _kill_in_fsync(lambda path: path.name.startswith(".epoch-00002.pt."))


def within_the_write_of_best_weights() -> None:
    """Kill it when the best weights are written but not yet in their place."""
    _kill_in_fsync(lambda path: path.name.startswith(".best.pt."))


def within_the_write_of_epochs_csv() -> None:
    """Kill it when the copy of the epochs is written but not yet in its place."""
    _kill_in_fsync(lambda path: path.name.startswith(".epochs.csv."))


def between_note_and_tell() -> None:
    """Kill it when a trial has its note and its artifacts, and has not been told."""
    import optuna

    optuna.Study.tell = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)


def _kill_in_fsync(matches: Callable[[Path], bool]) -> None:
    fsync = os.fsync

    def kill_or_fsync(descriptor: int) -> None:
        if matches(Path(f"/proc/self/fd/{descriptor}").readlink()):
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(descriptor)

    os.fsync = kill_or_fsync


def before_the_claim_of_the_tests() -> None:
    """Kill it when all final runs are trained, and the test split is not claimed."""
    import study.final.test_evaluation

    study.final.test_evaluation.claim_tests = _kill


def between_claim_and_opening() -> None:
    """Kill it when the test split is claimed, and not opened."""
    import study.final.test_evaluation

    study.final.test_evaluation._evaluate_all = _kill


def between_the_files_of_two_tests() -> None:
    """Kill it when the first final run has all files of its test, and the second has none."""
    import study.final.test_evaluation

    write = study.final.test_evaluation.write_tested
    written: list[Path] = []

    def kill_or_write(paths: Any, *given: Any, **options: Any) -> None:
        if written:
            _kill()
        written.append(paths.folder)
        write(paths, *given, **options)

    study.final.test_evaluation.write_tested = kill_or_write


def before_the_tests_are_finished() -> None:
    """Kill it when all files of all tests are written, and the database does not know."""
    import study.final.test_evaluation

    study.final.test_evaluation.finish_tests = _kill


def after_the_tests_are_finished() -> None:
    """Kill it when the database knows the tests, and nothing has been said of them."""
    import study.final.final_run

    study.final.final_run.note_test = _kill


def _kill(*_: Any, **__: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
