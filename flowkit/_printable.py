"""Escape text of others before it reaches a terminal. Imports neither Keras nor a backend."""

LONGEST = 2_000  # characters of a printed line


def printable(text: object, most: int | None = LONGEST) -> str:
    r"""Return `text` with what is not printable escaped, and at most `most` characters of it.

    Text from files of others goes through here before it reaches a terminal, which obeys escape sequences.

    >>> printable("a\x1b[2Jb"), printable("a" * 30, most=10)
    ('a\\x1b[2Jb', 'aaaaaaaaaa... (20 more characters)')
    """
    text = str(text)
    cut = text[:most]
    more = f"... ({len(text) - len(cut)} more characters)" if len(text) > len(cut) else ""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut) + more
