"""Remembers when a breaker barred a provider: the table `breakers` keeps only how things stand."""

from typing import Any

REMEMBER = """
CREATE TABLE IF NOT EXISTS chaos_breakers (
    number bigserial PRIMARY KEY,
    provider text NOT NULL,
    opened_at timestamptz,
    noted_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE OR REPLACE FUNCTION chaos_note_breaker() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        INSERT INTO chaos_breakers (provider) VALUES (OLD.provider);
    ELSE
        INSERT INTO chaos_breakers (provider, opened_at) VALUES (NEW.provider, NEW.opened_at);
    END IF;
    RETURN NULL;
END $$;
CREATE OR REPLACE TRIGGER chaos_breakers AFTER INSERT OR UPDATE OR DELETE ON breakers
    FOR EACH ROW EXECUTE FUNCTION chaos_note_breaker();
"""


def remember(connection: Any) -> None:
    """Begin to remember."""
    with connection, connection.cursor() as cursor:
        cursor.execute(REMEMBER)
