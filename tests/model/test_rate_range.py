from collections.abc import Callable, Iterator

import numpy as np
import pytest

from model.configuration import OptimizationConfig
from model.evaluation import Batch
from model.rate_curve import RateCurve
from model.rate_range import measure_rates
from model.training_state import TrainingState

StateBuilder = Callable[..., TrainingState]
BatchBuilder = Callable[[int], list[Batch]]
FLAT = OptimizationConfig(learning_rate=1e-3, schedule="constant", warmup_epochs=0)


def measure(
    state: TrainingState, batches: BatchBuilder, *, high: float = 0.1, n_steps: int = 8
) -> RateCurve:
    return measure_rates(state, batches, rates=(1e-3, high), n_steps=n_steps, seed=5)


def test_rates_rise_evenly_on_a_logarithmic_scale(
    build_state: StateBuilder, batches_of: BatchBuilder
) -> None:
    curve = measure(build_state(FLAT), batches_of)
    assert curve.rates == pytest.approx(np.geomspace(1e-3, 0.1, 8))
    assert curve.diverged_at is None


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_equal_seeds_give_equal_curves(
    build_state: StateBuilder, batches_of: BatchBuilder, optimizer: str
) -> None:
    config = FLAT.model_copy(update={"optimizer": optimizer})
    first, second = (measure(build_state(config), batches_of) for _ in range(2))
    assert first == second


def test_epochs_follow_one_another(build_state: StateBuilder, batches_of: BatchBuilder) -> None:
    asked: list[int] = []

    def noting(epoch: int) -> Iterator[Batch]:
        asked.append(epoch)
        yield from batches_of(epoch)

    measure(build_state(FLAT), lambda epoch: list(noting(epoch)))
    assert asked == [1, 2, 3]  # of three batches each


def test_exploding_loss_ends_the_test_and_is_left_out(
    build_state: StateBuilder, batches_of: BatchBuilder
) -> None:
    curve = measure(build_state(FLAT), batches_of, high=1e6, n_steps=60)
    assert curve.diverged_at is not None
    assert len(curve.rates) == len(curve.losses) < 60
    assert curve.rates[-1] < curve.diverged_at < 1e6
    assert np.isfinite(curve.losses).all()


def test_loss_that_is_no_number_at_once_leaves_an_empty_curve(
    build_state: StateBuilder, batches_of: BatchBuilder
) -> None:
    def broken(epoch: int) -> list[Batch]:
        return [(images_BCHW / 0, labels_B) for images_BCHW, labels_B in batches_of(epoch)]

    curve = measure(build_state(FLAT), broken)
    assert curve == RateCurve((), (), pytest.approx(1e-3))
