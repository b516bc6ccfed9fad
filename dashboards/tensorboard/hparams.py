"""The row that a run has in TensorBoard's HPARAMS tab.

TensorBoard takes the description of all columns from any one run, so each run describes them all:
which differ, and what they may be. torch's `add_hparams` does neither, shows booleans as numbers,
and names neither rows nor columns.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from google.protobuf.struct_pb2 import Struct
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import (
    DATA_TYPE_BOOL,
    DATA_TYPE_FLOAT64,
    DATA_TYPE_STRING,
    Experiment,
    HParamInfo,
    MetricInfo,
    MetricName,
)
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

HParamValue = bool | int | float | str


@dataclass(frozen=True)
class HParam:
    """A run's value of a hyperparameter or setting, and how it compares to the other runs.

    Attributes:
        value: Of this run.
        differs: Whether other runs may have another; TensorBoard shows those columns first.
        choices: All values that a run may have, where they can be counted.
    """

    value: HParamValue
    differs: bool = True
    choices: Sequence[HParamValue] = ()


def row_summaries(
    name: str, hparams: Mapping[str, HParam], metrics: Mapping[str, str]
) -> tuple[Summary, Summary]:
    """Return what makes a run a row: the columns, and its values.

    Args:
        name: Of the row; rows of one name would be taken for repetitions of one trial.
        hparams: By setting; a column is headed by the last part of a dotted key.
        metrics: Headings of the columns by the scalar tags whose last point they show.
    """
    columns, values = [], Struct()
    for key, one in hparams.items():
        types = {type(value) for value in (one.value, *one.choices)}
        data_type = DATA_TYPE_BOOL if types == {bool} else DATA_TYPE_STRING
        if types <= {int, float}:
            data_type = DATA_TYPE_FLOAT64
        as_text = data_type == DATA_TYPE_STRING
        column = HParamInfo(
            name=key, display_name=_heading(key), type=data_type, differs=one.differs
        )
        # TensorBoard offers a range for numbers, and a tick for each possible value of all others.
        if data_type != DATA_TYPE_FLOAT64:
            domain = dict.fromkeys((*one.choices, one.value))
            column.domain_discrete.extend(str(each) if as_text else each for each in domain)
        columns.append(column)
        values[key] = str(one.value) if as_text else one.value
    headings = [
        MetricInfo(name=MetricName(tag=tag), display_name=text) for tag, text in metrics.items()
    ]
    experiment = Experiment(hparam_infos=columns, metric_infos=headings)
    start = SessionStartInfo(group_name=name, hparams=values.fields)
    return (
        _summary(metadata.EXPERIMENT_TAG, HParamsPluginData(experiment=experiment)),
        _summary(metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=start)),
    )


def _heading(key: str) -> str:
    """Return the last part of a dotted key; of a stage, the setting too."""
    last = key.rpartition(".")[2]
    return "_".join(key.split(".")[-2:]) if last.isdecimal() else last


def _summary(tag: str, content: HParamsPluginData) -> Summary:
    described = metadata.create_summary_metadata(content)
    return Summary(value=[Summary.Value(tag=tag, metadata=described, tensor=metadata.NULL_TENSOR)])
