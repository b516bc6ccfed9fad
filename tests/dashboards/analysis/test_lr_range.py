"""Records of range tests, read back."""

import json
from pathlib import Path

import pytest

from dashboards.analysis.lr_range import RangeRecord, load_range_record
from dashboards.errors import DashboardError
from model.rate_curve import RateCurve

CURVE = RateCurve((0.1, 0.2), (2.0, 1.0), None)


def test_range_record_comes_back_and_may_be_missing(tmp_path: Path) -> None:
    path = tmp_path / "lr-range.json"
    assert load_range_record(path) is None
    path.write_text(json.dumps({"curve": CURVE.as_dict(), "suggested_rate": 0.1, "n_steps": 2}))
    assert load_range_record(path) == RangeRecord(CURVE, 0.1, 2)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"[" * 100_000,
        b'{"suggested_rate": null, "n_steps": 2}',
        b'{"curve": {"rates": [1]}, "suggested_rate": null, "n_steps": 2}',
        b'{"curve": {"rates": ["a"], "losses": [1], "diverged_at": null},'
        b' "suggested_rate": null, "n_steps": 2}',
        b'{"curve": {"rates": [1], "losses": [], "diverged_at": null},'
        b' "suggested_rate": null, "n_steps": 2}',
    ],
)
def test_damaged_range_record_is_rejected_by_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "lr-range.json"
    path.write_bytes(content)
    with pytest.raises(DashboardError, match=r"lr-range\.json is not .*restore it, or remove it"):
        load_range_record(path)
