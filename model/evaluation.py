"""What a network gets right: metrics from logits and labels, over any number of batches.

Shape letters: B batch, C channels or classes, H height, W width; CC is a square over classes.
Used by training as well; must not know how the network came about.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from model.device import Execution

TOP_K = 5

Batch = tuple[torch.Tensor, torch.Tensor]
Collector = Callable[[torch.Tensor, torch.Tensor], None]
"""Takes logits (B, C) and labels (B,) of each batch, in their order."""


@dataclass(frozen=True)
class Metrics:
    """Quality over a set of images; all but the loss in [0, 1].

    ``top5_accuracy`` counts the best five classes, or all of them where there are fewer.
    ``macro_f1`` is the mean over the classes that have an image in the set.
    """

    loss: float
    accuracy: float
    top5_accuracy: float
    macro_f1: float


@dataclass(frozen=True)
class Evaluation:
    """Metrics and the confusion matrix behind them, int64 on the CPU, rows are true classes."""

    metrics: Metrics
    confusion_CC: torch.Tensor

    @property
    def n_classes_present(self) -> int:
        """Number of classes that have an image in the set."""
        return int(self.confusion_CC.sum(dim=1).count_nonzero())


@dataclass(frozen=True)
class ClassReport:
    """How one class fares; a ratio without a denominator is zero."""

    class_name: str
    precision: float
    recall: float
    f1: float
    support: int


class MetricsAccumulator:
    """Sums on the device, so that nothing waits for it before ``compute``."""

    def __init__(self, *, n_classes: int, device: torch.device) -> None:
        self._n_classes = n_classes
        self._n_images = 0
        self._loss_sum = torch.zeros((), dtype=torch.float64, device=device)
        self._n_top_k = torch.zeros((), dtype=torch.int64, device=device)
        self._confusion_flat = torch.zeros(n_classes**2, dtype=torch.int64, device=device)

    @torch.no_grad()
    def update(
        self, logits_BC: torch.Tensor, labels_B: torch.Tensor, *, mean_loss: torch.Tensor
    ) -> None:
        """Add one batch; ``mean_loss`` is its loss per image, a scalar on the device."""
        top_Bk = top_classes(logits_BC)
        cells_B = labels_B * self._n_classes + top_Bk[:, 0]
        self._confusion_flat.scatter_add_(0, cells_B, torch.ones_like(cells_B))
        self._n_top_k += (top_Bk == labels_B.unsqueeze(1)).sum()
        self._loss_sum += mean_loss.double() * len(labels_B)
        self._n_images += len(labels_B)

    def compute(self) -> Evaluation:
        """Wait for the device and return what was accumulated.

        Raises:
            ValueError: If no batch was added.
        """
        if self._n_images == 0:
            raise ValueError(
                "metrics need at least one image, received no batches: "
                "give a fresh iterable over a split that is not empty"
            )
        confusion_CC = self._confusion_flat.cpu().view(self._n_classes, self._n_classes)
        metrics = Metrics(
            loss=self._loss_sum.item() / self._n_images,
            accuracy=confusion_CC.trace().item() / self._n_images,
            top5_accuracy=self._n_top_k.item() / self._n_images,
            macro_f1=_macro_f1(confusion_CC),
        )
        return Evaluation(metrics=metrics, confusion_CC=confusion_CC)


@torch.no_grad()
def evaluate(
    network: nn.Module,
    batches: Iterable[Batch],
    *,
    n_classes: int,
    execution: Execution,
    flip_average: bool = False,
    collect: Collector | None = None,
) -> Evaluation:
    """Measure a network on batches of (images_BCHW, labels_B), with plain cross-entropy.

    The network is left in evaluation mode.

    Args:
        network: On its device.
        batches: Every image once.
        n_classes: Length of the logits.
        execution: Where and how the network runs.
        flip_average: Whether the logits are the mean over each image and its mirror image, which
            takes twice as long.
        collect: Sees every batch too, with the logits that the metrics are of.
    """
    network.eval()
    accumulator = MetricsAccumulator(n_classes=n_classes, device=execution.device)
    for batch in batches:
        images_BCHW, labels_B = execution.place_batch(*batch)
        with execution.autocast():
            logits_BC = network(images_BCHW)
            if flip_average:
                logits_BC = (logits_BC + network(images_BCHW.flip(3))) / 2
            mean_loss = F.cross_entropy(logits_BC, labels_B)
        accumulator.update(logits_BC, labels_B, mean_loss=mean_loss)
        if collect is not None:
            collect(logits_BC, labels_B)
    return accumulator.compute()


def top_classes(logits_BC: torch.Tensor) -> torch.Tensor:
    """Return the five best classes of each image, or all where there are fewer, the best first."""
    return logits_BC.topk(min(TOP_K, logits_BC.shape[1]), dim=1).indices


def per_class_report(confusion_CC: torch.Tensor, class_names: Sequence[str]) -> list[ClassReport]:
    """Return one row per class, in the order of the confusion matrix."""
    precision_C, recall_C, f1_C = _ratios(confusion_CC)
    columns = zip(
        class_names,
        precision_C.tolist(),
        recall_C.tolist(),
        f1_C.tolist(),
        confusion_CC.sum(dim=1).tolist(),
        strict=True,
    )
    return [ClassReport(*row) for row in columns]


def _macro_f1(confusion_CC: torch.Tensor) -> float:
    is_present_C = confusion_CC.sum(dim=1) > 0
    return _ratios(confusion_CC)[2][is_present_C].mean().item()


def _ratios(confusion_CC: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return precision, recall and F1 per class; zero where a denominator is."""
    counts_CC = confusion_CC.double()
    hits_C = counts_CC.diagonal()
    predicted_C, true_C = counts_CC.sum(dim=0), counts_CC.sum(dim=1)
    # A class without a denominator has no hits either, so any positive stand-in gives zero.
    return (
        hits_C / predicted_C.clamp(min=1),
        hits_C / true_C.clamp(min=1),
        2 * hits_C / (predicted_C + true_C).clamp(min=1),
    )
