import shlex

import pytest

from study.configuration.config import Request
from study.errors import ConfigurationError
from tests.study.conftest import Call

SPACE = "search.space"
SEARCHED_OPTIMIZER = f"{SPACE}.optimization.optimizer={{choices: [sgd, adamw]}}"
BAD = [
    (["=widest"], r"or be one of joint, lr-wd, .*, got 'widest'"),
    (["=7"], r"^search\.space must map settings to ranges or choices, got 7: for example"),
    ([".network.dropout={low: 0, high: 1}"], r"dropout\.high: .*less than 1, got 1\.0"),
    ([".optimization.weight_decay={low: -1, log: false}"], r"weight_decay\.low: .* got -1\.0"),
    ([".network.dropout.low=0.9"], r"dropout: low must not lie above high, got 0\.9 and 0\.5"),
    ([".network.dropout.log=true"], r"low must be positive on a logarithmic scale, got 0: raise"),
    ([".network.dropout.log=3"], r"dropout\.log must be true or false, got 3"),
    ([".network.dropout.low=false"], r"dropout\.low must be a number, got False"),
    ([".network.dropout.low=.nan"], r"dropout\.low must be a number, got nan"),
    ([".network.dropout.hi=1"], r"got hi: did you mean high\?$"),
    ([".network.blocks={low: 1, high: 9}"], r"blocks\.high: .*less than or equal to 8, got 9"),
    ([".network.blocks={low: 1.5, high: 2}"], r"blocks\.low must be a whole number, got 1\.5"),
    ([".network.activation={low: 0, high: 1}"], r"activation must have choices, .* no single num"),
    ([".network.activation={choices: [relu, reluu]}"], r"got 'reluu': did you mean relu\?"),
    ([".network.activation={choices: []}"], r"choices must be a list of values, got \[\]"),
    ([".network.activation={choices: [relu, RELU]}"], r"choices must differ, got 'relu' twice"),
    ([".optimization.momentum={high: 0.9}"], r"momentum must have low and high, got .*give low"),
    ([".optimization.momentum=default"], r"momentum has no default range: give --set"),
    ([".network.dropout={low: 0, choices: [0.1]}"], r"got choices and low: leave one out"),
    (
        [".network.dropuot={low: 0, high: 0.5}"],
        r"got network\.dropuot: did you mean network\.drop",
    ),
    (
        [".network={dropout: {low: 0, high: 0.5}}"],
        r"write section and setting as one key, such as n",
    ),
    ([".optimizer={choices: [sgd]}"], r"got optimizer: did you mean optimization\.optimizer\?$"),
    ([".seed={low: 0, high: 9}"], r"cannot search seed: the best of several seeds is luck"),
    ([".data.image_size={choices: [32, 64]}"], r"cannot search data\.image_size: trials on other"),
    ([".evaluation.flip_average={choices: [true]}"], r"flip_average: trials that are measured in"),
    ([".search.n_epochs={low: 1, high: 9}"], r"search\.n_epochs: it is the same for all trials"),
    ([".workers.threads={low: 1, high: 9}"], r"workers\.threads: it is the same for all trials"),
    ([".execution.precision={choices: [auto]}"], r"precision: it decides where and how fast"),
    (
        [".optimization.warmup_epochs={low: 0, high: 6}"],
        r"warmup_epochs at 6: optimization\.warmup_epochs must lie below search\.n_epochs",
    ),
    (
        [".network.widths={choices: [[8], [8, 8]]}", ".network.blocks=none"],
        r"near the configured values: network: blocks must have one number",
    ),
    (
        [
            ".network.batch_norm={choices: [true, false]}",
            ".network.zero_init_last_norm={choices: [true, false]}",
        ],
        r"must not combine network\.batch_norm false with network\.zero_init_last_norm true \(.*"
        r"leave one out, or give it a condition with when$",
    ),
    (
        [".optimization.momentum={low: 0, high: 0.9, when: {optimization.optimizer: sgd}}"],
        r"got optimization\.optimizer, which is not searched: leave it out, or add --set",
    ),
    (
        [
            ".optimization.optimizer={choices: [sgd, adamw]}",
            ".optimization.momentum={low: 0, high: 0.9, when: {optimization.optimizer: adam}}",
        ],
        r"must give choices of optimization\.optimizer \(sgd, adamw\), got 'adam': choose one",
    ),
    (
        [".optimization.momentum={low: 0, high: 0.9, when: {network.dropout: 0.1}}"],
        r"got network\.dropout, which is searched by a range: leave it out",
    ),
    ([".network.dropout.when=sgd"], r"when must map a searched setting to its values, got 'sgd'"),
    (
        [
            ".network.batch_norm={choices: [true], when: {network.residual: true}}",
            ".network.residual={choices: [true], when: {network.batch_norm: true}}",
        ],
        r"when must not depend on the setting itself, got a condition of network\.residual on",
    ),
    (
        [".network.residual={choices: [true, false], when: {network.residual: true}}"],
        r"must not depend on the setting itself, got a condition of itself on network\.residual",
    ),
    (
        [
            ".optimization.optimizer={choices: [sgd, adamw]}",
            ".network.dropout=[{low: 0, high: 0.1}, {low: 0.2, high: 0.3}]",
        ],
        r"dropout must have ranges of which one holds at a time, got two under no condition and",
    ),
    (
        [
            ".optimization.optimizer={choices: [sgd, adamw]}",
            ".optimization.learning_rate=default",
            ".optimization.learning_rate.high=0.3",
        ],
        r"learning_rate must have low and high where the optimizer is searched, got",
    ),
]


@pytest.mark.parametrize(("given", "message"), BAD)
def test_bad_range_is_rejected_in_one_line(given: list[str], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        Request(assignments=tuple(f"{SPACE}{one}" for one in given)).resolve()
    said = str(caught.value)
    assert "\n" not in said and ": " in said and said.startswith(SPACE)


def test_bad_range_ends_a_command_before_anything_is_stored(call: Call, config_file: str) -> None:
    bad = ["--set", f"{SPACE}.network.dropout.high=2"]
    ended = call("init", "--config", config_file, *bad)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert call("status", "--config", config_file).code != 0


@pytest.mark.parametrize(
    ("setting", "key"),
    [("dropout", "network.dropout"), ("learning_rate", "optimization.learning_rate")],
)
def test_ranges_of_earlier_versions_are_answered_with_where_they_are_now(
    setting: str, key: str
) -> None:
    with pytest.raises(ConfigurationError, match="is no setting any more") as caught:
        Request(assignments=(f"search.ranges.{setting}.high=0.3",)).resolve()
    said = str(caught.value)
    assert f"'{SPACE}.{key}={{low: A, high: B}}'" in said
    words = shlex.split(said.rpartition(" --set ")[2].replace("=B", "=0.3"))
    assert Request(assignments=tuple(words)).resolve().search.searched[key]["high"] == 0.3


def test_condition_keeps_values_apart_that_do_not_fit_together() -> None:
    config = Request(
        assignments=(
            f"{SPACE}.network.batch_norm={{choices: [true, false]}}",
            f"{SPACE}.network.zero_init_last_norm="
            "{choices: [true, false], when: {network.batch_norm: true}}",
        )
    ).resolve()
    assert len(config.search.searched) == 6
