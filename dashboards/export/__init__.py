"""Trials and epochs of a study for other programs: data frames, Parquet, CSV and MLflow."""
