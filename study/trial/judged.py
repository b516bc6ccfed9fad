"""What a run of a confirmation is judged by: its last epoch, on the images of its stage.

The best epoch would be chosen on the images that judge it.
"""

from dashboards.analysis.confirmation.reading import CANDIDATE
from data.image_cache import Examples, PreparedData
from model.device import reproducible_kernels
from model.evaluation import evaluate
from model.predictions import PredictionCollector
from model.training_state import TrainingState
from storage.run_paths import TrialPaths
from study.configuration.config import StudyConfig
from study.stop_signal import StopFlag
from study.trial.components import evaluation_batches
from study.trial.predictions import save_predictions


def judge_run(
    confirms: dict[str, object],
    state: TrainingState,
    config: StudyConfig,
    prepared: PreparedData,
    paths: TrialPaths,
    *,
    stop: StopFlag,
) -> float:
    """Return macro-F1 after the last epoch; in the second stage keep what was predicted.

    Args:
        confirms: The run's user attribute `CONFIRMS`.
        state: After the last epoch.
        config: Of the run.
        prepared: The study's data.
        paths: Files of the run.
        stop: Polled at every batch.

    Raises:
        StopRequested: If a stop signal came.
    """
    if confirms["role"] == CANDIDATE:
        return state.history[-1].validation.macro_f1
    collector = PredictionCollector()
    batches = evaluation_batches(config, prepared, judging_images(prepared))
    with reproducible_kernels():
        found = evaluate(
            state.evaluated_network,
            stop.interrupting(batches()),
            n_classes=state.n_classes,
            execution=state.execution,
            flip_average=state.evaluation.flip_average,
            collect=collector,
        )
    save_predictions(paths.predictions, collector, prepared.class_names)
    return found.metrics.macro_f1


def judging_images(prepared: PreparedData) -> Examples:
    """Return the confirmation images; where the data spare none, those of the search."""
    own = prepared.confirmation()
    return prepared.validation() if own is None else own
