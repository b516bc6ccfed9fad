import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from model.export import ExportedModel
from model.onnx_export import save_onnx
from tests.model.test_export import NAMES, SIZE, draw_images, exported, trained


@pytest.fixture(scope="module")
def model() -> ExportedModel:
    config = exported(flip_average=True)
    return ExportedModel(config, trained(config).state_dict())


@pytest.fixture(scope="module")
def path(model: ExportedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    save_onnx(model, path)
    return path


def test_file_is_a_sound_model_that_says_what_it_takes_and_gives(path: Path) -> None:
    assert [one.name for one in path.parent.iterdir()] == ["model.onnx"]
    onnx.checker.check_model(path, full_check=True)
    saved = onnx.load(path)
    assert [(one.domain, one.version) for one in saved.opset_import] == [("", 20)]
    assert b"File " not in path.read_bytes() and str(Path.cwd()).encode() not in path.read_bytes()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    assert (taken.name, taken.type, taken.shape) == (
        "images",
        "tensor(uint8)",
        ["batch", SIZE, SIZE, 3],
    )
    assert [(one.name, one.type, one.shape) for one in session.get_outputs()] == [
        ("logits", "tensor(float)", ["batch", 3]),
        ("probabilities", "tensor(float)", ["batch", 3]),
    ]
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["class_names"]) == list(NAMES) and facts["image_size"] == str(SIZE)


@pytest.mark.parametrize("n_images", [1, 2, 7])
@torch.no_grad()
def test_onnxruntime_gives_the_logits_of_torch(
    path: Path, model: ExportedModel, n_images: int
) -> None:
    images_BHWC = draw_images(n_images)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    logits_BC, probabilities_BC = session.run(None, {"images": images_BHWC.numpy()})
    expected_BC = model(images_BHWC)
    np.testing.assert_allclose(logits_BC, expected_BC.numpy(), atol=1e-4)
    np.testing.assert_allclose(probabilities_BC, expected_BC.softmax(dim=1).numpy(), atol=1e-4)


def test_export_says_nothing(
    model: ExportedModel, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    save_onnx(model, tmp_path / "model.onnx")
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "")
