"""Runs a program that may write only below the named folders, as a container with `readOnlyRootFilesystem`.

A script: `python -I -S read_only_root.py FOLDER... -- PROGRAM [ARGUMENT...]`. The kernel's Landlock confines the
process and its children. Where the kernel has no Landlock, the program runs without the limit.
"""

import ctypes
import os
import struct
import sys
from collections.abc import Callable, Sequence

#: Landlock's system calls, which have the same numbers on every architecture: linux/landlock.h.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
PATH_BENEATH, RULESET_VERSION, NO_NEW_PRIVILEGES = 1, 1, 38
#: The first version that can forbid to truncate a file.
VERSION = 3
#: Rights of a file: to be written and truncated. Those of a folder: to add, remove and move entries, too.
OF_FILES = 1 << 1 | 1 << 14
WRITES = OF_FILES | sum(1 << bit for bit in range(4, 14))

_libc = ctypes.CDLL(None, use_errno=True)
_call: Callable[..., int] = _libc.syscall


def is_supported() -> bool:
    """Whether the kernel can confine a process."""
    return _call(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(RULESET_VERSION)) >= VERSION


def confine(folders: Sequence[str]) -> None:
    """Takes from this process, for good, the right to write outside of these folders. Raises `OSError`."""
    rights = struct.pack("=Q", WRITES)
    rules = _checked(_call(CREATE_RULESET, rights, ctypes.c_size_t(len(rights)), ctypes.c_uint(0)))
    for folder in folders:
        opened = os.open(folder, os.O_PATH)
        # Packed, as in the header: the rights, then the folder.
        rule = struct.pack("=Qi", WRITES if os.path.isdir(folder) else OF_FILES, opened)
        _checked(_call(ADD_RULE, rules, PATH_BENEATH, rule, ctypes.c_uint(0)))
        os.close(opened)
    _checked(_libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0))
    _checked(_call(RESTRICT_SELF, rules, ctypes.c_uint(0)))
    os.close(rules)


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def main(arguments: Sequence[str]) -> None:
    """Replaces this process by the program."""
    end = arguments.index("--")
    if is_supported():
        confine(arguments[:end])
    os.execvp(arguments[end + 1], arguments[end + 1 :])


if __name__ == "__main__":
    main(sys.argv[1:])
