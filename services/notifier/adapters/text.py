"""Text of receivers, made safe to store and to show."""


def one_line(text: str, limit: int) -> str:
    """Returns up to `limit` characters of a text on one line, without control or invisible characters."""
    # A character that is removed must not join the words around it.
    printable = "".join(character if character.isprintable() else " " for character in text)
    return " ".join(printable.split())[:limit].rstrip()
