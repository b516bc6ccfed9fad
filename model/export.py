"""The model folder: weights, configuration and network code that leave this program together.

The only module of this room that writes and reads files. A model is loaded without knowing how it
was trained, nor with which data.

Shape letters: B batch, C channels or classes, H height, W width.
"""

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from model import network as network_module
from model.configuration import NetworkConfig
from model.errors import ModelError
from model.network import ResidualNetwork

FORMAT: Literal[1] = 1
WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
NETWORK_FILE = "network.py"
ONNX_FILE = "model.onnx"
CARD_FILE = "README.md"
FILES = frozenset({WEIGHTS_FILE, CONFIG_FILE, NETWORK_FILE, ONNX_FILE, CARD_FILE})
BYTECODE = "__pycache__"
"""What Python leaves where somebody has imported the network code."""

Channels = tuple[float, float, float]


class ExportedConfig(BaseModel, frozen=True, extra="forbid"):
    """What is in `config.json`: how images become logits, and where the weights come from."""

    format: Literal[1] = FORMAT
    network: NetworkConfig
    class_names: tuple[str, ...] = Field(min_length=1, description="In the order of the logits.")
    image_size: int = Field(ge=1, description="Height and width of the images, in pixels.")
    resize: Literal["crop", "pad", "squash"] = Field(
        description="How an image becomes square: centre crop, black border, or squashed."
    )
    value_range: tuple[float, float] | None = Field(
        default=None,
        description="Black and white of images with more than 8 bits; none: by their own tags.",
    )
    mean: Channels = Field(description="Of each channel, on the scale [0, 1].")
    std: Channels = Field(description="Of each channel, on the scale [0, 1].")
    flip_average: bool = Field(
        default=False, description="Average the logits of an image and its mirror image."
    )
    origin: dict[str, Any] = Field(
        default={}, description="Study, trial, seed, versions, data: where the weights come from."
    )
    metrics: dict[str, Any] = Field(
        default={}, description="What was measured, by split, as in metrics.json."
    )


class ExportedModel(nn.Module):
    """A trained network with its preprocessing and its classes.

    Attributes:
        config: How images become logits, and where the weights come from.
        network: Takes normalised images.
    """

    mean_C11: torch.Tensor
    std_C11: torch.Tensor

    def __init__(self, config: ExportedConfig, state_dict: Mapping[str, torch.Tensor]) -> None:
        """Build the network around its weights, in evaluation mode.

        Args:
            config: As in the model folder.
            state_dict: All weights and statistics of the network.

        Raises:
            ModelError: If the weights are not those of the configured network.
        """
        super().__init__()
        self.config = config
        self.network = _network_of(config, state_dict)
        self.register_buffer("mean_C11", _per_channel(config.mean), persistent=False)
        self.register_buffer("std_C11", _per_channel(config.std), persistent=False)
        self.eval()

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the logits."""
        return self.config.class_names

    def forward(self, images_BHWC: torch.Tensor) -> torch.Tensor:
        """Turn images of the prepared size into logits, as the evaluation of a study does.

        Args:
            images_BHWC: RGB, uint8 [B, image_size, image_size, 3], on the device of the model.

        Returns:
            Logits, float32 [B, classes].

        Raises:
            ValueError: If the images are of another size or type.
        """
        self._reject_other_images(images_BHWC)
        images_BCHW = images_BHWC.permute(0, 3, 1, 2).float() / 255
        images_BCHW = (images_BCHW - self.mean_C11) / self.std_C11
        images_BCHW = images_BCHW.contiguous(memory_format=torch.channels_last)
        logits_BC: torch.Tensor = self.network(images_BCHW)
        if self.config.flip_average:
            logits_BC = (logits_BC + self.network(images_BCHW.flip(3))) / 2
        return logits_BC

    def _reject_other_images(self, images_BHWC: torch.Tensor) -> None:
        size = self.config.image_size
        found = (images_BHWC.dtype, *images_BHWC.shape[1:])
        if found != (torch.uint8, size, size, 3):
            raise ValueError(
                f"images must be uint8 of shape [batch, {size}, {size}, 3], received "
                f"{images_BHWC.dtype} of {list(images_BHWC.shape)}: prepare them at this size"
            )


def save_model(
    folder: Path, config: ExportedConfig, state_dict: Mapping[str, torch.Tensor]
) -> None:
    """Write weights, configuration and network code to a folder, whole or not at all.

    Args:
        folder: Must not exist, be empty, or be a model folder, which is replaced.
        config: How images become logits, and where the weights come from.
        state_dict: All weights and statistics of the network.

    Raises:
        ModelError: If the folder holds anything else, or cannot be written.
    """
    with writing_folder(folder) as part:
        write_model(part, config, state_dict)


def write_model(
    folder: Path, config: ExportedConfig, state_dict: Mapping[str, torch.Tensor]
) -> None:
    """Write the same into an empty folder.

    Raises:
        OSError: If it cannot be written.
    """
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in state_dict.items()}
    # Not `save_file`, whose files nobody else may read.
    (folder / WEIGHTS_FILE).write_bytes(save(weights, metadata={"format": "pt"}))
    (folder / CONFIG_FILE).write_text(as_text(config), encoding="utf-8")
    shutil.copyfile(str(network_module.__file__), folder / NETWORK_FILE)


def as_text(config: ExportedConfig) -> str:
    """Return what `config.json` holds."""
    return config.model_dump_json(indent=2) + "\n"


def load_model(folder: Path | str, *, device: torch.device | str = "cpu") -> ExportedModel:
    """Read a model folder; `model.onnx` and the model card may be missing.

    Args:
        folder: What `save_model`, `study final` or `study export` has written.
        device: Where the model computes.

    Returns:
        The model in evaluation mode.

    Raises:
        ModelError: If the folder or one of its files is missing, damaged or of another format.
    """
    folder = Path(folder)
    config = load_config(folder)
    path = folder / WEIGHTS_FILE
    try:
        weights = load_file(path)
    except FileNotFoundError:
        raise _missing(path) from None
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from error
    try:
        return ExportedModel(config, weights).to(torch.device(device))
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None


def load_config(folder: Path) -> ExportedConfig:
    """Read the configuration in a model folder.

    Raises:
        ModelError: If it is missing, damaged or of another format.
    """
    path = folder / CONFIG_FILE
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise _missing(path) from None
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, error) from error
    found = values.get("format") if isinstance(values, dict) else None
    if found != FORMAT:
        raise ModelError(
            f"format must be {FORMAT}, {path} has {found!r}: use the version of this program that "
            "wrote the folder"
        )
    try:
        return ExportedConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise _damaged(path, f"{key}: {first['msg']}") from error


@contextmanager
def writing_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder to fill, which then gets the name of the model folder.

    A crash leaves the old folder, the new one or none, and beside it a name that ends in `.part`.

    Args:
        folder: Must not exist, be empty, or be a model folder, which is replaced.

    Raises:
        ModelError: If the folder holds anything else, or cannot be written.
    """
    folder = folder.absolute()
    try:
        reject_other_folder(folder)
        part = _name_beside(folder)
        part.mkdir(parents=True)
        try:
            yield part
            _flush(part)
            _put(part, folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except OSError as error:
        raise ModelError(
            f"a model folder must be writable and have room, {folder} cannot be written "
            f"({error.strerror or error}): free space, repair the rights, or give another folder"
        ) from None


def reject_other_folder(folder: Path) -> None:
    """Reject a path where something lies that is no model folder, or one closed to this user.

    Raises:
        ModelError: If there is something else.
    """
    if not os.path.lexists(folder):
        return
    if folder.is_symlink() or not folder.is_dir():
        raise _other_folder(folder, "is no folder")
    entries = {entry.name: entry for entry in folder.iterdir() if entry.name != BYTECODE}
    if not entries:
        return
    for own in (folder, folder / BYTECODE):
        if own.is_dir() and not os.access(own, os.R_OK | os.W_OK | os.X_OK):
            raise _other_folder(folder, "is closed to you, so that it cannot be replaced")
    if CONFIG_FILE not in entries:
        raise _other_folder(folder, f"has no {CONFIG_FILE}")
    for name, entry in sorted(entries.items()):
        if name not in FILES or entry.is_symlink() or not entry.is_file():
            raise _other_folder(folder, f"has {name!r} too")
    try:
        load_config(folder)
    except ModelError:
        raise _other_folder(folder, f"has a {CONFIG_FILE} of something else") from None


def _other_folder(folder: Path, found: str) -> ModelError:
    return ModelError(
        "a model folder must be new or empty, or hold nothing but a model, "
        f"{folder} {found}: give another folder"
    )


def _put(part: Path, folder: Path) -> None:
    """Give a finished folder its name; the one that had it goes."""
    reject_other_folder(folder)  # also what came while the files were written
    if folder.exists():
        old = _name_beside(folder)
        folder.rename(old)
        part.rename(folder)
        shutil.rmtree(old)
    else:
        part.rename(folder)
    _flush_names(folder.parent)


def _name_beside(folder: Path) -> Path:
    """Return a new name that the tools which clean up after crashes know, with our process."""
    return folder.with_name(f".{folder.name}.{secrets.token_hex(8)}.{os.getpid()}.part")


def _flush(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    _flush_names(folder)


def _flush_names(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _network_of(config: ExportedConfig, state_dict: Mapping[str, torch.Tensor]) -> ResidualNetwork:
    """Return a network of these weights; none are drawn, so torch's generator stays as it is."""
    with torch.device("meta"):
        network = ResidualNetwork(config.network, n_classes=len(config.class_names))
    expected = {name: _kind(tensor) for name, tensor in network.state_dict().items()}
    received = {name: _kind(tensor) for name, tensor in state_dict.items()}
    for name in sorted(expected.keys() | received.keys()):
        if expected.get(name) != received.get(name):
            raise ModelError(
                "weights must be those of the configured network, "
                f"{name} must be {expected.get(name, 'absent')}, "
                f"is {received.get(name, 'absent')}: export the model again"
            )
    network.load_state_dict(dict(state_dict), assign=True)
    return network.to(memory_format=torch.channels_last)


def _kind(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _per_channel(values: Channels) -> torch.Tensor:
    return torch.tensor(values)[:, None, None]


def _missing(path: Path) -> ModelError:
    return ModelError(
        f"a model folder must hold {path.name}, {path.parent} does not: give the folder that "
        "`study final` or `study export` has written"
    )


def _damaged(path: Path, reason: object) -> ModelError:
    line = (str(reason).strip() or type(reason).__name__).splitlines()[0]
    return ModelError(f"a model folder must be whole, {path} is damaged ({line}): export it again")
