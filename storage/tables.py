"""Our own tables, beside Optuna's in the same database.

`trial_id` is Optuna's row number; no foreign key ties us to its schema.
"""

from sqlalchemy import JSON, Column, Float, Integer, MetaData, String, Table, Text

SCHEMA_VERSION = 2

metadata = MetaData()

service_version = Table(
    "service_version",
    metadata,
    Column("version", Integer, primary_key=True),
)

protocols = Table(
    "protocols",
    metadata,
    Column("study_name", String(256), primary_key=True),
    Column("study_key", String(32), nullable=False, unique=True),
    Column("budget", Integer, nullable=False),
    Column("configuration", JSON, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("facts", JSON, nullable=False),
    Column("created_at", Float, nullable=False),
)

attempts = Table(
    "attempts",
    metadata,
    Column("trial_id", Integer, primary_key=True, autoincrement=False),
    Column("attempt", Integer, primary_key=True, autoincrement=False),
    Column("owner", String(256), nullable=False),
    Column("fruitless_attempts", Integer, nullable=False),
    Column("epochs_at_start", Integer, nullable=False),
    Column("started_at", Float, nullable=False),
    Column("beat_at", Float, nullable=False),
    Column("ending", String(32)),
)

epochs = Table(
    "epochs",
    metadata,
    Column("trial_id", Integer, primary_key=True, autoincrement=False),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    *(
        Column(f"{split}_{metric}", Float, nullable=False)
        for split in ("train", "validation")
        for metric in ("loss", "accuracy", "top5_accuracy", "macro_f1")
    ),
    Column("learning_rate", Float, nullable=False),
    Column("gradient_norm", Float, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("images_per_second", Float, nullable=False),
)

test_evaluations = Table(
    "test_evaluations",
    metadata,
    Column("trial_id", Integer, primary_key=True, autoincrement=False),
    Column("study_name", String(256), nullable=False),
    Column("searched_trial", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("checkpoint_sha256", String(64), nullable=False),
    Column("claimed_at", Float, nullable=False),
    Column("metrics", JSON),
)
