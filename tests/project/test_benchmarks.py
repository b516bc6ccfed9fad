import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.protocol import by_label, by_point

ROOT = Path(__file__).parents[2]
# Type checkers take the folder of this name for the module.
PROTOCOL = importlib.import_module("benchmarks.protocol")


def trial(value: float | None, state: str = "complete", label: str = "plain") -> dict[str, Any]:
    return {
        "attributes": {"label": label},
        "params": {"network.dropout": 0.1},
        "state": state,
        "value": value,
    }


def test_protocol_counts_runs_that_diverged_and_compares_the_others() -> None:
    rows = [
        trial(0.25),
        trial(None, "pruned"),
        trial(0.75),
        trial(0.125, "pruned"),
        trial(None, "pruned", "hot"),
    ]
    found = by_label(rows)
    assert (found["plain"]["mean"], found["plain"]["values"]) == (0.5, [0.25, 0.75])
    assert found["plain"]["standard_deviation"] == pytest.approx(0.3536, abs=1e-4)
    assert found["plain"]["not_complete"] == 2
    nothing = {"mean": None, "standard_deviation": None, "values": [], "not_complete": 1}
    assert found["hot"] == nothing
    assert [point["macro_f1"] for point in by_point(rows)] == [0.25, 0.75]


@pytest.mark.slow
def test_training_speed_reports_every_network_beside_its_peer(tmp_path: Path) -> None:
    smallest = "--width 4 --image-size 16 --batch-sizes 8 --steps 2 --repeats 2 --depths 1 2"
    command = [sys.executable, "-m", "benchmarks.training_speed", *smallest.split()]
    options = ["--matrix-size", "256", "--eager", "--out", str(tmp_path / "speed.json")]
    subprocess.run([*command, *options], cwd=ROOT, check=True, capture_output=True)
    report = json.loads((tmp_path / "speed.json").read_text())
    assert {"command", "seed", "versions", "matrix_peak_tflops"} <= report.keys()
    assert len(report["speeds"]) == 3
    assert report["peer"] in {speed["network"] for speed in report["speeds"]}
    assert all(speed["images_per_second_median"] > 0 for speed in report["speeds"])


@pytest.mark.slow
def test_decoding_is_timed_beside_its_peers(tmp_path: Path) -> None:
    smallest = ["--sets", "16=6", "40x60=4", "--image-size", "8", "--repeats", "1", "--out"]
    command = [sys.executable, "-m", "benchmarks.decoding", *smallest, str(tmp_path / "out.json")]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    report = json.loads((tmp_path / "out.json").read_text())
    assert {"command", "seed", "versions", "image_size"} <= report.keys()
    assert [row["pictures"]["name"] for row in report["rows"]] == ["16x16"] * 3 + ["40x60"] * 3
    assert report["rows"][0]["ours_over_it"] == 1
    assert all(row["pictures_per_second"] > 0 for row in report["rows"])


@pytest.mark.slow
def test_storage_throughput_counts_duplicates_and_errors(tmp_path: Path) -> None:
    smallest = "--workers 2 --trials 6 --epochs 2 --repeats 1 --databases sqlite"
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.storage_throughput"]
    out = tmp_path / "throughput.json"
    ended = subprocess.run(
        [*command, *smallest.split(), "--out", str(out)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert "ours / plain" in ended.stdout
    own, plain = json.loads(out.read_text())["rows"]
    assert (own["storage"], plain["storage"]) == ("ours", "plain")
    assert own["duplicates"] == own["errors"] == 0
    assert own["claims_per_second"] > 0 and own["reports_per_second"] > 0
