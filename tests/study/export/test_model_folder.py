import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from huggingface_hub import ModelCard, ModelCardData
from huggingface_hub.repocard_data import model_index_to_eval_results

from model.export import FILES, load_model
from study.export.model_card import Described, build_card
from study.export.model_folder import build_config, has_model_folder, write_model_folder
from study.final.evaluate import evaluate_checkpoint
from tests.study.export.conftest import HOSTILE, FinishedStudy

OURS = ("study", "dashboards", "model", "data", "storage", "pydantic", "PIL", "optuna")
BEFORE = f"""
import os
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {OURS}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Blocked())

import numpy as np
import torch

torch.set_num_threads(int(sys.argv[1]))
for name in {OURS}:
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(name + " can be imported")
sys.path.insert(0, os.getcwd())
"""
AFTER = """
images = torch.from_numpy(np.load("../images.npy"))
np.save("../logits.npy", predict(images).numpy())
"""


@pytest.fixture(scope="module")
def folder(tested: FinishedStudy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "model"
    write_model_folder(tested.run, path)
    return path


def logits_of_the_test(tested: FinishedStudy) -> torch.Tensor:
    """Evaluate the saved weights on the test images once more, as the test did."""
    noted: list[torch.Tensor] = []
    found = evaluate_checkpoint(
        tested.run.checkpoint,
        tested.prepared.test(),
        execution=tested.final.config.execution,
        collect=lambda logits_BC, _: noted.append(logits_BC),
    )
    assert found.metrics.loss == tested.run.test.metrics["loss"]  # type: ignore[index, union-attr]
    return torch.cat(noted)


@torch.no_grad()
def test_loaded_model_gives_the_logits_of_the_test(folder: Path, tested: FinishedStudy) -> None:
    assert {path.name for path in folder.iterdir()} - {"__pycache__"} == FILES
    images_NHWC = torch.from_numpy(np.array(tested.prepared.test().images_NHWC))
    model = load_model(folder)
    assert torch.equal(model(images_NHWC), logits_of_the_test(tested))
    assert model.class_names == tested.prepared.class_names and HOSTILE in model.class_names
    onnx.checker.check_model(folder / "model.onnx", full_check=True)


@pytest.mark.slow
def test_program_in_the_card_gives_the_logits_of_the_test_without_this_program(
    folder: Path, tested: FinishedStudy
) -> None:
    """Its imports find torch, safetensors, numpy and the folder, but no package of ours."""
    (program,) = re.findall(
        r"^```python\n((?:(?!```).)*?safetensors.*?)^```",
        (folder / "README.md").read_text(),
        re.MULTILINE | re.DOTALL,
    )
    assert len(program.splitlines()) <= 20
    np.save(folder.parent / "images.npy", tested.prepared.test().images_NHWC)
    ended = subprocess.run(
        # With other threads the last bits may differ.
        [sys.executable, "-I", "-c", BEFORE + program + AFTER, str(torch.get_num_threads())],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    logits_NC = np.load(folder.parent / "logits.npy")
    assert np.abs(logits_NC - logits_of_the_test(tested).numpy()).max() == 0


def test_folder_says_nothing_of_this_machine(folder: Path, tested: FinishedStudy) -> None:
    private = tested.searched.paths.runs.parent.name.encode()
    assert private in str(tested.searched.protocol.data_source).encode()
    for path in (folder / name for name in FILES):
        assert private not in path.read_bytes(), path.name
        assert str(Path.cwd()).encode() not in path.read_bytes(), path.name
    assert load_model(folder).config.origin["data_source"] == "pictures"


def test_front_matter_is_what_the_library_of_the_hub_reads(
    folder: Path, tested: FinishedStudy
) -> None:
    """All that can be validated offline: `ModelCard.validate` asks the hub itself."""
    card = ModelCard.load(folder / "README.md")
    values = card.data.to_dict()
    assert ModelCardData(**values, ignore_metadata_errors=False).to_dict() == values
    assert values["pipeline_tag"] == "image-classification"
    assert values["library_name"] == "pytorch" and values["metrics"] == ["accuracy", "f1"]
    assert "license" not in values and "datasets" not in values
    name, results = model_index_to_eval_results(values["model-index"])
    metrics = tested.run.test.metrics or {}  # type: ignore[union-attr]
    assert name == "tiny" and {one.dataset_split for one in results} == {"test"}
    assert {one.metric_type: one.metric_value for one in results} == {
        "accuracy": metrics["accuracy"],
        "f1": metrics["macro_f1"],
    }


def cells(line: str) -> list[str]:
    return re.split(r"(?<!\\)\|", line)[1:-1]


def test_names_from_data_cannot_change_the_page(folder: Path) -> None:
    text = ModelCard.load(folder / "README.md").text
    lines = text.splitlines()
    assert [line for line in lines if line.startswith("#")] == [
        "# ` tiny `: an image classifier",
        *(f"## {title}" for title in ("Intended use", "Data", "Recipe", "Results", "Limits")),
        "## How to load",
    ]
    start = lines.index("| class | precision | recall | F1 | images |")
    rows = [cells(line) for line in lines[start + 2 : start + 5]]
    assert [len(row) for row in rows] == [5, 5, 5]
    (hostile,) = (row[0] for row in rows if "wide" in row[0])
    shown = "rows \\| `wide` # *no* [heading](x) {{ 1 + 1 }} \N{REPLACEMENT CHARACTER}ä"
    assert hostile.strip() == f"`` {shown} ``"


def test_results_of_the_card_are_those_of_the_test(folder: Path, tested: FinishedStudy) -> None:
    text = (folder / "README.md").read_text()
    metrics = load_model(folder).config.metrics
    error = metrics["test_macro_f1_standard_error"]
    scores = [metrics[split]["macro_f1"] for split in ("validation", "test")]
    row = " | ".join(f"{value:.4f}" for value in (*scores, error))
    assert f"| macro-F1 | {row} |" in text
    assert "top-5" not in text  # of three classes
    assert f"The test split, {metrics['n_test_images']} images, was opened once." in text
    assert tested.prepared.fingerprint in text
    assert "`optimization.ema_decay` | 0.9 |" in text


def test_card_of_a_trial_says_that_it_was_not_tested(tested: FinishedStudy) -> None:
    run = tested.winner
    config = build_config(run)
    assert config.metrics.keys() == {"validation"}
    assert config.metrics["validation"]["macro_f1"] == run.row.value
    card = build_card(Described.of(run, config))
    _, results = model_index_to_eval_results(card.data.to_dict()["model-index"])
    assert {one.dataset_split for one in results} == {"validation"}
    assert "**not tested**" in card.text and "precision" not in card.text
    assert f"These are the weights of trial {run.row.number} of a search" in card.text


def test_model_of_a_final_run_is_whole_or_missing(folder: Path, tested: FinishedStudy) -> None:
    run = tested.run
    assert not has_model_folder(run)
    shutil.copytree(folder, run.paths.model)
    assert has_model_folder(run)
    (run.paths.model / "model.onnx").unlink()
    assert not has_model_folder(run)
    write_model_folder(tested.winner, run.paths.model)
    assert not has_model_folder(run)
    shutil.rmtree(run.paths.model)
