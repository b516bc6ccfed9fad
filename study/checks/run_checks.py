"""The sanity checks on a study's own data, network and step, and how long the study would take."""

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import count, islice

import numpy as np
from numpy.typing import NDArray

from dashboards.formatting import shown_duration
from data.configuration import AugmentationConfig
from data.image_cache import Examples, PreparedData
from model.configuration import OptimizationConfig
from model.device import reproducible_kernels
from model.evaluation import Batch, evaluate
from model.seeds import derive_seed
from model.targets import TrainBatch
from model.training import train_once
from model.training_state import TrainingState
from study.checks.result import CheckResult, failure_line
from study.checks.sanity_checks import (
    BatchForm,
    check_batch,
    check_checkpoint,
    check_gradients,
    check_initial_loss,
    check_logits,
    check_normalisation,
    check_overfitting,
    check_reproducible,
)
from study.configuration.config import StudyConfig
from study.configuration.sections import SearchConfig
from study.errors import UnsoundPipelineError
from study.session.suggested_commands import suggest_command
from study.trial.components import evaluation_batches, fresh_state, train_batches
from study.workers.gpus import count_workers

N_SAMPLED = 2048
N_FIRST_LOSS, N_QUICK_FIRST_LOSS = 256, 64
N_TIMED_VALIDATION = 128
MOST_TIMED_STEPS = 50
TIMED_SECONDS = 1.0
MOST_IMAGES_OF_A_STEP = 32
LOSS_TOLERANCE = 0.01
"""Part of the expected loss."""
LEAST_LOSS_TOLERANCE = 0.03
"""The difference hardly depends on the number of classes, the expected loss does: in up to 40
seeds each, widths 4 to 256, 2 to 200 classes and blocks to [8,8,8], it was at most 0.026."""
PLAIN = AugmentationConfig(flip_probability=0)


@dataclass(frozen=True)
class Overfitting:
    """How many images are learned by heart, in how many steps at most."""

    n_images: int
    n_steps: int


class PipelineChecks:
    """A study's parts in the sizes that checks need.

    Args:
        config: Of the study; a search will vary its network and optimisation.
        prepared: Its data.
    """

    def __init__(self, config: StudyConfig, prepared: PreparedData) -> None:
        batch_size = min(MOST_IMAGES_OF_A_STEP, config.optimization.batch_size)
        self._config = config
        self._small = config.replacing({"optimization.batch_size": batch_size})
        self._prepared = prepared
        self._seed = derive_seed(config.seed, "sanity")

    def quick_checks(self) -> Iterator[CheckResult]:
        """Yield what takes seconds."""
        yield from self._checks(n_first_loss=N_QUICK_FIRST_LOSS)

    def all_checks(self, overfitting: Overfitting) -> Iterator[CheckResult]:
        """Yield the quick checks, what may take minutes, and how long the study would take."""
        yield from self._checks(n_first_loss=N_FIRST_LOSS)
        yield self._overfitting(overfitting)
        yield self._duration()

    def _checks(self, *, n_first_loss: int) -> Iterator[CheckResult]:
        sample = _sampled(self._prepared.train(), N_SAMPLED, seed=self._seed)
        epochs = train_batches(self._small, self._prepared, sample, seed=self._seed)
        plain = self._small.replacing({"augmentation": PLAIN})
        unaugmented = train_batches(plain, self._prepared, sample, seed=self._seed)
        first, second = (next(iter(epochs(epoch))) for epoch in (1, 2))
        yield check_batch(first, self._form())
        yield check_normalisation(unaugmented(1))
        judged = evaluation_batches(self._config, self._prepared, sample)
        yield check_normalisation(judged(), name="evaluation images")
        yield check_reproducible(epochs)
        yield check_logits(self._fresh(), first)
        yield check_initial_loss(
            self._fresh(), self._validation(n_first_loss), tolerance=self._loss_tolerance()
        )
        yield check_gradients(self._fresh(dropout=0.0), (first, second))
        yield check_checkpoint(self._fresh, (first, second), seed=self._seed)

    def _form(self) -> BatchForm:
        channels = list(zip(self._prepared.mean, self._prepared.std, strict=True))
        return BatchForm(
            image_size=self._config.data.image_size,
            n_classes=self._prepared.n_classes,
            lowest=min((0 - mean) / std for mean, std in channels),
            highest=max((1 - mean) / std for mean, std in channels),
        )

    def _fresh(self, *, dropout: float | None = None) -> TrainingState:
        n_steps = -(-len(self._prepared.train().labels_N) // self._config.optimization.batch_size)
        changes = {} if dropout is None else {"network.dropout": dropout}
        return fresh_state(
            self._small.replacing(changes),
            self._prepared,
            seed=self._seed,
            steps_per_epoch=max(n_steps, 1 + MOST_TIMED_STEPS),
        )

    def _validation(self, n_images: int) -> Iterator[Batch]:
        chosen = _evenly(self._prepared.validation(), n_images, seed=self._seed)
        return evaluation_batches(self._config, self._prepared, chosen)()

    def _loss_tolerance(self) -> float | None:
        if not self._config.network.batch_norm:
            return None
        return max(LOSS_TOLERANCE * math.log(self._prepared.n_classes), LEAST_LOSS_TOLERANCE)

    def _overfitting(self, wanted: Overfitting) -> CheckResult:
        """Learn some images by heart, with nothing that hinders it."""
        chosen = _evenly(self._prepared.train(), wanted.n_images, seed=self._seed)
        config = self._config.replacing(
            {
                "augmentation": PLAIN,
                "network.dropout": 0.0,
                "optimization": OptimizationConfig(
                    optimizer="adam",
                    learning_rate=1e-3,
                    weight_decay=0,
                    schedule="constant",
                    warmup_epochs=0,
                    batch_size=wanted.n_images,
                ),
            }
        )
        return check_overfitting(
            fresh_state(config, self._prepared, seed=self._seed, steps_per_epoch=wanted.n_steps),
            train_batches(config, self._prepared, chosen, seed=self._seed),
            n_steps=wanted.n_steps,
            seed=self._seed,
        )

    def _duration(self) -> CheckResult:
        """Time a few steps, and say what the study would take if it pruned nothing.

        Every trial is taken to have the configured network, and workers not to slow each other.
        """
        config, search, final = self._config, self._config.search, self._config.final
        state = self._fresh()
        epochs = train_batches(config, self._prepared, self._prepared.train(), seed=self._seed)
        learned = _images_per_second(
            state, (batch for epoch in count(1) for batch in epochs(epoch))
        )
        start_seconds = time.perf_counter()
        validation = list(self._validation(N_TIMED_VALIDATION))
        evaluate(
            state.network,
            validation,
            n_classes=state.n_classes,
            execution=state.execution,
            flip_average=config.evaluation.flip_average,
        )
        n_judged = sum(len(batch[1]) for batch in validation)
        judged = n_judged / (time.perf_counter() - start_seconds)
        counts = self._prepared.description.counts
        epoch_seconds = counts["train"] / learned + counts["validation"] / judged
        n_workers = count_workers(config)
        study_seconds = _budget_seconds(search, epoch_seconds) / n_workers
        growth = (final.image_size / config.data.image_size) ** 2
        final_seconds = final.n_epochs * epoch_seconds * growth
        return CheckResult(
            "duration",
            None,
            f"{learned:,.0f} images/s in training, {judged:,.0f} in validation",
            f"about {shown_duration(study_seconds)} for {search.budget} by "
            f"{n_workers} worker{'s' * (n_workers > 1)}, {shown_duration(final_seconds)} for the "
            "final run",
            "",
        )


def _budget_seconds(search: SearchConfig, epoch_seconds: float) -> float:
    """Return how long one worker takes for a budget if nothing is pruned."""
    if search.budget.hours is not None:
        return search.budget.hours * 3600
    n_epochs = search.budget.epochs or search.budget.n_first_slots * search.n_epochs
    return n_epochs * epoch_seconds


def reject_broken(config: StudyConfig, prepared: PreparedData) -> None:
    """Reject a broken pipeline before it costs a budget; takes seconds.

    Raises:
        UnsoundPipelineError: If a quick check fails.
    """
    failure = failure_line(list(PipelineChecks(config, prepared).quick_checks()))
    if failure is not None:
        go_on = suggest_command(
            "run", "--skip-checks", "--name", config.name, storage=config.storage
        )
        raise UnsoundPipelineError(
            f"{failure}; `study sanity` shows all checks, `{go_on}` continues"
        )


def _images_per_second(state: TrainingState, batches: Iterable[TrainBatch]) -> float:
    """Time training steps for a second, the first apart, at least one."""
    n_images = 0
    with reproducible_kernels():
        batches = iter(batches)
        train_once(state, islice(batches, 1))
        start_seconds = time.perf_counter()
        for _ in range(MOST_TIMED_STEPS):
            n_images += train_once(state, islice(batches, 1)).n_images
            if time.perf_counter() - start_seconds > TIMED_SECONDS:
                break
    return n_images / (time.perf_counter() - start_seconds)


def _sampled(examples: Examples, n_images: int, *, seed: int) -> Examples:
    """Return some of the examples, all alike."""
    n_all = len(examples.labels_N)
    rows_N = np.random.default_rng(seed).choice(n_all, min(n_images, n_all), replace=False)
    return _chosen(examples, rows_N)


def _evenly(examples: Examples, n_images: int, *, seed: int) -> Examples:
    """Return some of the examples, of every class as many as of any other, or all it has."""
    order_N = np.random.default_rng(seed).permutation(len(examples.labels_N))
    by_class_N = order_N[np.argsort(examples.labels_N[order_N], kind="stable")]
    labels_N = examples.labels_N[by_class_N]
    place_in_class_N = np.arange(len(labels_N)) - np.searchsorted(labels_N, labels_N)
    rows_N = by_class_N[np.argsort(place_in_class_N, kind="stable")][:n_images]
    return _chosen(examples, rows_N)


def _chosen(examples: Examples, rows_N: NDArray[np.int64]) -> Examples:
    rows_N = np.sort(rows_N)  # files are read in their order
    return Examples(examples.images_NHWC[rows_N], examples.labels_N[rows_N])
