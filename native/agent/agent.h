/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the agent. It has no libc, no thread-local storage and no vector registers, and it is never re-entered: it
 * runs with the program's signals blocked, and lets them in only inside gate_wait(), where signal_arrived() puts them
 * off until the call has returned to the program.
 */
#ifndef LSCA_AGENT_H
#define LSCA_AGENT_H

#include "frame.h"
#include "ring.h"

enum {
	EPERM_ = 1, ESRCH_ = 3, EINTR_ = 4, EIO_ = 5, EAGAIN_ = 11, ENOMEM_ = 12, EFAULT_ = 14, EINVAL_ = 22,
	EMFILE_ = 24, ENAMETOOLONG_ = 36, ENOSYS_ = 38, EMSGSIZE_ = 90, ENOBUFS_ = 105,
	ERESTART_ = 512, /* the call has not been made: make it again, or say EINTR */
	SIGSYS_ = 31, SIGKILL_ = 9, SIGPIPE_ = 13, SIGTTIN_ = 21, SIGTTOU_ = 22, SIGXFSZ_ = 25, SIG_COUNT = 65,
};

#define SIG_BIT(s) (1ull << ((s)-1))
#define MASK_FULL (~0ull)
#define ON_SIGNAL_NODEFER 0x40000000ull
#define ON_SIGNAL_RESETHAND 0x80000000ull
#define ON_SIGNAL_SIGINFO 4ull
#define ON_SIGNAL_ONSTACK 0x08000000ull
#define ON_SIGNAL_RESTORER 0x04000000ull

#define PRIVATE_LIFELINE 3 /* the program's process keeps these under the route `proxy`; the program cannot see them */
#define PRIVATE_CHANNEL 4
#define PRIVATE_SESSION 5

struct siginfo {
	int32_t signo, err, code, pad;
	uint64_t call_addr;
	int32_t nr;
	uint32_t arch;
	uint64_t rest[12];
};

_Static_assert(sizeof(struct siginfo) == 128, "siginfo");

struct sigaction {
	uint64_t handler, flags, restorer, mask;
};

struct gate_wait {
	uint64_t mask, full; /* signals blocked during, and again after the call; entry.S knows the offsets */
	uint64_t nr, args[CALL_ARGS];
	int64_t ret;
	uint64_t put_off; /* a signal came and waits to be delivered */
};

/* One process as the agent sees it. A vfork child shares our memory and yet has one of its own. */
struct process_self {
	uint32_t pid;
	uint32_t entry; /* in session.processes; PROCESSES: none */
	struct channel *channel;
	int32_t lifeline;
	uint32_t dead;     /* the proxy is gone: every delegated call ends with EIO */
	uint32_t raw;      /* handlers are installed as they are: the table is another process's */
	uint32_t lock;     /* of the lifeline */
	uint32_t vforked;  /* its parent stands still until it execs */
	uint32_t traced_later; /* PTRACE_TRACEME of such a child, to be made at its exec */
	uint32_t exiting;  /* a thread is ending the process: no other comes out of its call any more */
};

struct thread {
	struct thread *next;
	struct process_self *process;
	uint32_t tid;
	uint32_t slot;   /* SLOT_COUNT: none */
	uint8_t *arena;  /* our view of the slot's arena */
	uint64_t arena_size;
	struct patience patience;
	/* log */
	uint32_t chunk;  /* CHUNK_COUNT: none */
	/* sigsuspend and its kin: the mask to put back once the signal that ended the wait is delivered */
	uint64_t restore_mask, restore_pc;
	uint32_t sys_blocked; /* the program believes it blocks SIGSYS */
};

/* One call on its way. */
struct call {
	uint64_t nr;
	uint64_t args[CALL_ARGS];
	const struct call_row *row;
	struct thread *thread;
	struct ucontext *uc;
	uint8_t route;
	uint8_t foreign;
};

/* A clone, fork or vfork under way: shared by parent and child where they share memory. */
struct birth {
	uint32_t refs;
	uint32_t is_thread, shares_memory;
	uint64_t kept, resume, mask; /* kept: the register that carried us */
	struct call call;
	uint64_t started;
	uint32_t slot;            /* a new thread's */
	int32_t lifeline, channel; /* a new process's */
	struct process_self *parent;
	uint64_t pidfd_at;
	uint64_t flags;
	uint32_t entry; /* the new process's, PROCESSES: none */
	uint32_t sys_blocked;
};

#define HIDDEN __attribute__((visibility("hidden")))
#pragma GCC visibility push(hidden)

/* arch/entry.S */
extern char range_begin[], range_end[], trap_restorer[], signal_entry[], birth_stub[];
extern char gate_wait_armed[], gate_wait_insn[], gate_wait_done[], gate_wait_end[];
int64_t gate(uint64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f);
int64_t gate_wait(struct gate_wait *w);
int64_t gate_stack(uint64_t sp, const void *stack);
int64_t gate_foreign(uint64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f);
void leave_frame(uint64_t sp) __attribute__((noreturn));
void launcher_stop(uint64_t why);

#define GATE1(nr, a) gate(nr, (uint64_t)(a), 0, 0, 0, 0, 0)
#define GATE2(nr, a, b) gate(nr, (uint64_t)(a), (uint64_t)(b), 0, 0, 0, 0)
#define GATE3(nr, a, b, c) gate(nr, (uint64_t)(a), (uint64_t)(b), (uint64_t)(c), 0, 0, 0)
#define GATE4(nr, a, b, c, d) gate(nr, (uint64_t)(a), (uint64_t)(b), (uint64_t)(c), (uint64_t)(d), 0, 0)
#define GATE6(nr, a, b, c, d, e, f) \
	gate(nr, (uint64_t)(a), (uint64_t)(b), (uint64_t)(c), (uint64_t)(d), (uint64_t)(e), (uint64_t)(f))

/* start.c */
extern struct session *session;
int64_t start_capture(void); /* catch this thread's calls from here on */
void start_sigsys(void); /* SIGSYS is ours */

/* memory.c: the program's memory, which may not be there. All return bytes moved; fewer than n: a fault. */
uint64_t memory_read(void *to, uint64_t from, uint64_t n);
uint64_t memory_write(uint64_t to, const void *from, uint64_t n);
uint64_t memory_gather(void *to, const uint64_t (*iov)[2], uint32_t count, uint64_t n);
uint64_t memory_scatter(const uint64_t (*iov)[2], uint32_t count, const void *from, uint64_t n);
int64_t memory_string(char *to, uint64_t from, uint64_t room); /* length without NUL, or -EFAULT, -ENAMETOOLONG */
void *memory_pages(uint64_t size);

/* threads.c */
struct thread *thread_self(void);
struct thread *thread_add(struct process_self *process);
void thread_remove(struct thread *t);
void thread_forget(uint32_t tid); /* a vfork child that is gone, with its process */
void thread_only(void); /* after fork: all others are gone */
struct process_self *process_new(void);
void process_drop(struct process_self *p);
extern struct process_self process_main;
struct birth *birth_new(void);
void birth_drop(struct birth *b);

/* dispatch.c */
void trap(int sig, struct siginfo *info, struct ucontext *uc);
int64_t dispatch_kernel(struct call *c);
int64_t dispatch_kernel_args(struct call *c, const uint64_t *args);

/* signals.c */
uint64_t signal_arrived(int sig, struct siginfo *info, struct ucontext *uc);
int64_t signal_action(struct call *c);
int64_t signal_mask(struct call *c);
int64_t signal_pending(struct call *c);
int64_t signal_await(struct call *c);
int64_t signal_stack(struct call *c);
void signal_own(struct siginfo *info, struct ucontext *uc); /* a SIGSYS that is the program's business */
void signal_ended(struct call *c, uint64_t mask);           /* a wait under another mask was cut short */
uint32_t signal_ttystop(const struct call *c);
void signal_inherit(void);
void signal_cleared(const struct process_self *p); /* a child whose handlers the kernel has reset, ours too */
void signal_leave(int over); /* around an exec: what the next image inherits */
void signal_raise(int sig);

/* life.c */
int64_t life_birth(struct call *c, uint64_t start, int *resumes);
uint64_t birth_done(int64_t ret, struct birth *b, uint64_t *kept);
int64_t life_exec(struct call *c);
void life_exit(struct call *c);
int64_t life_wait(struct call *c);
void life_enter(struct process_self *p, uint32_t parent);

/* delegate.c: the route `proxy` */
int64_t delegate_anywhere(struct call *c);
int64_t delegate_messages(struct call *c, int in);
int64_t delegate_exit(struct thread *t);
int64_t delegate_op(struct thread *t, uint32_t op, uint64_t arg0, uint64_t arg1);
int64_t delegate_fork(struct thread *t, int32_t *lifeline, int32_t *channel, uint32_t *entry);
int64_t delegate_thread(struct thread *t, uint32_t *slot);
int64_t delegate_borrow(struct thread *t, uint64_t fd);
int64_t delegate_handover(struct thread *t, int32_t fd, int cloexec);
int64_t delegate_attach(struct process_self *p, struct thread *t, int32_t lifeline, int32_t channel, uint32_t slot);

/* borrow.c: calls that the program's own process must make although the proxy has the descriptors */
int64_t borrow_route(struct call *c); /* where every call of the route `proxy` begins */
int64_t borrow_call(struct call *c);
int64_t borrow_handover(struct call *c);
int borrow_path(struct call *c, const char *path, uint64_t len, int64_t *ret);

/* record.c */
void record_begin(struct call *c, uint64_t *start);
void record_end(struct call *c, uint64_t start, int64_t ret);
void record_event(struct thread *t, uint8_t kind, uint64_t a, uint64_t b);
void record_release(struct thread *t);
void record_last(struct call *c); /* the call may not return */
void record_after(struct call *c, uint64_t start, int64_t ret); /* it did */

void *memcpy(void *to, const void *from, unsigned long n);
void *memset(void *to, int c, unsigned long n);
int memcmp(const void *a, const void *b, unsigned long n);

#pragma GCC visibility pop
#endif
