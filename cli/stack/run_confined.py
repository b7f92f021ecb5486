"""Runs a program without root's rights, confined to named files; a script, since its process cannot change back.

PostgreSQL refuses to run as root. Where every user may pass the folders above its data, an ordinary user without any
capability is enough. Below a folder that only root may enter there are two more ways, each with fewer rights than root:

- `--override`: the ordinary user, with CAP_DAC_OVERRIDE as its only capability. Containers have that capability; they
  lack CAP_DAC_READ_SEARCH, which would allow less.
- `--namespace`: a user namespace in which no id is mapped. The process has no capability outside, keeps its own files,
  and sees itself as the system's overflow user. Any process may do this where user namespaces are allowed.

In every way the kernel's Landlock, where the kernel has it, then takes away all files except the named ones: so
CAP_DAC_OVERRIDE helps to pass a folder, but not to read or change its content.

Usage: python -I -S run_confined.py HOW --write FOLDER --read FOLDER -- PROGRAM [ARGUMENT...]
"""

import argparse
import ctypes
import os
import sys
from collections.abc import Iterator, Sequence

# From linux/prctl.h, linux/securebits.h, linux/capability.h and linux/sched.h.
PR_SET_SECUREBITS, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 28, 38, 47, 2
SECBIT_NO_SETUID_FIXUP = 1 << 2
CAPABILITY_VERSION_3, CAP_DAC_OVERRIDE = 0x20080522, 1
CLONE_NEWUSER = 0x10000000

# From linux/landlock.h; the numbers of the system calls are the same on every architecture.
LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446
LANDLOCK_RULE_PATH_BENEATH, LANDLOCK_CREATE_RULESET_VERSION = 1, 1
EXECUTE, WRITE_FILE, READ_FILE, READ_DIR, TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
#: Rights that a rule for a file may have; the others are for folders.
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE
READ = EXECUTE | READ_FILE | READ_DIR
#: All rights that a version of Landlock knows, up to truncating a file; version 1 is not used, as it cannot allow a
#: rename between folders.
ALL_BY_VERSION = {2: (1 << 14) - 1, 3: (1 << 15) - 1}

#: Files of the system that programs and their libraries read.
SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/dev/urandom", "/dev/zero")
SYSTEM_FILES = ("ld.so.cache", "passwd", "group", "nsswitch.conf", "hosts", "localtime", "resolv.conf", "gai.conf")
#: Devices that programs write to; shared memory is a folder.
DEVICES = ("/dev/null", "/dev/shm")  # noqa: S108

libc = ctypes.CDLL(None, use_errno=True)


def main(arguments: Sequence[str]) -> int:
    """Gives up rights and runs the program in place of this process; returns 126 when that fails."""
    options = _parser().parse_args(arguments)
    try:
        if options.namespace:
            _check(libc.unshare(CLONE_NEWUSER), "make a user namespace")
        else:
            _become(options.user, options.group, override=options.override)
        if sys.platform == "linux":
            _check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "give up new privileges")
            _confine(options.write, options.read)
        _reach(options.write, options.program[0])
        os.execv(options.program[0], options.program)  # noqa: S606 - it replaces this process
    except OSError as error:
        print(f"run_confined: {error.strerror}: {error.filename or options.program[0]}", file=sys.stderr)
        return 126


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Run a program without root's rights, in files of its own.")
    parser.add_argument("--namespace", action="store_true")
    parser.add_argument("--user", type=int)
    parser.add_argument("--group", type=int)
    parser.add_argument("--override", action="store_true")
    parser.add_argument("--write", required=True)
    parser.add_argument("--read", required=True)
    parser.add_argument("program", nargs="+")
    return parser


def _become(user: int, group: int, *, override: bool) -> None:
    """Becomes another user for good. Without `override` the kernel drops every capability then."""
    if override:
        # This keeps the capability, and lets access(2) honour it, with which initdb finds its programs.
        _check(libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0), "keep a capability")
    os.setgroups([])
    os.setgid(group)
    os.setuid(user)
    if override:
        _keep_capability(CAP_DAC_OVERRIDE)


def _keep_capability(capability: int) -> None:
    """Drops every capability except one, which programs that this process runs inherit."""
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    bit = 1 << capability
    # Effective, permitted, inheritable: of capabilities 0 to 31, then of the higher ones.
    sets = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
    _check(libc.capset(header, sets), "keep a capability")
    _check(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0), "keep a capability")


def _confine(write: str, read: str) -> None:
    """Takes away all files except the named ones; does nothing where the kernel has no Landlock."""
    version = _call(LANDLOCK_CREATE_RULESET, None, 0, LANDLOCK_CREATE_RULESET_VERSION)
    rights = ALL_BY_VERSION.get(min(version, 3))
    if rights is None:
        return
    handled = ctypes.c_uint64(rights)
    rules = _call(LANDLOCK_CREATE_RULESET, ctypes.byref(handled), ctypes.sizeof(handled), 0)
    _check(rules, "confine the program")
    for path, allowed in _allowed(write, read, rights):
        _allow(rules, path, allowed)
    _check(_call(LANDLOCK_RESTRICT_SELF, rules, 0), "confine the program")
    os.close(rules)


def _allowed(write: str, read: str, rights: int) -> Iterator[tuple[str, int]]:
    """Yields paths and the rights that stay allowed for them."""
    for path in (write, *DEVICES):
        yield path, rights
    for path in (read, *SYSTEM, *(f"/etc/{name}" for name in SYSTEM_FILES)):
        yield path, READ


def _allow(rules: int, path: str, rights: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    if not os.path.isdir(path):
        rights &= OF_FILES
    # A packed structure: the rights, then the file.
    rule = rights.to_bytes(8, sys.byteorder) + opened.to_bytes(4, sys.byteorder)
    _check(_call(LANDLOCK_ADD_RULE, rules, LANDLOCK_RULE_PATH_BENEATH, rule, 0), f"allow {path}")
    os.close(opened)


def _reach(write: str, program: str) -> None:
    """Checks that the folder and the program can be reached. Raises `OSError`."""
    with os.scandir(write):
        pass
    if not os.access(write, os.W_OK | os.X_OK):
        raise PermissionError(0, "is not writable", write)
    with open(program, "rb"):
        pass


def _call(number: int, *arguments: object) -> int:
    """Makes a system call that the C library has no function for."""
    return int(libc.syscall(ctypes.c_long(number), *map(_c_argument, arguments)))


def _c_argument(argument: object) -> object:
    return ctypes.c_long(argument) if isinstance(argument, int) else argument


def _check(result: int, what: str) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"cannot {what}: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
