"""The table `secrets`: random keys that all replicas share."""

from sqlalchemy import Connection, text


def read(connection: Connection, name: str) -> bytes:
    """The key of this name, which a migration has made."""
    value = connection.execute(text("SELECT value FROM secrets WHERE name = :name"), {"name": name}).scalar_one()
    return bytes(value)
