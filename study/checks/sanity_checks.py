"""What a broken pipeline gets wrong before anything is trained: one function for each check.

Each takes what it looks at (a state, batches) and returns a result, whether passed or not; what
they are given in a study is `study/checks/run_checks.py`'s.

Shape letters: B batch, C channels or classes, H height, W width.
"""

import math
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch.optim.swa_utils import update_bn

from model.device import reproducible_kernels
from model.evaluation import Batch, evaluate
from model.targets import TrainBatch
from model.training import train_once
from model.training_state import TrainingState
from storage.checkpoints import load_checkpoint, save_checkpoint
from study.checks.result import CheckResult

Epochs = Callable[[int], Iterable[TrainBatch]]

OVERFIT_LOSS = 0.05
NORMALISED_TOLERANCE = 0.1
N_COMPARED_BATCHES = 2
N_OTHER_EPOCHS = 3
MOST_NAMED = 3


@dataclass(frozen=True)
class BatchForm:
    """What a batch must look like.

    Attributes:
        image_size: Height and width, in pixels.
        n_classes: Labels lie below.
        lowest: Smallest value of a normalised image in any channel, that of black.
        highest: Largest value, that of white.
    """

    image_size: int
    n_classes: int
    lowest: float
    highest: float


def check_batch(batch: TrainBatch, form: BatchForm) -> CheckResult:
    """Check shape, type and range of a training batch, augmented and normalised."""
    images_BCHW, labels_B = batch[:2]
    n_images = len(images_BCHW)
    shape = (n_images, 3, form.image_size, form.image_size)
    low, high = images_BCHW.min().item(), images_BCHW.max().item()
    passed = (
        images_BCHW.shape == shape
        and labels_B.shape == (n_images,)
        and (images_BCHW.dtype, labels_B.dtype) == (torch.float32, torch.int64)
        # Rounding apart, no augmentation leaves the range of black to white.
        and form.lowest - 0.01 <= low <= high <= form.highest + 0.01
        and bool(((labels_B >= 0) & (labels_B < form.n_classes)).all())
    )
    return CheckResult(
        "batch",
        passed,
        f"images {_form(images_BCHW)} from {low:.2f} to {high:.2f}, labels {_form(labels_B)} "
        f"from {labels_B.min().item()} to {labels_B.max().item()}",
        f"images {list(shape)} float32 within {form.lowest:.2f} to {form.highest:.2f}, labels "
        f"[{n_images}] int64 within 0 to {form.n_classes - 1}",
        "look at normalisation, augmentation and labels in data/batches.py",
    )


def _form(values: torch.Tensor) -> str:
    return f"{list(values.shape)} {str(values.dtype).removeprefix('torch.')}"


def check_normalisation(
    batches: Iterable[TrainBatch | Batch], *, name: str = "normalisation"
) -> CheckResult:
    """Check that every channel of training images that are not augmented is normalised once.

    The tolerance is far above the error of a sample of 2,000 images (0.02 on Tiny ImageNet), and
    far below what normalising twice or not at all moves.
    """
    n_values, sums_C, squares_C = 0, torch.zeros(3).double(), torch.zeros(3).double()
    for images_BCHW, *_labels in batches:
        values_CX = images_BCHW.double().transpose(0, 1).flatten(1).cpu()
        n_values += values_CX.shape[1]
        sums_C += values_CX.sum(dim=1)
        squares_C += values_CX.square().sum(dim=1)
    mean_C = sums_C / n_values
    std_C = (squares_C / n_values - mean_C.square()).clamp(min=0).sqrt()
    furthest = torch.cat([mean_C.abs(), (std_C - 1).abs()]).max().item()
    return CheckResult(
        name,
        furthest <= NORMALISED_TOLERANCE,
        f"mean {_channels(mean_C)}, std {_channels(std_C)}",
        f"mean 0, std 1 in each channel, within {NORMALISED_TOLERANCE}",
        "normalise once, with the statistics of the training images, in data/batches.py",
    )


def _channels(values_C: torch.Tensor) -> str:
    return " ".join(f"{value:.2f}" for value in values_C.tolist())


def check_reproducible(epochs: Epochs) -> CheckResult:
    """Check that an epoch's batches depend on the epoch, and on nothing else."""
    first = _beginning(epochs, 1)
    others = (_beginning(epochs, epoch) for epoch in range(2, 2 + N_OTHER_EPOCHS))
    # Few images may come in the same order by chance, hence more than one other epoch.
    differs = any(not _equal(first, other) for other in others)
    repeats = _equal(first, _beginning(epochs, 1))
    return CheckResult(
        "order and augmentation",
        repeats and differs,
        f"epoch 1 {'repeats' if repeats else 'differs when asked for again'}, "
        f"other epochs {'differ' if differs else 'are the same'}",
        "epoch 1 repeats bit for bit, other epochs differ",
        "draw order and augmentation from (seed, epoch) alone, in data/batches.py",
    )


def _beginning(epochs: Epochs, epoch: int) -> list[TrainBatch]:
    return list(islice(epochs(epoch), N_COMPARED_BATCHES))


def check_logits(state: TrainingState, batch: TrainBatch) -> CheckResult:
    """Check the shape of what the network answers, in evaluation mode, and that it is finite."""
    images_BCHW, labels_B = state.execution.place_batch(*batch[:2])
    state.network.eval()
    with torch.no_grad(), state.execution.autocast():
        logits_BC = state.network(images_BCHW)
    shape = (len(labels_B), state.n_classes)
    finite = bool(logits_BC.isfinite().all())
    return CheckResult(
        "logits",
        logits_BC.shape == shape and finite,
        f"{list(logits_BC.shape)}, {'finite' if finite else 'not all finite'}",
        f"{list(shape)}, finite",
        "look at the forward pass and the head in model/network.py",
    )


def check_initial_loss(
    state: TrainingState, batches: Iterable[Batch], *, tolerance: float | None
) -> CheckResult:
    """Check that a network that has learned nothing guesses evenly, in evaluation mode.

    Batch norms first take the statistics of the images: those they are built with are far off
    for a deep network (22 % more loss with blocks [4,4,4], twentyfold with [8,8,8]), though it
    never sees them. Training mode would add dropout, and statistics that differ by batch.

    Args:
        state: A fresh one; its running statistics are replaced.
        batches: Images of all classes alike, for the little that classes differ averages out.
        tolerance: Largest difference; none where the loss must only be finite. Without batch norm
            it grows from block to block: by 33 % with blocks [4,4,4], which still learn.
    """
    batches = list(batches)
    with reproducible_kernels(), state.execution.autocast():
        placed = [state.execution.place_batch(*batch[:2]) for batch in batches]
        update_bn(placed, state.network)
    evaluation = evaluate(
        state.network, batches, n_classes=state.n_classes, execution=state.execution
    )
    loss, expected = evaluation.metrics.loss, math.log(state.n_classes)
    if tolerance is None:
        passed, within = math.isfinite(loss), ", any that is finite without batch norm"
    else:
        passed = abs(loss - expected) <= tolerance
        within = f" within {100 * tolerance / expected:.1f} %"
    return CheckResult(
        "initial loss",
        passed,
        f"{loss:.4f} ({100 * (loss / expected - 1):+.2f} %)",
        f"-ln(1/{state.n_classes}) = {expected:.4f}{within}",
        "look at the scale of the initial weights, the head's first, in model/network.py",
    )


def check_gradients(state: TrainingState, batches: Iterable[TrainBatch]) -> CheckResult:
    """Check that training steps reach every parameter, and that the optimizer knows them all.

    Two steps show it: a block whose last norm starts at zero learns from the second on.
    """
    parameters = dict(state.network.named_parameters())
    reached, broken = set[str](), set[str]()
    for batch in batches:
        train_once(state, [batch])
        gradients = {name: one.grad for name, one in parameters.items() if one.grad is not None}
        reached |= {name for name, gradient in gradients.items() if gradient.any()}
        broken |= {name for name, one in gradients.items() if not one.isfinite().all()}
    optimised = {id(one) for group in state.optimizer.param_groups for one in group["params"]}
    forgotten = {name for name, one in parameters.items() if id(one) not in optimised}
    found = {
        "get none": parameters.keys() - reached,
        "get one that is not finite": broken,
        "are not in the optimizer": forgotten,
    }
    complaints = [f"{_named(names)} {what}" for what, names in found.items() if names]
    n_good = len(parameters.keys() & reached - broken - forgotten)
    return CheckResult(
        "gradients",
        not complaints,
        "; ".join([f"{n_good} of {len(parameters)} parameters", *complaints]),
        "every parameter gets a finite gradient that is not zero, and is optimised",
        "look for frozen or detached layers in model/network.py, then at the learning rate",
    )


def _named(names: Iterable[str]) -> str:
    first, n_more = sorted(names)[:MOST_NAMED], len(set(names)) - MOST_NAMED
    return ", ".join(first) + (f" and {n_more} more" if n_more > 0 else "")


def check_checkpoint(
    build: Callable[[], TrainingState], batches: tuple[TrainBatch, TrainBatch], *, seed: int
) -> CheckResult:
    """Check that a state that is saved and loaded takes the same next step, bit for bit.

    Args:
        build: Returns a fresh state, always the same.
        batches: Of the step before saving, and of the next one.
        seed: Of dropout.
    """
    before, after = batches
    state, loaded = build(), build()
    _seeded_step(state, before, seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "checkpoint.pt"
        save_checkpoint(path, {"configuration": "", "state": state.state_dict()})
        loaded.load_state_dict(load_checkpoint(path)["state"])
    _seeded_step(state, after, seed)
    _seeded_step(loaded, after, seed)
    equal = _equal(state.state_dict(), loaded.state_dict())
    return CheckResult(
        "checkpoint",
        equal,
        f"the next step {'is equal' if equal else 'differs'}",
        "after saving and loading, the next step is equal bit for bit",
        "look at what state_dict leaves out in model/training_state.py",
    )


def _seeded_step(state: TrainingState, batch: TrainBatch, seed: int) -> None:
    torch.manual_seed(seed)
    with reproducible_kernels():
        train_once(state, [batch])


def _equal(one: Any, other: Any) -> bool:
    """Return whether nested containers hold the same bits."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_equal, one, other))
    return bool(one == other)


def check_overfitting(
    state: TrainingState, epochs: Epochs, *, n_steps: int, seed: int
) -> CheckResult:
    """Check that a network learns a few images by heart.

    Args:
        state: A fresh one.
        epochs: All the images in one batch, in every epoch with the same labels.
        n_steps: Most steps, one in each epoch.
        seed: Of dropout.
    """
    loss, step = math.inf, 0
    torch.manual_seed(seed)
    with reproducible_kernels():
        for step in range(1, n_steps + 1):
            loss = train_once(state, epochs(step)).metrics.loss
            if not loss >= OVERFIT_LOSS:  # learned, or no number any more
                break
    return CheckResult(
        "overfitting",
        loss < OVERFIT_LOSS,
        f"loss {loss:.4f} after {step} steps",
        f"loss below {OVERFIT_LOSS} within {n_steps} steps",
        "look whether labels belong to their images, then allow more with --overfit-steps",
    )
