"""The table `secrets`: random keys that all replicas share."""

from common.sql import Connection, text


def read(connection: Connection, name: str) -> bytes:
    """Returns the key of this name, which a migration has created."""
    value = connection.execute(text("SELECT value FROM secrets WHERE name = :name"), {"name": name}).scalar_one()
    return bytes(value)
