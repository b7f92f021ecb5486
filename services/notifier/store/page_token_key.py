"""The table `page_token_key`: the key that authenticates page tokens."""

from common.sql import Connection, text


def read(connection: Connection) -> bytes:
    """Returns the key, which a migration has created."""
    return bytes(connection.execute(text("SELECT key FROM page_token_key")).scalar_one())
