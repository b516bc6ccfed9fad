"""YAML means what version 1.2 says, and hostile YAML ends in one line, whichever way it comes."""

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.configuration.config import Request, as_yaml, validated
from study.configuration.grids import parse_axes
from study.configuration.yaml_values import dump_yaml, parse_assigned, parse_yaml
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
        ("seed: *nowhere", r"line 1 \*nowhere names no earlier &nowhere"),
        ("seed: 2001-13-45", "seed: .*valid integer"),
        ("seed: " + "9" * 5000, "line 1 has a number of too many digits"),
        ("\nseed: !!int many", "line 2 'many' is no int"),
        ("seed: !!bool many", "line 1 'many' is no bool"),
        ("seed: !!int true", "line 1 'true' is no int"),
        ("seed: !!timestamp many", "line 1 has the tag !!timestamp"),
        ("seed: !mine 3", "line 1 has the tag !mine"),
        ("search: !!set {n_trials}", "line 1 has the tag !!set"),
        ("data: {image_size: 32}\nseed: 1\ndata: {source: x}", "line 3 has data a second time"),
        ("search:\n  n_trials: 3\n  'n_trials': 4", "line 3 has n_trials a second time"),
        ("search:\n\tn_trials: 3", "line 2 has a tab.: indent with spaces"),
        ("search:\n  n_trials: 3\n\tn_epochs: 4", "line 3 has a tab.: indent with spaces"),
        ("- seed: 1", r"must hold sections with keys, got \[{'seed': 1}\]"),
        ("seed", "must hold sections with keys, got 'seed'"),
        ("", "must hold sections with keys, got nothing"),
        ("# seed: 1\n---\n", "must hold sections with keys, got nothing"),
        ("seed: 1\n---\nseed: 2", "(line 2|line 3) begins a second document"),
        ("a: &a {seed: 1}\n<<: *a", "line 2 merges with <<, which YAML 1.2 has not"),
        ("? [a, b]\n: 1", "line 1 has a key that is no text"),
        ("seed: 1\nsearch: n_trials: 3", r"line 2, column 17: mapping values .* check the syntax"),
        ("seed: 0x" + "f" * 5000, "seed must be a number of at most"),
        ("description: " + "x" * 1_000_001, "must have at most 1000000 characters"),
        ('description: "\\0"', "description must be text in UTF-8"),
        ("search: {budget: {trials: 1000001}}", "less than or equal to 1000000"),
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


@pytest.mark.parametrize("value", ["[" * 5000, "&a [*a]", "@", "9" * 5000])
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


@pytest.mark.parametrize(
    ("content", "line"),
    [(b"seed: 1\ndescription: caf\xe9\n", 2), ("seed: 1".encode("utf-16"), 1)],
)
def test_file_in_another_encoding_is_rejected(content: bytes, line: int, tmp_path: Path) -> None:
    file = tmp_path / "other.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"must be text in UTF-8, line {line} is not"):
        Request(file=file).resolve()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_file_in_utf8_is_read_with_or_without_byte_order_mark(
    encoding: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("seed: 3\ndescription: Käfer 🐞\n", encoding=encoding)
    resolved = Request(file=file).resolve()
    assert (resolved.seed, resolved.description) == (3, "Käfer 🐞")


CORE = {
    "010": 10,
    "-010": -10,
    "0o14": 12,
    "0x1F": 31,
    "1:30": "1:30",
    "1_000": "1_000",
    "0b11": "0b11",
    "2001-12-14": "2001-12-14",
    "1e-3": 0.001,
    "-1E+3": -1000.0,
    "5.": 5.0,
    ".5": 0.5,
    "-.INF": -math.inf,
    ".": ".",
    **{text: text for text in ("yes", "no", "on", "off", "y", "Yes", "tRUE", "nULL", "none")},
    "'010'": "010",
    '"true"': "true",
    "!!str 010": "010",
    "! 010": "010",
    "!!float 3": 3.0,
    "True": True,
    "FALSE": False,
    "~": None,
    "": None,
    "[010, yes, 1e-3]": [10, "yes", 0.001],
    "{on: 1, 2: off}": {"on": 1, "2": "off"},
}


@pytest.mark.parametrize("text", CORE)
def test_values_follow_the_core_rules_of_version_1_2(text: str) -> None:
    found = parse_assigned(text, "here")
    assert found == CORE[text] and type(found) is type(CORE[text])


TRICKY = st.sampled_from([*CORE, "a: b", "- 1", "# x", "a #b", "'", "&a", "%x", "@", "[1", "{"])


@given(TRICKY | st.text(st.characters(exclude_characters="\n\r", codec="utf-8"), max_size=12))
def test_value_means_the_same_in_a_file_and_by_set(text: str) -> None:
    outcomes = []
    for read in (
        lambda: parse_yaml(f"key: {text}", "here")["key"],
        lambda: parse_assigned(text, "here"),
    ):
        try:
            outcomes.append(repr(read()))
        except ConfigurationError:
            outcomes.append("rejected")
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("text", ["1\nseed: 3", "1\n---\n2", "1\n..."])
def test_assigned_value_cannot_bring_others(text: str) -> None:
    with pytest.raises(ConfigurationError):
        Request(assignments=(f"search.n_epochs={text}x",)).resolve()


def test_section_given_by_set_is_merged_as_one_of_a_file_is(tmp_path: Path) -> None:
    section = "{space: {network.blocks: {high: 2}}, n_epochs: 7}"
    file = tmp_path / "mine.yaml"
    file.write_text(f"search: {section}\n")
    preset = "tiny-imagenet-10"
    by_file = Request(preset, file).resolve()
    assert by_file == Request(preset, assignments=(f"search={section}",)).resolve()
    assert by_file.search.n_epochs == 7
    assert by_file.search.space == {"network.blocks": {"low": 1, "high": 2, "log": False}}


def test_mapping_that_is_a_setting_is_replaced() -> None:
    base = {"data": {"splits": {"train": "learn", "test": "check"}}}
    asked = Request(assignments=("data.splits={train: other}",))
    assert asked.resolve(base).data.splits == {"train": "other"}


texts = st.sampled_from(list(CORE)) | st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\0")
)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text("aä1:~n"), inner, max_size=3)
        ),
        max_leaves=6,
    )
)
def test_what_is_dumped_reads_back_equal(value: object) -> None:
    dumped = dump_yaml({"key": value})
    assert parse_yaml(dumped, "here") == {"key": value}
    assert dumped.isascii()


@given(texts)
def test_printed_configuration_reads_back_equal(description: str) -> None:
    config = Request(options={"description": description}).resolve()
    assert validated(parse_yaml(as_yaml(config), "here")) == config


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
