import os
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.configuration.config import StudyConfig, validated
from study.creation.create import initialise
from study.errors import ConfigurationError, StudyError
from study.workers.gpus import (
    VARIABLE,
    count_workers,
    reject_missing_gpu,
    share_gpus,
    visible_gpus,
    worker_environments,
)

NAMES = ["0", "1", "2", "7", "GPU-8d32c", "8d32d", "MIG-5b1f"]
GPUS = st.lists(st.sampled_from(NAMES), unique=True)


def config(n_workers: object, *, per_gpu: int = 1, device: str = "auto") -> StudyConfig:
    workers = {"n_workers": n_workers, "per_gpu": per_gpu}
    return validated({"workers": workers, "execution": {"device": device}})


def no_count() -> int:
    raise AssertionError("what the variable says already must cost no import of torch")


@pytest.mark.parametrize(
    ("variable", "n_gpus", "expected"),
    [
        (None, 3, ("0", "1", "2")),
        (None, 0, ()),
        ("0", 1, ("0",)),
        ("2,0", 2, ("2", "0")),
        (" 1 , 3 ", 2, ("1", "3")),
        ("GPU-8932f937-d72c,GPU-1a", 2, ("GPU-8932f937-d72c", "GPU-1a")),
        # CUDA lets a process use one MIG device only, so torch counts one.
        ("MIG-5b1f,MIG-77aa", 1, ("MIG-5b1f", "MIG-77aa")),
        ("0,-1,1", 1, ("0",)),
        ("1,,0", 1, ("1",)),
        ("0,1", 0, ()),
    ],
)
def test_visible_gpus_are_those_that_cuda_shows(
    variable: str | None, n_gpus: int, expected: tuple[str, ...]
) -> None:
    assert visible_gpus(variable, lambda: n_gpus) == expected


@pytest.mark.parametrize("variable", ["", " ", "-1", "-1,0", ",0"])
def test_variable_that_hides_all_gpus_means_none(variable: str) -> None:
    assert visible_gpus(variable, no_count) == ()


def test_four_workers_share_two_gpus_by_turns() -> None:
    assert share_gpus(["0", "GPU-1a"], 4, 1) == [
        {VARIABLE: "0"},
        {VARIABLE: "GPU-1a"},
        {VARIABLE: "0"},
        {VARIABLE: "GPU-1a"},
    ]


@given(GPUS, st.integers(1, 4))
def test_auto_gives_every_gpu_as_many_workers(gpus: list[str], per_gpu: int) -> None:
    environments = share_gpus(gpus, "auto", per_gpu)
    assert Counter(own[VARIABLE] for own in environments) == dict.fromkeys(gpus, per_gpu)


@given(GPUS.filter(bool), st.integers(1, 40), st.integers(1, 4))
def test_given_number_of_workers_is_spread_evenly(
    gpus: list[str], n_workers: int, per_gpu: int
) -> None:
    environments = share_gpus(gpus, n_workers, per_gpu)
    assert len(environments) == n_workers
    assert all(own.keys() == {VARIABLE} for own in environments)
    counts = Counter(dict.fromkeys(gpus, 0))
    counts.update(own[VARIABLE] for own in environments)
    assert counts.keys() == set(gpus)
    assert max(counts.values()) - min(counts.values()) <= 1


@given(st.integers(1, 40))
def test_workers_without_gpus_keep_their_environment(n_workers: int) -> None:
    assert share_gpus([], n_workers, 1) == [{}] * n_workers


@pytest.mark.parametrize("device", ["cpu", "cuda:1"])
def test_named_device_is_left_alone(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "0,1")
    assert worker_environments(config(3, device=device)) == [{}] * 3


def test_named_gpu_takes_the_workers_of_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "0,1")
    assert worker_environments(config("auto", per_gpu=2, device="cuda:1")) == [{}] * 2


@pytest.mark.parametrize(
    ("device", "variable", "hint"),
    [
        ("cpu", "0,1", "execution.device is cpu"),
        ("auto", "", r"none is visible \(CUDA_VISIBLE_DEVICES is ''\)"),
        ("cuda", "-1", r"none is visible \(CUDA_VISIBLE_DEVICES is '-1'\)"),
    ],
)
def test_auto_without_a_gpu_is_rejected(
    device: str, variable: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, variable)
    with pytest.raises(StudyError, match=hint) as rejection:
        count_workers(config("auto", device=device))
    assert "--workers N" in str(rejection.value)


@pytest.mark.parametrize(
    ("device", "n_gpus", "hint"),
    [
        ("cuda", 0, "'cuda', no GPU is visible (CUDA_VISIBLE_DEVICES is not set): use --device"),
        ("cuda:1", 1, "'cuda:1', 1 GPU is visible (CUDA_VISIBLE_DEVICES is not set): use cuda:0"),
        ("cuda:7", 2, "'cuda:7', 2 GPUs are visible (CUDA_VISIBLE_DEVICES is not set): use cuda:"),
    ],
)
def test_gpu_that_is_not_there_is_rejected(
    device: str, n_gpus: int, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(StudyError) as rejection:
        reject_missing_gpu(config(1, device=device), lambda: n_gpus)
    assert str(rejection.value).startswith(
        f"execution.device must exist on this machine, got {hint}"
    )


def test_variable_that_hides_all_gpus_makes_them_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "-1")
    with pytest.raises(StudyError, match="no GPU is visible .CUDA_VISIBLE_DEVICES is '-1'"):
        reject_missing_gpu(config(1, device="cuda"), lambda: 8)


@pytest.mark.parametrize(
    ("device", "n_gpus"), [("auto", 0), ("cpu", 0), ("cuda", 1), ("cuda:0", 1), ("cuda:7", 8)]
)
def test_gpu_that_is_there_is_accepted(
    device: str, n_gpus: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    reject_missing_gpu(config(1, device=device), lambda: n_gpus)


@pytest.mark.parametrize(("given", "n_workers"), [(1, 1), ("12", 12), (64, 64)])
def test_number_of_workers_is_counted_without_looking_for_gpus(
    given: object, n_workers: int
) -> None:
    assert count_workers(config(given)) == n_workers


@pytest.mark.parametrize("n_workers", [0, -1, "0", "many", "-2", 1.5, None, ["auto"]])
def test_other_numbers_of_workers_are_rejected(n_workers: object) -> None:
    with pytest.raises(ConfigurationError, match=r"workers\.n_workers: must be auto or a whole"):
        config(n_workers)


def test_init_gives_each_worker_of_auto_its_share_of_the_cores(
    tiny_settings: dict[str, object],
) -> None:
    workers = {"n_workers": "auto", "per_gpu": 2}
    settings = tiny_settings | {"workers": workers, "execution": {"device": "cuda:0"}}
    fixed = initialise(validated(settings)).protocol.configuration["workers"]
    n_cores = len(os.sched_getaffinity(0))
    assert fixed == {"n_workers": "auto", "per_gpu": 2, "threads": max(1, n_cores // 2)}


def test_number_of_workers_may_change_after_init(tiny_settings: dict[str, object]) -> None:
    key = initialise(validated(tiny_settings)).protocol.study_key
    workers = {"n_workers": "auto", "per_gpu": 3, "threads": 1}
    again = initialise(validated(tiny_settings | {"workers": workers}))
    assert again.protocol.study_key == key
    assert again.config.workers.per_gpu == 3
