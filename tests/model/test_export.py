import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.configuration import NetworkConfig, StemConfig
from model.errors import ModelError
from model.export import ExportedConfig, ExportedModel, load_model, save_model, writing_folder
from model.network import ResidualNetwork, build_network
from tests.tools.unprivileged import unprivileged
from tests.tools.users import requires_root

SIZE = 12
NAMES = ("cat", "dog | wolf", "`ox`")


def exported(*, flip_average: bool = False, **network: object) -> ExportedConfig:
    return ExportedConfig(
        network=NetworkConfig.model_validate({"blocks": (1, 1), "widths": (4, 8), **network}),
        class_names=NAMES,
        image_size=SIZE,
        resize="pad",
        value_range=(0, 4095),
        mean=(0.1, 1 / 3, 0.7),
        std=(0.2, 0.3, 0.123456789012345),
        flip_average=flip_average,
        origin={"study": "tiny", "seed": 2**63},
        metrics={"validation": {"macro_f1": 0.5}},
    )


def trained(config: ExportedConfig) -> ResidualNetwork:
    """A network whose weights and statistics are like no initial ones."""
    torch.manual_seed(1)
    network = build_network(config.network, n_classes=len(config.class_names))
    network.head.reset_parameters()
    network.train()
    with torch.no_grad():
        network(torch.randn(8, 3, SIZE, SIZE))
    return network.eval()


def draw_images(n_images: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randint(0, 256, (n_images, SIZE, SIZE, 3), dtype=torch.uint8, generator=generator)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    save_model(path, exported(), trained(exported()).state_dict())
    return path


@pytest.mark.parametrize("flip_average", [False, True])
@pytest.mark.parametrize(
    "network",
    [
        {},
        {"batch_norm": False, "activation": "gelu"},
        {"residual": False},
        {"stem": StemConfig(stride=2, pool=True)},
    ],
)
@torch.no_grad()
def test_model_is_loaded_as_it_was_saved(
    tmp_path: Path, network: dict[str, object], flip_average: bool
) -> None:
    config = exported(flip_average=flip_average, **network)
    trained_network = trained(config).to(memory_format=torch.channels_last)
    save_model(tmp_path / "model", config, trained_network.state_dict())
    loaded = load_model(tmp_path / "model")
    assert loaded.config == config and loaded.class_names == NAMES
    assert not loaded.training
    images_BHWC = draw_images(5)
    mean_C11, std_C11 = (torch.tensor(v)[:, None, None] for v in (config.mean, config.std))
    images_BCHW = ((images_BHWC.permute(0, 3, 1, 2) / 255) - mean_C11) / std_C11
    images_BCHW = images_BCHW.contiguous(memory_format=torch.channels_last)
    logits_BC = trained_network(images_BCHW)
    if flip_average:
        logits_BC = (logits_BC + trained_network(images_BCHW.flip(3))) / 2
    assert torch.equal(loaded(images_BHWC), logits_BC)


def test_loading_leaves_random_numbers_alone(folder: Path) -> None:
    before = torch.get_rng_state()
    load_model(folder)
    assert torch.equal(torch.get_rng_state(), before)


def test_folder_holds_weights_configuration_and_code_only(folder: Path) -> None:
    assert sorted(path.name for path in folder.parent.iterdir()) == ["model"]
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["config.json", "model.safetensors", "network.py"]
    assert (
        load_file(folder / "model.safetensors").keys() == trained(exported()).state_dict().keys()
    )
    values = json.loads((folder / "config.json").read_text())
    assert values["format"] == 1 and values["class_names"] == list(NAMES)


def test_model_folder_is_replaced(folder: Path) -> None:
    other = exported(flip_average=True)
    save_model(folder, other, trained(other).state_dict())
    assert load_model(folder).config == other
    assert sorted(path.name for path in folder.parent.iterdir()) == ["model"]


def test_used_model_folder_is_replaced(folder: Path) -> None:
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "network.cpython-311.pyc").touch()
    save_model(folder, exported(), trained(exported()).state_dict())
    assert len(list(folder.iterdir())) == 3


def add_a_file(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")


def remove_configuration(folder: Path) -> None:
    (folder / "config.json").unlink()


def write_another_configuration(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "bert"}')


def put_a_folder_in_the_place_of_a_file(folder: Path) -> None:
    (folder / "README.md").mkdir()
    (folder / "README.md" / "thesis.txt").write_text("mine")


def replace_by_a_file(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))
    folder.write_text("mine")


def replace_by_a_link(folder: Path) -> None:
    folder.rename(folder.with_name("moved"))
    folder.symlink_to("moved")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (add_a_file, "has 'notes.txt' too"),
        (remove_configuration, "has no config.json"),
        (write_another_configuration, "has a config.json of something else"),
        (put_a_folder_in_the_place_of_a_file, "has 'README.md' too"),
        (replace_by_a_file, "is no folder"),
        (replace_by_a_link, "is no folder"),
    ],
)
def test_other_folder_is_never_replaced(
    folder: Path, change: Callable[[Path], None], found: str
) -> None:
    change(folder)
    before = sorted(folder.parent.rglob("*"))
    with pytest.raises(ModelError, match=f"{found}: give another folder"):
        save_model(folder, exported(), trained(exported()).state_dict())
    assert sorted(folder.parent.rglob("*")) == before


@requires_root
@pytest.mark.parametrize("closed", [".", "__pycache__"])
def test_model_folder_that_is_closed_to_this_user_is_kept_whole(folder: Path, closed: str) -> None:
    (folder / "__pycache__").mkdir()
    (folder / closed).chmod(0o555)
    before = sorted(folder.parent.rglob("*"))
    config = exported()
    with pytest.raises(ModelError, match=f"{folder} is closed to you.*: give another folder"):
        unprivileged(lambda: save_model(folder, config, trained(config).state_dict()))
    assert sorted(folder.parent.rglob("*")) == before


def test_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    save_model(tmp_path / "new", exported(), trained(exported()).state_dict())
    assert load_model(tmp_path / "new").config == exported()


def test_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match=r"must be writable .*Not a directory"):
        save_model(tmp_path / "file" / "model", exported(), {})


def test_failure_leaves_the_folder_of_before(folder: Path) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ZeroDivisionError), writing_folder(folder) as part:
        (part / "config.json").write_text("{}")
        raise ZeroDivisionError
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert sorted(path.name for path in folder.parent.iterdir()) == ["model"]


def cut_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def change_weights(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    save_file(weights | {"head.bias": torch.zeros(4)}, folder / "model.safetensors")


def lower_precision(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    halved = {name: tensor.half() for name, tensor in weights.items()}
    save_file(halved, folder / "model.safetensors")


def remove_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def cut_configuration(folder: Path) -> None:
    (folder / "config.json").write_text('{"format": 1,')


def change_configuration(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (cut_weights, "model.safetensors is damaged"),
        (change_weights, r"head.bias must be float32 \[3\], is float32 \[4\]"),
        (lower_precision, r"head.bias must be float32 \[3\], is float16 \[3\]"),
        (remove_weights, "must hold model.safetensors"),
        (remove_configuration, "must hold config.json"),
        (cut_configuration, "config.json is damaged"),
        (lambda folder: change_configuration(folder, format=2), "format must be 1, .* has 2"),
        (lambda folder: change_configuration(folder, mean=[1]), "config.json is damaged .mean"),
        (lambda folder: (folder / "config.json").write_text("[]"), "format must be 1, .* None"),
        (replace_by_a_file, "must hold config.json"),
    ],
)
def test_damaged_folder_is_one_line(
    folder: Path, change: Callable[[Path], object], message: str
) -> None:
    change(folder)
    with pytest.raises(ModelError, match=message) as error:
        load_model(folder)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(2, SIZE, SIZE, 3),
        torch.zeros(2, SIZE + 1, SIZE, 3, dtype=torch.uint8),
        torch.zeros(2, 3, SIZE, SIZE, dtype=torch.uint8),
        torch.zeros(SIZE, SIZE, 3, dtype=torch.uint8),
    ],
)
def test_images_of_another_kind_are_rejected(images: torch.Tensor) -> None:
    model = ExportedModel(exported(), trained(exported()).state_dict())
    with pytest.raises(ValueError, match=r"must be uint8 of shape \[batch, 12, 12, 3\]"):
        model(images)
