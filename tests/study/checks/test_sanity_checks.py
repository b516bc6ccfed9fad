import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch

from data.batches import EvaluationBatches
from data.image_cache import Examples, PreparedData, prepare
from model.device import set_threads
from model.evaluation import Batch
from model.training_state import TrainingState
from study.checks.result import failure_line
from study.checks.run_checks import Overfitting, PipelineChecks, reject_broken
from study.checks.sanity_checks import (
    BatchForm,
    check_batch,
    check_checkpoint,
    check_gradients,
    check_initial_loss,
    check_logits,
    check_normalisation,
    check_overfitting,
    check_reproducible,
)
from study.configuration.config import StudyConfig, validated
from study.errors import UnsoundPipelineError
from study.trial.components import fresh_state, train_batches

SEED = 3
Settings = dict[str, Any]
Epochs = Callable[[int], Iterator[Batch]]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Tensors this small only lose time to threads waiting for each other."""
    before = torch.get_num_threads()
    set_threads(1)
    yield
    set_threads(before)


@pytest.fixture
def config(tiny_settings: Settings) -> StudyConfig:
    return validated(tiny_settings)


@pytest.fixture
def build(config: StudyConfig) -> Callable[[], TrainingState]:
    prepared = prepare(config.data)
    return partial(fresh_state, config, prepared, seed=SEED, steps_per_epoch=100)


@pytest.fixture
def epochs(config: StudyConfig) -> Epochs:
    prepared = prepare(config.data)
    return train_batches(config, prepared, prepared.train(), seed=SEED)


@pytest.fixture
def form(config: StudyConfig) -> BatchForm:
    return BatchForm(image_size=8, n_classes=3, lowest=-3, highest=3)


def first(epochs: Epochs) -> Batch:
    return next(epochs(1))


def normalised_again(epochs: Epochs, epoch: int) -> Iterator[Batch]:
    for images_BCHW, labels_B in epochs(epoch):
        yield (images_BCHW - 0.45) / 0.27, labels_B


def jittered_by_the_clock(epochs: Epochs, epoch: int) -> Iterator[Batch]:
    for images_BCHW, labels_B in epochs(epoch):
        yield images_BCHW * (1 + 1e-3 * (time.time_ns() % 997)), labels_B


def shuffled_labels(epochs: Epochs, epoch: int) -> Iterator[Batch]:
    generator = torch.Generator().manual_seed(epoch)
    for images_BCHW, labels_B in epochs(epoch):
        yield images_BCHW, labels_B[torch.randperm(len(labels_B), generator=generator)]


def test_tiny_study_passes_every_check(config: StudyConfig) -> None:
    pipeline = PipelineChecks(config, prepare(config.data))
    results = list(pipeline.all_checks(Overfitting(n_images=6, n_steps=400)))
    assert [result.name for result in results if result.passed is None] == ["duration"]
    assert failure_line(results) is None, failure_line(results)
    assert "for 3 trials by 1 worker, " in results[-1].expected
    assert [result.name for result in pipeline.quick_checks()] == [
        result.name for result in results[:-2]
    ]


@pytest.mark.parametrize(
    "network",
    [
        {"zero_init_last_norm": True},
        {"batch_norm": False, "blocks": [4, 4, 4]},
        {"batch_norm": False, "blocks": [4, 4, 4], "activation": "selu"},
        {"blocks": [4, 4, 4], "activation": "selu"},
        {"residual": False, "dropout": 0.5},
    ],
)
def test_every_kind_of_network_passes_the_quick_checks(
    tiny_settings: Settings, network: Settings
) -> None:
    config = validated(tiny_settings | {"network": {"widths": [4, 4, 8]} | network})
    reject_broken(config, prepare(config.data))


def test_batch_of_another_form_is_found(epochs: Epochs, form: BatchForm) -> None:
    images_BCHW, labels_B = first(epochs)
    assert check_batch((images_BCHW, labels_B), form).passed
    for broken in (
        (images_BCHW[:, :, 1:], labels_B),
        (images_BCHW.double(), labels_B),
        (images_BCHW * torch.nan, labels_B),
        (images_BCHW, labels_B + 1),
        (images_BCHW, labels_B.int()),
        (images_BCHW, labels_B[1:]),
        next(normalised_again(epochs, 1)),
    ):
        result = check_batch(broken, form)
        assert result.passed is False, result


def test_study_of_one_epoch_is_checked_and_timed(tiny_settings: Settings) -> None:
    config = validated(
        tiny_settings
        | {"search": {"n_epochs": 1}, "optimization": {"warmup_epochs": 0, "batch_size": 8}}
        | {"evaluation": {"flip_average": True}}
    )
    pipeline = PipelineChecks(config, prepare(config.data))
    results = list(pipeline.all_checks(Overfitting(n_images=2, n_steps=400)))
    assert failure_line(results) is None and "images/s" in results[-1].measured


def test_evaluation_images_that_are_not_normalised_are_found(
    config: StudyConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def as_they_are(
        _config: StudyConfig, prepared: PreparedData, examples: Examples
    ) -> EvaluationBatches:
        return EvaluationBatches(
            examples, batch_size=64, mean=(0, 0, 0), std=(1, 1, 1), device=torch.device("cpu")
        )

    monkeypatch.setattr("study.checks.run_checks.evaluation_batches", as_they_are)
    with pytest.raises(UnsoundPipelineError, match="first evaluation images"):
        reject_broken(config, prepare(config.data))


def test_images_that_are_normalised_twice_or_not_at_all_are_found(epochs: Epochs) -> None:
    assert check_normalisation(epochs(1)).passed
    result = check_normalisation(normalised_again(epochs, 1))
    assert not result.passed and "mean 0, std 1" in result.expected
    assert not check_normalisation((x * 0.27 + 0.45, y) for x, y in epochs(1)).passed


def test_augmentation_by_the_clock_and_epochs_that_repeat_are_found(epochs: Epochs) -> None:
    assert check_reproducible(epochs).passed
    result = check_reproducible(partial(jittered_by_the_clock, epochs))
    assert not result.passed and "epoch 1 differs when asked for again" in result.measured
    result = check_reproducible(lambda _epoch: epochs(1))
    assert not result.passed and "other epochs are the same" in result.measured


def test_head_of_another_length_is_found(
    build: Callable[[], TrainingState], epochs: Epochs
) -> None:
    assert check_logits(build(), first(epochs)).passed
    state = build()
    state.network.head = torch.nn.Linear(8, 4)
    result = check_logits(state, first(epochs))
    assert not result.passed and result.measured == "[16, 4], finite"


def test_head_that_guesses_unevenly_is_found(
    build: Callable[[], TrainingState], epochs: Epochs
) -> None:
    assert check_initial_loss(build(), list(epochs(1)), tolerance=0.03).passed
    state = build()
    with torch.no_grad():
        state.network.get_parameter("head.weight").mul_(100)
    result = check_initial_loss(state, list(epochs(1)), tolerance=0.03)
    assert not result.passed and "-ln(1/3) = 1.0986 within 2.7 %" in result.expected


def test_frozen_detached_and_forgotten_layers_are_named(
    build: Callable[[], TrainingState], epochs: Epochs
) -> None:
    two = list(epochs(1))[:2]
    assert check_gradients(build(), two).passed
    frozen = build()
    frozen.network.get_parameter("stem.0.weight").requires_grad_(False)
    assert "stem.0.weight get none" in check_gradients(frozen, two).measured
    forgotten = build()
    forgotten.optimizer.param_groups[1]["params"] = []
    result = check_gradients(forgotten, two)
    assert not result.passed and "more are not in the optimizer" in result.measured
    exploding = build()
    with torch.no_grad():
        exploding.network.get_parameter("head.weight").fill_(torch.inf)
    result = check_gradients(exploding, two)
    assert not result.passed and "not finite" in result.measured


def test_state_that_forgets_its_momentum_is_found(
    build: Callable[[], TrainingState], epochs: Epochs
) -> None:
    class Forgetful(TrainingState):
        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            self.network.load_state_dict(state_dict["network"])

    batches = (first(epochs), next(epochs(2)))
    assert check_checkpoint(build, batches, seed=SEED).passed
    result = check_checkpoint(lambda: Forgetful(**vars(build())), batches, seed=SEED)
    assert not result.passed and result.measured == "the next step differs"


def test_labels_shuffled_in_every_epoch_are_never_learned(
    tiny_settings: Settings, epochs: Epochs
) -> None:
    quick = {"optimizer": "adam", "learning_rate": 0.03, "schedule": "constant"}
    config = validated(
        tiny_settings
        | {"optimization": quick, "network": {"widths": [8, 8, 8], "dropout": 0}}
        | {"search": {"n_epochs": 100}}
    )

    def build() -> TrainingState:
        return fresh_state(config, prepare(config.data), seed=SEED, steps_per_epoch=1)

    eight = [(images_BCHW[:8], labels_B[:8]) for images_BCHW, labels_B in epochs(1)][:1]
    learn = partial(check_overfitting, n_steps=40, seed=SEED)
    result = learn(build(), lambda _epoch: iter(eight))
    assert result.passed, result
    result = learn(build(), partial(shuffled_labels, lambda _epoch: iter(eight)))
    assert not result.passed and "after 40 steps" in result.measured
    exploded = build()
    with torch.no_grad():
        exploded.network.get_parameter("head.weight").fill_(torch.nan)
    assert learn(exploded, lambda _epoch: iter(eight)).measured == "loss nan after 1 steps"


def test_broken_pipeline_is_rejected_in_one_line(
    config: StudyConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare(config.data)
    monkeypatch.setattr(type(prepared), "std", (1.0, 1.0, 1.0))
    with pytest.raises(UnsoundPipelineError, match="2 of 8 checks failed, first normalisation"):
        reject_broken(config, prepared)
