"""What a trial is made of: batches and a fresh state, from its configuration, data and seed.

Checks and range tests are made of the same parts, so what holds for them holds for trials.
"""

from data.batches import EvaluationBatches, TrainBatches
from data.image_cache import Examples, PreparedData
from model.device import resolve_execution
from model.training_state import TrainingState, build_training_state
from study.configuration.config import StudyConfig

EVALUATION_BATCH_SIZE = 512


def train_batches(
    config: StudyConfig, prepared: PreparedData, examples: Examples, *, seed: int
) -> TrainBatches:
    """Return shuffled, augmented batches of training images.

    Args:
        config: Of the trial.
        prepared: The data; their statistics normalise the images.
        examples: All or some of the training images.
        seed: Order and augmentation depend on it and the epoch only.
    """
    return TrainBatches(
        examples,
        batch_size=config.optimization.batch_size,
        seed=seed,
        augmentation=config.augmentation,
        mean=prepared.mean,
        std=prepared.std,
        device=resolve_execution(config.execution).device,
        n_epochs=config.search.n_epochs,
    )


def evaluation_batches(
    config: StudyConfig, prepared: PreparedData, examples: Examples
) -> EvaluationBatches:
    """Return batches of images as they are, normalised as the training images are."""
    return EvaluationBatches(
        examples,
        batch_size=EVALUATION_BATCH_SIZE,
        mean=prepared.mean,
        std=prepared.std,
        device=resolve_execution(config.execution).device,
    )


def fresh_state(
    config: StudyConfig, prepared: PreparedData, *, seed: int, steps_per_epoch: int
) -> TrainingState:
    """Return a network that has learned nothing, its optimizer and the schedule of a trial."""
    return build_training_state(
        config.network,
        config.optimization,
        n_classes=prepared.n_classes,
        n_epochs=config.search.n_epochs,
        steps_per_epoch=steps_per_epoch,
        seed=seed,
        execution=resolve_execution(config.execution),
        evaluation=config.evaluation,
    )
