"""Pictures whose classes a CSV file names, found wherever they lie in the source."""

import os
from pathlib import Path

import pytest

from data.configuration import DataConfig
from data.errors import DataError
from data.image_cache import prepare
from data.sources.opening import inspect_source
from tests.data.pictures import encoded, picture
from tests.data.sources.layouts import counts, found, left_out, names, rejection, touch


def write(folder: Path, name: str, *lines: str) -> Path:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\n".join(lines) + "\n", "utf-8", "surrogateescape")
    return folder


def test_metadata_beside_flat_pictures_is_used_without_being_named(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", "a.png", "b.png", "c.png", "extra.png")
    write(tree, "metadata.csv", "file_name,label", "b.png,dog", "a.png,cat", "c.png,dog")
    images = found(tree).encoded
    assert images.class_names == ("cat", "dog")
    assert counts(images) == {"train": {"cat": 1, "dog": 2}}
    assert names(images) == {"train": "metadata.csv"}
    assert left_out(images) == {(None, "images that metadata.csv does not name"): 1}


def test_metadata_without_classes_leaves_them_to_the_folders(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", "ant/0.png", "bee/0.png")
    write(tree, "metadata.csv", "file_name,camera,place", "ant/0.png,x,y")
    assert counts(found(tree).encoded) == {"train": {"ant": 1, "bee": 1}}


@pytest.mark.parametrize("place", ["", "archive/"])
def test_kaggle_csv_names_pictures_of_its_split_without_their_ending(
    tmp_path: Path, place: str
) -> None:
    tree = touch(tmp_path / "tree", *[f"{place}train_images/{n}.jpg" for n in range(3)])
    touch(tree, *[f"{place}test_images/{n}.jpg" for n in range(2)])
    write(tree, f"{place}train.csv", "id_code,diagnosis", "0,4", "1,10", "2,4")
    images = found(tree, label_file=f"{place}train.csv", image_column="id_code").encoded
    assert images.class_names == ("4", "10")
    assert counts(images) == {"train": {"4": 2, "10": 1}}
    assert names(images) == {"train": f"{place}train_images"}
    reason = "images that train.csv does not name"
    assert left_out(images) == {(f"{place}test_images", reason): 2}


@pytest.mark.parametrize(
    "header",
    [
        "Filename;Label;camera;x",
        "image,CATEGORY,camera,x",
        "Image_ID,target,camera,x",
        "path\tclass\tcamera\tx",
        "\ufeffid,species,camera,x",
    ],
)
def test_columns_are_found_by_their_names(tmp_path: Path, header: str) -> None:
    tree = touch(tmp_path / "tree", "a.png", "b.png")
    mark = next(mark for mark in ",;\t" if mark in header)
    rows = [mark.join((name, kind, "x", "y")) for name, kind in (("a.png", "k"), ("b.png", "l"))]
    write(tree, "labels.csv", header, *rows)
    assert counts(found(tree, label_file="labels.csv").encoded) == {"train": {"k": 1, "l": 1}}


def test_column_of_splits_divides_the_pictures(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", *[f"images/{n}.png" for n in range(5)])
    rows = ["0,a,Train", "1,b,Train", "2,a,valid", "3,b,test", "4,a,extra"]
    write(tree, "labels.csv", "id,label,split", *rows)
    assert "'extra' is none; name the splits to use with" in rejection(
        tree, label_file="labels.csv"
    )
    chosen = {"train": "Train", "test": "test"}
    images = found(tree, label_file="labels.csv", splits=chosen).encoded
    assert counts(images) == {"train": {"a": 1, "b": 1}, "test": {"a": 0, "b": 1}}
    assert names(images) == {"train": "labels.csv: Train", "test": "labels.csv: test"}
    assert left_out(images) == {(None, "images outside the splits"): 2}


def test_file_may_lie_outside_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tree = touch(tmp_path / "tree", "images/a.png", "images/b.png", "other/a.png")
    write(tmp_path, "labels.csv", "path,label", "images/a.png,x", "tree/images/b.png,y")
    assert counts(found(tree, label_file="labels.csv").encoded) == {"train": {"x": 1, "y": 1}}
    write(tmp_path, "labels.csv", "path,label", "images/a.png,x", f"{tree}/images/b.png,y")
    assert counts(found(tree, label_file="labels.csv").encoded) == {"train": {"x": 1, "y": 1}}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["a.png,x", "no.png,y"], "'no.png' in line 3: there is none; restore it"),
        ([f"{os.sep}out.png,x"], "'/out.png' in line 2: there is none"),
        (["../out.png,x"], "'../out.png' in line 2: there is none"),
        (["a.png,x", "b.png,y", "a,y"], "'a' has 'x' in line 2 and 'y' in line 4; remove one"),
        (["c.png,x"], "one/c.png and "),
        (["a.png,x", ",y"], "must name a file, line 3 names none"),
        (["a.heic,x"], "'a.heic' in line 2: there is none"),
    ],
)
def test_rows_that_mean_no_single_picture_are_rejected(
    tmp_path: Path, rows: list[str], said: str
) -> None:
    tree = touch(tmp_path / "tree", "a.png", "b.png", "one/c.png", "two/c.png", "a.heic")
    touch(tmp_path, "out.png")
    write(tree, "metadata.csv", "file_name,label", *rows)
    assert said in rejection(tree)


def test_rows_without_a_class_and_repeated_rows_are_no_images(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", "a.png", "b.png", "c.png")
    write(tree, "metadata.csv", "file_name,label", "a.png,x", "a.png,x", "b.png,y", "c.png,")
    images = found(tree).encoded
    assert counts(images) == {"train": {"x": 1, "y": 1}}
    assert (None, "images without a class in metadata.csv") in left_out(images)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("a,b,c", "data.image_column must be a column of"),
        ("id,b,c", "data.label_column must be a column of"),
        ("id,label,class", "got class, label; columns: id, label, class"),
    ],
)
def test_unclear_columns_are_rejected_with_those_there(
    tmp_path: Path, header: str, said: str
) -> None:
    tree = write(touch(tmp_path / "tree", "a.png"), "x.csv", header, "a,b,c")
    assert said in rejection(tree, label_file="x.csv")


def test_missing_and_broken_files_are_rejected(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", "a.png")
    assert "data.label_file must be a CSV file" in rejection(tree, label_file="no.csv")
    write(tree, "x.csv", "id,label", f"a,{'x' * 200_000}")
    assert "cannot be read (field larger than" in rejection(tree, label_file="x.csv")


def test_class_that_train_has_not_is_rejected(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", "train/a.png", "train/b.png", "test/c.png")
    write(tree, "metadata.csv", "file_name,label", "a.png,x", "b.png,y", "c.png,z")
    assert "must have an image in train, 'z' in line 4 has none" in rejection(tree)


def test_names_that_are_no_utf8_find_their_pictures_but_are_no_classes(tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9")
    tree = touch(tmp_path / "tree", f"{odd}.png", "b.png")
    write(tree, "metadata.csv", "file_name,label", f"{odd}.png,x", "b.png,y")
    assert counts(found(tree).encoded) == {"train": {"x": 1, "y": 1}}
    write(tree, "metadata.csv", "file_name,label", f"{odd}.png,x", f"b.png,{odd}")
    assert "'caf\\xe9' has not; save the file as UTF-8" in rejection(tree)


def test_label_file_is_part_of_the_fingerprint_and_of_the_images(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    touch(tree, *[f"{n}.png" for n in range(9)])
    for n in range(9):
        (tree / f"{n}.png").write_bytes(encoded(picture(n)))
    write(tree, "x.csv", "id,label", *[f"{n},{n % 2}" for n in range(8)])
    values = {"source": str(tree), "label_file": "x.csv", "image_size": 8}
    config = DataConfig.model_validate(values | {"cache": tmp_path / "cache"})
    first = prepare(config)
    assert (first.class_names, sum(first.description.counts.values())) == (("0", "1"), 8)
    (tree / "8.png").unlink()
    assert prepare(config).fingerprint == first.fingerprint
    write(tree, "x.csv", "id,label", *[f"{n},{n % 3 % 2}" for n in range(8)])
    assert inspect_source(config).fingerprint != first.fingerprint
    assert prepare(config).fingerprint != first.fingerprint


@pytest.mark.parametrize("source", ["someone/insects", "synthetic"])
def test_label_file_of_what_is_no_folder_is_rejected(tmp_path: Path, source: str) -> None:
    config = DataConfig(source=source, label_file=Path("x.csv"), cache=tmp_path)
    with pytest.raises(DataError, match=f"for folders of images, '{source}' is no folder; remove"):
        inspect_source(config)


def test_label_file_of_tables_is_rejected(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tables", "train.parquet", "x.csv")
    said = rejection(tree, label_file="x.csv")
    assert f"for folders of images, '{tree}' holds none (1 .parquet file, 1 .csv file)" in said


def test_metadata_in_the_folders_of_splits_as_the_hub_has_it(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", "train/0.png", "train/1.png", "test/0.png")
    write(tree, "train/metadata.csv", "file_name,label", "0.png,a", "1.png,b")
    write(tree, "test/metadata.csv", "file_name,label", "0.png,b")
    images = found(tree).encoded
    assert counts(images) == {"train": {"a": 1, "b": 1}, "test": {"a": 0, "b": 1}}
    assert names(images) == {"train": "train", "test": "test"}


def test_file_that_names_no_image_of_train_is_rejected(tmp_path: Path) -> None:
    tree = write(touch(tmp_path / "tree", "a.png"), "metadata.csv", "file_name,label", "a.png,")
    assert "'metadata.csv' must name images of train with their classes" in rejection(tree)


def test_metadata_that_names_no_class_leaves_the_classes_to_the_folders(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", "cat/0.png", "dog/1.png")
    write(tree, "metadata.csv", "file_name,photographer", "cat/0.png,Ann", "dog/1.png,Bob")
    assert counts(found(tree).encoded) == {"train": {"cat": 1, "dog": 1}}


def test_classes_of_folders_and_of_metadata_are_a_question(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", "a/0.png", "b/1.png")
    write(tree, "metadata.csv", "file_name,species", "a/0.png,cat", "b/1.png,dog")
    assert "its folders (a, b) say them and metadata.csv too" in rejection(tree)
    images = found(tree, label_file="metadata.csv").encoded
    assert counts(images) == {"train": {"cat": 1, "dog": 1}}


@pytest.mark.parametrize(
    ("labels", "names"),
    [(["10", "9", "nan"], ("10", "9", "nan")), (["10", "9", "inf"], ("10", "9", "inf"))],
)
def test_classes_that_are_not_all_numbers_are_in_the_order_of_their_letters(
    tmp_path: Path, labels: list[str], names: tuple[str, ...]
) -> None:
    tree = touch(tmp_path / "tree", *(f"{n}.png" for n in range(len(labels))))
    rows = (f"{n}.png,{label}" for n, label in enumerate(labels))
    write(tree, "metadata.csv", "file_name,label", *rows)
    assert found(tree).encoded.class_names == names


@pytest.mark.parametrize("setting", ["label_column", "image_column"])
def test_column_that_is_not_there_is_rejected(tmp_path: Path, setting: str) -> None:
    tree = touch(tmp_path / "tree", "cat/0.png", "dog/1.png")
    assert f"data.{setting} is for tables and files of labels" in rejection(
        tree, **{setting: "no"}
    )
    write(tree, "metadata.csv", "file_name,label", "cat/0.png,a", "dog/1.png,b")
    assert f"data.{setting} must be a column of" in rejection(tree, **{setting: "no"})


def test_image_of_two_splits_is_rejected(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", "0.png", "1.png", "2.png")
    write(tree, "m.csv", "file,label,split", "0.png,a,train", "1.png,b,train", "0.png,a,test")
    said = rejection(tree, label_file="m.csv")
    assert "one split for each image, '0.png' has 'train' in line 2 and 'test' in line 4" in said


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["0.png,Cat, wild", "1.png,Cat,"], "line 2 has more fields than the header"),
        (["0.png,a", '1.png,"b', "2.png,c"], "cannot be read (unexpected end of data)"),
        (["0.png,a", '1.png,"b', '2.png,c"'], "must be in one line, the one before line 4 is not"),
    ],
)
def test_csv_of_other_fields_than_it_seems_is_rejected(
    tmp_path: Path, rows: list[str], said: str
) -> None:
    tree = touch(tmp_path / "tree", "0.png", "1.png", "2.png")
    write(tree, "m.csv", "file,label", *rows)
    assert said in rejection(tree, label_file="m.csv")


def test_commas_after_the_last_field_are_no_fields(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", "0.png", "1.png")
    write(tree, "m.csv", "file,label", "0.png,a,,", "1.png,b,,")
    assert found(tree, label_file="m.csv").encoded.class_names == ("a", "b")


@pytest.mark.parametrize(
    ("labels", "class_names", "n_unlabelled"),
    [("-1 0 1", ("0", "1"), 1), ("-1 1 1", ("-1", "1"), 0), ("-1 a b", ("-1", "a", "b"), 0)],
)
def test_minus_one_is_no_class_as_in_tables(
    tmp_path: Path, labels: str, class_names: tuple[str, ...], n_unlabelled: int
) -> None:
    tree = touch(tmp_path / "tree", "0.png", "1.png", "2.png")
    rows = [f"{row}.png,{label}" for row, label in enumerate(labels.split())]
    write(tree, "m.csv", "file,label", *rows)
    images = found(tree, label_file="m.csv").encoded
    assert images.class_names == class_names
    assert sum(left_out(images).values()) == n_unlabelled


def test_file_in_another_folder_names_images_by_the_way_to_them(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", "images/0.png", "other/0.png", "images/1.png")
    write(tree, "labels/l.csv", "file,label", "../images/0.png,a", "../images/1.png,b")
    encoded = found(tree, label_file="labels/l.csv").encoded
    assert counts(encoded) == {"train": {"a": 1, "b": 1}}


def test_stems_in_metadata_of_splits_are_those_of_its_folder(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree")
    for split in ("train", "test"):
        touch(tree, f"{split}/0.png", f"{split}/1.png")
        write(tree, f"{split}/metadata.csv", "file,label", "0,a", "1,b")
    assert counts(found(tree).encoded) == dict.fromkeys(("train", "test"), {"a": 1, "b": 1})


def test_values_of_the_column_of_splits_may_be_named(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", "0.png", "1.png", "2.png")
    write(tree, "metadata.csv", "file,label,split", "0.png,a,learn", "1.png,b,learn", "2.png,a,no")
    encoded = found(tree, splits={"train": "learn", "test": "no"}).encoded
    assert counts(encoded) == {"train": {"a": 1, "b": 1}, "test": {"a": 1, "b": 0}}


def test_class_folders_of_a_split_beside_named_images_are_rejected(tmp_path: Path) -> None:
    tree = touch(tmp_path / "tree", "train/0.png", "train/1.png", "test/a/0.png", "test/b/1.png")
    write(tree, "train/metadata.csv", "file,label", "0.png,a", "1.png,b")
    assert "by metadata.csv and those of 'test' by its folders" in rejection(tree)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"x" * 200_000, "cannot be read (field larger"),
        ("file,label\n0.png,a".encode("utf-16"), "save it as UTF-8"),
        (b"{" + b"x" * 9_000 + b"}", "x..."),
    ],
)
def test_label_file_of_another_kind_is_rejected_in_a_short_line(
    tmp_path: Path, content: bytes, said: str
) -> None:
    tree = touch(tmp_path / "tree", "0.png")
    (tree / "l.csv").write_bytes(content)
    found_said = rejection(tree, label_file="l.csv")
    assert said in found_said and len(found_said) < 600
