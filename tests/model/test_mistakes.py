import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from model.device import Execution
from model.evaluation import evaluate
from model.mistakes import MistakeCollector


@given(
    logits=st.lists(st.lists(st.integers(-3, 3), min_size=3, max_size=3), min_size=1, max_size=30),
    seed=st.integers(0, 1000),
    batch_size=st.integers(1, 30),
    most=st.integers(0, 12),
)
def test_surest_mistakes_are_those_of_a_plain_sort_with_ties_by_index(
    logits: list[list[int]], seed: int, batch_size: int, most: int
) -> None:
    logits_NC = torch.tensor(logits, dtype=torch.float32)
    labels_N = torch.randint(0, 3, (len(logits),), generator=torch.Generator().manual_seed(seed))
    collector = MistakeCollector()
    for logits_BC, labels_B in zip(
        logits_NC.split(batch_size), labels_N.split(batch_size), strict=True
    ):
        collector(logits_BC, labels_B)
    found = collector.surest(most)

    shares_NC = np.exp(np.array(logits)) / np.exp(np.array(logits)).sum(axis=1, keepdims=True)
    everything = MistakeCollector()
    everything(logits_NC, labels_N)
    wrong = {mistake.index: mistake for mistake in everything.surest(len(logits))}
    ranked = sorted(wrong, key=lambda index: (-wrong[index].probability, index))
    assert [mistake.index for mistake in found] == ranked[:most]
    for mistake in found:
        assert mistake.label == labels_N[mistake.index] != mistake.predicted
        assert np.isclose(mistake.probability, shares_NC[mistake.index].max())
        assert np.isclose(shares_NC[mistake.index, mistake.predicted], mistake.probability)


def test_mistakes_of_an_evaluation_are_those_of_its_confusion_matrix(
    execution: Execution,
) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 4))
    images_NCHW, labels_N = torch.randn(40, 3, 2, 2), torch.randint(0, 4, (40,))
    batches = list(zip(images_NCHW.split(7), labels_N.split(7), strict=True))
    for flip_average in (False, True):
        plain = evaluate(
            network, batches, n_classes=4, execution=execution, flip_average=flip_average
        )
        collector = MistakeCollector()
        collected = evaluate(
            network,
            batches,
            n_classes=4,
            execution=execution,
            flip_average=flip_average,
            collect=collector,
        )
        assert collected.metrics == plain.metrics
        wrong_CC = plain.confusion_CC.clone().fill_diagonal_(0)
        for mistake in collector.surest(40):
            wrong_CC[mistake.label, mistake.predicted] -= 1
        assert not wrong_CC.any()


def test_without_a_batch_there_is_no_mistake() -> None:
    assert MistakeCollector().surest(5) == []
