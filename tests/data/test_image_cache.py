"""The decoded cache: built once, whole or not at all, and what it holds."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from data.configuration import DataConfig
from data.decoding import decode
from data.errors import BrokenImageError, DataError
from data.image_cache import PreparedData, prepare
from data.statistics import DataDescription
from tests.data.pictures import encoded, picture, write_table, write_tree
from tests.tools.unprivileged import unprivileged
from tests.tools.users import requires_root

ROOT = Path(__file__).parents[2]
TINY_IMAGENET = ROOT.parent / "shared" / "tiny-imagenet"

BUILD = """
import sys, time
from pathlib import Path
from data.configuration import DataConfig
from data.image_cache import prepare

def track(iterable, description, total, step):
    print("building", description, flush=True)
    for item in iterable:
        time.sleep(float(sys.argv[3]))
        yield item

prepare(DataConfig(source=sys.argv[1], cache=Path(sys.argv[2]), image_size=8), track=track)
print("torch" in sys.modules, "datasets" in sys.modules)
"""


def config(source: Path, tmp_path: Path, **changes: object) -> DataConfig:
    values = {"source": str(source), "cache": tmp_path / "cache", "image_size": 8}
    return DataConfig.model_validate(values | changes)


def build_elsewhere(source: Path, tmp_path: Path, seconds: float) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", BUILD, str(source), str(tmp_path / "cache"), str(seconds)]
    return subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def entries(tmp_path: Path) -> list[str]:
    there = (tmp_path / "cache").iterdir()
    return sorted(path.name for path in there if path.suffix not in (".lock", ".npz"))


def test_prepared_images_are_the_decoded_pictures_with_their_labels(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree")
    prepared = prepare(config(tree, tmp_path))
    expected = {
        decode(path, image_size=8)[0].tobytes(): prepared.class_names.index(path.parent.name)
        for path in tree.rglob("*.png")
    }
    seen = []
    for split in (prepared.train(), prepared.validation(), prepared.test()):
        assert (split.images_NHWC.dtype, split.labels_N.dtype) == (np.uint8, np.int64)
        for image_HWC, label in zip(split.images_NHWC, split.labels_N, strict=True):
            assert expected[image_HWC.tobytes()] == label
            seen.append(image_HWC.tobytes())
    assert sorted(seen) == sorted(expected)


def test_images_of_the_test_split_keep_the_names_of_their_files(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree")
    (tree / "ant" / "1.png").write_bytes(b"broken")
    prepared = prepare(config(tree, tmp_path, broken_images="drop", test_fraction=0.4))
    test = prepared.test()
    names = prepared.test_names()
    assert len(names) == len(test.labels_N) > 3
    for name, image_HWC in zip(names, test.images_NHWC, strict=True):
        assert np.array_equal(decode(tree / name, image_size=8)[0], image_HWC)


def test_statistics_are_those_of_the_training_split_alone(tmp_path: Path) -> None:
    prepared = prepare(config(write_tree(tmp_path / "tree"), tmp_path))
    pixels_NHWC = prepared.train().images_NHWC / 255
    assert np.allclose(prepared.mean, pixels_NHWC.mean(axis=(0, 1, 2)), atol=1e-9)
    assert np.allclose(prepared.std, pixels_NHWC.std(axis=(0, 1, 2)), atol=1e-9)


def test_description_counts_modes_and_sizes_and_survives_json(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree")
    picture(7, size=(30, 20), mode="L").save(tree / "ant" / "grey.png")
    description = prepare(config(tree, tmp_path)).description
    modes = [description.image_modes[split].get("L", 0) for split in description.counts]
    sizes = [description.original_sizes[split].get("30x20", 0) for split in description.counts]
    assert sum(modes) == sum(sizes) == 1
    assert sum(description.counts.values()) == 16
    assert DataDescription.model_validate_json(description.model_dump_json()) == description


def test_writes_to_opened_images_do_not_reach_the_cache(tmp_path: Path) -> None:
    prepared = prepare(config(write_tree(tmp_path / "tree"), tmp_path))
    before = prepared.train().images_NHWC.copy()
    prepared.train().images_NHWC[:] = 0
    assert (prepared.train().images_NHWC == before).all()


@pytest.mark.parametrize(
    "change", [{"image_size": 9}, {"n_classes": 2}, {"split_seed": 1}, {"train_limit": 6}]
)
def test_fingerprint_follows_every_choice(tmp_path: Path, change: dict[str, int]) -> None:
    tree = write_tree(tmp_path / "tree")
    first = prepare(config(tree, tmp_path))
    second = prepare(config(tree, tmp_path, **change))
    assert first.fingerprint != second.fingerprint


def test_another_format_of_the_cache_is_another_entry_of_the_same_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = write_tree(tmp_path / "tree")
    first = prepare(config(tree, tmp_path))
    monkeypatch.setattr("data.image_cache.CACHE_FORMAT", "other")
    second = prepare(config(tree, tmp_path))
    assert first.folder != second.folder
    assert first.fingerprint == second.fingerprint


def test_broken_image_stops_the_run_with_split_file_and_reason(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree")
    (tree / "bee" / "2.png").write_bytes(b"no picture")
    with pytest.raises(BrokenImageError, match=r"split train, .*bee/2\.png: cannot identify"):
        prepare(config(tree, tmp_path))
    assert entries(tmp_path) == []


def test_broken_row_stops_the_run_with_split_row_and_reason(tmp_path: Path) -> None:
    contents = [encoded(picture(index)) for index in range(15)]
    contents[4] = contents[4][:-300]
    hub = write_table(tmp_path / "hub", "train", [0, 1, 2] * 5, contents=contents)
    with pytest.raises(BrokenImageError, match=r"split train, row 4: .*truncated"):
        prepare(config(hub, tmp_path))


def test_broken_image_is_dropped_and_counted_when_configured(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree")
    (tree / "bee" / "2.png").write_bytes(b"no picture")
    prepared = prepare(config(tree, tmp_path, broken_images="drop"))
    assert sum(prepared.description.dropped_counts.values()) == 1
    (broken,) = [image for images in prepared.description.dropped.values() for image in images]
    assert (broken.source_split, Path(broken.name).name) == ("train", "2.png")
    assert "cannot identify" in broken.reason
    assert sum(prepared.description.counts.values()) == 14
    for split in (prepared.train(), prepared.validation(), prepared.test()):
        assert len(split.images_NHWC) == len(split.labels_N)


def test_class_of_broken_images_only_is_rejected_when_dropping(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree")
    for path in (tree / "bee").iterdir():
        path.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"'bee' has none \(3 images dropped\)"):
        prepare(config(tree, tmp_path, broken_images="drop"))


def test_disk_too_small_is_rejected_before_decoding(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree")
    with pytest.raises(DataError, match=r"must have .* GB free, it has .* GB"):
        prepare(config(tree, tmp_path, image_size=10_000_000))
    assert entries(tmp_path) == []


def test_cache_that_cannot_be_written_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(DataError, match=r"cache: cannot write to .*cache \("):
        prepare(config(write_tree(tmp_path / "tree"), tmp_path))


def test_build_that_is_killed_leaves_nothing_half_made(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree")
    child = build_elsewhere(tree, tmp_path, seconds=60)
    assert child.stdout is not None
    assert child.stdout.readline() == "building decoding train\n"
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert [name.startswith(".images-") for name in entries(tmp_path)] == [True]

    prepared = prepare(config(tree, tmp_path))

    assert entries(tmp_path) == [prepared.folder.name]
    assert len(prepared.train().labels_N) == 9


@requires_root
def test_rest_of_a_build_that_is_closed_to_this_user_is_no_obstacle(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tree = write_tree(tmp_path / "tree")
    prepared = prepare(config(tree, tmp_path))
    shutil.rmtree(prepared.folder)
    rest = prepared.folder.with_name(f".{prepared.folder.name}.building-1")
    (rest / "scratch").mkdir(parents=True)
    (rest / "scratch" / "pictures").touch()
    (rest / "scratch").chmod(0o500)
    assert unprivileged(lambda: prepare(config(tree, tmp_path))).folder == prepared.folder
    assert caplog.messages == [
        f"{rest} is left of a build that was cut off: its owner may remove it"
    ]


def test_two_processes_at_once_build_once(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree")
    children = [build_elsewhere(tree, tmp_path, seconds=0.3) for _ in range(2)]
    printed = [child.communicate()[0] for child in children]
    assert [child.returncode for child in children] == [0, 0]
    assert sum(text.count("building decoding train") for text in printed) == 1
    assert len(entries(tmp_path)) == 1


def test_reopening_a_parquet_source_imports_neither_torch_nor_datasets(tmp_path: Path) -> None:
    hub = write_table(tmp_path / "hub", "train", [0, 1, 2] * 5)
    prepare(config(hub, tmp_path))
    assert build_elsewhere(hub, tmp_path, seconds=0).communicate()[0] == "False False\n"


@pytest.fixture(scope="module")
def tiny_imagenet(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    if not TINY_IMAGENET.is_dir():
        pytest.skip(f"the real data set is not at {TINY_IMAGENET}")
    values = {"n_classes": 4, "train_limit": 400, "validation_limit": 40, "test_limit": 80}
    return prepare(config(TINY_IMAGENET, tmp_path_factory.mktemp("tiny"), image_size=32, **values))


def test_tiny_imagenet_in_part_is_balanced_and_described(tiny_imagenet: PreparedData) -> None:
    description = tiny_imagenet.description
    assert description.class_counts == {
        "train": (100,) * 4,
        "validation": (10,) * 4,
        "confirmation": (10,) * 4,
        "test": (20,) * 4,
    }
    assert set(description.original_sizes["train"]) == {"64x64"}
    assert set(description.image_modes["train"]) <= {"RGB", "L"}
    assert tiny_imagenet.class_names[0] == "n01443537"


def test_tiny_imagenet_reopened_takes_well_under_a_second(tiny_imagenet: PreparedData) -> None:
    values = {"n_classes": 4, "train_limit": 400, "validation_limit": 40, "test_limit": 80}
    cache = tiny_imagenet.folder.parent
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        asked = DataConfig(source=str(TINY_IMAGENET), cache=cache, image_size=32, **values)
        assert prepare(asked).fingerprint == tiny_imagenet.fingerprint
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 2  # 0.2 s on an idle machine


def test_class_without_a_validation_image_is_prepared(tmp_path: Path) -> None:
    folder = write_table(tmp_path / "table", "train", [0, 1, 2] * 5)
    write_table(folder, "valid", [0, 1, 0, 1])
    described = prepare(config(folder, tmp_path)).description
    assert described.class_counts["validation"] == (1, 1, 0)
    assert described.origins == {
        "train": "train",
        "validation": "valid",
        "confirmation": "half of valid",
        "test": "10% held out from train",
    }


def test_split_of_broken_images_only_is_rejected_when_dropping(tmp_path: Path) -> None:
    folder = write_table(tmp_path / "table", "train", [0, 1, 2] * 5)
    write_table(folder, "test", [0, 1], contents=[b"no picture"] * 2)
    with pytest.raises(DataError, match=r"test must have an image, it has none \(2 images drop"):
        prepare(config(folder, tmp_path, broken_images="drop"))


def test_rows_that_settings_leave_out_are_counted_with_the_setting(tmp_path: Path) -> None:
    folder = write_table(tmp_path / "table", "train", [0, 1, 2] * 6)
    described = prepare(config(folder, tmp_path, n_classes=2, train_limit=4)).description
    found = [(one.split, one.count, one.reason) for one in described.not_used]
    beyond = (
        "images of 1 of the 3 classes (cat), for data.n_classes=2; data.n_classes=none uses all"
    )
    assert found == [(None, 6, beyond), ("train", 4, "beyond data.train_limit=4")]
    assert sum(described.counts.values()) + sum(one.count for one in described.not_used) == 18
    assert described.left_out == ()


def test_files_that_are_not_used_are_counted_as_they_are_now(tmp_path: Path) -> None:
    tree = write_tree(tmp_path / "tree")
    first = prepare(config(tree, tmp_path))
    (tree / "bee" / "0.heic").touch()
    second = prepare(config(tree, tmp_path))
    assert (second.folder, first.description.left_out) == (first.folder, ())
    assert [(one.reason, one.count) for one in second.description.not_used] == [(".heic files", 1)]
