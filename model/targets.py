"""What the images of a training batch show: one class each, or two where CutMix has mixed them.

Shape letters: B batch, C channels or classes, H height, W width.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from model.device import Execution
from model.evaluation import Batch

MixedBatch = tuple[torch.Tensor, torch.Tensor, torch.Tensor, float]
"""Images with a part of another, their own classes, those of the parts, the share of their own."""

TrainBatch = Batch | MixedBatch


@dataclass(frozen=True)
class Targets:
    """The classes of a batch.

    Attributes:
        labels_B: Class of each image.
        other_labels_B: Class of the part that comes from another image; none where none does.
        share: How much of each image is of its own class.
    """

    labels_B: torch.Tensor
    other_labels_B: torch.Tensor | None = None
    share: float = 1.0

    def mean_loss(self, logits_BC: torch.Tensor, *, label_smoothing: float) -> torch.Tensor:
        """Return the cross-entropy of the batch, both classes weighted by their share."""
        own = F.cross_entropy(logits_BC, self.labels_B, label_smoothing=label_smoothing)
        if self.other_labels_B is None:
            return own
        other = F.cross_entropy(logits_BC, self.other_labels_B, label_smoothing=label_smoothing)
        return self.share * own + (1 - self.share) * other

    @property
    def prevailing_B(self) -> torch.Tensor:
        """The class of the larger part of each image, which is what metrics count."""
        if self.other_labels_B is None or self.share >= 0.5:
            return self.labels_B
        return self.other_labels_B


def place_train_batch(batch: TrainBatch, execution: Execution) -> tuple[torch.Tensor, Targets]:
    """Move a batch to the device; free of charge where it already is there."""
    images_BCHW, labels_B = execution.place_batch(batch[0], batch[1])
    if len(batch) == 2:
        return images_BCHW, Targets(labels_B)
    _, _, other_labels_B, share = batch
    other_labels_B = other_labels_B.to(execution.device, non_blocking=True)
    return images_BCHW, Targets(labels_B, other_labels_B, share)
