"""Makes glibc return the memory of large blocks (bodies, images) to the system when they are freed."""

import ctypes

#: Bytes from which a block is mapped on its own, and so unmapped when it is freed.
LARGE = 1024 * 1024
#: M_MMAP_THRESHOLD of `mallopt`.
_MMAP_THRESHOLD = -3


def return_large_blocks() -> None:
    """Fixes glibc's threshold, which otherwise grows; has no effect with other C libraries.

    After a large block is freed, glibc by default keeps all blocks up to its size, at most 32 MiB, in its heap, where
    small blocks end up between them: a process that read a few large bodies would never become small again.
    """
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        library.mallopt(_MMAP_THRESHOLD, LARGE)
