/*
 * The init: what baaaht puts, read-only, into the containers that it makes, so that a command in one need not wait for
 * the engine. One static file without a libc, since it has to run in every image. It has two words:
 *
 *   init hold    is the first process of a prepared container: it waits until it is told what to be, and becomes that
 *                by execve, so that the container is then what it would have been without it.
 *   init serve   is started by the engine's own exec, with that exec's user, environment and limits; it runs commands
 *                for the server at the other end of its stdin and stdout, in the frames below, until stdin ends.
 *
 * A frame is a number that names the command (32 bits), a kind (8 bits), the length of what follows (24 bits), all little
 * endian, and what follows. Each side sends no more bytes of input or output than the other has granted, so that one
 * command that is not read, or does not read, holds up no other.
 */
#include <asm/unistd.h>
#include <linux/errno.h>
#include <linux/fcntl.h>
#include <linux/prctl.h>
#include <linux/ptrace.h>
#include <linux/sched.h>
#include <linux/signal.h>
#include <linux/socket.h>
#include <linux/un.h>
#include <linux/wait.h>
#include <asm/ioctls.h>
#include <asm/poll.h>
#include <linux/signalfd.h>

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long ulong;

/* What the two sides speak; the server refuses an init of another version. */
#define PROTOCOL 2

enum { /* from the server */
    START = 1,       /* flags, columns, rows, output credit, then words as below */
    STDIN = 2,       /* bytes for the command */
    CLOSE_STDIN = 3, /* no more of them */
    RESIZE = 4,      /* columns, rows: 16 bits each */
    SIGNAL = 5,      /* number: 8 bits; for the command's process group */
    CREDIT = 6,      /* 32 bits: so many more bytes of output may come */
    CLAIM = 7,       /* words as below, for the process that holds the container */
    LET_GO = 8,      /* the claimed command may end, see ENDING */
    CLAIM_HELD = 9   /* as CLAIM, and its end is held up if that comes soon */
};
enum { /* to the server */
    HELLO = 64,        /* PROTOCOL: 32 bits */
    STARTED = 65,      /* the command runs */
    STDOUT = 66,       /* bytes of the command */
    STDERR = 67,
    EXITED = 68,       /* wait status: 32 bits */
    ENDED = 69,        /* all of its output was sent, after EXITED */
    FAILED = 70,       /* errno: 32 bits; it could not be started */
    STDIN_CREDIT = 71, /* 32 bits: so many more bytes of input may come */
    CLAIMED = 72,      /* the holding process has become the command */
    NOT_CLAIMED = 73,  /* errno: 32 bits; the container is of no use any more */
    CLAIMING = 74,     /* it becomes the command now, unless NOT_CLAIMED follows: one that ends at once leaves nobody to say more */
    ENDING = 75        /* the claimed command has ended, but for its last step, which it takes at LET_GO or after HELD */
};
enum { FLAG_TTY = 1, FLAG_STDIN = 2 };

#define AF_UNIX 1
#define SOCK_STREAM 1
#define MAX_JOBS 128
/* Most bytes of one frame to the server, and how much input is kept for a command that does not read. */
#define CHUNK 65536
#define MAX_FRAME (1 << 23)
/* How long output may come after its command has ended, of a child that it has left, in milliseconds: as engines have it. */
#define LINGER 2000
/* How soon the command of a claim has to end for its end to be held, and how long it then is, in milliseconds. */
#define SOON 400
#define HELD 1000

/* ---- the kernel ---- */

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tmov %rsp, %rdi\n\tand $-16, %rsp\n\tcall begin\n");
static long call6(long n, long a, long b, long c, long d, long e, long f) {
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall" : "=a"(result) : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
}
#elif defined(__aarch64__)
__asm__(".globl _start\n_start:\n\tmov x29, #0\n\tmov x30, #0\n\tmov x0, sp\n\tbl begin\n");
static long call6(long n, long a, long b, long c, long d, long e, long f) {
    register long x8 __asm__("x8") = n;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
    return x0;
}
#else
#error "no system calls are written down for this processor"
#endif

#define CALL(n, a, b, c, d, e, f) call6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* The compiler calls these by name. */
void *memcpy(void *to, const void *from, ulong n) {
    for (ulong i = 0; i < n; i++) ((u8 *)to)[i] = ((const u8 *)from)[i];
    return to;
}
void *memset(void *to, int value, ulong n) {
    for (ulong i = 0; i < n; i++) ((volatile u8 *)to)[i] = (u8)value;
    return to;
}

static void leave(int code) {
    for (;;) CALL(__NR_exit_group, code, 0, 0, 0, 0, 0);
}
static long read_some(int fd, void *to, ulong n) {
    long got;
    do got = CALL(__NR_read, fd, to, n, 0, 0, 0);
    while (got == -EINTR);
    return got;
}
static long write_some(int fd, const void *from, ulong n) {
    long put;
    do put = CALL(__NR_write, fd, from, n, 0, 0, 0);
    while (put == -EINTR);
    return put;
}
static int write_all(int fd, const u8 *from, ulong n) {
    while (n > 0) {
        long put = write_some(fd, from, n);
        if (put <= 0) return -1;
        from += put;
        n -= (ulong)put;
    }
    return 0;
}
static int read_all(int fd, u8 *to, ulong n) {
    while (n > 0) {
        long got = read_some(fd, to, n);
        if (got <= 0) return -1;
        to += got;
        n -= (ulong)got;
    }
    return 0;
}
static void close_fd(int *fd) {
    if (*fd >= 0) CALL(__NR_close, *fd, 0, 0, 0, 0, 0);
    *fd = -1;
}
/* Memory of its own for what may be large; null when there is none. */
static u8 *pages(ulong n) {
    long at = CALL(__NR_mmap, 0, n, 3 /* read, write */, 0x22 /* private, anonymous */, -1, 0);
    return at < 0 && at > -4096 ? 0 : (u8 *)at;
}
static void give_back(u8 *at, ulong n) {
    if (at) CALL(__NR_munmap, at, n, 0, 0, 0, 0);
}
static long fork(void) { return CALL(__NR_clone, 17 /* SIGCHLD */, 0, 0, 0, 0, 0); }
static void signal_mask(ulong mask) {
    CALL(__NR_rt_sigprocmask, 2 /* SIG_SETMASK */, &mask, 0, 8, 0, 0);
}

static ulong length(const char *text) {
    ulong n = 0;
    while (text[n]) n++;
    return n;
}
static int same(const char *a, const char *b) {
    while (*a && *a == *b) a++, b++;
    return *a == *b;
}
static u32 get32(const u8 *at) { return (u32)at[0] | (u32)at[1] << 8 | (u32)at[2] << 16 | (u32)at[3] << 24; }
static void put32(u8 *at, u32 value) {
    at[0] = (u8)value, at[1] = (u8)(value >> 8), at[2] = (u8)(value >> 16), at[3] = (u8)(value >> 24);
}

/* ---- becoming a command ---- */

static char **own_env;

/*
 * What to become: the number of arguments and of environment entries (32 bits each), then the working directory (empty:
 * as it is), the arguments, and the entries (`NAME=value`), each ended by a NUL.
 */
struct words {
    char *cwd;
    char **argv;
    char **envp;
    ulong bytes; /* of the list that argv and envp lie in */
};

/* Whether `entry` has the name of `other`: the same up to the first '='. */
static int same_name(const char *entry, const char *other) {
    while (*entry && *entry == *other && *entry != '=') entry++, other++;
    return *entry == '=' && *other == '=';
}

/* Reads words out of `text`, which lives as long as they do. 0, or an errno. */
static int read_words(u8 *text, ulong n, int is_tty, struct words *words) {
    if (n < 8 || text[n - 1] != 0) return EINVAL;
    ulong argc = get32(text), given = get32(text + 4), own = 0;
    while (own_env[own]) own++;
    if (argc == 0 || argc > n || given > n) return EINVAL;
    words->bytes = (argc + own + given + 4) * sizeof(char *);
    char **list = (char **)pages(words->bytes);
    if (!list) return ENOMEM;
    words->argv = list;
    char *at = (char *)text + 8, *end = (char *)text + n;
    words->cwd = at;
    at += length(at) + 1;
    for (ulong i = 0; i < argc; i++) {
        if (at >= end) return EINVAL;
        list[i] = at;
        at += length(at) + 1;
    }
    list[argc] = 0;
    char **env = words->envp = list + argc + 1;
    ulong count = 0;
    int has_term = 0;
    for (ulong i = 0; i < own; i++) env[count++] = own_env[i];
    for (ulong i = 0; i < given; i++) {
        if (at >= end) return EINVAL;
        ulong place = 0;
        while (place < count && !same_name(env[place], at)) place++;
        env[place] = at;
        if (place == count) count++;
        at += length(at) + 1;
    }
    for (ulong i = 0; i < count; i++) has_term |= same_name(env[i], "TERM=");
    if (is_tty && !has_term) env[count++] = "TERM=xterm"; /* as engines have it */
    env[count] = 0;
    return 0;
}

static int enter(const char *path, int make) {
    if (!*path) return 0;
    if (make) {
        char part[4097];
        ulong n = length(path);
        if (n > 4096) return ENAMETOOLONG;
        for (ulong i = 1; i <= n; i++) {
            if (path[i] != '/' && path[i] != 0) continue;
            memcpy(part, path, i);
            part[i] = 0;
            CALL(__NR_mkdirat, AT_FDCWD, part, 0755, 0, 0, 0); /* what is in the way is told by chdir */
        }
    }
    return (int)-CALL(__NR_chdir, path, 0, 0, 0, 0, 0);
}

/* Looks the command up as execvp does, in the PATH that it will have itself. Returns only with an errno. */
static int become(struct words *words) {
    const char *name = words->argv[0], *path = 0;
    if (!*name) return ENOENT;
    for (const char *c = name; *c; c++)
        if (*c == '/') return (int)-CALL(__NR_execve, name, words->argv, words->envp, 0, 0, 0);
    for (char **e = words->envp; *e; e++)
        if (same_name(*e, "PATH=")) path = *e + 5;
    if (!path) path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    int error = ENOENT;
    char full[4097];
    ulong tail = length(name);
    while (*path) {
        ulong n = 0;
        while (path[n] && path[n] != ':') n++;
        if (n > 0 && n + tail + 2 <= sizeof full) {
            memcpy(full, path, n);
            full[n] = '/';
            memcpy(full + n + 1, name, tail + 1);
            int e = (int)-CALL(__NR_execve, full, words->argv, words->envp, 0, 0, 0);
            if (e != ENOENT && e != ENOTDIR) error = e;
        }
        path += n;
        if (*path == ':') path++;
    }
    return error;
}

/* ---- hold ---- */

/* What a holding process says to who hands it its words, in place of an errno: it will become the command at a word. */
#define READY 0xffffffffu

/* An abstract name: it lies in the container's own network namespace, and nothing of it lies in a file system. */
static long hold_address(struct sockaddr_un *address) {
    static const char name[] = "baaaht-hold";
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path + 1, name, sizeof name - 1);
    return (long)(sizeof address->sun_family + sizeof name);
}

/* Where the kernel lets processes trace none but their own children, the one at the other end may trace this one. */
static void let_keep(int from) {
    struct { int pid; u32 uid, gid; } peer = {0, 0, 0};
    u32 size = sizeof peer;
    if (CALL(__NR_getsockopt, from, 1 /* SOL_SOCKET */, 17 /* SO_PEERCRED */, &peer, &size, 0) == 0 && peer.pid > 0)
        CALL(__NR_prctl, PR_SET_PTRACER, peer.pid, 0, 0, 0, 0);
}

static int hold(void) {
    struct sockaddr_un address;
    long size = hold_address(&address);
    int at = (int)CALL(__NR_socket, AF_UNIX, SOCK_STREAM | O_CLOEXEC, 0, 0, 0, 0);
    if (at < 0 || CALL(__NR_bind, at, &address, size, 0, 0, 0) < 0 || CALL(__NR_listen, at, 1, 0, 0, 0, 0) < 0) return 125;
    int from;
    do from = (int)CALL(__NR_accept4, at, 0, 0, O_CLOEXEC, 0, 0);
    while (from == -EINTR);
    if (from < 0) return 125;
    CALL(__NR_close, at, 0, 0, 0, 0, 0);
    let_keep(from);
    u8 head[4], answer[4];
    if (read_all(from, head, 4) < 0) return 125;
    ulong n = get32(head);
    u8 *text = n > 0 && n <= MAX_FRAME ? pages(n) : 0;
    if (!text || read_all(from, text, n) < 0) return 125;
    struct words words;
    int error = read_words(text, n, 0, &words);
    if (!error) error = enter(words.cwd, 1);
    if (!error) {
        /* Nothing begins of which the server has not been told: the answer comes when it has. */
        put32(answer, READY);
        if (write_all(from, answer, 4) < 0 || read_all(from, answer, 1) < 0) return 125;
        error = become(&words);
    }
    /* Had it become the command, the connection would have been closed by that. */
    put32(answer, (u32)error);
    write_all(from, answer, 4);
    /* Its end would be that of who passes the answer on, who closes when that is done. */
    read_all(from, answer, 1);
    return 125;
}

/* ---- serve ---- */

struct job {
    u32 id;
    int used, pid, in, out, err, status; /* status: where execve's failure would be told */
    int exited, close_stdin;
    long until;           /* when it has ended: so long its children are listened to, in milliseconds */
    ulong credit;         /* bytes of output that may still be sent */
    u8 *input;            /* CHUNK bytes, for input that the command has not read */
    ulong input_from, input_held;
};
static struct job jobs[MAX_JOBS];
static u8 chunk[CHUNK + 8];

/* `chunk` holds the body from its eighth byte on. A server that is gone is noticed where stdin ends. */
static void send_chunk(u32 id, u8 kind, ulong n) {
    put32(chunk, id);
    chunk[4] = kind;
    chunk[5] = (u8)n, chunk[6] = (u8)(n >> 8), chunk[7] = (u8)(n >> 16);
    if (write_all(1, chunk, n + 8) < 0) leave(0);
}
static void send32(u32 id, u8 kind, u32 value) {
    put32(chunk + 8, value);
    send_chunk(id, kind, 4);
}

static struct job *job_of(u32 id) {
    for (int i = 0; i < MAX_JOBS; i++)
        if (jobs[i].used && jobs[i].id == id) return &jobs[i];
    return 0;
}

static void free_job(struct job *job) {
    close_fd(&job->in);
    close_fd(&job->out);
    close_fd(&job->err);
    close_fd(&job->status);
    give_back(job->input, CHUNK);
    job->input = 0;
    job->used = 0;
}

static long now(void) {
    long at[2] = {0, 0};
    CALL(__NR_clock_gettime, 1 /* monotonic */, at, 0, 0, 0, 0);
    return at[0] * 1000 + at[1] / 1000000;
}

static void nonblocking(int fd) { CALL(__NR_fcntl, fd, F_SETFL, O_NONBLOCK, 0, 0, 0); }

struct size {
    u16 rows, columns, x, y;
};

/* Opens a terminal: its two ends. 0, or an errno. */
static int open_terminal(int ends[2], u16 columns, u16 rows) {
    int unlocked = 0;
    struct size size = {rows, columns, 0, 0};
    long master = CALL(__NR_openat, AT_FDCWD, "/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC, 0, 0, 0);
    if (master < 0) return (int)-master;
    long slave = CALL(__NR_ioctl, master, TIOCSPTLCK, &unlocked, 0, 0, 0);
    if (slave == 0) slave = CALL(__NR_ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC, 0, 0, 0);
    if (slave < 0) {
        CALL(__NR_close, master, 0, 0, 0, 0, 0);
        return (int)-slave;
    }
    if (columns || rows) CALL(__NR_ioctl, master, TIOCSWINSZ, &size, 0, 0, 0);
    ends[0] = (int)master;
    ends[1] = (int)slave;
    return 0;
}

static void run_child(struct words *words, const int at[3], int is_tty, int status) {
    u8 told[4];
    signal_mask(0);
    CALL(__NR_setsid, 0, 0, 0, 0, 0, 0);
    for (int i = 0; i < 3; i++) CALL(__NR_dup3, at[i], i, 0, 0, 0, 0);
    if (is_tty) CALL(__NR_ioctl, 0, TIOCSCTTY, 0, 0, 0, 0);
    int error = enter(words->cwd, 0);
    if (!error) error = become(words);
    put32(told, (u32)error);
    write_all(status, told, 4);
    leave(127);
}

/* 0, or an errno. The ends in `mine` and `theirs` are open or -1. */
static int open_ends(int is_tty, int with_stdin, u16 columns, u16 rows, int mine[3], int theirs[3]) {
    int ends[2];
    if (is_tty) {
        int error = open_terminal(ends, columns, rows);
        if (error) return error;
        mine[1] = ends[0];
        theirs[0] = theirs[1] = theirs[2] = ends[1];
        if (!with_stdin) return 0;
        mine[0] = (int)CALL(__NR_fcntl, ends[0], F_DUPFD_CLOEXEC, 3, 0, 0, 0);
        return mine[0] < 0 ? -mine[0] : 0;
    }
    for (int i = 0; i < 3; i++) {
        if (i == 0 && !with_stdin) {
            theirs[0] = (int)CALL(__NR_openat, AT_FDCWD, "/dev/null", O_RDONLY | O_CLOEXEC, 0, 0, 0);
            if (theirs[0] < 0) return -theirs[0];
            continue;
        }
        long error = CALL(__NR_pipe2, ends, O_CLOEXEC, 0, 0, 0, 0);
        if (error < 0) return (int)-error;
        mine[i] = ends[i == 0];
        theirs[i] = ends[i != 0];
    }
    return 0;
}

static void start(u32 id, u8 *body, ulong n) {
    struct job *job = 0;
    for (int i = 0; i < MAX_JOBS && !job; i++)
        if (!jobs[i].used) job = &jobs[i];
    int mine[3] = {-1, -1, -1}, theirs[3] = {-1, -1, -1}, status[2] = {-1, -1};
    int error = !job || job_of(id) ? EAGAIN : n < 9 ? EINVAL : 0, is_tty = 0, with_stdin = 0;
    struct words words = {0, 0, 0, 0};
    u8 *input = 0;
    if (!error) {
        is_tty = body[0] & FLAG_TTY;
        with_stdin = (body[0] & FLAG_STDIN) != 0;
        error = read_words(body + 9, n - 9, is_tty, &words);
    }
    if (!error && with_stdin && !(input = pages(CHUNK))) error = ENOMEM;
    if (!error)
        error = open_ends(is_tty, with_stdin, (u16)(body[1] | body[2] << 8), (u16)(body[3] | body[4] << 8), mine, theirs);
    if (!error) error = (int)-CALL(__NR_pipe2, status, O_CLOEXEC, 0, 0, 0, 0);
    long pid = 0;
    if (!error) {
        pid = fork();
        if (pid == 0) run_child(&words, theirs, is_tty, status[1]);
        if (pid < 0) error = (int)-pid;
    }
    for (int i = 2; i >= 0; i--)
        if (i == 0 || !is_tty) close_fd(&theirs[i]); /* a terminal's three are one */
    close_fd(&status[1]);
    give_back((u8 *)words.argv, words.bytes);
    if (error) {
        for (int i = 0; i < 3; i++) close_fd(&mine[i]);
        close_fd(&status[0]);
        give_back(input, CHUNK);
        send32(id, FAILED, (u32)error);
        return;
    }
    /* Never blocking: what runs beside it may take from a pipe what poll has seen. */
    for (int i = 0; i < 3; i++)
        if (mine[i] >= 0) nonblocking(mine[i]);
    *job = (struct job){.id = id, .used = 1, .pid = (int)pid, .in = mine[0], .out = mine[1], .err = mine[2],
                        .status = status[0], .credit = get32(body + 5), .input = input};
    if (with_stdin) send32(id, STDIN_CREDIT, CHUNK);
}

/* Moves input that is held on to the command, as much as it takes. */
static void feed(struct job *job) {
    ulong fed = 0;
    while (job->input_held > 0 && job->in >= 0) {
        ulong run = job->input_held;
        if (job->input_from + run > CHUNK) run = CHUNK - job->input_from;
        long put = write_some(job->in, job->input + job->input_from, run);
        if (put == -EAGAIN) break;
        if (put < 0) { /* it reads no more: what comes is nobody's */
            close_fd(&job->in);
            put = (long)job->input_held;
        }
        job->input_from = (job->input_from + (ulong)put) % CHUNK;
        job->input_held -= (ulong)put;
        fed += (ulong)put;
    }
    if (fed) send32(job->id, STDIN_CREDIT, (u32)fed);
    if (job->close_stdin && job->input_held == 0) close_fd(&job->in);
}

static void take_input(struct job *job, const u8 *body, ulong n) {
    if (job->in < 0 || !job->input) {
        if (n) send32(job->id, STDIN_CREDIT, (u32)n);
        return;
    }
    if (n > CHUNK - job->input_held) leave(1); /* more than was granted: not our server */
    for (ulong i = 0; i < n; i++) job->input[(job->input_from + job->input_held + i) % CHUNK] = body[i];
    job->input_held += n;
    feed(job);
}

/* ---- keep ---- */

/* What holds up the end of a claimed command: its process, and where that tells that the command has come to its end. */
static struct { int pid, told; } keeper = {0, -1};

static void release_after(long ms) {
    long at[4] = {0, 0, ms / 1000, ms % 1000 * 1000};
    CALL(__NR_setitimer, 0 /* real time */, at, 0, 0, 0, 0); /* its signal ends this process */
}

/*
 * A process that holds up the end of the container's first one, so that the engine does not begin to clean up behind a
 * command that ended at once while it is needed elsewhere. It traces that one for a moment, and for nothing but its exit:
 * the first process is the command, with the engine's own way of signals, and by what it returns the container has ended.
 * When the keeper ends, for whatever reason, the kernel lets go of what it traces.
 */
static void keep(int tell) {
    CALL(__NR_prctl, PR_SET_PDEATHSIG, 9, 0, 0, 0, 0);
    signal_mask(0);
    if (CALL(__NR_ptrace, PTRACE_SEIZE, 1, 0, PTRACE_O_TRACEEXIT, 0, 0) < 0 || write_all(tell, (const u8 *)"k", 1) < 0) leave(0);
    release_after(SOON);
    for (;;) {
        int status = 0;
        ulong code = 0;
        long pid = CALL(__NR_wait4, 1, &status, __WALL, 0, 0, 0);
        if (pid == -EINTR) continue;
        if (pid != 1 || (status & 0xff) != 0x7f) leave(0);
        int event = status >> 16, sig = status >> 8 & 0xff;
        if (event == PTRACE_EVENT_EXIT) {
            CALL(__NR_ptrace, PTRACE_GETEVENTMSG, 1, 0, &code, 0, 0);
            if ((code & 0x7f) == 9) leave(0); /* it is killed, and may be waited for */
            release_after(HELD);
            if (write_all(tell, (const u8 *)"e", 1) < 0) leave(0);
            for (;;) CALL(__NR_ppoll, 0, 0, 0, 0, 0, 0);
        }
        /* A stop of job control stays one; any other signal goes on to the command. */
        if (event == PTRACE_EVENT_STOP && sig != 5) CALL(__NR_ptrace, PTRACE_LISTEN, 1, 0, 0, 0, 0);
        else CALL(__NR_ptrace, PTRACE_CONT, 1, 0, event ? 0 : sig, 0, 0);
    }
}

/* Where it can't be held, as where tracing is not allowed, it ends as it ends. */
static void start_keeper(void) {
    int ends[2];
    u8 told;
    if (CALL(__NR_pipe2, ends, O_CLOEXEC, 0, 0, 0, 0) < 0) return;
    long pid = fork();
    if (pid == 0) keep(ends[1]);
    close_fd(&ends[1]);
    keeper.pid = pid > 0 ? (int)pid : 0;
    keeper.told = ends[0];
    if (pid < 0 || read_all(ends[0], &told, 1) < 0) close_fd(&keeper.told);
}

static void let_go_of_claimed(void) {
    if (keeper.pid > 0) CALL(__NR_kill, keeper.pid, 9, 0, 0, 0, 0);
}

static void read_keeper(void) {
    u8 told;
    if (read_all(keeper.told, &told, 1) == 0) return send_chunk(0, ENDING, 0);
    close_fd(&keeper.told);
}

static void claim(u8 *body, ulong n, int is_held) {
    struct sockaddr_un address;
    long size = hold_address(&address);
    u8 head[4];
    int at = (int)CALL(__NR_socket, AF_UNIX, SOCK_STREAM | O_CLOEXEC, 0, 0, 0, 0);
    long error = at < 0 ? at : CALL(__NR_connect, at, &address, size, 0, 0, 0);
    put32(head, (u32)n);
    if (error < 0 || write_all(at, head, 4) < 0 || write_all(at, body, n) < 0) {
        close_fd(&at);
        send32(0, NOT_CLAIMED, error < 0 ? (u32)-error : EPIPE);
        return;
    }
    int told = read_all(at, head, 4);
    if (told == 0 && get32(head) == READY) {
        if (is_held) start_keeper();
        send_chunk(0, CLAIMING, 0);
        write_all(at, head, 1);
        /* Nothing but an end: it has become the command, and the connection was closed by that. */
        told = read_all(at, head, 4);
        if (told < 0) send_chunk(0, CLAIMED, 0);
    } else if (told < 0) {
        put32(head, EPIPE);
        told = 0;
    }
    if (told == 0) send32(0, NOT_CLAIMED, get32(head));
    close_fd(&at);
}

static void take_frame(u32 id, u8 kind, u8 *body, ulong n) {
    if (kind == START) return start(id, body, n);
    if (kind == CLAIM || kind == CLAIM_HELD) return claim(body, n, kind == CLAIM_HELD);
    if (kind == LET_GO) return let_go_of_claimed();
    struct job *job = job_of(id);
    if (!job) return; /* it has ended meanwhile */
    if (kind == STDIN) take_input(job, body, n);
    else if (kind == CLOSE_STDIN) job->close_stdin = 1, feed(job);
    else if (kind == CREDIT && n == 4) job->credit += get32(body);
    else if (kind == SIGNAL && n == 1 && !job->exited) {
        /* Before it has a group of its own, it is alone. */
        if (CALL(__NR_kill, -job->pid, body[0], 0, 0, 0, 0) < 0) CALL(__NR_kill, job->pid, body[0], 0, 0, 0, 0);
    }
    else if (kind == RESIZE && n == 4) {
        struct size to = {(u16)(body[2] | body[3] << 8), (u16)(body[0] | body[1] << 8), 0, 0};
        CALL(__NR_ioctl, job->out, TIOCSWINSZ, &to, 0, 0, 0);
    }
}

/* What has come of the frame that is being read. */
static u8 head[8];
static u8 *body;
static ulong head_held, body_size, body_held;

/* Reads what there is; ends with the server. */
static void read_frames(void) {
    static u8 some[CHUNK];
    long got = read_some(0, some, sizeof some);
    if (got <= 0) leave(0);
    u8 *at = some;
    while (got > 0 || (body && body_held == body_size)) {
        if (!body) {
            head[head_held++] = *at++, got--;
            if (head_held < 8) continue;
            body_size = (ulong)head[5] | (ulong)head[6] << 8 | (ulong)head[7] << 16;
            body_held = 0;
            if (body_size > MAX_FRAME || !(body = pages(body_size + 1))) leave(1);
        }
        ulong more = body_size - body_held < (ulong)got ? body_size - body_held : (ulong)got;
        memcpy(body + body_held, at, more);
        body_held += more, at += more, got -= (long)more;
        if (body_held < body_size) continue;
        take_frame(get32(head), head[4], body, body_size);
        give_back(body, body_size + 1);
        body = 0;
        head_held = 0;
    }
}

static void read_output(struct job *job, int *fd, u8 kind) {
    ulong most = job->credit < CHUNK ? job->credit : CHUNK;
    long got = read_some(*fd, chunk + 8, most);
    if (got == -EAGAIN) return;
    if (got <= 0) { /* EIO: nobody has the terminal open any more */
        close_fd(fd);
        return;
    }
    job->credit -= (ulong)got;
    send_chunk(job->id, kind, (ulong)got);
}

static void read_status(struct job *job) {
    u8 told[4];
    int failed = read_all(job->status, told, 4) == 0;
    close_fd(&job->status);
    if (!failed) return send_chunk(job->id, STARTED, 0);
    send32(job->id, FAILED, get32(told));
    free_job(job);
}

static void reap(int signals) {
    u8 told[sizeof(struct signalfd_siginfo)];
    read_some(signals, told, sizeof told);
    for (;;) {
        int status = 0;
        long pid = CALL(__NR_wait4, -1, &status, WNOHANG, 0, 0, 0);
        if (pid <= 0) return;
        if (pid == keeper.pid) keeper.pid = 0;
        for (int i = 0; i < MAX_JOBS; i++) {
            struct job *job = &jobs[i];
            if (!job->used || job->pid != pid || job->exited) continue;
            if (job->status >= 0) read_status(job); /* it may have told before it ended */
            if (!job->used) break;
            job->exited = 1;
            job->until = now() + LINGER;
            send32(job->id, EXITED, (u32)status);
        }
    }
}

/* Lets go of the output of a command that ended a while ago, when what it has written is sent. */
static void let_go(struct job *job) {
    int *fds[2] = {&job->out, &job->err};
    for (int i = 0; i < 2; i++) {
        if (*fds[i] < 0) continue;
        u8 kind = i == 0 ? STDOUT : STDERR;
        long left = CHUNK; /* as much as a pipe holds: who writes on and on is not waited for */
        while (*fds[i] >= 0 && job->credit > 0 && left > 0) {
            ulong before = job->credit;
            read_output(job, fds[i], kind);
            if (job->credit == before) break;
            left -= (long)(before - job->credit);
        }
        if (job->credit > 0) close_fd(fds[i]);
    }
}

static int watch(struct pollfd *fds, int n, int fd, short what) {
    fds[n].fd = fd;
    fds[n].events = what;
    fds[n].revents = 0;
    return n + 1;
}

static int serve(void) {
    static struct pollfd fds[3 + MAX_JOBS * 4];
    ulong mask = 1ul << (17 - 1) | 1ul << (13 - 1); /* SIGCHLD, SIGPIPE */
    /* What runs in the container as the same user may not look into this process, or write to it. */
    CALL(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0, 0);
    signal_mask(mask);
    ulong children = 1ul << (17 - 1);
    int signals = (int)CALL(__NR_signalfd4, -1, &children, 8, O_CLOEXEC | O_NONBLOCK, 0, 0);
    if (signals < 0) return 125;
    CALL(__NR_fcntl, 0, F_SETFD, FD_CLOEXEC, 0, 0, 0);
    send32(0, HELLO, PROTOCOL);
    for (;;) {
        int n = watch(fds, 0, 0, POLLIN);
        n = watch(fds, n, signals, POLLIN);
        long wait = -1, at_once = now();
        for (int i = 0; i < MAX_JOBS; i++) {
            struct job *job = &jobs[i];
            if (!job->used) continue;
            if (job->exited && job->until <= at_once) let_go(job);
            if (job->exited && job->out < 0 && job->err < 0) {
                send_chunk(job->id, ENDED, 0);
                free_job(job);
                continue;
            }
            /* One that waits for credit is woken by that. */
            if (job->exited && job->until > at_once && (wait < 0 || job->until - at_once < wait)) wait = job->until - at_once;
            if (job->status >= 0) n = watch(fds, n, job->status, POLLIN);
            if (job->in >= 0 && job->input_held > 0) n = watch(fds, n, job->in, POLLOUT);
            if (job->out >= 0 && job->credit > 0) n = watch(fds, n, job->out, POLLIN);
            if (job->err >= 0 && job->credit > 0) n = watch(fds, n, job->err, POLLIN);
        }
        long time[2] = {wait / 1000, wait % 1000 * 1000000};
        int told = n;
        if (keeper.told >= 0) n = watch(fds, n, keeper.told, POLLIN);
        if (CALL(__NR_ppoll, fds, n, wait < 0 ? 0 : time, 0, 0, 0) < 0) continue;
        if (told < n && fds[told].revents) read_keeper();
        for (int at = 2; at < told; at++) {
            if (!fds[at].revents) continue;
            for (int i = 0; i < MAX_JOBS; i++) {
                struct job *job = &jobs[i];
                if (!job->used) continue;
                if (fds[at].fd == job->status) read_status(job);
                else if (fds[at].fd == job->in) feed(job);
                else if (fds[at].fd == job->out && job->credit) read_output(job, &job->out, STDOUT);
                else if (fds[at].fd == job->err && job->credit) read_output(job, &job->err, STDERR);
                else continue;
                break;
            }
        }
        if (fds[1].revents) reap(signals);
        if (fds[0].revents) read_frames();
    }
}

__attribute__((used)) void begin(long *stack) {
    char **argv = (char **)(stack + 1);
    own_env = argv + *stack + 1;
    if (*stack == 2 && same(argv[1], "hold")) leave(hold());
    if (*stack == 2 && same(argv[1], "serve")) leave(serve());
    static const char usage[] = "init: hold | serve\n";
    write_all(2, (const u8 *)usage, sizeof usage - 1);
    leave(125);
}
