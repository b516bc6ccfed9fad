import pytest
import torch

from model.predictions import PredictionCollector


def test_predictions_of_all_batches_come_in_order_with_the_best_class_first() -> None:
    logits_NC = torch.randn(7, 9, generator=torch.Generator().manual_seed(1))
    labels_N = torch.arange(7)
    collector = PredictionCollector()
    for rows in (slice(0, 4), slice(4, 7)):
        collector(logits_NC[rows], labels_N[rows])
    found = list(collector)
    assert [one.label for one in found] == labels_N.tolist()
    for one, logits_C in zip(found, logits_NC, strict=True):
        assert list(one.classes) == logits_C.argsort(descending=True)[:5].tolist()
        shares = (logits_C.double().exp() / logits_C.double().exp().sum()).tolist()
        assert one.probabilities == pytest.approx([shares[label] for label in one.classes])


def test_fewer_than_five_classes_are_all_named() -> None:
    collector = PredictionCollector()
    collector(torch.tensor([[0.0, 2.0, 1.0]]), torch.tensor([0]))
    (one,) = collector
    assert one.classes == (1, 2, 0) and sum(one.probabilities) == pytest.approx(1)
