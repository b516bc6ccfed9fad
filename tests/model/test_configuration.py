import subprocess
import sys

import pytest
from pydantic import BaseModel, ValidationError

from model.configuration import (
    DeviceConfig,
    EvaluationConfig,
    NetworkConfig,
    OptimizationConfig,
    StemConfig,
)

CONFIGS = [StemConfig, NetworkConfig, OptimizationConfig, EvaluationConfig, DeviceConfig]


@pytest.mark.parametrize("config_class", CONFIGS)
def test_configuration_every_field_has_a_description(config_class: type[BaseModel]) -> None:
    fields = {
        name: f for name, f in config_class.model_fields.items() if f.annotation != StemConfig
    }
    assert [name for name, f in fields.items() if not f.description] == []


@pytest.mark.parametrize("config_class", CONFIGS)
def test_configuration_as_json_reads_back_equal(config_class: type[BaseModel]) -> None:
    config = config_class()
    assert config_class.model_validate_json(config.model_dump_json()) == config


@pytest.mark.parametrize(
    ("config_class", "field", "value"),
    [
        (StemConfig, "stride", 0),
        (StemConfig, "stride", 3),
        (StemConfig, "pool", 2),
        (NetworkConfig, "blocks", (2, 2)),
        (NetworkConfig, "blocks", (2, 2, 2, 2)),
        (NetworkConfig, "blocks", ()),
        (NetworkConfig, "widths", ()),
        (NetworkConfig, "widths", (4,) * 17),
        (NetworkConfig, "blocks", (0, 2, 2)),
        (NetworkConfig, "blocks", (2, 2, 9)),
        (NetworkConfig, "widths", (0, 1, 1)),
        (NetworkConfig, "dropout", 1.0),
        (NetworkConfig, "activation", "tanh"),
        (NetworkConfig, "depth", 3),
        (OptimizationConfig, "learning_rate", 0.0),
        (OptimizationConfig, "weight_decay", -1e-4),
        (OptimizationConfig, "momentum", 1.0),
        (OptimizationConfig, "warmup_epochs", -1.0),
        (OptimizationConfig, "label_smoothing", 1.0),
        (OptimizationConfig, "gradient_clip_norm", 0.0),
        (OptimizationConfig, "batch_size", 0),
        (OptimizationConfig, "restart_epochs", 0),
        (OptimizationConfig, "restart_factor", 1.5),
        (OptimizationConfig, "ema_decay", 1.0),
        (EvaluationConfig, "flip_average", 2),
        (DeviceConfig, "device", "gpu"),
        (DeviceConfig, "device", "cuda:"),
        (DeviceConfig, "precision", "float16"),
    ],
)
def test_configuration_value_outside_its_range_is_rejected_by_name(
    config_class: type[BaseModel], field: str, value: object
) -> None:
    with pytest.raises(ValidationError, match=field):
        config_class.model_validate({field: value})


@pytest.mark.parametrize(
    ("blocks", "n_widths", "fitting"), [((3,), 3, "3,2,2"), ((1, 2, 3), 2, "1,2")]
)
def test_blocks_and_widths_of_different_number_are_rejected_with_what_would_fit(
    blocks: tuple[int, ...], n_widths: int, fitting: str
) -> None:
    with pytest.raises(ValidationError, match=rf"set network\.blocks=\[{fitting}\]"):
        NetworkConfig(blocks=blocks, widths=(4,) * n_widths)


@pytest.mark.parametrize("missing", ["batch_norm", "residual"])
def test_zero_init_without_norm_or_shortcut_is_rejected(missing: str) -> None:
    with pytest.raises(ValidationError, match=f"zero_init_last_norm needs .* {missing}=False"):
        NetworkConfig.model_validate({"zero_init_last_norm": True, missing: False})


@pytest.mark.parametrize("module", ["model.configuration", "model.seeds", "model.baselines"])
def test_light_modules_imported_alone_leave_torch_unimported(module: str) -> None:
    program = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
