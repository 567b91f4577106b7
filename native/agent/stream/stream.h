/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams between captured programs of a user, see shared/streams.h:
 *
 *   descriptors.c  which descriptors of this process are streams
 *   held.c         what all holders of an end agree on
 *   inherit.c      what a child has of its parent, and the next image of this one
 *   vforked.c      a child that has our memory until its exec
 *   calls.c        the calls that open, copy, hand on, use and close them
 *   meet.c         how two ends find each other
 *   rings.c        the memory between them
 *   idle.c         and how it is given back
 *   back.c         how a stream becomes the kernel's again
 *   locks.c        who may do that now
 *   receive.c, send.c  what comes and goes
 *   naps.c         how who reads sleeps at first
 *   tell.c         what the log says of streams
 *   ready.c        what a stream is ready for
 *   poll.c, select.c  who waits for several
 *   sets.c, epoll.c, waits.c  epoll
 *
 * A stream belongs to this process; forks, and the images after an exec, have one each for the same connection. What
 * they must agree on before there is a ring (who holds it, how many bytes went by the kernel) is in the session's
 * memory (struct stream_held). A ring is made only where each end has one process that holds it, since others would
 * not know; who is forked later, does.
 */
#ifndef LSCA_AGENT_STREAM_H
#define LSCA_AGENT_STREAM_H

#include "agent.h"
#include "outside.h"
#include "streams.h"

enum {
	DESCRIPTORS = 65536, /* higher ones are the kernel's */
	STREAMS = 4096,      /* of one process */
	PARTS_AT_ONCE = 64, /* buffers that the kernel is given */
	NOBODY = 0x80000000u, /* stream.busy: somebody changes its state, and no call is under way */
	MSG_PEEK_ = 2, MSG_DONTWAIT_ = 0x40, MSG_WAITALL_ = 0x100, MSG_NOSIGNAL_ = 0x4000,
	POLLIN_ = 1, POLLPRI_ = 2, POLLOUT_ = 4, POLLERR_ = 8, POLLHUP_ = 16, POLLRDHUP_ = 0x2000,
	NONBLOCK_ = 04000,
	STREAM_PIPE = 0xff, /* in place of a socket's family */
};

/* What a call has to do with streams. */
enum concern {
	NOT_OURS,
	MAKES,   /* a stream, or two */
	BYTES_COME, BYTES_GO, /* by the stream args[0] */
	ASKS,    /* the stream args[0] for something else */
	RENUMBERS, /* changes which descriptors there are */
	OPENS,   /* by a path, which may be that of a pipe in /proc */
	WAITS,   /* for several, by their numbers */
	WAITS_SET, CHANGES_SET, MAKES_SET, /* of epoll */
	LEAVES,  /* needs these streams to be the kernel's */
	ENDS_ALL, /* and this all of them, for good */
};

enum stream_state {
	STREAM_FREE,
	STREAM_YOUNG,  /* by the kernel, and every byte is counted */
	STREAM_WAITS,  /* its name is among the meetings */
	STREAM_MADE,   /* we have made the ring, and the other end does not have it yet */
	STREAM_JOINED,
	STREAM_PLAIN,  /* the kernel's for good */
	STREAM_OVER,   /* as good as free, but for what the log is to be told */
};

/* What there is to be told of a stream that has, or had, a ring. */
struct tale {
	uint64_t id;           /* of the connection, and of its two ends one has the last bit */
	uint64_t sent, got;    /* bytes, by the ring and of this process */
	uint64_t kernel_sent, kernel_got; /* and before it, once it is over */
	uint32_t is_joined;    /* by this process, not by who has forked it */
	uint32_t is_told;      /* the log knows that it is there */
	uint32_t ways, back_by; /* those that are the kernel's again, by which call */
	uint32_t over_by;
	uint32_t news;         /* enum news */
	uint32_t is_listed, next;
	uint32_t other;        /* the process */
	int32_t fd;
};

struct stream {
	uint32_t state;
	uint32_t descriptors; /* of this process */
	uint32_t users;       /* calls that look at it, and may use the ring */
	uint32_t busy;        /* calls in the kernel that are counted, or NOBODY */
	uint32_t calls;       /* that moved bytes, as long as it is young, and by its ring; about so many */
	uint32_t end;         /* which one of the ring's we are */
	uint32_t meeting;     /* its place there */
	uint32_t family;
	uint32_t writes;      /* a pipe's end to write */
	uint64_t inode, other; /* of the sockets, or twice that of a pipe and 1 for its end to write; 0: not known */
	struct stream_held *held;
	struct stream_ring *ring;
	uint64_t looked;      /* where the other end was reading when, in ticks; and what was in doubt */
	uint32_t head_then, doubt_then;
	uint32_t head_known;  /* as far at least */
	struct patience patience;
	uint64_t asked;       /* when the kernel last said that nothing has come, in ticks; and what was in doubt */
	uint32_t doubt_asked;
	uint32_t fulls, missed; /* times that there was no room, and that one could not wait for who held the lock */
	uint32_t stuck_head;  /* where the other end was reading then */
	uint64_t stuck;       /* since when it has read nothing and there is no room, in ticks */
	uint32_t watchers, is_introduced; /* threads that wait in the kernel since before it had a ring */
	uint32_t tails[2];    /* of its ring when that was last looked at */
	uint32_t is_damaged;  /* its ring is not as it should be: it has come to an end */
	uint32_t nodelay, cork; /* what the program has asked of TCP; the socket holds back no bell */
	struct tale tale;
	uint32_t heirs;       /* enum stream_heirs */
	uint32_t is_napping, nap_rest; /* a thread naps (naps.c); waits until that is tried again */
	uint32_t posts;       /* that came too late, or are to come */
	uint32_t place;       /* of the semaphore that we post to, and 1 more */
	uint32_t has_limit;   /* SO_RCVTIMEO */
	uint32_t is_parting;  /* one of its descriptors is about to be closed */
};

/* A stream and a process that is about to have it, or its next image. */
enum stream_heirs {
	HEIRS_NONE,
	HEIRS_FORKED, /* a child that is about to be born is counted */
	HEIRS_LENT, /* a child of vfork holds it, and is counted */
	HEIRS_KEPT, /* and so will what comes after an exec */
};

#pragma GCC visibility push(hidden)

/* The program's buffers, one after the other. */
struct parts {
	uint64_t vector, count; /* those that have not been looked at */
	uint64_t at, len;       /* the next one, or what is left of it */
	int is_headed, is_handed; /* the kernel has filled in the message's head; and something came with the bytes */
};

/* What the rest of the agent asks of all this. */
void stream_setup(void);
int stream_is_on(void);
int stream_wants(uint64_t nr); /* it may be of concern */
int stream_concerns(uint64_t nr, const uint64_t *args); /* it is */
int stream_gives_up(const struct call *c); /* 1: such a call ends all streams, and is otherwise as without any */
int64_t stream_call(struct call *c);
void stream_ending(struct thread *t); /* the process */
void stream_tell_exec(struct call *c); /* is about to be made */
void stream_tell(struct thread *t); /* the log, what stream_news are there */
extern uint32_t stream_news;
void stream_leave_all(void); /* they are the kernel's; others may come */
void stream_off(void); /* something has come that we cannot follow: all are the kernel's, from now on */

extern uint32_t stream_rings; /* streams of this process that have a ring; without any, waits are the kernel's */

/* descriptors.c */
struct stream *stream_get(uint32_t fd);    /* NULL: none; else give it back by stream_put() */
void stream_put(struct stream *s);
struct stream *stream_next(uint32_t *fd);  /* from there on; NULL: no more; else as stream_get() */
struct stream *stream_known(uint32_t fd); /* the same, not to be used */
struct stream *stream_numbered(uint32_t i); /* each in turn, free ones too; NULL: no more */
int stream_is_used(const struct stream *s);
int32_t stream_descriptor(const struct stream *s); /* one of its numbers, or -1 */
uint32_t stream_top(void); /* descriptors from here on are none of ours */
int stream_is_wanted(uint32_t family); /* of a socket, or STREAM_PIPE */
int stream_are_there(void); /* there was one at least */
struct stream *stream_born(uint32_t fd, uint32_t family);
struct stream *stream_enter(uint32_t fd, uint32_t family, struct stream_held *h);
void stream_copied(uint32_t from, uint32_t to);
void stream_drop(uint32_t fd); /* it is about to be closed, or was */
void stream_drop_range(uint32_t from, uint32_t to);
void stream_doubt(struct stream *s); /* the other end shall ask the kernel before it sends more */
int64_t stream_leave_number(uint32_t fd); /* stream_leave(), if it is one */
void stream_reopened(int32_t fd);
void stream_forked_table(void);

/* held.c: of an end of a connection, or of an epoll set */
struct stream_held *held_take(void); /* NULL: no more */
/* A process, which is counted already, and one that holds it no more. 0: its number says nothing here. */
void held_enter(struct stream_held *h, uint32_t pid);
void held_leave(struct stream_held *h, uint32_t pid);

static inline uint32_t held_self(void)
{
	return process_main.elsewhere ? 0 : process_main.pid;
}

/* inherit.c */
int stream_survives_exec(uint32_t fd);
int stream_is_single(void); /* there is no other thread */
void stream_left(void); /* the process ends */
/* 0: the next image has the stream by that number, if one may be passed on, or it is the kernel's. */
int64_t stream_pass_on(const struct process_self *p, int32_t fd, struct stream *s, int is_caught, uint32_t *most);

/* vforked.c: a child of vfork, which is counted as a holder of what its parent has */
int vforked_is_there(void); /* nobody else runs then */
void vforked_lend(void);
void vforked_over(uint32_t pid); /* 0: it never was */
void vforked_leave(void);       /* all that it holds is the kernel's */
void vforked_forget(void);
int64_t vforked_before_exec(const struct process_self *p, int is_caught, uint32_t most);
int64_t vforked_call(struct call *c, uint8_t concern);


/* tell.c */
void tell_joined(struct stream *s, int32_t fd);
void tell_back(struct stream *s, uint32_t ways, uint32_t by);
uint32_t tell_by(void); /* the call that does it */
int tell_is_over(struct stream *s, uint32_t by); /* 0: there is nothing to be told of it */
void tell_over(struct stream *s);                 /* it is nobody's now, and to be free when that is told */
void tell_forked(struct stream *s);
void tell_end(struct thread *t); /* of the process */

/* calls.c */
void calls_setup(void);
int64_t stream_counted(struct call *c, struct stream *s); /* by the kernel, and how many bytes */

/* rings.c */
int64_t stream_open(const char *path, uint64_t size); /* of ours, and so large; else a negative number */
struct stream_ring *ring_make(uint32_t other); /* with that process; NULL: there is no memory for it */
struct stream_ring *ring_fetch(uint32_t launcher, uint32_t maker, uint32_t serial);
void ring_forget(struct stream_ring *r);
void ring_drop(struct stream_ring *r);
void ring_release(struct stream_ring *r, uint32_t end); /* it may be used again */
void ring_forked(void);
/* With the way's send_lock: memory for n bytes from there on; 0: there is none. And with both its locks: none of it. */
int ring_grow(struct stream_ring *r, uint32_t way, uint32_t from, uint32_t n);
void ring_trim(struct stream_ring *r, uint32_t way);

/* idle.c */
void idle_begins(void);     /* there is memory that may have to be given back */
uint64_t idle_slice(void);  /* nanoseconds, after which a sleeper shall look; 0: no need */
void idle_look(void);
void idle_forked(void);

/* meet.c */
struct meetings *stream_meetings(void); /* NULL: none was wanted, or is to be had */
uint64_t stream_inode(int32_t fd, const char *path); /* of fd if path is empty; 0: not to be had */
void stream_as_wanted(const struct stream *s, int32_t fd); /* the socket has the options that the program wants */
void stream_pair(struct stream *one, struct stream *two, const int32_t *fds); /* of a socketpair */
void stream_meet(struct stream *s, int32_t fd); /* one step nearer to a ring, if that can be */
void stream_learn(const struct stream *s); /* it is over */
int stream_withdraw(struct stream *s); /* nobody shall find it any more; 1: nobody has, since it waited */
int stream_begin(struct stream *s); /* what we send goes into the ring from now on, under send_lock; 0: not yet */
int stream_keeps_option(const struct stream *s, uint32_t level, uint32_t name, uint32_t **value);

/* locks.c */
enum claim {
	CLAIM_OWN,    /* memory that only we and our threads write */
	CLAIM_WAITS,  /* as the program's call would wait */
	CLAIM_NOW,    /* it would not: -EAGAIN_ if the owner was stopped */
	CLAIM_TRY,    /* without sleeping, as who has another lock must not: -EAGAIN_ */
	CLAIM_LEAVES, /* -EIO_ if he was stopped, and after a second still is */
};

void stream_yield(void);
/* 0; or that, or as a signal or a time limit wants it; -EIO_, too: the ring is not as it should be. */
int64_t stream_claim(struct call *c, struct stream *s, uint32_t *word, enum claim how);
void stream_lock(uint32_t *word);
void stream_unlock(uint32_t *word);
int64_t stream_damaged(struct stream *s, int32_t fd); /* what its calls return from then on */

/* back.c */
int64_t stream_leave(struct stream *s, int32_t fd); /* both ways back to the kernel; -EIO: what has come cannot be */
/* What we send; `by`: who says so, as the log has it. 0, or what stream_claim() says. */
int64_t stream_send_back(struct stream *s, int32_t fd, enum claim how, uint32_t by);
int64_t stream_send_on(struct stream *s, uint32_t by); /* the same, but for what was sent already, if that can be now */
void stream_poured(struct stream *s, int32_t own); /* who poured was killed, and left the way half done */
void stream_part(struct stream *s, int32_t fd); /* it is about to be closed */
int stream_is_reset(struct stream *s, int32_t fd); /* the other end closed before it had read all */
int stream_says_reset(struct stream *s, int32_t fd); /* the same, to be said once */

/* move.c */
int64_t parts_next(struct parts *p); /* 1: there is one; 0: no more; or an error */
/* Between the ring's bytes from `from` on and the program; as many as there are, or fit. 0: none; or an error. */
int64_t parts_copy(struct parts *p, uint8_t *bytes, uint32_t from, uint32_t n, int in);
/* The first of them, as many as hold so many bytes, as the kernel wants them; how many bytes. */
int64_t parts_gather(struct parts p, uint64_t most, uint64_t (*v)[2], uint64_t *n);
void parts_pass(struct parts *p, uint64_t n); /* so many bytes are done */
int parts_of_call(const struct call *c, struct parts *p, uint32_t *flags); /* 0: not one that goes by the ring */
int64_t stream_by_kernel(struct call *c, struct stream *s); /* by nothing else from now on */
void stream_bell(struct stream *s, int32_t fd); /* unless there is one already */
void stream_ring_bell(struct stream *s, int32_t fd); /* wake who sleeps at the other end, with the send_lock */
/* The read_lock is held for these two. */
void stream_take_bells(struct stream *s, int32_t fd); /* those that have come, once the ring is empty */
int64_t stream_drop_bells(struct stream *s, int32_t fd); /* all, before bytes follow them */

/* pipes.c */
int pipe_is_packets(int32_t fd);
int64_t pipe_readv(int32_t fd, const void *v, uint64_t n);
int pipe_is_fit(int32_t fd, int writes); /* what is in a ring can be put there */
/* It is the kernel's again, with what is in the ring. Both of the way's locks are held. 0, or an error. */
int64_t pipe_restore(const struct stream *s, struct stream_way *w, const uint8_t *bytes, int32_t own);
/* Without waiting, and without a signal. */
int64_t pipe_read(int32_t fd, uint64_t to, uint64_t len);
int64_t pipe_write(int32_t fd, const uint64_t (*v)[2], uint64_t n); /* all of it: no more than PIPE_BUF */
int64_t pipe_sleep(struct call *c, const struct stream *s); /* until something is there, 1, or the end, 0 */
int pipe_must_wait(const struct parts *p, uint32_t room);

/* naps.c */
int64_t nap(struct call *c, struct stream *s); /* 0; or a signal was first */
int nap_end(struct stream_way *w); /* what who naps there is to see has been done; 1: there was one */
void nap_sent(struct stream *s); /* the same, and what he wants for the next time is given to him */
void nap_part(struct stream *s);
void nap_unguard(struct stream *s); /* nobody naps for what we send any more */
void nap_introduced(struct stream *s, int32_t fd);
void nap_forked(void);

/* receive.c, send.c */
int64_t stream_receive(struct call *c, struct stream *s);
int64_t stream_send(struct call *c, struct stream *s);
int64_t stream_send_file(struct call *c, struct stream *s);
int stream_is_nonblocking(const struct stream *s, uint32_t flags); /* of the call */
uint64_t stream_pending(struct stream *s); /* bytes in the ring that have come */
uint32_t stream_available(struct stream *s, int32_t fd); /* and those in the socket, without bells */

static inline int stream_is_pipe(const struct stream *s)
{
	return s->family == STREAM_PIPE;
}

/* ready.c. Events are those of poll and epoll, which are the same. */
enum { IN_EVENTS = 0x41, OUT_EVENTS = 0x304, ENDS_EVENTS = POLLERR_ | POLLHUP_ | POLLRDHUP_ };

int stream_is_ours(const struct stream *s, uint32_t event); /* is that one the ring's to say, not the kernel's? */
uint32_t stream_domain(const struct stream *s); /* all that are */
uint32_t stream_says(const struct stream *s, uint32_t wanted); /* and that the ring is ready for */
uint32_t stream_merge(struct stream *s, int32_t fd, uint32_t wanted, uint32_t kernel); /* what is to be shown */
int stream_is_full(const struct stream *s);
int stream_unstick(struct stream *s, int32_t fd); /* 1: what we send is the kernel's now */
int stream_quiet(struct stream *s, int32_t fd, uint32_t mine); /* takes bells; 1: one must stay */
void stream_watch(struct stream *s, uint32_t *how);
void stream_unwatch(struct stream *s, uint32_t how);
void stream_introduced(struct stream *s, int is_there);
uint64_t stream_now(void);
int calm_is_over(const struct calm *k); /* the kernel is to be asked, although rings are ready */
void calm_looked(struct calm *k, int found);
int64_t stream_ask(int32_t fd, uint32_t events); /* the kernel, without waiting */

/* poll.c */
enum { SLICE_ROOM = 10000000, SLICE_BELL = 2000000 }; /* nanoseconds, where nothing would wake us */

int64_t stream_poll(struct call *c);

/* sets.c, epoll.c */
int epoll_known(uint32_t fd);
int epoll_are_there(void);
void epoll_made(uint32_t fd);
void epoll_copied(uint32_t from, uint32_t to);
void epoll_drop(uint32_t fd);
void epoll_drop_range(uint32_t from, uint32_t to);
void epoll_before_exec(void);
void epoll_each_held(void (*visit)(struct stream_held *h));
void epoll_give_up(uint32_t fd);
int64_t epoll_control(struct call *c);
void epoll_closed(struct stream *s, int32_t fd, int is_last); /* one of its numbers */
void epoll_joined(struct stream *s);
void epoll_before_fork(int is_undone);
void epoll_forked(void);

/* waits.c */
int64_t epoll_await(struct call *c);

static inline struct stream_way *stream_out(const struct stream *s)
{
	return &s->ring->ways[s->end];
}

static inline struct stream_way *stream_in(const struct stream *s)
{
	return &s->ring->ways[!s->end];
}

/* Where the next byte comes from. */
enum source { BY_KERNEL, BY_RING, BY_KERNEL_AGAIN };

static inline enum source stream_source(const struct stream_way *w)
{
	if (!get_acquire(&w->is_on) || w->came < w->from)
		return BY_KERNEL;
	if (get_acquire(&w->is_back) && get_acquire(&w->tail) == w->head)
		return BY_KERNEL_AGAIN;
	return BY_RING;
}

/* A wait of ours was ended by a signal: whether the program's call is made again is what the handler wants. */
static inline int64_t stream_interrupted(const struct call *c)
{
	return c->thread->restarts ? -ERESTART_ : -EINTR_;
}

static inline int stream_has_ring(const struct stream *s)
{
	uint32_t state = get_acquire(&s->state);

	return state == STREAM_MADE || state == STREAM_JOINED;
}

#pragma GCC visibility pop
#endif
