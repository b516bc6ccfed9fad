"""The training of one trial, without what is written of it: batches, a state, its epochs.

A worker hands the results to sinks; a replay compares them with the recorded ones.
"""

from collections.abc import Callable, Generator, Iterable

from data.image_cache import PreparedData
from model.targets import TrainBatch
from model.training import EpochResult, train_epochs
from study.configuration.config import StudyConfig
from study.log_lines import about_epoch
from study.stop_signal import StopFlag, StopRequested
from study.trial.components import evaluation_batches, fresh_state, train_batches
from study.trial.faults import training


class TrialTraining:
    """One trial's network on its way.

    Args:
        config: Of the trial, hyperparameters in place.
        prepared: The study's data.
        seed: Of the trial.
        stop: Polled at every batch.

    Attributes:
        state: Fresh; a checkpoint may be loaded before the first epoch.

    Raises:
        TrainingError: If the configuration makes no network.
    """

    def __init__(
        self, config: StudyConfig, prepared: PreparedData, *, seed: int, stop: StopFlag
    ) -> None:
        self._config = config
        self._prepared = prepared
        self._seed = seed
        self._stop = stop
        self._batches = train_batches(config, prepared, prepared.train(), seed=seed)
        with training():
            self.state = fresh_state(
                config, prepared, seed=seed, steps_per_epoch=self._batches.n_batches
            )

    def epochs(
        self, may_begin: Callable[[], bool] = lambda: True
    ) -> Generator[EpochResult, None, None]:
        """Train from the state's next epoch to the last; use it within `contextlib.closing`.

        Args:
            may_begin: Asked before each epoch.

        Yields:
            The result of each epoch.

        Raises:
            StopRequested: If a stop signal came, or an epoch may not begin.
            DivergedError: If the loss is not finite.
            TrainingError: If training the configuration fails otherwise.
        """

        config = self._config

        def begin(epoch: int) -> Iterable[TrainBatch]:
            if not may_begin():
                raise StopRequested
            about_epoch(epoch, config.search.n_epochs)
            return self._batches(epoch)

        validation = evaluation_batches(config, self._prepared, self._prepared.validation())
        with training():
            yield from train_epochs(
                self.state,
                lambda epoch: self._stop.interrupting(begin(epoch)),
                lambda: self._stop.interrupting(validation()),
                n_epochs=config.search.n_epochs,
                seed=self._seed,
                patience_epochs=config.search.patience_epochs,
            )
