"""What a network predicts for every image, noted while it is evaluated.

Shape letters: B batch, C classes, N images, k the best classes of each image.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from model.evaluation import top_classes


@dataclass(frozen=True)
class Prediction:
    """What was predicted for one image.

    Attributes:
        label: Its class.
        classes: The five best classes, or all where there are fewer, the best first.
        probabilities: What the network gave to each of them, in [0, 1].
    """

    label: int
    classes: tuple[int, ...]
    probabilities: tuple[float, ...]


class PredictionCollector:
    """Notes the best classes on the device, so that nothing waits for it before they are read."""

    def __init__(self) -> None:
        self._labels: list[torch.Tensor] = []
        self._classes: list[torch.Tensor] = []
        self._probabilities: list[torch.Tensor] = []

    @torch.no_grad()
    def __call__(self, logits_BC: torch.Tensor, labels_B: torch.Tensor) -> None:
        """Note one batch."""
        classes_Bk = top_classes(logits_BC)
        self._labels.append(labels_B)
        self._classes.append(classes_Bk)
        # In double precision fewer of the sure ones round to 1.
        self._probabilities.append(logits_BC.double().softmax(dim=1).gather(1, classes_Bk))

    def __iter__(self) -> Iterator[Prediction]:
        """Yield what was noted, image by image."""
        for batch in zip(self._labels, self._classes, self._probabilities, strict=True):
            for label, classes, probabilities in zip(
                *(column.tolist() for column in batch), strict=True
            ):
                yield Prediction(label, tuple(classes), tuple(probabilities))
