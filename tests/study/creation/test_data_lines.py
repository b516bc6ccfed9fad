"""What `init` and a resumed `run` say of the data: splits, origins, what is not used, cautions."""

import re
from pathlib import Path

from tests.study.conftest import Call


def test_init_says_classes_splits_and_where_they_come_from(call: Call, config_file: str) -> None:
    first, again = (call("init", "--config", config_file) for _ in range(2))
    line = first.out.splitlines()[1]
    (origin,) = re.findall(r"train 58 \(([^)]+)\)", line)
    assert line == (
        f"data: 3 classes; train 58 ({origin}), validation 4 (10% held out from {origin}), "
        f"confirmation 3 (half of the 10% held out from {origin}), "
        f"test 7 (10% held out from {origin})"
    )
    assert "not used" not in first.out
    assert first.out == again.out


def test_init_cautions_about_what_settings_leave_out(call: Call, config_file: str) -> None:
    small = ["--set", "data.n_classes=2", "--set", "data.train_limit=20"]
    said = call("init", "--config", config_file, *small)
    assert said.code == 0, said.err
    classes, images = [line for line in said.out.splitlines() if "settings leave out" in line]
    assert classes == (
        "caution: settings leave out 24 images of 1 of the 3 classes (rows), for data.n_classes=2"
        "; data.n_classes=none uses all"
    )
    assert images.startswith("caution: settings leave out 18 images of '")
    assert images.endswith("' beyond data.train_limit=20")
    assert "not used" not in said.out


def test_init_cautions_about_a_class_of_one_image(
    call: Call, config_file: str, pictures: Path
) -> None:
    for path in sorted((pictures / "dots").iterdir())[1:]:
        path.unlink()
    said = call("init", "--config", config_file)
    assert said.code == 0, said.err
    lines = [line for line in said.out.splitlines() if line.startswith("caution: ")]
    assert lines[0] == "caution: 1 of 3 classes has fewer than 10 training images: dots (1)"
    assert lines[1].startswith("caution: no image of dots in validation, confirmation and test: ")
