"""Hostile YAML ends in one line, at once, whichever way it comes."""

from pathlib import Path

import pytest

from study.configuration.config import Request
from study.configuration.grids import parse_axes
from study.errors import ConfigurationError
from tests.study.conftest import Call

LETTERS = "abcdefghi"
BOMB = "a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{inner}'] * 9)}]\n"
    for inner, name in zip(LETTERS, LETTERS[1:], strict=False)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name} {{<<: [{', '.join([f'*{inner}'] * 9)}]}}\n"
    for inner, name in zip(LETTERS, LETTERS[1:], strict=False)
)
CHAIN = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 2000))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "must have at most 100000 values"),
        (MERGES, "must have at most 100000 values"),
        (CHAIN, "100000 values in 32 levels"),
        ("seed: " + "[" * 5000, "must have at most 32 levels"),
        ("\n".join(" " * n + "a:" for n in range(900)), "must have at most 32 levels"),
        ("seed: &a [*a]", r"\*a must not hold itself"),
        ("data: &a {source: {x: *a}}", r"\*a must not hold itself"),
        ("seed: *nowhere", "must be YAML"),
        ("seed: 2001-13-45", "must be YAML .month must be"),
        ("seed: " + "9" * 5000, "must be YAML"),
        ("seed: !!int many", "must be YAML"),
        ("seed: !!bool many", "must be YAML"),
        ("seed: !!timestamp many", "must be YAML"),
        ("seed: 0x" + "f" * 5000, "seed must be a number of at most"),
        ("description: " + "x" * 1_000_001, "must have at most 1000000 characters"),
        ('description: "\\0"', "description must be text in UTF-8"),
        ("search: {n_trials: 1000001}", "less than or equal to 1000000"),
        ("seed: [" + "[1, 2], " * 40_000 + "]", "must have at most 100000 values"),
    ],
)
def test_hostile_yaml_is_rejected_in_one_short_line(
    text: str, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "hostile.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=message) as caught:
        Request(file=file).resolve()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(file))


@pytest.mark.parametrize("value", ["[" * 5000, "&a [*a]", "2001-13-45", "9" * 5000])
def test_hostile_values_of_options_are_rejected(value: str) -> None:
    with pytest.raises(ConfigurationError, match="--set seed"):
        Request(assignments=(f"seed={value}",)).resolve()
    with pytest.raises(ConfigurationError, match="--axis seed"):
        parse_axes([f"seed={value}"])


def test_endless_file_is_rejected() -> None:
    with pytest.raises(ConfigurationError, match="at most 1000000 characters"):
        Request(file=Path("/dev/zero")).resolve()


def test_endless_key_and_long_value_are_shortened_in_the_message() -> None:
    for assignment in ("data.image_size." + "a." * 5000 + "b=1", "seed=[" + "1, " * 5000 + "1]"):
        with pytest.raises(ConfigurationError) as caught:
            Request(assignments=(assignment,)).resolve()
        assert len(str(caught.value)) < 400


def test_text_that_is_no_utf8_is_rejected() -> None:
    with pytest.raises(ConfigurationError, match=r"data\.cache must be text in UTF-8"):
        Request(options={"data.cache": Path("caf\udce9")}).resolve()


def test_few_anchors_are_followed(tmp_path: Path) -> None:
    file = tmp_path / "anchors.yaml"
    file.write_text("seed: &n 3\ndata: &d {split_seed: *n}\nsearch: {n_epochs: *n}\n")
    resolved = Request(file=file).resolve()
    assert (resolved.seed, resolved.data.split_seed, resolved.search.n_epochs) == (3, 3, 3)


def test_command_ends_with_one_line_that_cannot_steer_the_terminal(call: Call) -> None:
    ended = call("config", "--set", 'data={"a\\nb\\e[31m": 1}')
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert "\x1b" not in ended.err and "\\x1b[31m" in ended.err
