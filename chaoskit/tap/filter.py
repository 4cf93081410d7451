"""The BPF program that decides, in the kernel, which system calls wait for the supervisor.

It sees numbers and register arguments only, never memory, so calls with a path or a descriptor are all watched; what
they refer to is the supervisor's question. Everything that is not named here is allowed and costs nothing: the kernel
remembers which numbers a filter always allows. Calls of a foreign ABI (i386, x32) are refused with ENOSYS, since
their numbers would slip through.
"""

import errno
import struct

from chaoskit.tap.launcher import HANDOVER_FLAGS
from chaoskit.tap.syscalls import FICLONE, FICLONERANGE, Architecture, architecture

_LOAD, _JUMP_EQ, _JUMP_GE, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _NOTIFY, _ERRNO = 0x7FFF0000, 0x7FC00000, 0x00050000
_NR_OFFSET, _ARCH_OFFSET, _ARGUMENTS_OFFSET = 0, 4, 16
_O_CHANGING = 0o100 | 0o1000  # O_CREAT and O_TRUNC have the same value on both machines.
_RLIMIT_FSIZE = 1
_RLIMIT_FSIZE = 1
_MAP_SHARED, _MAP_ANONYMOUS, _PROT_WRITE = 0x01, 0x20, 0x2

_Step = tuple[int, int, str, str]  # (opcode, constant, label when true, label when false)
_NEXT = ""


def _argument(index: int) -> _Step:
    return _LOAD, _ARGUMENTS_OFFSET + 8 * index, _NEXT, _NEXT


def _when_set(index: int, mask: int) -> list[_Step]:
    return [_argument(index), (_JUMP_SET, mask, "notify", "allow")]


def _when_equal(index: int, value: int) -> list[_Step]:
    return [_argument(index), (_JUMP_EQ, value, "notify", "allow")]


# The calls of which only some are watched; these steps look at their arguments.
_CONDITIONS: dict[str, list[_Step]] = {
    "open": _when_set(1, _O_CHANGING),
    "openat": _when_set(2, _O_CHANGING),
    "sendmsg": [_argument(2), (_JUMP_EQ, HANDOVER_FLAGS, "allow", "notify")],
    "setrlimit": _when_equal(0, _RLIMIT_FSIZE),
    "prlimit64": _when_equal(1, _RLIMIT_FSIZE),
    "ioctl": [
        _argument(1),
        (_JUMP_EQ, FICLONE, "notify", _NEXT),
        (_JUMP_EQ, FICLONERANGE, "notify", "allow"),
    ],
    "mmap": [
        _argument(3),
        (_JUMP_SET, _MAP_ANONYMOUS, "allow", _NEXT),
        (_JUMP_SET, _MAP_SHARED, _NEXT, "allow"),
        *_when_set(2, _PROT_WRITE),
    ],
}


def _dispatch(machine: Architecture) -> list[_Step]:
    steps: list[_Step] = [(_LOAD, _ARCH_OFFSET, _NEXT, _NEXT)]
    steps += [(_JUMP_EQ, machine.audit_word, _NEXT, "refuse"), (_LOAD, _NR_OFFSET, _NEXT, _NEXT)]
    if machine.foreign_from is not None:
        steps.append((_JUMP_GE, machine.foreign_from, "refuse", _NEXT))
    for name, number in machine.numbers.items():
        steps.append((_JUMP_EQ, number, name if name in _CONDITIONS else "notify", _NEXT))
    steps.append((_RETURN, _ALLOW, _NEXT, _NEXT))
    return steps


def _layout(machine: Architecture) -> tuple[list[_Step], dict[str, int]]:
    steps = _dispatch(machine)
    blocks = {name: code for name, code in _CONDITIONS.items() if name in machine.numbers}
    blocks["notify"] = [(_RETURN, _NOTIFY, _NEXT, _NEXT)]
    blocks["allow"] = [(_RETURN, _ALLOW, _NEXT, _NEXT)]
    blocks["refuse"] = [(_RETURN, _ERRNO | errno.ENOSYS, _NEXT, _NEXT)]
    labels: dict[str, int] = {}
    for label, code in blocks.items():
        labels[label] = len(steps)
        steps += code
    return steps, labels


def compile_filter(machine: str | None = None) -> bytes:
    """The filter as an array of `struct sock_filter` (8 bytes each), for `chaoskit.tap.launcher.install`."""
    steps, labels = _layout(architecture(machine))
    code = bytearray()
    for index, (opcode, constant, when_true, when_false) in enumerate(steps):
        offsets = [labels[label] - index - 1 if label else 0 for label in (when_true, when_false)]
        code += struct.pack("<HBBI", opcode, *offsets, constant)
    return bytes(code)
