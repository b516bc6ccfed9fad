from collections.abc import Iterator

import pytest
import torch
from torch import nn

from model.configuration import DeviceConfig, NetworkConfig
from model.device import reproducible_kernels, resolve_execution, set_threads
from model.errors import DeviceUnavailableError
from model.network import build_network


@pytest.fixture
def thread_count_restored() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_resolve_execution_auto_takes_the_first_gpu_else_the_cpu() -> None:
    execution = resolve_execution(DeviceConfig())
    expected = ("cuda:0", "bfloat16") if torch.cuda.is_available() else ("cpu", "float32")
    assert (str(execution.device), execution.precision) == expected


def test_resolve_execution_missing_gpu_is_rejected_with_remedy() -> None:
    with pytest.raises(DeviceUnavailableError, match=r"received 'cuda:99' with .* use 'auto'"):
        resolve_execution(DeviceConfig(device="cuda:99"))


@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_autocast_precision_decides_the_type_of_the_logits(
    precision: str, dtype: torch.dtype
) -> None:
    execution = resolve_execution(
        DeviceConfig.model_validate({"device": "cpu", "precision": precision})
    )
    with execution.autocast():
        assert nn.Linear(2, 2)(torch.ones(1, 2)).dtype is dtype


@pytest.mark.parametrize("channels_last", [True, False])
def test_place_memory_format_reaches_kernels_and_images(channels_last: bool) -> None:
    execution = resolve_execution(DeviceConfig(device="cpu", channels_last=channels_last))
    network = build_network(NetworkConfig(widths=(4, 4, 4)), n_classes=2)
    execution.place(network)
    images_BCHW, _ = execution.place_batch(torch.ones(2, 3, 8, 8), torch.zeros(2))
    for tensor in (images_BCHW, network.get_parameter("stages.0.0.convolution_1.weight")):
        assert tensor.is_contiguous(memory_format=torch.channels_last) == channels_last


@pytest.mark.slow
def test_place_compiled_keeps_the_names_in_the_state_dict() -> None:
    networks = []
    for compiled in (False, True):
        network = build_network(NetworkConfig(widths=(4, 4, 4)), n_classes=2)
        resolve_execution(DeviceConfig(device="cpu", compile=compiled)).place(network)
        networks.append(network)
    plain, compiled_network = networks
    assert compiled_network._compiled_call_impl is not None
    assert list(plain.state_dict()) == list(compiled_network.state_dict())


@pytest.mark.usefixtures("thread_count_restored")
def test_set_threads_sets_what_torch_uses() -> None:
    other = torch.get_num_threads() + 1
    set_threads(other)
    assert torch.get_num_threads() == other


def test_reproducible_kernels_left_by_an_error_restores_the_settings() -> None:
    cudnn = torch.backends.cudnn
    before = (cudnn.deterministic, cudnn.benchmark)
    with pytest.raises(KeyError), reproducible_kernels():
        assert (cudnn.deterministic, cudnn.benchmark) == (True, False)
        raise KeyError
    assert (cudnn.deterministic, cudnn.benchmark) == before
