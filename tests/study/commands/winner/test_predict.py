"""`study predict` from the names of pictures to rows, score and exit code."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from study.configuration.config import Request
from study.export.data_origin import describe_data
from study.session.session import open_session
from tests.data.pictures import encoded, picture
from tests.study.conftest import ROOT, Call
from tests.tools.models import write_model_folder
from tests.tools.pictures import write_pictures
from tests.tools.processes import wait_until

NAMES = ("columns", "dots", "rows")
PEAK = """
import sys
from pathlib import Path
from study.cli import main

try:
    main()
finally:
    status = Path("/proc/self/status").read_text()
    print(status.split("VmHWM:")[1].split()[0], file=sys.stderr)
"""


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(write_model_folder(tmp_path / "model", NAMES))


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_piped_rows_are_csv_in_the_order_of_the_names(
    pictures: Path, model: str, call: Call
) -> None:
    named = (str(pictures / "rows" / "3.png"), str(pictures / "dots"), f"{pictures}/rows/1?.png")
    ended = call("predict", *named, "--model", model)
    assert (ended.code, ended.err) == (0, "")
    found = rows(ended.out)
    dots = sorted(str(path) for path in (pictures / "dots").iterdir())
    others = [f"{pictures}/rows/{n}.png" for n in range(10, 20)]
    assert [row["file"] for row in found] == [named[0], *dots, *others]
    assert list(found[0]) == [
        *("file", "predicted", "probability"),
        *("class_2", "probability_2", "class_3", "probability_3", "error"),
    ]
    for row in found:
        assert {row["predicted"], row["class_2"], row["class_3"]} == set(NAMES)
        values = [float(row[key]) for key in ("probability", "probability_2", "probability_3")]
        assert values == sorted(values, reverse=True) and sum(values) == pytest.approx(1)


def test_class_folders_are_scored_without_the_broken_images(
    pictures: Path, model: str, call: Call, tmp_path: Path
) -> None:
    for name in ("dots/0.png", "rows/5.png"):
        (pictures / name).write_bytes(b"broken")
    out = tmp_path / "predictions.jsonl"
    ended = call("predict", str(pictures), "--model", model, "--out", str(out), "--top", "1")
    assert ended.code == 1
    assert ended.out == f"predictions of 72 images are in {out}\n"
    found = [json.loads(line) for line in out.read_text().splitlines()]
    broken = {Path(one["file"]).relative_to(pictures): one for one in found if one["error"]}
    assert [*map(str, broken)] == ["dots/0.png", "rows/5.png"]
    assert {one["error"] for one in broken.values()} == {"cannot identify image file"}
    n_right = sum(one["predicted"] == Path(one["file"]).parent.name for one in found)
    score, errors, left_out, end = ended.err.splitlines()
    assert f", accuracy {n_right / 70:.4f}, loss " in score  # of three classes
    assert errors.endswith(" (70 images)") and "top-5" not in errors
    assert left_out == "2 images that cannot be read: not part of the score"
    assert end == "study: 2 of 72 images cannot be read: their rows say why"


def test_nothing_but_broken_images_is_not_scored(tmp_path: Path, model: str, call: Call) -> None:
    (tmp_path / "photos" / "dots").mkdir(parents=True)
    (tmp_path / "photos" / "dots" / "1.png").touch()
    ended = call("predict", str(tmp_path / "photos"), "--model", model)
    assert (ended.code, rows(ended.out)[0]["error"]) == (1, "it is empty")
    assert ended.err.startswith("not scored: no image can be read\nstudy: 1 of 1 image cannot")


def test_unknown_folders_are_not_scored_unless_the_score_is_required(
    pictures: Path, model: str, call: Call
) -> None:
    (pictures / "dots").rename(pictures / "Dots")
    ended = call("predict", str(pictures), "--model", model)
    assert ended.code == 0
    assert ended.err == f"not scored: no class is called like '{pictures}/Dots'\n"
    required = call("predict", str(pictures), "--model", model, "--score")
    assert (required.code, required.out) == (2, "")
    assert "--score must have every picture below a folder called like a class" in required.err
    one = call("predict", str(pictures / "rows" / "1.png"), "--model", model, "--score")
    assert one.code == 0 and "over the 1 classes present of 3" in one.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--top", "4"], "--top must be at most 3, the classes of the model, got 4: lower it"),
        (["--top", "0"], "'--top': 0 is not in the range x>=1"),
        (["--out", "a.txt"], "--out must end in .csv or .jsonl"),
        (["--out", "away/a.csv"], "--out must lie in a folder that exists"),
        (["--format", "xml"], "'xml' is not one of 'csv', 'jsonl', 'table'"),
        (["--device", "cuda:99"], "execution.device must exist on this machine"),
        (["away.png"], "IMAGES must exist, 'away.png' does not"),
        (["*.jpg"], "IMAGES must match pictures, '*.jpg' matches none"),
        (["--model", "away"], "a model folder must hold config.json, away does not"),
    ],
)
def test_misuse_is_one_line_before_the_model_is_loaded(
    pictures: Path,
    model: str,
    call: Call,
    options: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(pictures.parent)
    (Path(model) / "model.safetensors").write_bytes(b"damaged")
    ended = call("predict", str(pictures), "--model", model, *options)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err and ended.err.count("\n") == 1
    assert sorted(path.name for path in pictures.parent.iterdir()) == ["model", "pictures"]


def test_no_name_and_no_study_are_misuse(
    pictures: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(pictures.parent)
    assert "Missing argument 'IMAGES...'" in call("predict").err
    ended = call("predict", str(pictures))
    assert ended.code == 2 and "or give a model folder with --model" in ended.err


def test_study_predicts_with_its_last_final_run_but_not_on_its_test_images(
    pictures: Path, call: Call, config_file: str, tiny_settings: dict[str, Any], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    pictures.rename(data / "train")
    write_pictures(data / "test", n_per_class=4)
    call("init", "--config", config_file, "--data", str(data))
    location = ("--config", config_file)
    ended = call("predict", str(data / "train"), *location)
    assert ended.code == 2 and "study 'tiny' must have the model of a final run" in ended.err
    session = open_session(Request(file=Path(config_file), options={"data.source": str(data)}))
    for slot, name in ((0, "old"), (1, "dots"), (2, None)):
        folder = session.paths.final(slot).folder
        folder.mkdir()
        origin = {"study": "tiny", **describe_data(session.protocol)}
        if name is not None:
            write_model_folder(folder / "model", [name, *NAMES[::2]], origin=origin)
    ended = call("predict", str(data / "train"), *location)
    assert ended.code == 0 and "dots" in ended.out and "old" not in ended.out
    score, _, caution = ended.err.splitlines()
    assert score.startswith("score: macro-F1 ")
    assert caution.startswith(
        "caution: these images are of study 'tiny' itself (72 in its train split)"
    )
    ended = call("predict", str(data / "test" / "dots"), *location)
    assert (ended.code, ended.out) == (2, "")
    assert "IMAGES must not be of the test split of study 'tiny'" in ended.err


def write_copies(folder: Path, n_pictures: int) -> Path:
    folder.mkdir()
    (folder / "0.jpg").write_bytes(encoded(picture(0, size=(400, 300)), "JPEG"))
    for n in range(1, n_pictures):
        os.link(folder / "0.jpg", folder / f"{n}.jpg")
    return folder


@pytest.mark.slow
def test_interrupt_leaves_no_half_file(tmp_path: Path, model: str) -> None:
    photos, results = write_copies(tmp_path / "photos", 20_000), tmp_path / "results"
    results.mkdir()
    command = [sys.executable, "-m", "study", "predict", str(photos), "--model", model]
    process = subprocess.Popen(
        [*command, "--out", str(results / "out.csv")],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    wait_until(lambda: list(results.iterdir()), "the file that is being written", seconds=120)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert (process.returncode, list(results.iterdir())) == (130, [])
    assert "stopped: nothing is lost" in said


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path: Path) -> None:
    network = {"blocks": (1, 1), "widths": (4, 8), "stem": {"stride": 2, "pool": True}}
    model = write_model_folder(tmp_path / "model", NAMES, image_size=224, network=network)
    peaks_kb = {}
    for n_pictures in (500, 2000):
        photos = write_copies(tmp_path / f"{n_pictures}", n_pictures)
        command = [sys.executable, "-c", PEAK, "predict", str(photos), "--model", str(model)]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert ended.stdout.count("\n") == 1 + n_pictures
        peaks_kb[n_pictures] = int(ended.stderr.splitlines()[-1])
    # Prepared, 1,500 pictures take 226 MB.
    assert peaks_kb[2000] < 1.1 * peaks_kb[500], peaks_kb
