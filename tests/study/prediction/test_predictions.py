"""Predictions on files are those of the model on images that training prepares."""

from pathlib import Path

import numpy as np
import pytest
import torch

from data.configuration import DataConfig
from data.image_cache import prepare
from data.sources.given_pictures import find_given_pictures
from model.configuration import DeviceConfig
from model.device import resolve_execution
from model.export import ExportedModel, load_model
from study.prediction.prediction import Prediction
from study.prediction.predictions import PredictedBatch, predict_batches
from tests.data.pictures import encoded, picture
from tests.data.test_picture_stream import write_photos
from tests.tools.models import write_model_folder

NAMES = ("ant", "bee", "cat")
CPU = resolve_execution(DeviceConfig(device="cpu"))


def model_of(folder: Path, **config: object) -> ExportedModel:
    return load_model(write_model_folder(folder, NAMES, **config))  # type: ignore[arg-type]


def predict(model: ExportedModel, folder: Path) -> list[PredictedBatch]:
    (given,) = find_given_pictures([str(folder)])
    return list(predict_batches(model, given.paths, execution=CPU))


def all_predictions(batches: list[PredictedBatch], *, n_top: int = 3) -> list[Prediction]:
    return [one for batch in batches for one in batch.predictions(NAMES, n_top=n_top)]


def test_logits_are_those_of_the_images_that_training_sees(tmp_path: Path) -> None:
    settings = {"image_size": 16, "resize": "pad", "value_range": (0.0, 4e4)}
    model = model_of(tmp_path / "model", **settings)
    folder = write_photos(tmp_path / "photos", n_per_class=8)
    values = settings | {"source": str(folder), "cache": tmp_path / "cache"}
    prepared = prepare(DataConfig.model_validate(values))
    (batch,) = predict(model, folder)
    streamed = {
        one.pixels_HWC.tobytes(): logits
        for one, logits in zip(batch.pictures, batch.logits_BC, strict=True)
        if one.pixels_HWC is not None
    }
    assert len(streamed) == 16
    for split in (prepared.train(), prepared.validation(), prepared.test()):
        with torch.inference_mode():
            expected_BC = model(torch.from_numpy(np.array(split.images_NHWC)))
        for image, logits in zip(split.images_NHWC, expected_BC, strict=True):
            assert torch.allclose(streamed[image.tobytes()], logits, rtol=1e-4, atol=1e-5)


def test_classes_are_ranked_and_broken_pictures_keep_their_place(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    model = model_of(tmp_path / "model")
    contents = [encoded(picture(n, size=(8, 8))) for n in range(6)]
    contents[2] = contents[5] = b"broken"
    for n, content in enumerate(contents):
        (folder / f"{n}.png").write_bytes(content)
    found = all_predictions(predict(model, folder), n_top=2)
    assert [Path(one.file).name for one in found] == [f"{n}.png" for n in range(6)]
    for n, one in enumerate(found):
        if n in (2, 5):
            assert one == Prediction(one.file, (), "cannot identify image file")
            continue
        pixels = torch.from_numpy(np.array(picture(n, size=(8, 8))))
        with torch.inference_mode():
            probabilities = model(pixels[None]).double().softmax(dim=1)[0]
        names = [NAMES[label] for label in probabilities.argsort(descending=True)[:2]]
        assert [name for name, _ in one.ranked] == names
        expected = [probabilities[NAMES.index(name)].item() for name in names]
        assert [value for _, value in one.ranked] == pytest.approx(expected, rel=1e-4)
        assert one.error == ""


def test_batch_of_broken_pictures_only_has_no_logits(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.png").touch()
    (batch,) = predict(model_of(tmp_path / "model"), tmp_path / "photos")
    assert (batch.n_broken, batch.logits_BC.shape) == (1, (0, 3))
    assert [one.error for one in all_predictions([batch])] == ["it is empty"]


def test_large_images_make_small_batches(tmp_path: Path) -> None:
    model = model_of(tmp_path / "model", image_size=640)
    folder = write_photos(tmp_path / "photos", n_per_class=2)
    assert [len(batch.pictures) for batch in predict(model, folder)] == [3, 1]
