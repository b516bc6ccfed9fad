"""The command line that sets studies side by side."""

import json
from pathlib import Path

import pytest

from study.configuration.config import validated
from study.creation.create import initialise
from tests.study.conftest import Call
from tests.study.searches import configured, pretend_to_search


@pytest.fixture
def place(tiny_settings: dict[str, object]) -> list[str]:
    session = initialise(validated(tiny_settings))
    pretend_to_search(session)
    changes = {"name": "other", "network.dropout": 0.3, "search.n_epochs": 2}
    initialise(configured(tiny_settings, changes))
    return ["--storage", session.config.storage.url]


def test_studies_of_one_database_are_compared(
    place: list[str], call: Call, tmp_path: Path
) -> None:
    out = tmp_path / "side.html"
    ended = call("compare-studies", "tiny", "other", *place, "--out", str(out))
    assert (ended.code, ended.err) == (0, "") and "0.9000" in ended.out
    assert ended.out.splitlines()[-1] == f"the page is {out}" and "<svg" in out.read_text()
    found = json.loads(call("compare-studies", "tiny", "other", *place, "--json").out)
    assert found["differences"] == {
        "network.dropout": ["0.1", "0.3"],
        "search.n_epochs": ["3", "2"],
    }


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["tiny"], "two studies or more, each once, got tiny"),
        (["tiny", "tiny"], "each once, got tiny tiny"),
        (["tiny", "cats"], "got 'cats'"),
        (["tiny", "other", "--out", "side.txt"], "--out must be an HTML file"),
    ],
)
def test_wrong_names_are_rejected_in_one_line(
    place: list[str], call: Call, arguments: list[str], hint: str
) -> None:
    ended = call("compare-studies", *arguments, *place)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1) and hint in ended.err
