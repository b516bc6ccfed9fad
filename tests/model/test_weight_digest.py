import torch

from model.configuration import DeviceConfig, NetworkConfig, OptimizationConfig
from model.device import resolve_execution
from model.training_state import TrainingState, build_training_state
from model.weight_digest import digest_weights


def build(seed: int = 1, *, ema_decay: float | None = None, **device: bool) -> TrainingState:
    return build_training_state(
        NetworkConfig(widths=(4, 4, 8), blocks=(1, 1, 1)),
        OptimizationConfig(ema_decay=ema_decay),
        n_classes=3,
        n_epochs=2,
        steps_per_epoch=2,
        seed=seed,
        execution=resolve_execution(DeviceConfig(device="cpu", **device)),
    )


def test_equal_weights_have_one_digest_in_every_memory_format() -> None:
    digests = {digest_weights(build(channels_last=layout)) for layout in (True, False)}
    assert len(digests) == 1
    assert len(digests.pop()) == 64


def test_last_bit_statistics_and_counters_show() -> None:
    state = build()
    digests = {digest_weights(state)}
    with torch.no_grad():
        weight = state.network.get_parameter("head.weight")
        weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(1.0))
    digests.add(digest_weights(state))
    for name, buffer in state.network.named_buffers():
        buffer += 1
        digests.add(digest_weights(state))
        assert name
    assert len(digests) == 2 + len(list(state.network.named_buffers()))


def test_averaged_weights_count_beside_those_that_learn() -> None:
    plain, averaged = build(), build(ema_decay=0.9)
    digests = {digest_weights(plain), digest_weights(averaged)}
    assert averaged.averaged is not None
    with torch.no_grad():
        averaged.averaged.network.get_parameter("head.weight")[0, 0] += 1
    assert len(digests | {digest_weights(averaged)}) == 3


def test_dtype_and_shape_show() -> None:
    state = build()
    before = digest_weights(state)
    state.network.to(torch.bfloat16)
    half = digest_weights(state)
    head = state.network.get_parameter("head.weight")
    head.data = head.data.T
    assert len({before, half, digest_weights(state)}) == 3
