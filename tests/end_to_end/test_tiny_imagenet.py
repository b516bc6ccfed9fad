"""The presets for Tiny ImageNet on the real data, as small as they get."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TINY_IMAGENET = ROOT.parent / "shared" / "tiny-imagenet"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not TINY_IMAGENET.is_dir(), reason="needs Tiny ImageNet at ../shared/tiny-imagenet"
    ),
]


def study(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "study", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


def test_whole_data_set_is_described_as_the_protocol_says(tmp_path: Path) -> None:
    data = ["--data", str(TINY_IMAGENET), "--set", "data.confirm_fraction=0"]
    described = json.loads(study(tmp_path, "data", *data, "--json").stdout)
    assert described["counts"] == {"train": 90_000, "validation": 10_000, "test": 10_000}
    assert len(described["class_names"]) == 200
    for split, each in (("train", 450), ("validation", 50), ("test", 50)):
        assert set(described["class_counts"][split]) == {each}
        assert described["original_sizes"][split] == {"64x64": described["counts"][split]}
    assert described["image_modes"]["validation"]["L"] == 168
    assert described["mean"] == pytest.approx((0.4802, 0.4480, 0.3974), abs=0.0005)
    assert described["std"] == pytest.approx((0.2765, 0.2689, 0.2816), abs=0.0005)
    duplicates = described["duplicates"]
    assert duplicates["within"] == {"train": 19, "validation": 0, "test": 0}
    assert duplicates["across"]["validation"] == {"train": 7}
    assert duplicates["across"]["test"] == {"train": 1, "validation": 0}

    found = json.loads(study(tmp_path, "baselines", *data, "--json").stdout)
    scores = {name: values["accuracy"] for name, values in found["scores"].items()}
    assert scores["majority"] == scores["random"] == pytest.approx(0.005)
    assert 0.01 < scores["nearest mean colour"] < 0.04
    assert 0.06 < scores["logistic regression, 8x8 pixels"] < 0.1
    ended = study(tmp_path, "data", *data)
    assert ended.returncode == 0, ended.stderr
    page = tmp_path / "runs" / f"data-{described['fingerprint'][:12]}" / "report.html"
    assert "nearest mean colour" in page.read_text()


@pytest.mark.parametrize("preset", ["tiny-imagenet", "reference-special", "modern"])
def test_gpu_preset_runs_at_full_width_for_one_epoch(tmp_path: Path, preset: str) -> None:
    smallest = {
        "data.image_size": "32",
        "network.blocks": "[1, 1, 1]",
        "search.n_epochs": "1",
        "final.n_epochs": "1",
        "final.image_size": "32",
        "optimization.warmup_epochs": "0",
        "data.train_limit": "400",
        "data.validation_limit": "200",
        "data.test_limit": "200",
    }
    settings = [part for key, value in smallest.items() for part in ("--set", f"{key}={value}")]
    arguments = ["run", "--preset", preset, "--data", str(TINY_IMAGENET), "--trials", "1"]
    ended = study(tmp_path, *arguments, *settings)
    assert ended.returncode == 0, ended.stderr
    assert "1/1 done (1 complete)" in ended.stdout
    ended = study(tmp_path, "final")
    assert ended.returncode == 0, ended.stderr
    final = tmp_path / "runs" / preset / "final"
    assert json.loads((final / "metrics.json").read_text())["n_test_images"] == 200
    assert len((final / "per_class.csv").read_text().splitlines()) == 201
