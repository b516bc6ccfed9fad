"""How a model folder is loaded, as its model card says it: programs that a reader copies."""

from model.export import ExportedConfig

_WITH_TORCH = """\
import json
from pathlib import Path
from types import SimpleNamespace

import torch
from network import ResidualNetwork  # network.py of this folder
from safetensors.torch import load_file

text = Path("config.json").read_bytes()
config = json.loads(text, object_hook=lambda values: SimpleNamespace(**values))
network = ResidualNetwork(config.network, n_classes=len(config.class_names))
network.load_state_dict(load_file("model.safetensors"))
network.eval().to(memory_format=torch.channels_last)
mean, std = (torch.tensor(values)[:, None, None] for values in (config.mean, config.std))

@torch.no_grad()
def predict(images):  # torch.uint8, RGB, [batch, {size}, {size}, 3]
    images = (images.permute(0, 3, 1, 2).float() / 255 - mean) / std
    images = images.contiguous(memory_format=torch.channels_last)
    return {logits}
"""
_PLAIN = "network(images)"
_FLIPPED = "(network(images) + network(images.flip(3))) / 2"

_WITH_ONNX_RUNTIME = """\
import json

import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
class_names = json.loads(session.get_modelmeta().custom_metadata_map["class_names"])
images = np.zeros((1, {size}, {size}, 3), dtype=np.uint8)  # RGB
logits, probabilities = session.run(None, {{"images": images}})
print(class_names[probabilities[0].argmax()])
"""

_WITH_THIS_PROGRAM = """\
import torch
from model.export import load_model

model = load_model(".")  # a torch.nn.Module with model.config
images = torch.zeros((1, {size}, {size}, 3), dtype=torch.uint8)  # RGB
logits = model(images)
print(model.class_names[logits[0].argmax()])
"""


def with_torch(config: ExportedConfig) -> str:
    """Return a program that needs torch, safetensors and the folder, run in the folder."""
    logits = _FLIPPED if config.flip_average else _PLAIN
    return _WITH_TORCH.format(size=config.image_size, logits=logits)


def with_onnx_runtime(config: ExportedConfig) -> str:
    """Return a program that needs onnxruntime and the folder, run in the folder."""
    return _WITH_ONNX_RUNTIME.format(size=config.image_size)


def with_this_program(config: ExportedConfig) -> str:
    """Return what those write who have installed this program."""
    return _WITH_THIS_PROGRAM.format(size=config.image_size)
