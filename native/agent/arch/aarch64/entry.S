/* SPDX-License-Identifier: Apache-2.0 */
/*
 * aarch64: every instruction of the agent that enters the kernel, and every one that the kernel
 * enters. All of it lies between range_begin and range_end, the range from which calls are let
 * through. Reaching past the last instruction by one byte matters: the kernel compares the address
 * after the instruction.
 */
	.text
	.balign 64
	.globl range_begin, range_end
	.hidden range_begin, range_end
range_begin:

/* int64_t gate(nr, a, b, c, d, e, f) */
	.globl gate
	.hidden gate
	.type gate, @function
gate:
	mov	x8, x0
	mov	x0, x1
	mov	x1, x2
	mov	x2, x3
	mov	x3, x4
	mov	x4, x5
	mov	x5, x6
	svc	#0
	ret

/*
 * int64_t gate_stack(sp, new): sigaltstack called from `sp`, since the kernel refuses it on an
 * alternate stack.
 */
	.globl gate_stack
	.hidden gate_stack
	.type gate_stack, @function
gate_stack:
	mov	x9, sp
	mov	sp, x0
	mov	x0, x1
	mov	x1, #0
	mov	x8, #132
	svc	#0
	mov	sp, x9
	ret

/*
 * int64_t gate_wait(struct gate_wait *w): let the program's signals in (w->mask), make the call,
 * shut them out again. signal_arrived() in signals.c knows the labels: before `gate_wait_insn` has
 * run, a signal means "not made yet".
 */
	.globl gate_wait, gate_wait_armed, gate_wait_insn, gate_wait_done, gate_wait_end
	.hidden gate_wait, gate_wait_armed, gate_wait_insn, gate_wait_done, gate_wait_end
	.type gate_wait, @function
gate_wait:
	stp	x19, x30, [sp, #-16]!
	mov	x19, x0
	mov	x8, #135		/* rt_sigprocmask(SIG_SETMASK, &w->mask, NULL, 8) */
	mov	x0, #2
	mov	x1, x19
	mov	x2, #0
	mov	x3, #8
	svc	#0
gate_wait_armed:
	ldp	x8, x0, [x19, #16]
	ldp	x1, x2, [x19, #32]
	ldp	x3, x4, [x19, #48]
	ldr	x5, [x19, #64]
gate_wait_insn:
	svc	#0
gate_wait_done:
	str	x0, [x19, #72]
	mov	x8, #135		/* rt_sigprocmask(SIG_SETMASK, &w->full, NULL, 8) */
	mov	x0, #2
	add	x1, x19, #8
	mov	x2, #0
	mov	x3, #8
	svc	#0
gate_wait_end:
	ldr	x0, [x19, #72]
	ldp	x19, x30, [sp], #16
	ret

/* int64_t gate_foreign(nr, a, b, c, d, e, f): no second convention here, so -ENOSYS. */
	.globl gate_foreign
	.hidden gate_foreign
	.type gate_foreign, @function
gate_foreign:
	mov	x0, #-38
	ret

/* The instructions by which unwinders recognise a signal frame. */
	.globl trap_restorer
	.hidden trap_restorer
	.balign 16
	nop
trap_restorer:
	mov	x8, #139
	svc	#0

/* void leave_frame(uint64_t sp): the program's own rt_sigreturn, on the program's own frame. */
	.globl leave_frame
	.hidden leave_frame
	.type leave_frame, @function
leave_frame:
	mov	sp, x0
	mov	x8, #139
	svc	#0
	brk	#1

/*
 * clone and clone3 are made here, in the program's own context (registers, vector state, stack),
 * which rt_sigreturn has restored with all signals blocked. x5, which neither of the two uses,
 * carries the struct birth. Parent and child both come out of the call; what must be kept lies in
 * the birth, not on a stack they may share. The kernel preserves all but x0; this costs x17 as well,
 * the register that any branch between functions may cost. `ret` and not `br`: it may land anywhere.
 */
	.globl birth_stub
	.hidden birth_stub
birth_stub:
	svc	#0
	stp	x29, x30, [sp, #-176]!
	stp	x0, x1, [sp, #16]
	stp	x2, x3, [sp, #32]
	stp	x4, x5, [sp, #48]
	stp	x6, x7, [sp, #64]
	stp	x8, x9, [sp, #80]
	stp	x10, x11, [sp, #96]
	stp	x12, x13, [sp, #112]
	stp	x14, x15, [sp, #128]
	stp	x16, x17, [sp, #144]
	mrs	x9, nzcv
	stp	x18, x9, [sp, #160]
	mov	x1, x5
	add	x2, sp, #56		/* where the program's x5 goes */
	bl	birth_done
	mov	x17, x0
	ldp	x18, x9, [sp, #160]
	msr	nzcv, x9
	ldr	x16, [sp, #144]
	ldp	x14, x15, [sp, #128]
	ldp	x12, x13, [sp, #112]
	ldp	x10, x11, [sp, #96]
	ldp	x8, x9, [sp, #80]
	ldp	x6, x7, [sp, #64]
	ldp	x4, x5, [sp, #48]
	ldp	x2, x3, [sp, #32]
	ldp	x0, x1, [sp, #16]
	ldp	x29, x30, [sp], #176
	ret	x17

/* int64_t gate_fast(uint64_t nr, const uint64_t *args, const uint32_t *put_off): no site is patched here. */
	.globl gate_fast
	.hidden gate_fast
	.type gate_fast, @function
gate_fast:
	mov	x8, x0
	mov	x9, x1
	ldp	x0, x1, [x9]
	ldp	x2, x3, [x9, #16]
	ldp	x4, x5, [x9, #32]
	svc	#0
	ret

	.globl range_end
range_end:
	nop

/* uint64_t copy_try(void *to, const void *from, uint64_t n): bytes that were not copied; a fault ends it. */
	.globl copy_try, copy_try_insn, copy_try_out
	.hidden copy_try, copy_try_insn, copy_try_out
	.type copy_try, @function
copy_try:
	cbz	x2, copy_try_out
copy_try_insn:
	ldrb	w3, [x1], #1
	strb	w3, [x0], #1
	subs	x2, x2, #1
	b.ne	copy_try_insn
copy_try_out:
	mov	x0, x2
	ret

/* int64_t string_try(char *to, const char *from, uint64_t room): length, or -EFAULT, or -ENAMETOOLONG. */
	.globl string_try, string_try_fault
	.hidden string_try, string_try_fault
	.type string_try, @function
string_try:
	mov	x4, #0
1:	cmp	x4, x2
	b.hs	2f
	ldrb	w3, [x1, x4]
	strb	w3, [x0, x4]
	cbz	w3, 3f
	add	x4, x4, #1
	b	1b
2:	mov	x4, #-36
3:	mov	x0, x4
	ret
string_try_fault:
	mov	x0, #-14
	ret

/* Where the launcher starts an agent that it has put in. Never returns: stops with a trap when it is done. */
	.globl agent_entry
	.type agent_entry, @function
agent_entry:
	mov	x16, sp
	and	sp, x16, #-16
	mov	x29, #0
	mov	x30, #0
	bl	start_injected
	brk	#1

/* void launcher_stop(uint64_t why): hand over to the launcher, which steps over the trap when it continues us. */
	.globl launcher_stop
	.hidden launcher_stop
	.type launcher_stop, @function
launcher_stop:
	brk	#0
	ret

	.section .note.GNU-stack, "", @progbits
