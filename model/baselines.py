"""What guessing achieves: the floor under every result, from label counts alone.

Imports only the standard library.
"""

from collections.abc import Sequence
from dataclasses import dataclass

_TOP_K = 5


@dataclass(frozen=True)
class Baseline:
    """Quality of a guess, each figure in [0, 1]; it has no loss, as it gives no probabilities."""

    accuracy: float
    top5_accuracy: float
    macro_f1: float


def guesses(class_counts: Sequence[int], *, train_counts: Sequence[int]) -> dict[str, Baseline]:
    """Return what each kind of guessing achieves, by name.

    Args:
        class_counts: Images per class of the split that is judged.
        train_counts: Images per class of the training split.
    """
    return {
        "majority": majority_baseline(class_counts, train_counts=train_counts),
        "random": random_baseline(class_counts),
    }


def majority_baseline(class_counts: Sequence[int], *, train_counts: Sequence[int]) -> Baseline:
    """Always answer the most frequent training classes, the first of equals.

    Args:
        class_counts: Images per class of the split that is judged.
        train_counts: Images per class of the training split.
    """
    n_images = sum(class_counts)
    by_frequency = sorted(range(len(train_counts)), key=lambda label: -train_counts[label])
    hits = [class_counts[label] for label in by_frequency[:_TOP_K]]
    accuracy = hits[0] / n_images
    return Baseline(
        accuracy=accuracy,
        top5_accuracy=sum(hits) / n_images,
        macro_f1=2 * accuracy / (1 + accuracy) / _count_present(class_counts),
    )


def random_baseline(class_counts: Sequence[int]) -> Baseline:
    """Answer every class with equal probability.

    The macro-F1 is that of the expected confusion matrix: precision is the class's share of the
    split, recall is one over the number of classes.

    Args:
        class_counts: Images per class of the split that is judged.
    """
    n_classes, n_images = len(class_counts), sum(class_counts)
    recall = 1 / n_classes
    shares = [count / n_images for count in class_counts]
    f1_scores = [2 * share * recall / (share + recall) for share in shares]
    return Baseline(
        accuracy=recall,
        top5_accuracy=min(_TOP_K, n_classes) / n_classes,
        macro_f1=sum(f1_scores) / _count_present(class_counts),
    )


def _count_present(class_counts: Sequence[int]) -> int:
    """Count the classes that macro-F1 is the mean over: those that have an image."""
    return sum(count > 0 for count in class_counts)
