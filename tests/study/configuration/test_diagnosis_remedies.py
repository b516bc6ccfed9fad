"""Every setting that a diagnosis suggests is one that a fork accepts."""

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from dashboards.analysis.diagnosis.sentences import diagnose
from dashboards.analysis.diagnosis.settings import describe_new_end, widen
from dashboards.analysis.search_space import Hyperparameter
from study.configuration.config import Request
from tests.tools import diagnosed_searches
from tests.tools.made_up_searches import MadeUpSearch

ASSIGNED = re.compile(r"`study fork NEW --set ([^`]+)`")
SEARCHES = [
    diagnosed_searches.at_edge,
    diagnosed_searches.diverging,
    diagnosed_searches.diverging_anywhere,
    diagnosed_searches.failing,
    diagnosed_searches.over_pruned,
    diagnosed_searches.unpruned,
]


def accepted(text: str) -> int:
    """Resolve each suggestion of a text with a preset; return how many there are."""
    found = ASSIGNED.findall(text)
    for assignment in found:
        Request("tiny-imagenet", assignments=(assignment,)).resolve()
    return len(found)


@pytest.mark.parametrize("search", SEARCHES, ids=lambda search: search.__name__)
@pytest.mark.parametrize("pruner", ["percentile", "median", "rungs", "promotion"])
def test_suggested_settings_are_accepted(search: Callable[[], MadeUpSearch], pruner: str) -> None:
    said = " ".join(diagnose(replace(search(), pruner=pruner).evidence()))
    is_silent = search is diagnosed_searches.unpruned and pruner in ("rungs", "promotion")
    assert is_silent or accepted(said) > 0


@pytest.mark.parametrize(
    "one",
    [
        Hyperparameter("learning_rate", 1e-3, 1.0, is_log=True),
        Hyperparameter("optimization.weight_decay", 1e-6, 1e-2, is_log=True),
        Hyperparameter("network.dropout", 0.1, 0.5),
        Hyperparameter("network.blocks.2", 2, 4, is_integer=True),
        Hyperparameter("blocks_2", 2, 4, is_integer=True),
    ],
    ids=lambda one: one.name,
)
@pytest.mark.parametrize("is_high", [True, False])
def test_wider_ranges_are_accepted(one: Hyperparameter, is_high: bool) -> None:
    end = widen(one, is_high=is_high)
    assert end is not None
    assert accepted(describe_new_end(one.name, "high" if is_high else "low", end)) == 1
