import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)
from torch import nn

from model.device import Execution
from model.evaluation import (
    Evaluation,
    Metrics,
    MetricsAccumulator,
    evaluate,
    per_class_report,
)


def accumulate(logits_NC: torch.Tensor, labels_N: torch.Tensor, *, batch_size: int) -> Evaluation:
    accumulator = MetricsAccumulator(n_classes=logits_NC.shape[1], device=torch.device("cpu"))
    for logits_BC, labels_B in zip(
        torch.split(logits_NC, batch_size), torch.split(labels_N, batch_size), strict=True
    ):
        accumulator.update(logits_BC, labels_B, mean_loss=F.cross_entropy(logits_BC, labels_B))
    return accumulator.compute()


def draw(seed: int, *, n_images: int, n_classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(n_images, n_classes, generator=generator),
        torch.randint(0, n_classes, (n_images,), generator=generator),
    )


@given(
    seed=st.integers(0, 10_000),
    n_images=st.integers(1, 60),
    n_classes=st.integers(2, 12),
    batch_size=st.integers(1, 60),
)
def test_accumulator_random_logits_agree_with_scikit_learn(
    seed: int, n_images: int, n_classes: int, batch_size: int
) -> None:
    logits_NC, labels_N = draw(seed, n_images=n_images, n_classes=n_classes)
    evaluation = accumulate(logits_NC, labels_N, batch_size=batch_size)
    true, predicted, classes = labels_N.numpy(), logits_NC.argmax(1).numpy(), range(n_classes)
    present = np.unique(true)
    macro_f1 = f1_score(true, predicted, labels=present, average="macro", zero_division=0)
    metrics = evaluation.metrics
    assert evaluation.n_classes_present == len(present)
    assert metrics.accuracy == pytest.approx(accuracy_score(true, predicted))
    assert metrics.macro_f1 == pytest.approx(macro_f1)
    assert metrics.loss == pytest.approx(F.cross_entropy(logits_NC, labels_N).item(), rel=1e-5)
    assert np.array_equal(
        evaluation.confusion_CC.numpy(), confusion_matrix(true, predicted, labels=classes)
    )
    if n_classes > 5:
        top_5 = top_k_accuracy_score(true, logits_NC.numpy(), k=5, labels=classes)
        assert metrics.top5_accuracy == pytest.approx(top_5)
    else:
        assert metrics.top5_accuracy == 1.0


@given(seed=st.integers(0, 10_000), n_images=st.integers(1, 40), n_classes=st.integers(2, 9))
def test_per_class_report_random_predictions_agree_with_scikit_learn(
    seed: int, n_images: int, n_classes: int
) -> None:
    logits_NC, labels_N = draw(seed, n_images=n_images, n_classes=n_classes)
    confusion_CC = accumulate(logits_NC, labels_N, batch_size=8).confusion_CC
    rows = per_class_report(confusion_CC, [f"class {label}" for label in range(n_classes)])
    columns = precision_recall_fscore_support(
        labels_N, logits_NC.argmax(1), labels=range(n_classes), zero_division=0
    )
    for label, (row, *expected) in enumerate(zip(rows, *columns, strict=True)):
        assert row.class_name == f"class {label}"
        assert (row.precision, row.recall, row.f1, row.support) == pytest.approx(tuple(expected))


@pytest.mark.parametrize("n_classes", [2, 10, 200])
def test_macro_f1_of_all_classes_is_bit_for_bit_their_mean(n_classes: int) -> None:
    logits_NC, labels_N = draw(1, n_images=20 * n_classes, n_classes=n_classes)
    labels_N[:n_classes] = torch.arange(n_classes)
    evaluation = accumulate(logits_NC, labels_N, batch_size=64)
    rows = per_class_report(evaluation.confusion_CC, [""] * n_classes)
    mean = torch.tensor([row.f1 for row in rows], dtype=torch.float64).mean().item()
    assert evaluation.metrics.macro_f1 == mean


def test_macro_f1_leaves_out_a_class_without_images_but_counts_what_was_taken_for_it() -> None:
    labels_N = torch.tensor([0, 0, 1, 1])
    logits_NC = F.one_hot(torch.tensor([0, 2, 1, 1]), 4).float()
    evaluation = accumulate(logits_NC, labels_N, batch_size=4)
    assert evaluation.metrics.macro_f1 == pytest.approx((2 / 3 + 1) / 2)
    assert evaluation.n_classes_present == 2


def test_accumulator_without_images_is_rejected() -> None:
    accumulator = MetricsAccumulator(n_classes=2, device=torch.device("cpu"))
    with pytest.raises(ValueError, match="at least one image, received no batches"):
        accumulator.compute()


def test_evaluate_uneven_batches_weigh_every_image_the_same(execution: Execution) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    images_NCHW, labels_N = torch.randn(7, 3, 2, 2), torch.randint(0, 4, (7,))
    batches = list(zip(torch.split(images_NCHW, 5), torch.split(labels_N, 5), strict=True))
    whole = evaluate(network, [(images_NCHW, labels_N)], n_classes=4, execution=execution)
    parts = evaluate(network, batches, n_classes=4, execution=execution)
    assert parts.metrics.loss == pytest.approx(whole.metrics.loss)
    assert torch.equal(parts.confusion_CC, whole.confusion_CC)


def test_evaluate_network_in_training_mode_measures_it_in_evaluation_mode(
    execution: Execution,
) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.99), nn.Linear(12, 4)).train()
    batches = [(torch.randn(6, 3, 2, 2), torch.randint(0, 4, (6,)))]
    first, second = (
        evaluate(network, batches, n_classes=4, execution=execution).metrics for _ in range(2)
    )
    assert isinstance(first, Metrics)
    assert first == second
    assert not network.training


def test_evaluate_flip_average_judges_an_image_and_its_mirror_image_alike(
    execution: Execution,
) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    images_NCHW, labels_N = torch.randn(40, 3, 2, 2), torch.randint(0, 4, (40,))
    mirrored_NCHW = images_NCHW.flip(3)
    one, other = (
        evaluate(
            network, [(images, labels_N)], n_classes=4, execution=execution, flip_average=True
        )
        for images in (images_NCHW, mirrored_NCHW)
    )
    assert one.metrics == other.metrics
    with torch.no_grad():
        logits_NC = (network(images_NCHW) + network(mirrored_NCHW)) / 2
    assert one.metrics.loss == pytest.approx(F.cross_entropy(logits_NC, labels_N).item())
    plain = evaluate(network, [(images_NCHW, labels_N)], n_classes=4, execution=execution)
    assert plain.metrics.loss != pytest.approx(one.metrics.loss)
