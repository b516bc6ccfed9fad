"""The wrong predictions that a network was surest of, noted while it is evaluated.

Shape letters: B batch, C classes, N images.
"""

from dataclasses import dataclass

import torch

from model.evaluation import top_classes


@dataclass(frozen=True)
class Mistake:
    """One image that was taken for another class.

    Attributes:
        index: Its place in the split, from 0.
        label: Its class.
        predicted: The class it was taken for.
        probability: What the network gave to that class, in [0, 1].
    """

    index: int
    label: int
    predicted: int
    probability: float


class MistakeCollector:
    """Notes every prediction on the device, so that nothing waits for it before ``surest``."""

    def __init__(self) -> None:
        self._labels: list[torch.Tensor] = []
        self._predicted: list[torch.Tensor] = []
        self._probabilities: list[torch.Tensor] = []

    @torch.no_grad()
    def __call__(self, logits_BC: torch.Tensor, labels_B: torch.Tensor) -> None:
        """Note one batch; the images are counted on from those before."""
        predicted_B = top_classes(logits_BC)[:, 0]
        # In double precision fewer of the sure ones round to 1.
        probabilities_BC = logits_BC.double().softmax(dim=1)
        self._labels.append(labels_B)
        self._predicted.append(predicted_B)
        self._probabilities.append(probabilities_BC.gather(1, predicted_B[:, None])[:, 0])

    def surest(self, most: int) -> list[Mistake]:
        """Return the mistakes of the highest probability, the first of equals first."""
        if not self._labels:
            return []
        labels_N = torch.cat(self._labels).cpu()
        predicted_N = torch.cat(self._predicted).cpu()
        probabilities_N = torch.cat(self._probabilities).cpu()
        wrong = (labels_N != predicted_N).nonzero()[:, 0]
        order = probabilities_N[wrong].argsort(descending=True, stable=True)
        chosen = wrong[order[:most]]
        columns = (chosen, labels_N[chosen], predicted_N[chosen], probabilities_N[chosen])
        return [
            Mistake(*values)
            for values in zip(*(column.tolist() for column in columns), strict=True)
        ]
