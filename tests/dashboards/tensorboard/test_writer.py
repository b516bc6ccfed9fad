"""Event files, read back with TensorBoard's own reader."""

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.metadata import parse_experiment_plugin_data

from dashboards.tensorboard.hparams import HParam
from dashboards.tensorboard.writer import TensorBoardLog, write_test
from storage.records import EpochRecord

Record = Callable[..., EpochRecord]


def read_back(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()


def test_tensorboard_log_after_resume_shows_each_epoch_once_with_newer_value(
    tmp_path: Path, record: Record
) -> None:
    first = TensorBoardLog(tmp_path, next_epoch=1, n_classes=10)
    for epoch in (1, 2, 3):
        first.write(record(epoch, macro_f1=0.1))
    first.close()
    resumed = TensorBoardLog(tmp_path, next_epoch=3, n_classes=10)
    for epoch in (3, 4):
        resumed.write(record(epoch, macro_f1=0.9))
    resumed.close()
    points = read_back(tmp_path).Scalars("macro_f1/validation")
    assert [point.step for point in points] == [1, 2, 3, 4]
    assert [point.value for point in points] == pytest.approx([0.1, 0.1, 0.9, 0.9])


def test_tensorboard_log_of_an_epoch_has_all_tags_and_is_on_disk_before_close(
    tmp_path: Path, record: Record
) -> None:
    log = TensorBoardLog(tmp_path, next_epoch=1, n_classes=10)
    log.write(record(1))
    tags = set(read_back(tmp_path).Tags()["scalars"])
    log.close()
    metrics = ("loss", "accuracy", "top5_accuracy", "macro_f1")
    expected = {f"{metric}/{split}" for metric in metrics for split in ("train", "validation")}
    assert tags == expected | {"learning_rate", "gradient_norm", "images_per_second"}


def test_tensorboard_hparams_twice_stay_in_one_run_and_one_point(
    tmp_path: Path, record: Record
) -> None:
    first = TensorBoardLog(tmp_path, next_epoch=1, n_classes=10)
    first.write(record(1))
    for log in (first, TensorBoardLog(tmp_path, next_epoch=2, n_classes=10)):
        log.write_row("0 (pets)", {"dropout": HParam(0.1)}, {"best/macro_f1": 0.5})
        log.close()
    assert all(path.is_file() for path in tmp_path.iterdir())
    events = read_back(tmp_path)
    assert len(events.Scalars("hparam/best/macro_f1")) == 1
    names = {content for content in events.PluginTagToContent("hparams")}
    assert {"_hparams_/experiment", "_hparams_/session_start_info"} <= names


def test_test_taken_twice_is_one_point_and_one_picture_beside_the_training(
    tmp_path: Path, record: Record
) -> None:
    picture = tmp_path / "matrix.png"
    Image.new("RGBA", (4, 3), (255, 0, 0, 255)).save(picture)
    log = TensorBoardLog(tmp_path / "run", next_epoch=1, n_classes=10)
    log.write(record(1))
    log.write_row("0 (pets)", {"dropout": HParam(0.1)}, {"best/macro_f1": 0.5})
    log.close()
    for macro_f1 in (0.1, 0.7):
        metrics = {"test/macro_f1": macro_f1, "test/accuracy": 0.6}
        pictures = {"test/confusion_matrix": picture}
        write_test(tmp_path / "run", after_epoch=1, metrics=metrics, pictures=pictures)
    events = read_back(tmp_path / "run")
    (shown,) = events.Images("test/confusion_matrix")
    assert (shown.width, shown.height) == (4, 3)
    for tag, value in (("test/macro_f1", 0.7), ("test/accuracy", 0.6), ("best/macro_f1", 0.5)):
        (point,) = events.Scalars(f"hparam/{tag}")
        assert point.value == pytest.approx(value)
    assert len(events.Scalars("macro_f1/validation")) == 1


def test_columns_of_a_search_trial_have_room_for_the_test_of_a_final_run(tmp_path: Path) -> None:
    log = TensorBoardLog(tmp_path, next_epoch=2, n_classes=10)
    log.write_row("0 (pets)", {"dropout": HParam(0.1)}, {"best/macro_f1": 0.5})
    log.close()
    content = read_back(tmp_path).PluginTagToContent("hparams")["_hparams_/experiment"]
    columns = [info.name.tag for info in parse_experiment_plugin_data(content).metric_infos]
    assert columns[0] == "hparam/best/macro_f1"
    # TensorBoard shows the first five, and no lines of runs that have no value for one of them.
    assert columns[5:] == ["hparam/test/macro_f1", "hparam/test/accuracy"]
    assert "hparam/test/accuracy" not in read_back(tmp_path).Tags()["scalars"]


@pytest.mark.parametrize(("n_classes", "is_shown"), [(5, False), (6, True)])
def test_top5_accuracy_of_few_classes_is_not_shown(
    tmp_path: Path, record: Record, n_classes: int, is_shown: bool
) -> None:
    log = TensorBoardLog(tmp_path, next_epoch=1, n_classes=n_classes)
    log.write(record(1))
    found = {"best/macro_f1": 0.5, "best/top5_accuracy": 1.0}
    log.write_row("0 (pets)", {"dropout": HParam(0.1)}, found)
    log.close()
    events = read_back(tmp_path)
    shown = [tag for tag in events.Tags()["scalars"] if "top5" in tag]
    expected = ["hparam/best/top5_accuracy", "top5_accuracy/train", "top5_accuracy/validation"]
    assert sorted(shown) == (expected if is_shown else [])
    content = events.PluginTagToContent("hparams")["_hparams_/experiment"]
    columns = [info.name.tag for info in parse_experiment_plugin_data(content).metric_infos]
    assert ("hparam/best/top5_accuracy" in columns) is is_shown
    assert columns[5:] == ["hparam/test/macro_f1", "hparam/test/accuracy"]
