"""Triggers in the database that count, beside the program, what is told and reported."""

from collections import Counter

import sqlalchemy

FINISHED = "('COMPLETE', 'PRUNED', 'FAIL')"
SQLITE = (
    "CREATE TABLE audit (what TEXT, trial_id INTEGER, step INTEGER)",
    f"""CREATE TRIGGER told AFTER UPDATE OF state ON trials WHEN new.state IN {FINISHED}
    BEGIN INSERT INTO audit VALUES ('told', new.trial_id, NULL); END""",
    """CREATE TRIGGER reported AFTER INSERT ON trial_intermediate_values
    BEGIN INSERT INTO audit VALUES ('reported', new.trial_id, new.step); END""",
    """CREATE TRIGGER reported_again AFTER UPDATE ON trial_intermediate_values
    BEGIN INSERT INTO audit VALUES ('reported', new.trial_id, new.step); END""",
)
POSTGRESQL = (
    "CREATE TABLE audit (what TEXT, trial_id INTEGER, step INTEGER)",
    """CREATE FUNCTION note_told() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO audit VALUES ('told', new.trial_id, NULL); RETURN NULL; END $$""",
    """CREATE FUNCTION note_reported() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO audit VALUES ('reported', new.trial_id, new.step); RETURN NULL; END $$""",
    f"""CREATE TRIGGER told AFTER UPDATE OF state ON trials FOR EACH ROW
    WHEN (new.state::text IN {FINISHED}) EXECUTE FUNCTION note_told()""",
    """CREATE TRIGGER reported AFTER INSERT OR UPDATE ON trial_intermediate_values FOR EACH ROW
    EXECUTE FUNCTION note_reported()""",
)


def install_audit(url: str) -> None:
    """Count from now on."""
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:
        for statement in SQLITE if engine.dialect.name == "sqlite" else POSTGRESQL:
            connection.exec_driver_sql(statement)


def read_audit(url: str) -> tuple[Counter[int], Counter[tuple[int, int]]]:
    """Return how often each trial was told, and each step of each trial reported."""
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    with engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT what, trial_id, step FROM audit").all()
    told = Counter(trial_id for what, trial_id, _ in rows if what == "told")
    return told, Counter((trial_id, step) for what, trial_id, step in rows if what == "reported")
