"""Documents say what the code does, and their links lead somewhere."""

import ast
import re
import shlex
import textwrap
from pathlib import Path

import pytest

from study.cli import app
from study.configuration.config import Request, all_keys, describe_keys
from study.configuration.presets import preset_names
from study.configuration.yaml_values import parse_yaml

ROOT = Path(__file__).parents[2]
ROOMS = ("study", "dashboards", "model", "data", "storage", "benchmarks", "tests")
DOCUMENTS = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in [
        ROOT / "README.md",
        *(p for room in ROOMS for p in (ROOT / room).rglob("README.md")),
    ]
}
README = DOCUMENTS["README.md"]
STUDY = DOCUMENTS["study/README.md"]
SETTINGS = DOCUMENTS["study/configuration/README.md"]
MAKE_TARGETS = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
PRIVATE_WORDS = (
    "gone on with|as it was fixed|taken over|take over|told once|asked again|looks? at others"
    "|what a crash has left"
)


def links(text: str) -> list[str]:
    return re.findall(r"\]\((?!https?:)([^)]+)\)", text)


def shown(default: object) -> str:
    """Return a default as the table of settings shows it."""
    if default is None:
        return "none"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return ", ".join(map(str, default)) or "empty"
    return str(default) or "empty"


def test_readme_is_short() -> None:
    assert len(README.splitlines()) <= 160


@pytest.mark.parametrize("room", ROOMS)
def test_room_has_document_that_begins_with_what_it_must_not_know(room: str) -> None:
    purpose = DOCUMENTS[f"{room}/README.md"].split("\n\n")[1]
    assert re.search(r"\bmust\s+not\b", purpose)


def test_readme_links_every_other_document() -> None:
    assert set(DOCUMENTS) - {"README.md"} <= set(links(README))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_to_files_of_the_project(document: str) -> None:
    folder = (ROOT / document).parent
    for target in links(DOCUMENTS[document]):
        path = (folder / target).resolve()
        assert path.exists() and path.is_relative_to(ROOT), target


@pytest.mark.parametrize("name", sorted(app.commands))
def test_document_of_study_explains_every_command(name: str) -> None:
    assert re.search(rf"^\| `study {name}\b[^|]*\| .{{15,}}\. \|$", STUDY, re.MULTILINE)


@pytest.mark.parametrize(("key", "default", "description"), describe_keys())
def test_document_of_configuration_explains_every_setting_as_the_code_does(
    key: str, default: object, description: str
) -> None:
    row = re.search(rf"^\| `{re.escape(key)}` \| ([^|]+) \| (.+) \|$", SETTINGS, re.MULTILINE)
    assert row is not None
    assert row[2] == description.rstrip(".")
    assert row[1] == shown(default)


def test_search_space_that_is_explained_can_be_searched() -> None:
    part = SETTINGS.split("## Search spaces", 1)[1].split("\n## ", 1)[0]
    text = "\n".join(line for line in part.splitlines() if line.startswith("    "))
    space = parse_yaml(textwrap.dedent(text), "README")["search"]["space"]
    config = Request(options={"search.space": space}).resolve()
    assert set(config.search.searched) == set(space)


@pytest.mark.parametrize("document", ["README.md", "study/README.md"])
def test_assignments_to_the_space_that_are_shown_are_accepted(document: str) -> None:
    commands = re.findall(
        r"^    study .*--set search\.space.*$", DOCUMENTS[document], re.MULTILINE
    )
    assert commands
    for command in commands:
        words = shlex.split(command.partition(" --set ")[2], comments=True)
        Request(assignments=(words[0],)).resolve()


def test_documents_name_no_setting_that_does_not_exist() -> None:
    assert re.findall(r"^\| `([a-z0-9_.]+)` \|", SETTINGS, re.MULTILINE) == all_keys()
    sections = "|".join({key.partition(".")[0] for key in all_keys() if "." in key})
    for document, text in DOCUMENTS.items():
        named = set(re.findall(rf"`((?:{sections})\.[a-z_.]+)[`=]", text))
        assert named <= set(all_keys()), document


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_name_no_command_option_or_target_that_does_not_exist(document: str) -> None:
    text = DOCUMENTS[document]
    assert set(re.findall(r"(?:`|^ {4})study ([a-z][a-z-]*)", text, re.MULTILINE)) <= set(
        app.commands
    )
    assert set(re.findall(r"(?:`|^ {4})make ([a-z-]+)", text, re.MULTILINE)) <= MAKE_TARGETS
    options = {opt for one in app.commands.values() for param in one.params for opt in param.opts}
    if document != "benchmarks/README.md":  # has programs with options of their own
        assert set(re.findall(r"`(--[a-z-]+)", text)) <= options


def test_readme_has_a_row_for_every_preset() -> None:
    table = README.split("## Presets", 1)[1].split("\n## ", 1)[0]
    rows = re.findall(r"^\| (`[^|]+) \|", table, re.MULTILINE)
    assert sorted(re.findall(r"`([^`]+)`", " ".join(rows))) == preset_names()


def test_readme_and_help_name_every_make_target() -> None:
    assert len(MAKE_TARGETS) > 10
    named = set(re.findall(r"\bmake ([a-z-]+)", README)) - {"help"}
    assert named == MAKE_TARGETS - {"help"}


def test_path_of_study_run_names_definitions_that_exist() -> None:
    path = STUDY.split("## The path of `study run`", 1)[1].split("\n## ", 1)[0]
    steps = re.findall(r"^ {4}(\S+\.py) +(\w+) +\S", path, re.MULTILINE)
    assert 8 <= len(steps) <= 12
    for file, name in steps:
        tree = ast.parse((ROOT / "study" / file).read_text())
        assert name in {getattr(node, "name", None) for node in tree.body}, file


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_use_the_words_of_the_field(document: str) -> None:
    assert not re.findall(PRIVATE_WORDS, DOCUMENTS[document])


READING = {"preset", "config", "sets", "storage", "runs", "name"}
TRAINING = READING | {"data", "device"}
CREATING = TRAINING | {"workers", "workers_per_gpu", "trials"}
SHARED = {
    **dict.fromkeys(
        ["status", "metrics", "trials", "best", "report", "doctor", "export"], READING
    ),
    "export-trials": READING,
    **dict.fromkeys(["dashboard", "tensorboard", "enqueue"], READING),
    **dict.fromkeys(["worker", "confirm", "final", "replay", "slurm-script"], TRAINING),
    **dict.fromkeys(["init", "run", "fork", "config", "sanity", "lr-range"], CREATING),
    **dict.fromkeys(["sweep", "grid", "compare"], CREATING),
    **dict.fromkeys(["data", "baselines"], READING | {"data"}),
    "predict": READING | {"device"},
    "evaluate": TRAINING - {"storage", "runs", "name"},
    "extend": READING | {"trials"},
    **dict.fromkeys(["list", "delete"], READING),
    "compare-studies": READING - {"name"},
}


@pytest.mark.parametrize("name", sorted(app.commands))
def test_command_has_only_the_shared_options_that_mean_something_to_it(name: str) -> None:
    options = {parameter.name for parameter in app.commands[name].params}
    assert options & CREATING == SHARED[name]
