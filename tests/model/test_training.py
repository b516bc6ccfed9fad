import copy
import gc
import math
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from model.configuration import DeviceConfig, NetworkConfig, OptimizationConfig
from model.device import resolve_execution
from model.errors import DivergedError
from model.evaluation import Batch, evaluate
from model.training import train_epochs
from model.training_state import EpochResult, TrainingState, build_training_state

StateBuilder = Callable[..., TrainingState]
BatchBuilder = Callable[[int], list[Batch]]


def train(
    state: TrainingState, batches_of: BatchBuilder, *, n_epochs: int = 4, seed: int = 1
) -> list[EpochResult]:
    with closing(
        train_epochs(state, batches_of, lambda: batches_of(0), n_epochs=n_epochs, seed=seed)
    ) as epochs:
        return list(epochs)


def assert_equal_bits(left: TrainingState, right: TrainingState) -> None:
    other = right.network.state_dict()
    for name, tensor in left.network.state_dict().items():
        assert torch.equal(tensor, other[name]), name
    other = right.evaluated_network.state_dict()
    for name, tensor in left.evaluated_network.state_dict().items():
        assert torch.equal(tensor, other[name]), name
    for one, two in zip(left.history, right.history, strict=True):
        assert (one.train, one.validation) == (two.train, two.validation)
        assert (one.learning_rate, one.gradient_norm) == (two.learning_rate, two.gradient_norm)


OPTIMIZATIONS = [
    OptimizationConfig(label_smoothing=0.1),
    OptimizationConfig(optimizer="adam", learning_rate=1e-3, gradient_clip_norm=1.0),
    OptimizationConfig(optimizer="adamw", learning_rate=1e-3, schedule="constant"),
    OptimizationConfig(schedule="restarts", restart_epochs=1, ema_decay=0.9),
]


@pytest.mark.parametrize("optimization", OPTIMIZATIONS)
def test_train_epochs_same_seed_gives_the_same_bits(
    build_state: StateBuilder, batches_of: BatchBuilder, optimization: OptimizationConfig
) -> None:
    first, second = build_state(optimization), build_state(optimization)
    train(first, batches_of)
    torch.rand(3)  # whatever else drew random numbers must not matter
    train(second, batches_of)
    assert_equal_bits(first, second)


@pytest.mark.parametrize("optimization", OPTIMIZATIONS)
@pytest.mark.parametrize("n_epochs_before", [1, 2, 3])
def test_train_epochs_resumed_equals_uninterrupted(
    build_state: StateBuilder,
    batches_of: BatchBuilder,
    optimization: OptimizationConfig,
    n_epochs_before: int,
) -> None:
    whole, begun, resumed = (build_state(optimization, seed=seed) for seed in (1, 1, 9))
    train(whole, batches_of)
    train(begun, batches_of, n_epochs=n_epochs_before)
    resumed.load_state_dict(copy.deepcopy(begun.state_dict()))
    results = train(resumed, batches_of)
    assert [r.epoch for r in results] == list(range(n_epochs_before + 1, 5))
    assert_equal_bits(whole, resumed)


def test_train_epochs_resumed_after_an_interrupted_epoch_equals_uninterrupted(
    build_state: StateBuilder, batches_of: BatchBuilder
) -> None:
    def interrupted(epoch: int) -> Iterator[Batch]:
        yield batches_of(epoch)[0]
        if epoch == 2:
            raise KeyboardInterrupt
        yield from batches_of(epoch)[1:]

    whole, state = build_state(), build_state()
    train(whole, batches_of)
    train(state, interrupted, n_epochs=1)  # type: ignore[arg-type]
    checkpoint = copy.deepcopy(state.state_dict())
    with pytest.raises(KeyboardInterrupt):
        train(state, interrupted)  # type: ignore[arg-type]
    assert state.epochs_done == 1
    state.load_state_dict(checkpoint)
    train(state, batches_of)
    assert_equal_bits(whole, state)


def test_train_epochs_other_seed_draws_other_dropout(
    build_state: StateBuilder, batches_of: BatchBuilder
) -> None:
    config = NetworkConfig(blocks=(1, 1, 1), widths=(4, 8, 8), dropout=0.5)
    first, second = build_state(network=config), build_state(network=config)
    train(first, batches_of, n_epochs=1, seed=1)
    train(second, batches_of, n_epochs=1, seed=2)
    assert first.history[0].train != second.history[0].train


def test_train_epochs_state_is_advanced_before_each_result(
    build_state: StateBuilder, batches_of: BatchBuilder
) -> None:
    state = build_state()
    validation = batches_of(0)
    with closing(
        train_epochs(state, batches_of, lambda: validation, n_epochs=2, seed=1)
    ) as epochs:
        for number, result in enumerate(epochs, start=1):
            assert result is state.history[-1]
            assert result.epoch == state.epochs_done == number
            measured = evaluate(state.network, validation, n_classes=7, execution=state.execution)
            assert measured.metrics == result.validation
            assert result.seconds > 0
            assert result.images_per_second > 15 / result.seconds


def test_train_epochs_complete_run_yields_nothing_more(
    build_state: StateBuilder, batches_of: BatchBuilder
) -> None:
    state = build_state()
    train(state, batches_of)
    assert train(state, batches_of) == []


def test_train_epochs_out_of_patience_ends_at_the_same_epoch_after_a_resume(
    build_state: StateBuilder, batches_of: BatchBuilder
) -> None:
    def train_patiently(state: TrainingState, n_epochs: int) -> int:
        patient = partial(train_epochs, n_epochs=n_epochs, seed=1, patience_epochs=2)
        with closing(patient(state, batches_of, lambda: batches_of(0))) as epochs:
            return len(list(epochs))

    whole, begun, resumed = (build_state(n_epochs=40) for _ in range(3))
    n_epochs = train_patiently(whole, 40)
    assert whole.best is not None
    assert n_epochs == whole.best.epoch + 2 < 40
    train_patiently(begun, n_epochs - 1)
    resumed.load_state_dict(begun.state_dict())
    assert train_patiently(resumed, 40) == 1
    assert_equal_bits(whole, resumed)
    assert train_patiently(resumed, 40) == 0


def test_train_epochs_one_small_batch_is_learned_by_heart(
    build_state: StateBuilder, batches_of: BatchBuilder
) -> None:
    state = build_state(
        OptimizationConfig(optimizer="adam", learning_rate=1e-2, weight_decay=0),
        network=NetworkConfig(blocks=(1, 1, 1), widths=(8, 16, 16), dropout=0),
        n_epochs=60,
    )
    results = train(state, lambda _: batches_of(0), n_epochs=60)
    assert results[-1].train.loss < 0.1
    assert results[-1].validation.accuracy == 1.0
    assert results[-1].validation.macro_f1 == pytest.approx(1.0)


def test_train_epochs_label_smoothing_enters_training_loss_only(
    build_state: StateBuilder, batches_of: BatchBuilder
) -> None:
    no_dropout = NetworkConfig(blocks=(1, 1, 1), widths=(4, 8, 8), dropout=0)
    state = build_state(OptimizationConfig(label_smoothing=0.3), network=no_dropout)
    images_BCHW, labels_B = batches_of(1)[0]
    with torch.no_grad():
        logits_BC = copy.deepcopy(state.network).train()(images_BCHW)
    result = train(state, lambda epoch: batches_of(epoch)[:1], n_epochs=1)[0]
    smoothed = F.cross_entropy(logits_BC, labels_B, label_smoothing=0.3).item()
    assert result.train.loss == pytest.approx(smoothed, rel=1e-6)
    assert smoothed != pytest.approx(F.cross_entropy(logits_BC, labels_B).item(), rel=1e-4)
    validation = batches_of(0)[:1]
    plain = evaluate(state.network, validation, n_classes=7, execution=state.execution)
    assert result.validation == plain.metrics


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_train_epochs_mixed_batch_weighs_the_loss_and_counts_the_larger_part(
    build_state: StateBuilder, batches_of: BatchBuilder, share: float
) -> None:
    no_dropout = NetworkConfig(blocks=(1, 1, 1), widths=(4, 8, 8), dropout=0)
    state = build_state(OptimizationConfig(label_smoothing=0.1), network=no_dropout)
    images_BCHW, labels_B = batches_of(1)[0]
    other_labels_B = labels_B.roll(1)
    with torch.no_grad():
        logits_BC = copy.deepcopy(state.network).train()(images_BCHW)
    batch = (images_BCHW, labels_B, other_labels_B, share)
    with closing(
        train_epochs(state, lambda _: [batch], lambda: batches_of(0), n_epochs=1, seed=1)
    ) as epochs:
        (result,) = epochs
    one_hot_BC = F.one_hot(labels_B, 7) * share + F.one_hot(other_labels_B, 7) * (1 - share)
    expected = F.cross_entropy(logits_BC, one_hot_BC, label_smoothing=0.1).item()
    assert result.train.loss == pytest.approx(expected, rel=1e-6)
    prevailing_B = labels_B if share > 0.5 else other_labels_B
    accuracy = (logits_BC.argmax(1) == prevailing_B).float().mean().item()
    assert result.train.accuracy == pytest.approx(accuracy)
    assert result.images_per_second > len(labels_B) / result.seconds


def test_train_epochs_gradient_norm_is_that_before_clipping(
    build_state: StateBuilder, batches_of: BatchBuilder
) -> None:
    def norms(optimization: OptimizationConfig) -> float:
        state = build_state(optimization)
        only = batches_of(1)[:1]
        return train(state, lambda _: only, n_epochs=1)[0].gradient_norm

    free = norms(OptimizationConfig())
    assert free > 0.01
    assert norms(OptimizationConfig(gradient_clip_norm=0.001)) == free


def test_train_epochs_clipped_steps_are_no_longer_than_rate_times_norm(
    build_state: StateBuilder, batches_of: BatchBuilder
) -> None:
    state = build_state(
        OptimizationConfig(
            learning_rate=1.0,
            momentum=0.0,
            weight_decay=0.0,
            warmup_epochs=0,
            gradient_clip_norm=0.01,
        )
    )
    before = [p.detach().clone() for p in state.network.parameters()]
    train(state, lambda epoch: batches_of(epoch)[:1], n_epochs=1)
    moves = [(p - b).norm() for p, b in zip(state.network.parameters(), before, strict=True)]
    assert torch.stack(moves).norm().item() == pytest.approx(0.01, rel=1e-3)


def test_train_epochs_learning_rate_is_that_of_the_last_step(
    build_state: StateBuilder, batches_of: BatchBuilder
) -> None:
    rates = [result.learning_rate for result in train(build_state(), batches_of)]
    last_progress = (12 - 3 - 1) / 9
    assert rates[0] == pytest.approx(0.1)
    assert rates[-1] == pytest.approx(0.1 * (1 + math.cos(math.pi * last_progress)) / 2)


@pytest.mark.parametrize("split", ["training", "validation"])
def test_train_epochs_loss_that_is_no_number_ends_the_run(
    build_state: StateBuilder, batches_of: BatchBuilder, split: str
) -> None:
    broken = [(images * math.nan, labels) for images, labels in batches_of(2)]

    def train_batches(epoch: int) -> list[Batch]:
        return broken if (epoch, split) == (2, "training") else batches_of(epoch)

    validation = iter([batches_of(0), broken])
    state = build_state()
    with (
        pytest.raises(DivergedError, match=f"{split} loss must be finite.*nan in epoch 2"),
        closing(
            train_epochs(state, train_batches, lambda: next(validation), n_epochs=4, seed=1)
        ) as epochs,
    ):
        list(epochs)
    assert state.epochs_done == 1


class HostReads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts how often a tensor's value is read, for which a GPU has to be waited for."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.n_reads = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        self.n_reads += "_local_scalar_dense" in str(function)
        return function(*args, **(kwargs or {}))


def first_batches(batches_of: BatchBuilder, n_batches: int, epoch: int) -> list[Batch]:
    return batches_of(epoch)[:n_batches]


@pytest.mark.parametrize("optimization", OPTIMIZATIONS)
def test_train_epochs_longer_epoch_reads_no_more_values_from_the_device(
    build_state: StateBuilder, batches_of: BatchBuilder, optimization: OptimizationConfig
) -> None:
    n_reads = []
    for n_batches in (1, 3):
        state = build_state(optimization)
        with HostReads() as reads:
            train(state, partial(first_batches, batches_of, n_batches), n_epochs=1)
        n_reads.append(reads.n_reads)
    assert n_reads[0] == n_reads[1] > 0


def test_train_epochs_more_batches_than_planned_is_rejected(
    build_state: StateBuilder, batches_of: BatchBuilder
) -> None:
    with pytest.raises(ValueError, match="the schedule covers 3 steps"):
        train(
            build_state(OptimizationConfig(warmup_epochs=0), n_epochs=1),
            lambda e: batches_of(e) * 2,
        )


def test_train_epochs_closed_early_leaves_nothing_alive(
    build_state: StateBuilder, batches_of: BatchBuilder
) -> None:
    class Loader:
        def epoch(self, epoch: int) -> list[Batch]:
            return batches_of(epoch)

        def validation(self) -> list[Batch]:
            return batches_of(0)

    loader = Loader()
    state = build_state()
    references = [
        weakref.ref(thing)
        for thing in (
            state.network,
            state.optimizer,
            state.network.get_parameter("head.weight"),
            loader,
            state,
        )
    ]
    gc.collect()
    gc.disable()
    try:
        with closing(
            train_epochs(state, loader.epoch, loader.validation, n_epochs=4, seed=1)
        ) as epochs:
            next(epochs)
        del state, loader, epochs
        assert [reference() for reference in references] == [None] * 5
    finally:
        gc.enable()


def test_train_epochs_bfloat16_on_the_cpu_trains_float32_weights(
    build_state: StateBuilder, batches_of: BatchBuilder
) -> None:
    state = build_state()
    state.execution = replace(state.execution, precision="bfloat16")
    result = train(state, batches_of, n_epochs=1)[0]
    assert math.isfinite(result.train.loss)
    assert {p.dtype for p in state.network.parameters()} == {torch.float32}


@pytest.mark.slow
def test_train_epochs_compiled_learns_what_eager_learns_and_is_freed(
    build_state: StateBuilder, batches_of: BatchBuilder
) -> None:
    no_dropout = NetworkConfig(blocks=(1, 1, 1), widths=(4, 8, 8), dropout=0)
    eager, compiled = build_state(network=no_dropout), build_state(network=no_dropout)
    compiled.execution = replace(compiled.execution, compile=True)
    compiled.execution.place(compiled.network)
    for one, two in zip(
        train(eager, batches_of, n_epochs=2), train(compiled, batches_of, n_epochs=2), strict=True
    ):
        assert two.train.loss == pytest.approx(one.train.loss, rel=1e-3)
        assert two.validation.loss == pytest.approx(one.validation.loss, rel=1e-3)
    reference = weakref.ref(compiled.network)
    del compiled
    gc.collect()  # a compiled network refers to itself
    assert reference() is None


@pytest.mark.gpu
def test_train_epochs_on_the_gpu_resumed_equals_uninterrupted(batches_of: BatchBuilder) -> None:
    def build() -> TrainingState:
        return build_training_state(
            NetworkConfig(blocks=(1, 1, 1), widths=(16, 32, 32)),
            OptimizationConfig(gradient_clip_norm=1.0, ema_decay=0.9),
            n_classes=7,
            n_epochs=4,
            steps_per_epoch=3,
            seed=1,
            execution=resolve_execution(DeviceConfig(device="cuda")),
        )

    whole, begun, resumed = build(), build(), build()
    train(whole, batches_of)
    train(begun, batches_of, n_epochs=2)
    resumed.load_state_dict(begun.state_dict())
    train(resumed, batches_of)
    assert_equal_bits(whole, resumed)
