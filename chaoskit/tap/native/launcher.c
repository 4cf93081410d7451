/*
 * Starts a program under the tap in any image: install the filter, hand the listener over, become the program.
 *
 *     launcher --socket /run/chaoskit/worker-2.sock -- COMMAND [ARGUMENT...]
 *
 * The twin of launcher.py for images without Python, a shell, or even a C library: it is static and talks to the
 * kernel only. It execs and never forks, so the program has the process id, parent, user, groups, directory,
 * environment, descriptors, limits and signal settings that it would have had alone. What it adds is no_new_privs (a
 * set-user-id program that is started later gains nothing) and the filter, both for good.
 *
 * It does not know which system calls are watched: the supervisor sends the filter and gets the listener back. The
 * listener travels by sendmsg, a call that the filter itself watches, with one combination of flags that is let
 * through (HANDOVER_FLAGS, which chaoskit/tap/filter.py shares with this file).
 *
 * COMMAND is found as execvp finds it, in the PATH of the environment, with one difference: a file that is neither an
 * executable of this machine nor starts with #! is refused (ENOEXEC) and not given to a shell. A container engine
 * refuses it too, and there may be no shell.
 *
 * Exit codes, when there is no program to become: 125 the tap is unavailable (or wrong arguments), 126 COMMAND is
 * there and cannot be executed, 127 COMMAND is not found. One line on standard error says which and why.
 */

#include <asm/errno.h>
#include <asm/fcntl.h>
#include <asm/socket.h>
#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/filter.h>
#include <linux/limits.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <linux/un.h>
#include <stdbool.h>
#include <stddef.h>

enum { TAP_UNAVAILABLE = 125, NOT_EXECUTABLE = 126, NOT_FOUND = 127 };

/* As execvp does in an environment without PATH, and as launcher.py does. */
#define DEFAULT_PATH "/bin:/usr/bin"
/* MSG_CONFIRM, DONTROUTE, EOR, MORE and NOSIGNAL together: no program sends like this. */
#define HANDOVER_FLAGS (0x800 | 0x4 | 0x80 | 0x8000 | 0x4000)
/* The supervisor is there first and answers at once. Whoever finds it stopped shall not wait for ever. */
#define ANSWER_LIMIT_S 30

/* What the kernel's headers leave to the C library. */
#define SOCK_SEQPACKET_CLOEXEC (5 | O_CLOEXEC)
#define AF_UNIX 1
#define SCM_RIGHTS 1
#define MSG_TRUNC 0x20
#define X_OK 1
#define STDERR 2

struct part {
    const void *start;
    size_t length;
};

struct message {
    void *name;
    int name_length;
    struct part *parts;
    size_t parts_count;
    void *control;
    size_t control_length;
    int flags;
};

struct rights {
    size_t length;
    int level, type;
    int fd;
};

struct time_limit {
    long seconds, microseconds;
};

/* What is to be started, for the messages too. */
struct order {
    const char *socket;
    char **command;
    char **environment;
};

/* --- the kernel: the result, or the negative number of the error --- */

static long kernel(long number, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
#else
#error "the tap knows x86_64 and aarch64 only"
#endif
}

#define CALL6(name, a, b, c, d, e, f) \
    kernel(__NR_##name, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define CALL5(name, a, b, c, d, e) CALL6(name, a, b, c, d, e, 0)
#define CALL3(name, a, b, c) CALL6(name, a, b, c, 0, 0, 0)

/* The kernel enters here: the stack holds the number of arguments, the arguments, and behind a null the environment. */
#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n xor %ebp, %ebp\n mov %rsp, %rdi\n and $-16, %rsp\n call launch\n");
#else
__asm__(".globl _start\n_start:\n mov x29, #0\n mov x30, #0\n mov x0, sp\n and sp, x0, #-16\n bl launch\n");
#endif

/* --- text --- */

static size_t length_of(const char *text)
{
    size_t length = 0;
    while (text[length])
        length++;
    return length;
}

static bool starts_with(const char *text, const char *prefix)
{
    while (*prefix)
        if (*text++ != *prefix++)
            return false;
    return true;
}

static bool equal(const char *text, const char *other)
{
    return starts_with(text, other) && length_of(text) == length_of(other);
}

static bool has_slash(const char *text)
{
    while (*text)
        if (*text++ == '/')
            return true;
    return false;
}

/* There is no strerror without a C library; these are the errors that one meets here, others are told as numbers. */
static const char *text_of(long error)
{
    static char number[] = "error 0000";
    switch (error) {
    case EPERM: return "operation not permitted";
    case ENOENT: return "no such file or directory";
    case E2BIG: return "argument list too long";
    case ENOEXEC: return "exec format error";
    case EAGAIN: return "no answer in time";
    case ENOMEM: return "out of memory";
    case EACCES: return "permission denied";
    case EBUSY: return "another supervisor holds this process already";
    case ENOTDIR: return "not a directory";
    case EINVAL: return "invalid argument";
    case ETXTBSY: return "text file busy";
    case ENAMETOOLONG: return "file name too long";
    case ENOSYS: return "not implemented by this kernel";
    case ELOOP: return "too many symbolic links";
    case EPROTOTYPE: return "it is a socket of another kind";
    case ECONNRESET: return "connection reset";
    case ECONNREFUSED: return "connection refused";
    }
    for (size_t i = sizeof number - 2; number[i] != ' '; i--, error /= 10)
        number[i] = (char)('0' + error % 10);
    return number;
}

/* --- the end without a program --- */

#define MESSAGE(...) ((const char *const[]){"launcher: ", __VA_ARGS__, NULL})

/* One line, by one write, so that the lines of several programs do not mix; what would break the line is replaced. */
static _Noreturn void fail(int exit_code, const char *const *parts)
{
    static char line[PATH_MAX + 1024];
    size_t length = 0;
    for (; *parts; parts++)
        for (const char *from = *parts; *from && length < sizeof line - 1; from++)
            line[length++] = (unsigned char)*from < ' ' ? '?' : *from;
    line[length++] = '\n';
    CALL3(write, STDERR, line, length);
    for (;;)
        CALL3(exit_group, exit_code, 0, 0);
}

static _Noreturn void tap_unavailable(const struct order *order, const char *step, const char *why, const char *advice)
{
    fail(TAP_UNAVAILABLE, MESSAGE("cannot start ", order->command[0], " under the tap at ", order->socket, ": ", step,
                                  ": ", why, "; ", advice));
}

static _Noreturn void not_executable(const struct order *order, const char *program, long error)
{
    fail(NOT_EXECUTABLE, MESSAGE("cannot start ", order->command[0], " under the tap at ", order->socket, ": ", program,
                                 " cannot be executed: ", text_of(error),
                                 error == ENOEXEC ? "; it needs a #! line or to be built for this machine"
                                                  : "; check its permissions and what it is linked to"));
}

static _Noreturn void not_found(const struct order *order, const char *searched)
{
    fail(NOT_FOUND, MESSAGE("cannot start ", order->command[0], " under the tap at ", order->socket,
                            ": it is not found in ", searched, "; check the command and PATH"));
}

/* --- finding the command --- */

static const char *search_path(char **environment)
{
    for (; *environment; environment++)
        if (starts_with(*environment, "PATH="))
            return *environment + sizeof "PATH=" - 1;
    return DEFAULT_PATH;
}

/* 0, or why the file cannot be executed, as far as one can tell beforehand. */
static long reason_against(const char *file)
{
    long result = CALL3(faccessat, AT_FDCWD, file, X_OK);
    if (result < 0)
        return -result;
    /* A directory may have the same permission bits; execve calls that EACCES. */
    long directory = CALL3(openat, AT_FDCWD, file, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0)
        return 0;
    CALL3(close, directory, 0, 0);
    return EACCES;
}

static bool is_absence(long error)
{
    return error == ENOENT || error == ENOTDIR;
}

/* Writes DIRECTORY/NAME; false when there is no room. No directory means the working directory. */
static bool join(char file[PATH_MAX], const char *directory, size_t directory_length, const char *name)
{
    size_t name_length = length_of(name);
    if (directory_length + 1 + name_length >= PATH_MAX)
        return false;
    char *to = file;
    for (size_t i = 0; i < directory_length; i++)
        *to++ = directory[i];
    if (directory_length)
        *to++ = '/';
    for (size_t i = 0; i <= name_length; i++)
        *to++ = name[i];
    return true;
}

/*
 * The file to execute. It is looked for before the supervisor hears of this process: a command that is not there is no
 * life of the program.
 */
static const char *find(const struct order *order)
{
    static char file[PATH_MAX], refused[PATH_MAX];
    const char *name = order->command[0];
    if (has_slash(name)) {
        long error = reason_against(name);
        if (is_absence(error))
            not_found(order, "the file system");
        if (error)
            not_executable(order, name, error);
        return name;
    }
    const char *path = search_path(order->environment);
    long refusal = 0;
    for (const char *directory = path; *name;) {
        size_t length = 0;
        while (directory[length] && directory[length] != ':')
            length++;
        if (join(file, directory, length, name)) {
            long error = reason_against(file);
            if (!error)
                return file;
            /* Like execvp: go on, a later directory may have one that can be executed. */
            if (error == EACCES && !refusal) {
                join(refused, directory, length, name);
                refusal = error;
            }
        }
        if (!directory[length])
            break;
        directory += length + 1;
    }
    if (refusal)
        not_executable(order, refused, refusal);
    not_found(order, path);
}

/* --- under the tap --- */

static int connect_channel(const struct order *order)
{
    static const char advice[] = "chaoskit starts the supervisor first: is it there, and is its volume mounted here?";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t length = length_of(order->socket);
    if (length >= sizeof address.sun_path)
        tap_unavailable(order, "connecting", text_of(ENAMETOOLONG), "a socket's path has at most 107 bytes");
    for (size_t i = 0; i < length; i++)
        address.sun_path[i] = order->socket[i];
    long channel = CALL3(socket, AF_UNIX, SOCK_SEQPACKET_CLOEXEC, 0);
    /* Where a standard descriptor is closed the socket would take its number, and get what is meant for it. */
    if (channel >= 0 && channel <= STDERR)
        channel = CALL3(fcntl, channel, F_DUPFD_CLOEXEC, STDERR + 1);
    if (channel < 0)
        tap_unavailable(order, "making a socket", text_of(-channel), "raise the limits of this container");
    struct time_limit limit = {.seconds = ANSWER_LIMIT_S};
    CALL5(setsockopt, channel, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    CALL5(setsockopt, channel, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    long result;
    do
        result = CALL3(connect, channel, &address, sizeof address);
    while (result == -EINTR);
    if (result < 0)
        tap_unavailable(order, "connecting", text_of(-result), advice);
    return (int)channel;
}

static struct sock_fprog receive_filter(const struct order *order, int channel)
{
    static const char advice[] = "look into the supervisor's log";
    static struct sock_filter filter[BPF_MAXINSNS];
    long received;
    /* With a time limit, a process that is stopped and continued finds its call interrupted. */
    do
        received = CALL6(recvfrom, channel, filter, sizeof filter, MSG_TRUNC, 0, 0);
    while (received == -EINTR);
    if (received < 0)
        tap_unavailable(order, "waiting for the filter", text_of(-received), advice);
    if (received == 0)
        tap_unavailable(order, "waiting for the filter", "the supervisor hung up", advice);
    size_t size = (size_t)received;
    if (size % sizeof filter[0] || size > sizeof filter)
        tap_unavailable(order, "waiting for the filter", "what came is no filter", advice);
    return (struct sock_fprog){.len = (unsigned short)(size / sizeof filter[0]), .filter = filter};
}

static int install(const struct order *order, const struct sock_fprog *filter)
{
    static const char advice[] = "its kernel and its container's seccomp profile have to allow seccomp";
    long result = CALL5(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (result < 0)
        tap_unavailable(order, "setting no_new_privs", text_of(-result), advice);
    long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    long listener = CALL3(seccomp, SECCOMP_SET_MODE_FILTER, flags, filter);
    /* Kernels before 5.19 do not know the second flag; there a signal can interrupt a call that is being handled. */
    if (listener == -EINVAL)
        listener = CALL3(seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, filter);
    if (listener < 0)
        tap_unavailable(order, "installing the filter", text_of(-listener), advice);
    return (int)listener;
}

/* From here on a watched call waits for the supervisor, also a write of this file's own. */
static void hand_over(const struct order *order, int channel, int listener)
{
    static const char word[] = "listener";
    struct part part = {word, sizeof word - 1};
    struct rights rights = {offsetof(struct rights, fd) + sizeof listener, SOL_SOCKET, SCM_RIGHTS, listener};
    struct message message = {.parts = &part, .parts_count = 1, .control = &rights, .control_length = sizeof rights};
    long result;
    do
        result = CALL3(sendmsg, channel, &message, HANDOVER_FLAGS);
    while (result == -EINTR);
    /* A copy that stays open would keep the program waiting for a supervisor that is dead. */
    CALL3(close, listener, 0, 0);
    if (result < 0)
        tap_unavailable(order, "handing the listener over", text_of(-result), "look into the supervisor's log");
}

__attribute__((used)) static _Noreturn void launch(long *stack)
{
    long count = stack[0];
    char **arguments = (char **)(stack + 1);
    if (count < 5 || !equal(arguments[1], "--socket") || !equal(arguments[3], "--"))
        fail(TAP_UNAVAILABLE, MESSAGE("expected --socket PATH -- COMMAND [ARGUMENT...]"));
    struct order order = {arguments[2], arguments + 4, arguments + count + 1};
    const char *program = find(&order);
    int channel = connect_channel(&order);
    struct sock_fprog filter = receive_filter(&order, channel);
    hand_over(&order, channel, install(&order, &filter));
    CALL3(close, channel, 0, 0);
    long result = CALL3(execve, program, order.command, order.environment);
    not_executable(&order, program, -result);
}
