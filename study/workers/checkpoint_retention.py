"""Which files of finished trials are kept: the last checkpoint and best weights of the top few.

Paused trials keep theirs too.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from optuna.trial import TrialState

from storage.checkpoints import superfluous_weights
from storage.run_paths import TrialPaths
from study.session.session import StudySession

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class IdleRun:
    """A trial that is finished or paused, and whether its weights are kept."""

    number: int
    paths: TrialPaths
    kept: bool


def keep_best_checkpoints(session: StudySession, tidied: set[int]) -> None:
    """Remove what no finished trial needs to resume, and all weights but those of the top few.

    The first call looks at all finished trials, so that what a killed worker left is removed by
    the next.

    Args:
        session: The study.
        tidied: Numbers of trials that have no weights left, which later calls pass over.
    """
    for run in idle_runs(session):
        if run.number in tidied:
            continue
        try:
            for file in superfluous_weights(run.paths, kept=run.kept):
                file.unlink(missing_ok=True)
            if not run.kept:
                tidied.add(run.number)
        except OSError as error:  # only room is lost, which the next call wins back
            logger.warning("%s cannot be tidied: %s", run.paths.folder, error.strerror)


def idle_runs(session: StudySession) -> Iterator[IdleRun]:
    """Yield every finished or paused trial; all final runs, complete or tested, are kept.

    More trials only become complete, so what is not kept now never will be again.
    """
    slots = session.slots()
    finished = [trial for trial in slots if trial.state.is_finished()]
    complete = [trial for trial in finished if trial.state == TrialState.COMPLETE]
    best_first = sorted(complete, key=lambda trial: (-(trial.value or 0.0), trial.number))
    n_kept = len(finished) if session.is_final else session.config.storage.kept_trials
    paused = [trial for trial in slots if trial.is_paused]
    kept = {trial.number for trial in [*best_first[:n_kept], *paused]}
    for trial in [*finished, *paused]:
        paths = session.trial_paths(trial.slot)
        is_tested = session.is_final and paths.metrics.is_file()
        yield IdleRun(trial.number, paths, trial.number in kept or is_tested)
