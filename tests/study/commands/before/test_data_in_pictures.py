"""Commands that start in a folder of pictures leave nothing there that counts as an image."""

import json
import os
from pathlib import Path

import pytest

from data.sources import folder_walk
from storage import run_paths
from tests.data.sources.layouts import let_times_be_set
from tests.study.conftest import Call


def test_data_and_storage_agree_on_the_mark_of_runs() -> None:
    assert folder_walk.RUNS_MARKER == run_paths.RUNS_MARKER


@pytest.mark.parametrize("runs", ["runs", "."])
def test_runs_beside_the_classes_do_not_change_the_data(
    pictures: Path, call: Call, monkeypatch: pytest.MonkeyPatch, runs: str
) -> None:
    monkeypatch.chdir(pictures)
    sets = ("--set", "data.image_size=8", "--data", ".", "--runs", runs)
    first = json.loads(call("data", *sets, "--json").out)
    assert (
        call("init", *sets, "--storage", f"sqlite:///{runs}/study.db", "--name", "study").code == 0
    )
    (pictures / runs / "study" / "final").mkdir()
    (pictures / runs / "study" / "final" / "mistakes.png").touch()
    assert call("data", *sets).code == call("baselines", *sets).code == 0
    now = json.loads(call("data", *sets, "--json").out)
    others = [(one["reason"], one["examples"]) for one in now.pop("left_out")]
    assert others == ([(".db files", ["study.db"])] if runs == "." else [])
    assert first.pop("left_out") == [] and now == first
    assert len(first["class_names"]) == 3


def test_verifying_says_which_files_have_changed_unseen(
    pictures: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_times_be_set(monkeypatch)
    files = sorted(pictures.rglob("*.png"))
    for path in files:
        os.utime(path, ns=(10**18, 10**18))
    sets = ("--data", str(pictures), "--set", f"data.cache={pictures.parent / 'cache'}", "--json")
    sets = (*sets, "--set", "data.image_size=8")
    first = json.loads(call("data", *sets).out)
    assert "no file has changed without" in call("data", *sets, "--verify").err
    content = bytearray(files[0].read_bytes())
    content[-1] ^= 1
    files[0].write_bytes(content)
    os.utime(files[0], ns=(10**18, 10**18))
    assert json.loads(call("data", *sets).out)["fingerprint"] == first["fingerprint"]
    ended = call("data", *sets, "--verify")
    assert f"are the same: {files[0].relative_to(pictures)}" in ended.err
    assert json.loads(ended.out)["fingerprint"] != first["fingerprint"]
