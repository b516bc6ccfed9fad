"""Which files of finished trials are kept: the last checkpoint and best weights of the top few."""

import logging

from optuna.trial import TrialState

from storage.checkpoints import keep_newest, remove_weights
from study.session import StudySession

logger = logging.getLogger(__name__)


def keep_best_checkpoints(session: StudySession) -> None:
    """Remove what no finished trial needs to resume, and all weights but those of the top few.

    Every call looks at all finished trials, so that what a killed worker left is removed by the
    next. Final runs keep their weights.
    """
    finished = [
        trial
        for trial in session.optuna_study().get_trials(deepcopy=False)
        if trial.state.is_finished() and "slot" in trial.user_attrs
    ]
    complete = [trial for trial in finished if trial.state == TrialState.COMPLETE]
    best_first = sorted(complete, key=lambda trial: (-(trial.value or 0.0), trial.number))
    n_kept = len(finished) if session.is_final else session.config.storage.kept_trials
    kept = {trial.number for trial in best_first[:n_kept]}
    for trial in finished:
        paths = session.trial_paths(int(trial.user_attrs["slot"]))
        tidy = keep_newest if trial.number in kept else remove_weights
        try:
            tidy(paths)
        except OSError as error:  # only room is lost, which the next call wins back
            logger.warning("%s cannot be tidied: %s", paths.folder, error.strerror)
