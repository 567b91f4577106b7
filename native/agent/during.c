/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A call with a rule that sends a signal as well: it is to come during the call, as if it had arrived just when the
 * call began. What need not wait is made, and then the handler runs; a wait is cut short. Nobody can send it from here
 * while the call is in the kernel, so a timer does: too early, and the call has not been made, which shows, and it is
 * made once more with a later one; too late, and the call has ended, so the signal is sent then. A proxy makes a call
 * whether a signal has come or not, and leaves only a wait, so there it is sent before.
 */
#include "handle.h"

#include "outside.h"

enum {
	FIRST_NS = 20000,     /* from the timer to the signal */
	LAST_NS = 5000000,    /* who still seems not to have made the call then waits, and would make it again */
	MONOTONIC = 1,
	NOTIFY_THREAD = 4,
	BY_TGKILL = -6,
};

struct event {
	uint64_t value;
	int32_t signo, notify, tid;
	uint32_t pad[11];
};

_Static_assert(sizeof(struct event) == 64, "sigevent");

static int64_t timer_make(const struct thread *t, int sig)
{
	struct event e = {.signo = sig, .notify = NOTIFY_THREAD, .tid = (int32_t)t->tid};
	int32_t id;
	int64_t r = GATE3(NR_timer_create, MONOTONIC, &e, &id);

	return r < 0 ? r : id;
}

/* 0: none. Returns what was left until then. */
static uint64_t timer_set(int64_t id, uint64_t ns)
{
	uint64_t now[4] = {0, 0, 0, ns}, was[4] = {0};

	GATE4(NR_timer_settime, id, 0, now, was);
	return was[2] | was[3];
}

/* As signal_raise() would have it. */
static void sent_by_us(struct thread *t)
{
	t->kept.code = BY_TGKILL;
	t->kept.call_addr = t->process->pid | (uint64_t)GATE1(NR_getuid, 0) << 32;
}

/* It has come and is blocked by now. */
static void take_back(int sig)
{
	uint64_t set = SIG_BIT(sig), none[2] = {0};

	GATE4(NR_rt_sigtimedwait, &set, 0, none, 8);
}

static int64_t make_timed(struct call *c, int sig, int64_t timer)
{
	struct thread *t = c->thread;
	int64_t ret;

	for (uint64_t ns = FIRST_NS;; ns *= 4) {
		int came;

		timer_set(timer, ns);
		ret = handle_make(c);
		came = !timer_set(timer, 0);
		if ((int)t->kept_signal == sig) {
			if (ret != -ERESTART_ || !came || ns > LAST_NS) {
				sent_by_us(t);
				return ret;
			}
			signal_unkeep(t, !c->uc);
			continue;
		}
		if (came)
			take_back(sig);
		if (!came || ret != -ERESTART_ || handle_interrupted(t) || ns > LAST_NS)
			break;
	}
	signal_raise(sig);
	return ret;
}

int64_t handle_during(struct call *c, int sig)
{
	struct thread *t = c->thread;
	int64_t ret, timer;

	/* An exec tells of its end in another way, and SIGSYS is not the kernel's to wake anybody with. */
	if (!(c->row->flags & CALL_BLOCKS) || c->nr == NR_execve || c->nr == NR_execveat || sig == SIGSYS_ ||
	    handle_interrupted(t))
		goto behind;
	if (!signal_cuts(t, sig) ||
	    (dispatch_route(t->process, c->nr) == ROUTE_PROXY && !(SIG_BIT(sig) & SIG_FAULTS))) {
		signal_raise(sig);
		return handle_make(c);
	}
	if (sites_are_quiet())
		goto behind;
	timer = timer_make(t, sig);
	if (timer < 0)
		goto behind;
	ret = make_timed(c, sig, timer);
	GATE1(NR_timer_delete, timer);
	return ret;
behind:
	ret = handle_make(c);
	/* Not before, since it would keep the call from being made. */
	if (ret != -ERESTART_)
		signal_raise(sig);
	return ret;
}
