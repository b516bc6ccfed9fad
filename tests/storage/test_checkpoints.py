import gc
import resource
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.checkpoints import (
    load_checkpoint,
    load_newest,
    save_checkpoint,
    save_generation,
    superfluous_weights,
)
from storage.errors import CheckpointError, RunFolderError
from storage.run_paths import RunPaths, TrialPaths
from tests.tools.small_disk import small_disk


def content(epoch: int) -> dict[str, object]:
    return {"configuration": "{}", "epoch": epoch, "weights": torch.arange(1000.0) * epoch}


@pytest.fixture
def paths(tmp_path: Path) -> TrialPaths:
    made = RunPaths(tmp_path, "pets").trial(3)
    made.folder.mkdir(parents=True)
    return made


def test_save_generation_keeps_two_and_load_newest_returns_the_last(paths: TrialPaths) -> None:
    for epoch in (1, 2, 3):
        save_generation(paths, epoch, content(epoch))
    assert sorted(path.name for path in paths.checkpoints.iterdir()) == [
        "epoch-00002.pt",
        "epoch-00003.pt",
    ]
    newest = load_newest(paths)
    assert newest is not None and newest["epoch"] == 3
    assert torch.equal(newest["weights"], torch.arange(1000.0) * 3)


def test_load_newest_of_a_new_trial_is_none(paths: TrialPaths) -> None:
    assert load_newest(paths) is None


def test_load_newest_falls_back_to_the_generation_before(
    paths: TrialPaths, caplog: pytest.LogCaptureFixture
) -> None:
    save_generation(paths, 1, content(1))
    save_generation(paths, 2, content(2))
    damaged = bytearray(paths.checkpoint(2).read_bytes())
    damaged[len(damaged) // 2] ^= 0xFF
    paths.checkpoint(2).write_bytes(damaged)
    newest = load_newest(paths)
    assert newest is not None and newest["epoch"] == 1
    assert "epoch-00002.pt is damaged" in caplog.text


@contextmanager
def little_memory(n_bytes: int) -> Iterator[None]:
    """Let this process allocate no more than that within the context."""
    gc.collect()  # what earlier tests left would be freed within
    n_pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    most = n_pages * resource.getpagesize() + n_bytes
    resource.setrlimit(resource.RLIMIT_AS, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def test_checkpoint_that_finds_no_memory_is_neither_damaged_nor_removed(
    paths: TrialPaths,
) -> None:
    save_generation(paths, 1, content(1) | {"more": torch.zeros(2**25)})
    with little_memory(2**25), pytest.raises(RuntimeError, match="can't allocate memory"):
        load_newest(paths)
    newest = load_newest(paths)
    assert newest is not None and newest["epoch"] == 1


def test_late_write_of_an_older_epoch_rolls_nothing_back(paths: TrialPaths) -> None:
    save_generation(paths, 5, content(5))
    save_generation(paths, 4, content(4))
    newest = load_newest(paths)
    assert newest is not None and newest["epoch"] == 5


@given(position=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
@settings(max_examples=40)
def test_flipped_byte_never_changes_what_is_loaded(
    tmp_path_factory: pytest.TempPathFactory, position: float, flip: int
) -> None:
    paths = TrialPaths(tmp_path_factory.mktemp("trial"))
    save_generation(paths, 1, content(1))
    damaged = bytearray(paths.checkpoint(1).read_bytes())
    damaged[int(position * len(damaged))] ^= flip
    paths.checkpoint(1).write_bytes(damaged)
    try:
        loaded = load_checkpoint(paths.checkpoint(1))
    except CheckpointError:
        return
    assert loaded["epoch"] == 1
    assert torch.equal(loaded["weights"], torch.arange(1000.0))


def test_record_that_is_marked_as_a_folder_is_rejected(paths: TrialPaths) -> None:
    save_generation(paths, 1, content(1))
    path = paths.checkpoint(1)
    with zipfile.ZipFile(path) as archive:
        begin = archive.start_dir
    damaged = bytearray(path.read_bytes())
    entry = damaged.index(b"archive/data/0", begin) - 46  # the fixed part of an entry
    damaged[entry + 38] ^= 0x10  # the attributes of the file
    path.write_bytes(damaged)
    with pytest.raises(CheckpointError, match="archive/data/0 is marked as a folder"):
        load_checkpoint(path)


@dataclass(frozen=True)
class RunsCode:
    """A pickle of it makes a file where it is loaded."""

    made: Path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.made,)


@pytest.mark.parametrize("as_archive", [True, False])
def test_pickle_that_would_run_code_is_rejected_and_runs_none(
    paths: TrialPaths, tmp_path: Path, as_archive: bool
) -> None:
    path, made = paths.checkpoint(1), tmp_path / "made"
    path.parent.mkdir(parents=True)
    torch.save(
        content(1) | {"weights": RunsCode(made)}, path, _use_new_zipfile_serialization=as_archive
    )
    with pytest.raises(CheckpointError, match="is damaged"):
        load_checkpoint(path)
    assert load_newest(paths) is None
    assert not made.exists()


def test_load_checkpoint_of_a_missing_or_foreign_file_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="must exist"):
        load_checkpoint(tmp_path / "none.pt")
    (tmp_path / "notes.pt").write_text("notes")
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(tmp_path / "notes.pt")


def test_save_generation_on_a_full_disk_says_so_and_leaves_nothing(
    paths: TrialPaths,
) -> None:
    with small_disk(paths.folder, megabytes=1) as disk:
        save_generation(paths, 1, content(1))
        disk.fill()
        with pytest.raises(RunFolderError, match="No space left"):
            save_generation(paths, 2, content(2))
        assert [path.name for path in paths.checkpoints.iterdir()] == ["epoch-00001.pt"]


def test_superfluous_weights_are_all_but_the_last_or_all(paths: TrialPaths) -> None:
    assert superfluous_weights(paths, kept=False) == []
    save_generation(paths, 1, content(1))
    save_generation(paths, 2, content(2))
    save_checkpoint(paths.best, content(2))
    first, second = paths.checkpoint(1), paths.checkpoint(2)
    assert superfluous_weights(paths, kept=True) == [first]
    assert superfluous_weights(paths, kept=False) == [second, first, paths.best]
