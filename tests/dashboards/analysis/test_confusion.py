import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dashboards.analysis.confusion import most_confused, neighbour_order

MATRICES = st.integers(2, 7).flatmap(
    lambda n: arrays.arrays(np.int64, (n, n), elements=st.integers(0, 4))
)


@given(confusion=MATRICES, most=st.integers(0, 10))
def test_most_confused_are_the_largest_cells_beside_the_diagonal(
    confusion: np.ndarray, most: int
) -> None:
    names = [str(label) for label in range(len(confusion))]
    pairs = most_confused(confusion, names, most=most)
    wrong = {
        (str(true), str(predicted)): int(count)
        for (true, predicted), count in np.ndenumerate(confusion)
        if true != predicted and count
    }
    expected = sorted(wrong, key=lambda cell: (-wrong[cell], cell))[:most]
    assert [(pair.true_class, pair.predicted_class) for pair in pairs] == expected
    for pair in pairs:
        assert pair.count == wrong[pair.true_class, pair.predicted_class]
        assert pair.support == confusion[int(pair.true_class)].sum()


@given(confusion=MATRICES)
def test_neighbour_order_has_every_class_once(confusion: np.ndarray) -> None:
    assert sorted(neighbour_order(confusion)) == list(range(len(confusion)))


def test_neighbour_order_puts_groups_together() -> None:
    group = np.array([0, 1, 2] * 5)
    confusion = np.where(group[:, None] == group, 3, 0) + 20 * np.eye(15, dtype=int)
    ordered = group[neighbour_order(confusion)]
    assert (np.diff(ordered) != 0).sum() == 2
