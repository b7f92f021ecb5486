"""Memory: large blocks, of bodies and pictures, go back to the system when they are freed."""

import ctypes

#: Bytes from which on a block is the system's own, and so goes back to it.
LARGE = 1024 * 1024
#: glibc's name for it in `mallopt`.
_MMAP_THRESHOLD = -3


def return_large_blocks() -> None:
    """Keep glibc from learning otherwise; other C libraries are left as they are.

    Once a block was freed, glibc keeps all of its size, up to 32 MiB, for itself, and small ones settle between them: a
    process that read a few large bodies would stay large for ever.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_MMAP_THRESHOLD, LARGE)
