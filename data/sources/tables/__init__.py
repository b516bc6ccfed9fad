"""Tables: parquet in any layout of the hub, saved data sets, and tar shards."""
