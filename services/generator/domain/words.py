"""Words of vendors, bounded: what they say is passed on in facts, and a fact has to fit into one message."""

#: Most bytes of each, by what it is. A fact may have ten pictures and as many calls.
REVISED_PROMPT, MESSAGE, NAME = 16 * 1024, 2000, 200
#: An operation's name is whole or of no use: a longer one is left out.
OPERATION = 4096
CUT = " … (cut)"


def bounded(words: str, most: int) -> str:
    """Words in at most so many bytes of UTF-8; longer ones end between two characters, and say that they are cut.

    Characters that no database takes are replaced: a paid call's outcome must not be refused for them.
    """
    written = words.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace")
    if len(written) > most:
        written = written[: most - len(CUT.encode())].decode("utf-8", "ignore").encode() + CUT.encode()
    return written.decode()
