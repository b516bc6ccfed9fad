"""The training loop: a generator that yields once per epoch and knows nobody who listens.

Shape letters: B batch, C channels or classes, H height, W width.
Must not know pruners, writers, files or databases; what happens after an epoch is the caller's.
"""

import math
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass

import torch
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from model.device import reproducible_kernels
from model.errors import DivergedError
from model.evaluation import Batch, Metrics, MetricsAccumulator, evaluate
from model.seeds import derive_seed
from model.targets import TrainBatch, place_train_batch
from model.training_state import EpochResult, TrainingState

__all__ = ["EpochResult", "TrainPassResult", "train_epochs", "train_once"]


@dataclass(frozen=True)
class TrainPassResult:
    """What one pass over some batches achieved.

    Attributes:
        metrics: Measured while the network learned, before each update; dropout active.
        n_images: How many were seen.
        gradient_norm: Mean over the steps, before clipping.
        learning_rate: The one that the last step used.
    """

    metrics: Metrics
    n_images: int
    gradient_norm: float
    learning_rate: float


def train_epochs(
    state: TrainingState,
    train_batches: Callable[[int], Iterable[TrainBatch]],
    validation_batches: Callable[[], Iterable[Batch]],
    *,
    n_epochs: int,
    seed: int,
    patience_epochs: int | None = None,
) -> Generator[EpochResult, None, None]:
    """Train from the state's next epoch to the last, validating after each.

    A run whose patience is at its end takes no further epoch, in whichever call.

    Use it within ``contextlib.closing``: a generator left open keeps the network alive. Whatever
    the batches raise passes through; the state's tensors then lie between two epochs, and its last
    state dict must be loaded before going on.

    Args:
        state: Advanced in place before each result is yielded.
        train_batches: From the epoch, the first being 1, to batches (images_BCHW, labels_B), or
            (images_BCHW, labels_B, other_labels_B, share) where every image is of two classes,
            the given share of it of the first.
        validation_batches: To fresh batches (images_BCHW, labels_B).
        n_epochs: The last epoch, counted from the run's beginning, not from this call.
        seed: Dropout depends on it and the epoch only. Seeds torch's global generators.
        patience_epochs: Epochs without a better validation macro-F1 after which the run ends.

    Yields:
        The result of each epoch, already the last of ``state.history``.

    Raises:
        DivergedError: If the training or validation loss is not finite.
    """
    while not state.is_over(n_epochs=n_epochs, patience_epochs=patience_epochs):
        epoch = state.epochs_done + 1
        torch.manual_seed(derive_seed(seed, "epoch", epoch))
        with reproducible_kernels():
            result = _run_epoch(state, epoch, train_batches, validation_batches)
        state.history.append(result)
        yield result


def _run_epoch(
    state: TrainingState,
    epoch: int,
    train_batches: Callable[[int], Iterable[TrainBatch]],
    validation_batches: Callable[[], Iterable[Batch]],
) -> EpochResult:
    """Train and validate once."""
    start_seconds = time.perf_counter()
    trained = train_once(state, train_batches(epoch))
    trained_seconds = time.perf_counter()
    _require_finite(trained.metrics, epoch=epoch, split="training")
    validation = evaluate(
        state.evaluated_network,
        validation_batches(),
        n_classes=state.n_classes,
        execution=state.execution,
        flip_average=state.evaluation.flip_average,
    ).metrics
    _require_finite(validation, epoch=epoch, split="validation")
    return EpochResult(
        epoch=epoch,
        train=trained.metrics,
        validation=validation,
        learning_rate=trained.learning_rate,
        gradient_norm=trained.gradient_norm,
        seconds=time.perf_counter() - start_seconds,
        images_per_second=trained.n_images / (trained_seconds - start_seconds),
    )


def train_once(state: TrainingState, batches: Iterable[TrainBatch]) -> TrainPassResult:
    """Take a training step on each batch, and wait for the device.

    Dropout draws from torch's global generators. The history stays as it is, and the gradients of
    the last step stay on the parameters.

    Raises:
        ValueError: If there are no batches.
    """
    state.network.train()
    device = state.execution.device
    accumulator = MetricsAccumulator(n_classes=state.n_classes, device=device)
    norm_sum = torch.zeros((), dtype=torch.float64, device=device)
    n_steps, n_images, learning_rate = 0, 0, 0.0
    for batch in batches:
        learning_rate = float(state.schedule.get_last_lr()[0])
        norm_sum += _step(state, batch, accumulator)
        n_images += len(batch[0])
        n_steps += 1
    metrics = accumulator.compute().metrics
    return TrainPassResult(metrics, n_images, norm_sum.item() / n_steps, learning_rate)


def _step(
    state: TrainingState, batch: TrainBatch, accumulator: MetricsAccumulator
) -> torch.Tensor:
    """Update the weights once; return the gradient's norm before clipping, on the device."""
    optimization = state.optimization
    images_BCHW, targets = place_train_batch(batch, state.execution)
    with state.execution.autocast():
        logits_BC = state.network(images_BCHW)
        mean_loss = targets.mean_loss(logits_BC, label_smoothing=optimization.label_smoothing)
    state.optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(mean_loss)
    gradient_norm = _clip_gradients(state, optimization.gradient_clip_norm)
    state.optimizer.step()
    state.schedule.step()
    if state.averaged is not None:
        state.averaged.update()
    accumulator.update(logits_BC.detach(), targets.prevailing_B, mean_loss=mean_loss.detach())
    return gradient_norm


def _clip_gradients(state: TrainingState, largest_norm: float | None) -> torch.Tensor:
    """Scale the gradient down to the largest norm, if there is one; return its norm before."""
    parameters = list(state.network.parameters())
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    gradient_norm = get_total_norm(gradients)
    if largest_norm is not None:
        clip_grads_with_norm_(parameters, largest_norm, gradient_norm)
    return gradient_norm


def _require_finite(metrics: Metrics, *, epoch: int, split: str) -> None:
    """Reject an epoch whose loss is no number.

    Raises:
        DivergedError: If it is not finite.
    """
    if not math.isfinite(metrics.loss):
        raise DivergedError(
            f"{split} loss must be finite, received {metrics.loss} in epoch {epoch}: "
            "lower learning_rate, lengthen warmup_epochs or set gradient_clip_norm"
        )
