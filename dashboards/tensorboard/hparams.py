"""The row that a run has in TensorBoard's HPARAMS tab.

TensorBoard takes the description of all columns from any one run, so each run describes them all:
which differ, and what they may be. torch's own `hparams` says neither, shows truth values as
numbers, and names no row.
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

HyperparameterValue = bool | int | float | str


@dataclass(frozen=True)
class Hyperparameter:
    """A run's value, and what it is like among the runs of its study.

    Attributes:
        value: Of this run.
        differs: Whether other runs may have another; TensorBoard shows those columns first.
        choices: All values that a run may have, where they can be counted.
    """

    value: HyperparameterValue
    differs: bool = True
    choices: Sequence[HyperparameterValue] = ()

    def data_type(self) -> int:
        """Return TensorBoard's number of the type that all values have in common."""
        kinds = {type(value) for value in (self.value, *self.choices)}
        common = DATA_TYPE_FLOAT64 if kinds <= {int, float} else DATA_TYPE_STRING
        return int(DATA_TYPE_BOOL if kinds == {bool} else common)


def row_summaries(
    name: str, hyperparameters: Mapping[str, Hyperparameter], metrics: Mapping[str, str]
) -> tuple[Summary, Summary]:
    """Return what makes a run a row: the columns, and its values.

    Args:
        name: Of the row; rows of one name would be taken for repetitions of one trial.
        hyperparameters: By setting; a column is headed by the last part of a dotted key.
        metrics: Headings of the columns by the scalar tags whose last point they show.
    """
    columns = Experiment(
        hparam_infos=[_column(key, shown) for key, shown in hyperparameters.items()],
        metric_infos=[
            MetricInfo(name=MetricName(tag=tag), display_name=heading)
            for tag, heading in metrics.items()
        ],
    )
    values = Struct()
    values.update(
        {key: _converted(shown.value, shown.data_type()) for key, shown in hyperparameters.items()}
    )
    start = SessionStartInfo(group_name=name, hparams=values.fields)
    return (
        _summary(metadata.EXPERIMENT_TAG, HParamsPluginData(experiment=columns)),
        _summary(metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=start)),
    )


def _column(key: str, shown: Hyperparameter) -> HParamInfo:
    data_type = shown.data_type()
    column = HParamInfo(
        name=key,
        display_name=key.rpartition(".")[2],
        type=data_type,
        differs=shown.differs,
    )
    # TensorBoard offers a range for numbers, and a tick for each possible value of all others.
    if data_type != DATA_TYPE_FLOAT64:
        values = dict.fromkeys((*shown.choices, shown.value))
        column.domain_discrete.extend(_converted(value, data_type) for value in values)
    return column


def _converted(value: HyperparameterValue, data_type: int) -> HyperparameterValue:
    return str(value) if data_type == DATA_TYPE_STRING else value


def _summary(tag: str, content: HParamsPluginData) -> Summary:
    described = metadata.create_summary_metadata(content)
    return Summary(value=[Summary.Value(tag=tag, metadata=described, tensor=metadata.NULL_TENSOR)])
