/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the agent. It has no libc, no thread-local storage and no vector registers. A call comes in by one of two
 * ways:
 *
 *   trap()       a SIGSYS: on the program's stack (or its alternate one), all signals blocked but inside gate_wait()
 *   fast_call()  a patched site: on a stack of the agent's, signals as the program has them
 *
 * Either way the agent is never re-entered: a signal that arrives meanwhile is put off by signal_arrived() until the
 * call has returned to the program.
 */
#ifndef LSCA_AGENT_H
#define LSCA_AGENT_H

#include "frame.h"
#include "ring.h"

enum {
	EPERM_ = 1, ENOENT_ = 2, ESRCH_ = 3, EINTR_ = 4, EIO_ = 5, EBADF_ = 9, EAGAIN_ = 11, ENOMEM_ = 12, EACCES_ = 13,
	EFAULT_ = 14, EBUSY_ = 16, ENOTDIR_ = 20, EINVAL_ = 22,
	EMFILE_ = 24, ENAMETOOLONG_ = 36, ENOSYS_ = 38, ELOOP_ = 40, EMSGSIZE_ = 90, ENOBUFS_ = 105,
	ERESTART_ = 512, /* the call has done nothing: make it again, or say EINTR */
	SIGSYS_ = 31, SIGKILL_ = 9, SIGBUS_ = 7, SIGSEGV_ = 11, SIGPIPE_ = 13, SIGTTIN_ = 21, SIGTTOU_ = 22,
	SIGXFSZ_ = 25, SIG_COUNT = 65,
};

#define SIG_BIT(s) (1ull << ((s)-1))
#define SIG_FAULTS (SIG_BIT(SIGSEGV_) | SIG_BIT(SIGBUS_)) /* ours as well: see memory.c */
#define MASK_FULL (~(SIG_FAULTS | SIG_BIT(SIGSYS_))) /* these come when they must */
#define ON_SIGNAL_NODEFER 0x40000000ull
#define ON_SIGNAL_RESETHAND 0x80000000ull
#define ON_SIGNAL_RESTART 0x10000000ull
#define ON_SIGNAL_NOCLDSTOP 1ull
#define ON_SIGNAL_NOCLDWAIT 2ull
#define ON_SIGNAL_SIGINFO 4ull
#define ON_STACK_AUTODISARM 0x80000000u
#define ON_STACK_DISABLE 2u
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
	uint64_t put_off; /* 1: a signal came and waits to be delivered; 2: its handler wants no restart */
};

/* One process as the agent sees it. A vfork child shares our memory and yet has one of its own. */
struct process_self {
	uint32_t pid;
	uint32_t entry; /* in session.processes; PROCESSES: none */
	struct channel *channel;
	int32_t lifeline, channel_fd;
	uint32_t dead;     /* the proxy is gone: every delegated call ends with EIO */
	uint32_t raw;      /* handlers are installed as they are: the table is another process's */
	uint32_t no_fault; /* which of SIGSEGV and SIGBUS such a process has taken from us: SIG_BIT */
	uint32_t lock;     /* of the lifeline */
	uint32_t threaded; /* there are, or were, other threads */
	uint32_t others;   /* threads but one */
	uint32_t vforked;  /* its parent stands still until it execs */
	uint32_t traced_later; /* PTRACE_TRACEME of such a child, to be made at its exec */
	struct sigaction sys; /* such a process's SIGSYS */
	uint32_t exiting;  /* a thread is ending the process: no other comes out of its call any more */
	uint32_t elsewhere; /* in another pid namespace than the launcher: its numbers are those of others there */
};

#define NO_ANSWER 0xffffffffu

/* A Syscall User Dispatch of the program's own, which the kernel never hears of. */
struct own_dispatch {
	uint64_t offset, len, selector; /* as the kernel would keep them */
	uint32_t is_on;
};
struct ask; /* shared/handler.h */

/* When the kernel was asked last, in ticks, and how often it knew nothing that rings do not say: stream/ready.c. */
struct calm {
	uint64_t looked;
	uint32_t times, others;
};

struct thread {
	/* entry.S knows these offsets */
	uint64_t minus_key; /* 0 - key while the thread may come by a patched site, else 0 - NO_KEY */
	uint64_t stack;     /* top of the agent's own stack for it; below it another one, for signals */
	uint64_t sp;        /* the program's stack pointer meanwhile */
	uint32_t put_off;   /* a signal came meanwhile and waits to be delivered */
	uint32_t restarts;  /* its handler wants the call made again */
	uint64_t resume;    /* where the program goes on after it */
	int32_t quick;      /* calls that entry.S may just make before it asks again */
	int32_t known;      /* calls that it may answer from `answers` */
	uint32_t answers[KNOWN_END]; /* NO_ANSWER: the kernel is to be asked */

	int32_t made_quick, made_known; /* what `quick` and `known` were when they were last looked at */
	uint64_t key;       /* what the hardware keeps for the thread (fs base); NO_KEY: not known, or not its alone */
	uint64_t mask;      /* the program's signal mask */
	uint32_t twins;     /* threads that began with our key */
	uint32_t twin_of;   /* tid of the one whose key we began with */
	uint32_t no_fault;  /* SIGSEGV or SIGBUS was put off, and is blocked: the kernel copies */
	struct thread *next;
	struct process_self *process;
	uint32_t tid;
	uint32_t slot;   /* SLOT_COUNT: none */
	uint8_t *arena;  /* our view of the slot's arena */
	uint64_t arena_size;
	struct patience patience;
	struct calm calm; /* of what it polls */
	/* log */
	struct chunk_head *head; /* of the chunk that it has leased; NULL: none */
	uint8_t *at, *end;       /* where its next record goes; what is there of the chunk */
	uint64_t number;         /* of its next record */
	uint64_t serial;         /* 0: has not written yet */
	uint32_t chunk;
	uint32_t uncounted;          /* calls since `made` was last added to the process's */
	uint32_t is_recounted;       /* the last one was completed elsewhere than in the kernel */
	uint64_t streamed;           /* bytes that it has put into rings since then */
	uint32_t made[ROUTE_COUNT];
	/* a signal that came in the middle of a call, and the mask under which the call was waiting */
	uint32_t kept_signal, is_masked;
	uint32_t takes_sys; /* a SIGSYS, too, that is blocked again now */
	uint64_t wait_mask;
	struct siginfo kept;
	struct sigframe_stack alternate; /* the program's; the kernel has ours */
	uint32_t sys_blocked; /* the program believes it blocks SIGSYS */
	struct own_dispatch own;
	uint32_t strict;      /* it is in strict mode, and may only read, write, exit and leave a handler */
	/* calls under a rule, see handle.c */
	struct patience asking;
	uint32_t asked; /* the slot it had last */
	struct ask *question; /* that a handler has now; NULL: none */
	uint32_t granted_nr, delayed_nr; /* + 1: the call that comes again, and is let through, or waits on; 0: none */
	uint64_t granted_sum, delayed_until;
};

/* One call on its way. */
struct call {
	uint64_t nr;
	uint64_t args[CALL_ARGS];
	const struct call_row *row;
	struct thread *thread;
	struct ucontext *uc; /* NULL: the call came by a patched site */
	uint8_t route, foreign;
	uint8_t replaces;          /* a record of it was written before it was made */
	uint32_t rest;             /* of its record, at most, without strings */
	struct log_record *record; /* begun, and not to be seen yet; NULL: none */
};

/* What fast_entry lays down at the top of the agent's stack; it goes back by it. */
struct fast {
	struct thread *thread;
	uint64_t args[CALL_ARGS];
	uint64_t nr; /* then the result */
	uint64_t flags, sp;
	uint64_t site;   /* its number */
	uint64_t resume; /* where to go on */
};

_Static_assert(sizeof(struct fast) == 96 && CALL_LIMIT == 512, "entry.S");
_Static_assert(__builtin_offsetof(struct thread, put_off) == 24, "entry.S");
_Static_assert(__builtin_offsetof(struct thread, resume) == 32, "entry.S");
_Static_assert(__builtin_offsetof(struct thread, quick) == 40, "entry.S");
_Static_assert(__builtin_offsetof(struct thread, answers) == 48 && WAY_KNOWN == 3 && WAY_POSTS == 12, "entry.S");

/* A clone, fork or vfork under way: shared by parent and child where they share memory. */
struct birth {
	uint64_t parent_stack, child_stack; /* where birth_stub goes on: entry.S knows the offsets */
	struct thread *child; /* a new thread's, if not in its parent's place */
	struct thread *vforked; /* of a child that is; not to be found by its id, which may be another here */
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
	uint32_t twin_of; /* as in struct thread */
	uint32_t is_lent; /* the child of vfork is counted as a holder of its parent's streams */
};

enum { KEY_SLOTS = 65536, STACK_SIZE = 31744, ALT_SIZE = 66560 };

extern struct agent_config agent_config; /* not hidden: the launcher looks for it */

#define HIDDEN __attribute__((visibility("hidden")))
/* Behind all other data, which so fits on the few pages that every program writes to; `n`: their order. */
#define COLD(n) __attribute__((section(".bss.cold" #n)))
#define HOT __attribute__((section(".bss.hot"))) /* and before it: what is written to at the start */
#define WARM(more) __attribute__((section(".bss.warm" more))) /* between the two: agent.ld */
#pragma GCC visibility push(hidden)

/* arch/entry.S */
extern char range_begin[], range_end[], trap_restorer[], birth_stub[];
extern char __ehdr_start[], _end[], warm_end[]; /* the linker's: where we lie */
extern char gate_wait_armed[], gate_wait_insn[], gate_wait_done[], gate_wait_end[];
int64_t gate(uint64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f);
int64_t gate_wait(struct gate_wait *w);
int64_t gate_stack(uint64_t sp, const void *stack);
int64_t gate_foreign(uint64_t nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f);
int64_t gate_fast(uint64_t nr, const uint64_t *args, const uint32_t *put_off);
void leave_frame(uint64_t sp) __attribute__((noreturn));
uint64_t copy_try(void *to, const void *from, uint64_t n);
int64_t string_try(char *to, const char *from, uint64_t room);
void launcher_stop(uint64_t why, const struct agent_config *at); /* see agent_stop in abi.h */
void alone_leave(const struct thread *t) __attribute__((noreturn)); /* arch/alone.c: for the program */

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
char *start_append(char *to, const char *text);
char *start_decimal(char *to, uint32_t n);

/* memory.c: the program's memory, which may not be there. All return bytes moved; fewer than n: a fault. */
uint64_t memory_read(void *to, uint64_t from, uint64_t n);
uint64_t memory_write(uint64_t to, const void *from, uint64_t n);
uint64_t memory_gather(void *to, const uint64_t (*iov)[2], uint32_t count, uint64_t n);
uint64_t memory_scatter(const uint64_t (*iov)[2], uint32_t count, const void *from, uint64_t n);
int memory_may_fault(void); /* the agent copies by itself; else the kernel does, which costs a call */
int64_t memory_string(char *to, uint64_t from, uint64_t room); /* length without NUL, or -EFAULT, -ENAMETOOLONG */
void *memory_pages(uint64_t size);

/* threads.c */
struct thread *thread_self(void);
struct thread *thread_make(uint64_t stack); /* stack: its own place, or 0: a new one */
void thread_unmake(struct thread *t);
void thread_enter(struct thread *t, struct process_self *process); /* it is the caller */
struct thread *thread_add(struct process_self *process);           /* both */
void thread_remove(struct thread *t);
void thread_forget(struct thread *t); /* a vfork child that is gone, with its process */
int thread_is_last(const struct thread *t); /* of its process */
void thread_only(void); /* after fork: all others are gone */
void thread_was(struct thread *t);
void thread_crowd(struct thread *t);
int thread_is_alone(void); /* nobody else runs in this memory, vfork children apart */
struct process_self *process_new(void);
extern struct process_self process_main;
struct birth *birth_new(void);
void birth_drop(struct birth *b);
extern struct thread *thread_keys[KEY_SLOTS];
void thread_admit(struct thread *t); /* to the patched sites, if its key is its alone */
void thread_bar(struct thread *t);   /* until further notice */
void thread_unbar(struct thread *t);
void thread_doubt(uint32_t tid); /* another thread begins with its key */
void thread_alone(uint32_t tid); /* or no longer has it */
void thread_rekey(struct thread *t); /* it has a new one */

/* What the agent blocks when it waits no more. It takes no fault from the program that the program does not take. */
static inline uint64_t signal_full(const struct thread *t)
{
	return MASK_FULL | (t->mask & SIG_FAULTS);
}

#define KEY_SLOT(key) ((key) >> 12 & (KEY_SLOTS - 1))

static inline struct thread *thread_here(void)
{
	uint64_t key = arch_key();
	struct thread *t = thread_keys[KEY_SLOT(key)];

	return t && t->key == key ? t : 0;
}

/* dispatch.c */
void trap(int sig, struct siginfo *info, struct ucontext *uc);
void dispatch_setup(void);
int64_t dispatch_perform(struct call *c);
int64_t dispatch_normal(struct call *c); /* whatever rules say */
int64_t dispatch_made(struct call *c);   /* and whatever is posted */
void dispatch_ways(void);                 /* after they have changed */
extern uint8_t dispatch_way[CALL_LIMIT];
int dispatch_unmasked(uint64_t nr, const uint64_t *args); /* it could bring a signal mask, and does not */

static inline uint8_t dispatch_route(const struct process_self *p, uint64_t nr)
{
	return p->channel && nr < CALL_LIMIT ? session->routes[nr] : (uint8_t)ROUTE_KERNEL;
}
int64_t dispatch_kernel(struct call *c);
int64_t dispatch_kernel_args(struct call *c, const uint64_t *args);

/* deliver.c */
void signal_arrived(int sig, struct siginfo *info, struct ucontext *uc);
void signal_own(struct siginfo *info, struct ucontext *uc); /* a SIGSYS that is the program's business */
void signal_ended(struct call *c, uint64_t mask);           /* a wait under another mask was cut short */
void signal_unkeep(struct thread *t, int fast);
void signal_release(struct thread *t, struct ucontext *uc);
int signal_sys_pending(void);
int signal_sys_take(struct siginfo *info);
void signal_sys_queue(const struct thread *t, int back); /* around an exec: let the kernel hold what waits */

/* signals.c */
struct sigaction *signal_handler(int sig);
void signal_unhandle(int sig);
void signal_reset(int sig);
void signal_set_mask(uint64_t mask);
void signal_own_stack(const struct thread *t, uint64_t sp);
struct sigframe_stack signal_stack_ours(const struct thread *t); /* where the thread's signals arrive */
void signal_return(struct thread *t, struct ucontext *back);
int64_t signal_action(struct call *c);
int64_t signal_mask(struct call *c);
int64_t signal_pending(struct call *c);
int64_t signal_await(struct call *c);
int64_t signal_stack(struct call *c);
int signal_on_stack(const struct sigframe_stack *s, uint64_t sp);
uint32_t signal_ttystop(const struct call *c);
void signal_inherit(void);
void signal_cleared(const struct process_self *p); /* a child whose handlers the kernel has reset, ours too */
void signal_takeover(void); /* handlers from before the agent */
void signal_leave(const struct process_self *p, int over); /* around an exec: what the next image inherits */
void signal_raise(int sig);
int signal_cuts(const struct thread *t, int sig);

/* arch/sites.c: call sites that are patched once they have run a few times */
void sites_hit(struct call *c);
void sites_setup(uint32_t flags);           /* enum agent_flags */
void sites_mapped(const struct call *c, int64_t ret); /* after an mmap: what is known of the file's sites is used */
void sites_quiet(void);                     /* the program has a filter now: no calls of our own any more */
int sites_are_quiet(void);
void sites_lock(int makes_thread);          /* around a birth */
void sites_unlock(void);
void sites_restore(uint64_t from, uint64_t size); /* code that is about to be moved */
uint64_t sites_slow(uint32_t index);        /* where its call is made by way of the signal */
int sites_finish(struct thread *t, struct ucontext *uc); /* this SIGSYS only ends a call during which a signal came */
uint64_t sites_number(uint64_t pc, uint64_t nr); /* of a call whose number makes no sense */
void sites_origin(struct ucontext *uc);     /* from a site's stub to the site: after the call */
void sites_rewind(struct ucontext *uc);     /* the same, before the call */
int sites_left(struct ucontext *uc);        /* past the last jump out of the agent; 1: it leads to sites_finish() */
void sites_cut(struct thread *t, struct ucontext *uc); /* a signal has come in the middle of fast_call */
int sites_fault(struct ucontext *uc);       /* of copy_try and string_try */

/* life.c */
int64_t life_birth(struct call *c, uint64_t start, int *resumes);
struct birth_end {
	uint64_t resume;
	struct thread *thread;
};

struct birth_end birth_done(int64_t ret, struct birth *b, uint64_t *kept);
void life_exit(struct call *c);
int64_t life_wait(struct call *c);
void life_enter(struct process_self *p, uint32_t parent);
uint32_t life_entry(uint32_t pid); /* in session.processes; PROCESSES: none */
void life_sleep(uint32_t *word, uint32_t value, uint64_t ms); /* on a futex */
void life_wake(uint32_t *word);
int life_exists(uint32_t pid);

/* exec.c */
int64_t exec_call(struct call *c);

/* delegate.c: the route `proxy` */
int64_t delegate_anywhere(struct call *c);
int64_t delegate_messages(struct call *c, int in);
int64_t delegate_exit(struct thread *t);
int64_t delegate_op(struct thread *t, uint32_t op, uint64_t arg0, uint64_t arg1);
int64_t delegate_fork(struct thread *t, uint64_t flags, int32_t *lifeline, int32_t *channel, uint32_t *entry);
int64_t delegate_thread(struct thread *t, uint32_t *slot);
int64_t delegate_borrow(struct thread *t, uint64_t fd);
int64_t delegate_handover(struct thread *t, int32_t fd, int cloexec);
int64_t delegate_attach(struct process_self *p, struct thread *t, int32_t lifeline, int32_t channel, uint32_t slot);

/*
 * arch/lay.c: the frame of signal `sig` for the program, on its stack below `top`, from the one that interrupted it;
 * leaving that one then leads into the handler. 0: it reaches below `floor` (unless 0), or there is no memory there.
 */
int frame_lay(struct ucontext *uc, uint64_t top, uint64_t floor, int sig, const struct siginfo *info,
	      const struct sigaction *h, const struct sigframe_stack *alternate);

/* local.c: answers from what the agent knows for certain */
void local_forget(struct thread *t); /* something may have changed */
int64_t local_answer(struct call *c);
void local_off(void);
int local_is_off(void);

/* handle.c: calls under a rule of the session's */
extern const uint32_t *handle_epoch; /* of the rules; entry.S compares the two before it completes a call by itself */
extern uint32_t handle_seen;         /* what dispatch_way was made for */
void handle_setup(void);
void handle_refresh(void);
void handle_table_changed(void); /* what else it rests on */
int handle_has_rules(uint64_t nr);
int64_t handle_call(struct call *c);
int handle_before(struct call *c, int64_t *ret);
void handle_born(struct thread *t); /* a thread, maybe of a new process, begins to count */
HIDDEN void handle_forked(void);
/* names.c: calls that change what descriptors stand for. Between the two they are made; NULL: nobody wants to know. */
struct moves *names_begin(const struct call *c);
void names_end(const struct call *c, struct moves *m, int64_t ret);
struct moves *names_begin_all(void);
void names_lost(void); /* from now on nobody knows when they change */
HIDDEN void names_forked(void);

/* handle.c again */
int handle_is_there(void); /* the session was made with handlers */
void handle_leaving(struct thread *t); /* ask.c: an exec that nobody will see */

/* fast.c */
void fast_call(struct thread *t, struct fast *f);

/* borrow.c: calls that the program's own process must make although the proxy has the descriptors */
int64_t borrow_route(struct call *c); /* where every call of the route `proxy` begins */
int64_t borrow_call(struct call *c);
int borrow_path(struct call *c, const char *path, uint64_t len, int64_t *ret);
int borrow_is_self(const char *path);
int64_t borrow_self(struct call *c);

/* filter.c */
int64_t filter_install(struct call *c); /* a seccomp filter of the program's */
int64_t filter_strict(struct call *c);  /* it asks for strict mode */
int filter_strict_allows(uint64_t nr, int is_foreign);
void filter_strict_end(struct call *c); /* in strict mode it has made another call */

/* own.c: a Syscall User Dispatch of the program's own */
#define OWN_ASKED 0x6c736361u /* a mode that no kernel knows: "is an agent there?", 1 */
int64_t own_dispatch(struct call *c); /* it asks for one, or no more */
int own_takes(struct thread *t, const struct siginfo *info, struct ucontext *uc);

/* chunks.c */
int64_t chunk_map_area(int64_t fd, int all);
void chunk_map_all(void); /* before a filter comes */
int chunk_lease(struct thread *t, uint64_t need); /* bytes; 0: there is none, and nobody to wait for */
int chunk_reach(struct thread *t, uint64_t need); /* bytes from t->at; 0: the chunk is not so long, or no memory */
void chunk_release(struct thread *t);
void chunk_inherit(uint32_t pid);
void chunk_forked(void), chunk_lost(void); /* a record */

/* counts.c */
void record_count(struct thread *t, uint8_t route); /* one call more */
void record_recount(struct thread *t, uint8_t from, uint8_t to);
void record_counts(struct thread *t);              /* and those that entry.S has made */

/* record.c */
enum { RECORD_SMALL = sizeof(struct log_record) + 8 * CALL_ARGS + 16 };

static inline int record_is_on(void)
{
	return session && session->flags & SESSION_LOG;
}

extern uint64_t record_heads[CALL_LIMIT];
void record_begin(struct call *c, uint64_t *start);
void record_end(struct call *c, uint64_t start, int64_t ret);
void record_last(struct call *c); /* the call may not return */
void record_after(struct call *c, uint64_t start, int64_t ret); /* it did */
void record_wide(struct thread *t, struct log_record *r, uint64_t took, int64_t ret);
void record_event(struct thread *t, uint8_t kind, uint32_t args, uint64_t a, uint64_t b);
struct log_record *record_event_begin(struct thread *t, uint8_t kind, uint32_t args, uint32_t pieces);
uint8_t *record_event_place(struct log_record *r);
void record_event_piece(struct log_record *r, int arg, uint64_t len);
void record_event_end(struct thread *t, struct log_record *r);
/* So that events can come before the record of a call that is under way. */
uint64_t record_put_off(struct call *c);
void record_go_on(struct call *c, uint64_t start);
uint32_t record_under_way(const struct thread *t); /* which call its record is of; or STREAM_BY_NOBODY */

/* events.c: what descriptors stand for, where no call says it */
int event_follows(uint64_t nr);
void event_after(struct call *c, int64_t ret);
void event_address(struct log_record *r, int arg, uint64_t nr, int64_t fd); /* of a socket, as a piece */
void event_all(struct thread *t, int few); /* all that this process has; few: the standard ones at most */
void event_program(struct thread *t), event_argv(struct thread *t, const uint64_t *sp);

void *memcpy(void *to, const void *from, unsigned long n);
void *memset(void *to, int c, unsigned long n);
int memcmp(const void *a, const void *b, unsigned long n);

#pragma GCC visibility pop
#endif
