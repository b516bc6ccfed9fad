"""The preset `my-images` chooses by the images and the device, and a study keeps the choice."""

from pathlib import Path

import pytest
from PIL import Image

from data.image_sizes import ImageSizes
from model.cost import count_multiply_accumulates
from study.configuration.config import FITTED_PRESET, Request
from study.creation.create import open_or_create
from study.creation.fitted_preset import choose_settings, fit_to_images
from study.session.session import open_session
from tests.study.conftest import Call


@pytest.mark.parametrize(
    ("side", "has_gpu", "image_size", "stride"),
    [
        (8, False, 32, 1),
        (63, False, 32, 1),
        (64, False, 64, 2),
        (4000, False, 64, 2),
        (28, True, 32, 1),
        (64, True, 64, 1),
        (127, True, 64, 1),
        (128, True, 128, 2),
        (4000, True, 128, 2),
    ],
)
def test_images_and_device_choose_size_and_stem(
    side: int, has_gpu: bool, image_size: int, stride: int
) -> None:
    chosen = choose_settings(ImageSizes(3000, 5, side), has_gpu=has_gpu)
    assert chosen["data.image_size"] == chosen["final.image_size"] == image_size
    assert chosen["network.stem.stride"] == stride
    assert chosen["workers.n_workers"] == ("auto" if has_gpu else 2)


@pytest.mark.parametrize(
    ("n_images", "n_epochs", "n_final"),
    [(20, 60, 150), (720, 60, 150), (4500, 10, 50), (5000, 9, 45), (1_000_000, 5, 25)],
)
def test_number_of_images_chooses_the_epochs(n_images: int, n_epochs: int, n_final: int) -> None:
    chosen = choose_settings(ImageSizes(n_images, 5, 64), has_gpu=False)
    assert (chosen["search.n_epochs"], chosen["final.n_epochs"]) == (n_epochs, n_final)
    assert 0 < chosen["search.pruner_warmup_epochs"] < n_epochs


@pytest.mark.parametrize("has_gpu", [False, True])
def test_larger_images_cost_no_more_for_the_stem_halves_them(has_gpu: bool) -> None:
    costs = []
    for side in (32, 64, 128):
        request = Request(
            FITTED_PRESET,
            options={"data.source": "photos"},
            fitted=choose_settings(ImageSizes(3000, 5, side), has_gpu=has_gpu),
        )
        config = request.resolve()
        costs.append(
            count_multiply_accumulates(
                config.network, n_classes=5, image_size=config.data.image_size
            )
        )
    assert max(costs[-2:]) < 1.1 * min(costs[-2:])


def photos(folder: Path, side: int) -> Path:
    for name in ("cats", "dogs"):
        (folder / name).mkdir(parents=True)
        for number in range(12):
            Image.new("RGB", (side, side + number), (number, 9, 9)).save(
                folder / name / f"{number}.jpg"
            )
    return folder


def test_command_prints_what_is_chosen_and_what_is_set_wins(call: Call, tmp_path: Path) -> None:
    folder = str(photos(tmp_path / "photos", 70))
    given = ("--preset", FITTED_PRESET, "--data", folder, "--device", "cpu")
    ended = call("config", *given, "--set", "search.n_epochs=7")
    assert ended.code == 0, ended.err
    assert ended.err == (
        "my-images: 24 images of 2 classes, before any are held out, the shorter side 70 "
        "pixels in the median, on a CPU: 64 px, widths 16-32-64, stem stride 2, 7 epochs a "
        "trial, 150 of the final run\n"
    )
    assert "image_size: 64" in ended.out and "n_epochs: 7" in ended.out
    ended = call("run", "--preset", FITTED_PRESET)
    assert (ended.code, ended.out) == (2, "")
    assert "must have images: add --data FOLDER" in ended.err


def test_study_keeps_what_was_chosen_when_images_or_device_would_choose_otherwise(
    tmp_path: Path,
) -> None:
    options = {
        "data.source": str(photos(tmp_path / "photos", 40)),
        "data.cache": str(tmp_path / "cache"),
        "storage.url": f"sqlite:///{tmp_path / 'study.db'}",
        "storage.runs": str(tmp_path / "runs"),
        "execution.device": "cpu",
    }
    request = Request(FITTED_PRESET, options=options)
    session = open_or_create(fit_to_images(request))
    assert (session.config.data.image_size, session.config.network.stem.stride) == (32, 1)
    elsewhere = Request(
        FITTED_PRESET,
        options=options,
        fitted=choose_settings(ImageSizes(90_000, 2, 500), has_gpu=True),
    )
    again = open_session(elsewhere)
    assert again.config.model_copy(update={"workers": session.config.workers}) == session.config
    assert again.config.workers.n_workers == "auto"
