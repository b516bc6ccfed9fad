"""Settings of the database and the run folders: operational, never part of a study's protocol."""

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

GroupWritable = bool | Literal["auto"]


class StorageConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Where a study is kept and how patient its workers are."""

    url: str = Field(
        "sqlite:///runs/study.db",
        description="Database: sqlite:///FILE or postgresql+psycopg://USER@HOST/NAME",
    )
    runs: Path = Field(Path("runs"), description="Folder of all runs, shared by all workers")
    heartbeat_seconds: float = Field(
        30.0, gt=0, description="Seconds between two heartbeats of a worker"
    )
    outage_seconds: float = Field(
        300.0,
        ge=0,
        description="How long calls to an unreachable database are retried, in seconds",
    )
    grace_seconds: float = Field(
        600.0, gt=0, description="Age of a heartbeat, in seconds, after which a trial is reclaimed"
    )
    max_retries: int = Field(2, ge=0, description="Retries of a lost trial without a new epoch")

    kept_trials: int = Field(
        5, ge=0, description="Best complete trials whose weights are kept; others are removed"
    )
    group_writable: GroupWritable = Field(
        "auto",
        description="Whether the group may write what is created; auto: as in the folder",
    )

    @field_validator("group_writable", mode="plain")
    @classmethod
    def _auto_or_a_truth_value(cls, value: Any) -> GroupWritable:
        if not isinstance(value, bool) and value != "auto":
            raise ValueError(f"must be auto, true or false, got {value!r}: see `study config`")
        return "auto" if value == "auto" else bool(value)

    @model_validator(mode="after")
    def _grace_outlasts_an_outage(self) -> "StorageConfig":
        least = self.outage_seconds + 2 * self.heartbeat_seconds
        if self.grace_seconds <= least:
            raise ValueError(
                f"grace_seconds must exceed outage_seconds + 2 x heartbeat_seconds = {least:g}, "
                f"got {self.grace_seconds:g}: raise it, or lower the other two"
            )
        return self


def shown_url(url: str) -> str:
    """Return a database address without its secrets, also one that cannot be parsed."""
    text = re.sub(r"((?:ssl)?password=)[^&]*", r"\1***", url, flags=re.IGNORECASE)
    scheme, slashes, rest = text.partition("//") if "//" in text else ("", "", text)
    user, colon, secret = rest.partition(":")
    if scheme.startswith("sqlite") or not colon or "@" not in secret:
        return text
    return f"{scheme}{slashes}{user}:***@{secret.rpartition('@')[2]}"
