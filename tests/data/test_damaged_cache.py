"""A damaged cache entry is noticed when it is opened and while it is read, and built again."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from data.batches import EvaluationBatches
from data.configuration import DataConfig
from data.errors import DamagedFolderError, DataError
from data.image_cache import PreparedData, find_prepared, prepare
from data.sources.synthetic import build_synthetic
from tests.data.pictures import write_tree
from tests.tools.unprivileged import unprivileged
from tests.tools.users import requires_root


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    tree = write_tree(tmp_path / "tree")
    cache = tmp_path / "cache"
    return DataConfig(source=str(tree), cache=cache, image_size=8, confirm_fraction=0.2)


def overwrite(path: Path) -> None:
    """Zero the second half in place, a second later than it was written."""
    facts = path.stat()
    with path.open("r+b") as file:
        file.seek(facts.st_size // 2)
        file.write(bytes(facts.st_size - facts.st_size // 2))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns + 10**9))


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def contents(prepared: PreparedData) -> list[bytes]:
    confirmation = prepared.confirmation()
    assert confirmation is not None
    splits = (prepared.train(), prepared.validation(), confirmation, prepared.test())
    return [array.tobytes() for one in splits for array in (one.images_NHWC, one.labels_N)]


@pytest.mark.parametrize("damage", [overwrite, truncate, Path.unlink])
@pytest.mark.parametrize(
    "name",
    [
        "train.images",
        "validation.images",
        "confirmation.images",
        "test.images",
        "train.labels.npy",
        "description.json",
    ],
)
def test_damaged_file_is_said_and_the_entry_is_built_again(
    config: DataConfig,
    name: str,
    damage: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = prepare(config)
    before = contents(first)
    damage(first.folder / name)

    again = prepare(config)

    assert contents(again) == before
    assert again.description == first.description
    (line,) = caplog.messages
    assert name in line and "\n" not in line
    assert sorted(path.suffix for path in config.cache.glob("images-*")) == [
        "",
        ".damaged",
        ".lock",
    ]


@pytest.mark.parametrize("damage", [overwrite, truncate, Path.unlink])
def test_entry_whose_digests_are_damaged_is_built_again(
    config: DataConfig, damage: Callable[[Path], None]
) -> None:
    before = contents(first := prepare(config))
    damage(first.folder / "digests.json")
    assert contents(prepare(config)) == before


@pytest.mark.parametrize("damage", [overwrite, truncate, Path.unlink])
def test_damage_while_prepared_is_mended_by_the_next_opening(
    config: DataConfig, damage: Callable[[Path], None]
) -> None:
    prepared = prepare(config)
    before = contents(prepared)
    damage(prepared.folder / "train.images")
    assert contents(prepared) == before


def test_entry_removed_while_in_use_is_read_on_and_built_again(config: DataConfig) -> None:
    prepared = prepare(config)
    train = prepared.train()
    before = train.images_NHWC.copy()
    shutil.rmtree(config.cache)
    train.check()
    assert (train.images_NHWC == before).all()
    assert (prepared.train().images_NHWC == before).all()


def test_images_overwritten_while_they_are_read_give_no_result(config: DataConfig) -> None:
    prepared = prepare(config)
    batches = EvaluationBatches(
        prepared.train(),
        batch_size=2,
        mean=prepared.mean,
        std=prepared.std,
        device=torch.device("cpu"),
    )
    assert len(list(batches())) == 3
    overwrite(prepared.folder / "train.images")
    with pytest.raises(DamagedFolderError, match=r"train\.images has another digest"):
        list(batches())


def test_untouched_images_are_not_read_again(config: DataConfig) -> None:
    prepared = prepare(config)
    train = prepared.train()
    path = prepared.folder / "train.images"
    facts = path.stat()
    overwrite(path)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    train.check()  # what no time of change gives away is found by the next process


def test_files_of_the_test_split_are_read_by_nothing_else(config: DataConfig) -> None:
    overwrite(prepare(config).folder / "test.images")
    again = prepare(config)
    again.train()
    again.validation()
    assert not list(config.cache.glob("*.damaged"))
    again.test()
    assert len(list(config.cache.glob("*.damaged"))) == 1


def test_damage_after_the_source_has_changed_is_rejected_in_one_line(config: DataConfig) -> None:
    prepared = prepare(config)
    overwrite(prepared.folder / "train.images")
    next(Path(config.source).rglob("*.png")).unlink()
    with pytest.raises(DataError) as caught:
        prepared.train()
    assert "train.images has another digest" in str(caught.value)
    assert "has changed since; restore it" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert prepared.folder.is_dir()


def test_damage_where_the_source_is_gone_is_rejected_in_one_line(config: DataConfig) -> None:
    prepared = prepare(config)
    overwrite(prepared.folder / "train.images")
    shutil.rmtree(config.source)
    with pytest.raises(DataError, match=r"another digest .* cannot be built again: .*not exist"):
        prepared.train()


def test_damage_in_a_cache_that_is_only_read_is_rejected_in_one_line(config: DataConfig) -> None:
    prepared = prepare(config)
    truncate(prepared.folder / "train.images")
    for folder in (config.cache, prepared.folder):
        folder.chmod(0o555)
    with pytest.raises(DataError, match=r"train\.images must have .*, and .*cannot write to"):
        unprivileged(lambda: prepare(config))
    config.cache.chmod(0o755)
    prepared.folder.chmod(0o755)


def test_second_damage_keeps_the_newest_damaged_entry(config: DataConfig) -> None:
    for name in ("train.images", "validation.images"):
        truncate(prepare(config).folder / name)
    prepared = prepare(config)
    (aside,) = config.cache.glob("*.damaged")
    whole = (prepared.folder / "train.images").stat().st_size
    assert (aside / "train.images").stat().st_size == whole


def test_reports_leave_a_damaged_entry_out(
    config: DataConfig, caplog: pytest.LogCaptureFixture
) -> None:
    prepared = prepare(config)
    assert find_prepared(config.cache, prepared.fingerprint) is not None
    overwrite(prepared.folder / "train.images")
    assert find_prepared(config.cache, prepared.fingerprint) is None
    assert "train.images" in caplog.messages[-1]
    assert not list(config.cache.glob("*.damaged"))


@requires_root
@pytest.mark.parametrize("closed", [".", "train.images", "digests.json", ".."])
def test_reports_leave_out_an_entry_that_is_closed_to_this_user(
    config: DataConfig, caplog: pytest.LogCaptureFixture, closed: str
) -> None:
    prepared = prepare(config)
    path = prepared.folder / closed
    path.chmod(0)
    found = unprivileged(lambda: find_prepared(config.cache, prepared.fingerprint))
    path.chmod(0o700)
    assert found is None
    assert f"{prepared.folder}" in caplog.messages[-1]
    assert "cannot be read (Permission denied)" in caplog.messages[-1]


def test_damaged_synthetic_pictures_are_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data.sources.synthetic.N_IMAGES", {"train": 20, "valid": 10})
    folder = build_synthetic(tmp_path)
    tables = {path: path.read_bytes() for path in folder.rglob("*.parquet")}
    overwrite(next(iter(tables)))
    build_synthetic(tmp_path)
    assert {path: path.read_bytes() for path in folder.rglob("*.parquet")} == tables
