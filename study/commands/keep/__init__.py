"""The studies of a database: listed, deleted, repaired, exported."""
