"""What a supervisor may do to processes of other containers, checked before it relies on it, told in one line.

A supervisor in a container of its own needs the host's PID namespace (`pid: host`), so that process numbers mean the
same on both sides, and these capabilities. Only SYS_PTRACE is not among those that Docker gives by default; it also
opens process_vm_readv, pidfd_getfd and ptrace in Docker's seccomp profile. The others are needed to make and open files
as the program would: as its user, or as root with root's rights.

AppArmor: the profile `docker-default` lets a process trace its equals, so two containers of that profile get along; a
program under a profile of its own can be supervised by an unconfined one only (`security_opt: [apparmor=unconfined]`,
for the supervisor; the program's own profile stays as it is). User namespaces: the supervisor must live in the
program's user namespace or in one above it; with `userns-remap` that is `userns_mode: host`, which `pid: host` asks for
in any case. Nothing here changes rights.
"""

_CAPABILITIES = {
    "CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "FSETID": 4, "KILL": 5, "SETGID": 6, "SETUID": 7, "SYS_PTRACE": 19,
}  # fmt: skip


def effective_capabilities(status: dict[str, str]) -> int:
    """The set of a thread, a bit each, out of the fields of its /proc/PID/status."""
    return int(status["CapEff"], 16)


def lacking(capabilities: int) -> str:
    """Which of the needed capabilities are not in a set, in words; empty when none is lacking."""
    return ", ".join(name for name, bit in _CAPABILITIES.items() if not capabilities >> bit & 1)
