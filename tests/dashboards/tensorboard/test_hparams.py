"""Rows of the HPARAMS tab, as TensorBoard's own protocol buffers read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import (
    DATA_TYPE_BOOL,
    DATA_TYPE_FLOAT64,
    DATA_TYPE_STRING,
    HParamInfo,
)

from dashboards.tensorboard.hparams import HParam, HParamValue, row_summaries

VALUES = st.booleans() | st.integers(0, 99) | st.floats(0, 1) | st.text("ab-1", max_size=4)


def read(name: str, shown: HParam) -> tuple[HParamInfo, HParamValue]:
    """Return the column of one hyperparameter, and its value in the row."""
    columns, values = row_summaries("007 modern (pets)", {name: shown}, {"best": "best macro-F1"})
    experiment = metadata.parse_experiment_plugin_data(
        columns.value[0].metadata.plugin_data.content
    )
    start = metadata.parse_session_start_info_plugin_data(
        values.value[0].metadata.plugin_data.content
    )
    assert start.group_name == "007 modern (pets)"
    (metric,) = experiment.metric_infos
    assert (metric.name.tag, metric.display_name) == ("best", "best macro-F1")
    (column,) = experiment.hparam_infos
    value = start.hparams[name]
    return column, getattr(value, value.WhichOneof("kind"))


@pytest.mark.parametrize(
    ("shown", "data_type", "value", "domain"),
    [
        (HParam(0.1), DATA_TYPE_FLOAT64, 0.1, []),
        (HParam(2, choices=(1, 2.5)), DATA_TYPE_FLOAT64, 2.0, []),
        (HParam(True, choices=(False, True)), DATA_TYPE_BOOL, True, [False, True]),
        (HParam("2-2-2"), DATA_TYPE_STRING, "2-2-2", ["2-2-2"]),
        (HParam(0.9, choices=("none", 0.9)), DATA_TYPE_STRING, "0.9", ["none", "0.9"]),
    ],
)
def test_column_has_the_type_that_all_values_share(
    shown: HParam, data_type: int, value: HParamValue, domain: list[object]
) -> None:
    column, seen = read("network.blocks", shown)
    assert (column.name, column.display_name) == ("network.blocks", "blocks")
    assert (column.type, seen, list(column.domain_discrete)) == (data_type, value, domain)


@given(values=st.lists(VALUES, min_size=1, max_size=5), differs=st.booleans())
def test_runs_of_a_study_describe_a_column_alike_and_keep_their_value(
    values: list[HParamValue], differs: bool
) -> None:
    columns, seen = zip(
        *(read("a", HParam(value, differs, tuple(values))) for value in values),
        strict=True,
    )
    assert all(column == columns[0] for column in columns)
    assert columns[0].differs == differs
    as_text = columns[0].type == DATA_TYPE_STRING
    assert [str(value) if as_text else value for value in values] == list(seen)
