"""A trained model as one ONNX file, preprocessing inside, for runtimes without torch.

Shape letters: B batch, C classes, H height, W width.
"""

import json
from pathlib import Path

import onnx
import torch
from torch import nn

from model.export import ExportedModel

OPSET = 20
"""Of the operators; ONNX Runtime knows it from 1.17 on."""


def save_onnx(model: ExportedModel, path: Path) -> None:
    """Write a model, its weights included, to one file.

    Its input `images` is RGB, uint8 [batch, size, size, 3], for a batch of any size; its outputs
    are `logits` and `probabilities`, float32 [batch, classes]. The class names, as JSON, and the
    image size are in the metadata of the model.

    Args:
        model: On the CPU.
        path: Of the file.

    Raises:
        OSError: If it cannot be written.
    """
    config = model.config
    size = config.image_size
    example_BHWC = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    program = torch.onnx.export(
        _WithProbabilities(model).eval(),
        (example_BHWC,),
        input_names=["images"],
        output_names=["logits", "probabilities"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        opset_version=OPSET,
        verbose=False,
    )
    if program is None:
        raise RuntimeError("the exporter must return a program where it is given no file")
    exported = program.model_proto
    _remove_traces(exported.graph)
    facts = {"class_names": json.dumps(config.class_names), "image_size": str(size)}
    onnx.helper.set_model_props(exported, facts)
    path.write_bytes(exported.SerializeToString())


class _WithProbabilities(nn.Module):
    def __init__(self, model: ExportedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, images_BHWC: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        logits_BC = self.model(images_BHWC)
        return logits_BC, logits_BC.softmax(dim=1)


def _remove_traces(graph: onnx.GraphProto) -> None:
    """Remove what the exporter notes of the code, with the paths of this machine."""
    for noted in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output):
        noted.ClearField("metadata_props")
        noted.ClearField("doc_string")
    for weights in graph.initializer:
        weights.ClearField("metadata_props")
        weights.ClearField("doc_string")
