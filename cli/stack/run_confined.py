"""Runs a program without root's rights, in files of its own; a script, since it changes its process for good.

PostgreSQL refuses to run as root. Where everybody may pass the folders above its data, an ordinary user without any
capability will do. Below a folder that is root's alone there are two more ways, each with less than root has:

- `--override`: that user, with CAP_DAC_OVERRIDE as its only capability. Containers have it; they lack
  CAP_DAC_READ_SEARCH, which would be less.
- `--namespace`: a user namespace in which no id is mapped. The process has no capability outside, keeps its own files,
  and sees itself as the system's overflow user. Any process may do this where user namespaces are allowed.

In every way the kernel's Landlock, where there is one, then takes away all files but those that are named: so
CAP_DAC_OVERRIDE helps to pass a folder, and not to read or change what lies in it.

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
#: What a rule for a file, and not for a folder, may contain.
OF_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE
READ = EXECUTE | READ_FILE | READ_DIR
#: Every right that a version of Landlock knows, from reading to cutting a file; version 1 cannot allow a rename
#: between folders, and so is not used.
ALL_BY_VERSION = {2: (1 << 14) - 1, 3: (1 << 15) - 1}

#: What programs and their libraries read of a system.
SYSTEM = ("/usr", "/lib", "/lib64", "/bin", "/sbin", "/dev/urandom", "/dev/zero")
SYSTEM_FILES = ("ld.so.cache", "passwd", "group", "nsswitch.conf", "hosts", "localtime", "resolv.conf", "gai.conf")
#: Shared memory lies in a folder.
DEVICES = ("/dev/null", "/dev/shm")  # noqa: S108

libc = ctypes.CDLL(None, use_errno=True)


def main(arguments: Sequence[str]) -> int:
    """Become what is asked for and run the program in this process's place; returns 126 when that cannot be."""
    asked = _parser().parse_args(arguments)
    try:
        if asked.namespace:
            _check(libc.unshare(CLONE_NEWUSER), "make a user namespace")
        else:
            _become(asked.user, asked.group, override=asked.override)
        if sys.platform == "linux":
            _check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "give up new privileges")
            _confine(asked.write, asked.read)
        _reach(asked.write, asked.program[0])
        os.execv(asked.program[0], asked.program)  # noqa: S606 - it takes this process's place
    except OSError as error:
        print(f"run_confined: {error.strerror}: {error.filename or asked.program[0]}", file=sys.stderr)
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
    """Take another user's place for good. Without `override` the kernel drops every capability at that."""
    if override:
        # Besides keeping the capability, this lets access(2) honour it, by which initdb looks for its programs.
        _check(libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0), "keep a capability")
    os.setgroups([])
    os.setgid(group)
    os.setuid(user)
    if override:
        _keep(CAP_DAC_OVERRIDE)


def _keep(capability: int) -> None:
    """Drop every capability but one, and hand that one on to programs that are run."""
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION_3, 0)
    bit = 1 << capability
    # Effective, permitted, inheritable: of capabilities 0 to 31, then of the higher ones.
    sets = (ctypes.c_uint32 * 6)(bit, bit, bit, 0, 0, 0)
    _check(libc.capset(header, sets), "keep a capability")
    _check(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0), "keep a capability")


def _confine(write: str, read: str) -> None:
    """Take away all files but the named ones; nothing where the kernel has no Landlock."""
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
    """What stays allowed, by path."""
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
    """Look whether the folder and the program can be reached. Raises `OSError`."""
    with os.scandir(write):
        pass
    if not os.access(write, os.W_OK | os.X_OK):
        raise PermissionError(0, "is not writable", write)
    with open(program, "rb"):
        pass


def _call(number: int, *arguments: object) -> int:
    """A system call that the C library has no function for."""
    return int(libc.syscall(ctypes.c_long(number), *map(_word, arguments)))


def _word(argument: object) -> object:
    return ctypes.c_long(argument) if isinstance(argument, int) else argument


def _check(result: int, what: str) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"cannot {what}: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
