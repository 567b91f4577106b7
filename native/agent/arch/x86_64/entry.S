/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x86-64: every instruction of the agent that enters the kernel, and every one that the kernel enters. All of it lies
 * between range_begin and range_end, the range from which calls are let through. Reaching past the last instruction by
 * one byte matters: the kernel compares the address after the instruction.
 */
	.set	CALL_LIMIT, 512
	.set	WAY_KNOWN, 3
	.set	WAY_POSTS, 12
	.set	POST_FDS, 4096

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
	mov	%rdi, %rax
	mov	%rsi, %rdi
	mov	%rdx, %rsi
	mov	%rcx, %rdx
	mov	%r8, %r10
	mov	%r9, %r8
	mov	8(%rsp), %r9
	syscall
	ret

/* int64_t gate_stack(sp, new): sigaltstack called from `sp`, since the kernel refuses it on an alternate stack. */
	.globl gate_stack
	.hidden gate_stack
	.type gate_stack, @function
gate_stack:
	mov	%rsp, %r8
	mov	%rdi, %rsp
	mov	%rsi, %rdi
	xor	%esi, %esi
	mov	$131, %eax
	syscall
	mov	%r8, %rsp
	ret

/*
 * int64_t gate_wait(struct gate_wait *w): let the program's signals in (w->mask), make the call, shut them out again.
 * signal_arrived() in signals.c knows the three labels: before `gate_wait_insn` has run, a signal means "not made yet".
 */
	.globl gate_wait, gate_wait_armed, gate_wait_insn, gate_wait_done, gate_wait_end
	.hidden gate_wait, gate_wait_armed, gate_wait_insn, gate_wait_done, gate_wait_end
	.type gate_wait, @function
gate_wait:
	push	%rbx
	mov	%rdi, %rbx
	mov	$14, %eax		/* rt_sigprocmask(SIG_SETMASK, &w->mask, NULL, 8) */
	mov	$2, %edi
	mov	%rbx, %rsi
	xor	%edx, %edx
	mov	$8, %r10d
	syscall
gate_wait_armed:
	mov	16(%rbx), %rax
	mov	24(%rbx), %rdi
	mov	32(%rbx), %rsi
	mov	40(%rbx), %rdx
	mov	48(%rbx), %r10
	mov	56(%rbx), %r8
	mov	64(%rbx), %r9
gate_wait_insn:
	syscall
gate_wait_done:
	mov	%rax, 72(%rbx)
	mov	$14, %eax		/* rt_sigprocmask(SIG_SETMASK, &w->full, NULL, 8) */
	mov	$2, %edi
	lea	8(%rbx), %rsi
	xor	%edx, %edx
	mov	$8, %r10d
	syscall
gate_wait_end:
	mov	72(%rbx), %rax
	pop	%rbx
	ret

/* int64_t gate_foreign(nr, a, b, c, d, e, f): int 0x80, for programs that use it. */
	.globl gate_foreign
	.hidden gate_foreign
	.type gate_foreign, @function
gate_foreign:
	push	%rbx
	push	%rbp
	mov	%rdi, %rax
	mov	%rsi, %rbx
	mov	24(%rsp), %rbp
	mov	%r8, %rsi
	mov	%r9, %rdi
	xchg	%rcx, %rdx
	int	$0x80
	pop	%rbp
	pop	%rbx
	ret

/*
 * int64_t gate_apart(void (*body)(void *), void *with, void *stack, uint32_t *running): a thread that runs body(with)
 * and is gone when *running is 0 again. Nobody's child, no tracer's, and with the mask and registers of its maker.
 */
	.globl gate_apart
	.hidden gate_apart
	.type gate_apart, @function
gate_apart:
	push	%rbx
	push	%rbp
	mov	%rdi, %rbx
	mov	%rsi, %rbp
	mov	$0xb50f00, %edi		/* VM FS FILES SIGHAND THREAD SYSVSEM PARENT_SETTID CHILD_CLEARTID UNTRACED */
	mov	%rdx, %rsi
	mov	%rcx, %rdx
	mov	%rcx, %r10
	xor	%r8d, %r8d
	mov	$56, %eax
	syscall
	test	%rax, %rax
	jnz	1f
	mov	%rbp, %rdi
	call	*%rbx
	xor	%edi, %edi
	mov	$60, %eax
	syscall
	hlt
1:	pop	%rbp
	pop	%rbx
	ret

/* The bytes by which unwinders recognise a signal frame. */
	.globl trap_restorer
	.hidden trap_restorer
	.balign 16
	nop
trap_restorer:
	.byte	0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0	/* mov $15, %rax */
	syscall

/* void leave_frame(uint64_t sp): the program's own rt_sigreturn, on the program's own frame. */
	.globl leave_frame
	.hidden leave_frame
	.type leave_frame, @function
leave_frame:
	mov	%rdi, %rsp
	mov	$15, %eax
	syscall
	hlt

/*
 * clone, clone3, fork and vfork are made here, in the program's own context (registers, vector state, stack), which
 * rt_sigreturn has restored with all signals blocked. r9, which none of the four uses, carries the struct birth.
 * Parent and child both come out of the call, and go on on stacks of the agent's; what must be kept lies in the birth,
 * not on a stack they may share. birth_done() lets signals in again. One that comes at once is put off, as in
 * fast_leave: from birth_leave on, rcx says where to go, and signal_arrived() may change it.
 */
	.globl birth_stub, birth_leave, birth_gone, fast_finish_insn
	.hidden birth_stub, birth_leave, birth_gone, fast_finish_insn
birth_stub:
	syscall
	mov	%rsp, %r11
	mov	%rax, %rcx
	jrcxz	1f
	mov	(%r9), %rsp		/* the parent's */
	jmp	2f
1:	mov	8(%r9), %rsp		/* the child's */
2:	push	%r11
	pushfq
	push	%rax
	push	%rdi
	push	%rsi
	push	%rdx
	push	%r10
	push	%r8
	push	%r9
	push	%rbp
	mov	%rsp, %rbp
	mov	%rax, %rdi
	mov	%r9, %rsi
	lea	8(%rsp), %rdx		/* where the program's r9 goes */
	and	$-16, %rsp
	cld
	call	birth_done
	mov	%rbp, %rsp
	mov	%rax, %rcx
birth_leave:
	cmpl	$0, 24(%rdx)
	je	3f
	lea	fast_finish_insn(%rip), %r11
	cmp	%r11, %rcx
	je	3f
	mov	%rcx, 32(%rdx)
	mov	%r11, %rcx
3:	pop	%rbp
	pop	%r9
	pop	%r8
	pop	%r10
	pop	%rdx
	pop	%rsi
	pop	%rdi
	pop	%rax
	popfq
	pop	%rsp
birth_gone:
	jmp	*%rcx

/*
 * int64_t gate_fast(uint64_t nr, const uint64_t *args, const uint32_t *put_off): a call from the agent's own stack,
 * where the program's signals are let in all the time. Not made (-ERESTART_) once one has come: up to and including
 * `gate_fast_insn`, signal_arrived() sends whoever it interrupts to `gate_fast_bail`.
 */
	.globl gate_fast, gate_fast_armed, gate_fast_insn, gate_fast_bail
	.hidden gate_fast, gate_fast_armed, gate_fast_insn, gate_fast_bail
	.type gate_fast, @function
gate_fast:
	mov	%rdi, %rax
	mov	%rsi, %rcx
	mov	%rdx, %r11
	mov	(%rcx), %rdi
	mov	8(%rcx), %rsi
	mov	16(%rcx), %rdx
	mov	24(%rcx), %r10
	mov	32(%rcx), %r8
	mov	40(%rcx), %r9
gate_fast_armed:
	cmpl	$0, (%r11)
	jne	gate_fast_bail
gate_fast_insn:
	syscall
	ret
gate_fast_bail:
	mov	$-512, %rax
	ret

/*
 * Where the stubs of patched sites go: on the agent's stack, rcx = struct thread. Lays down a struct fast at the top.
 * A call that only has to be made is made here, with the registers that are there already; all others by fast_call().
 * A signal that comes before `fast_quick_insn` sends us to fast_quick_bail: not made. On one of the two
 * ways out (from fast_quick_leave or fast_leave on) it sends us back to fast_leave, which finds all in the frame.
 */
	.globl fast_entry, fast_quick_armed, fast_quick_insn, fast_quick_bail, fast_quick_leave, fast_leave, fast_gone
	.hidden fast_entry, fast_quick_armed, fast_quick_insn, fast_quick_bail, fast_quick_leave, fast_leave, fast_gone
	.globl fast_quick_gone
	.hidden fast_quick_gone
	.balign 64
fast_entry:
	pushq	16(%rcx)
	pushfq
	push	%rax
	push	%r9
	push	%r8
	push	%r10
	push	%rdx
	push	%rsi
	push	%rdi
	push	%rcx
	cmp	$CALL_LIMIT, %rax
	jae	fast_by_call
	mov	handle_epoch(%rip), %r11	/* new rules: which calls are quick is to be thought over */
	mov	(%r11), %r11d
	cmp	handle_seen(%rip), %r11d
	jne	fast_by_call
	lea	dispatch_way(%rip), %r11
	movzbl	(%r11, %rax), %r11d
	test	%r11d, %r11d
	jnz	fast_local
fast_quick:
	decl	40(%rcx)		/* how many calls may be made this way before somebody looks */
	js	fast_by_call
fast_quick_armed:
	cmpl	$0, 24(%rcx)
	jne	fast_quick_bail
fast_quick_insn:
	syscall
	mov	%rax, 56(%rsp)
fast_quick_leave:
	mov	(%rsp), %rcx
	cmpl	$0, 24(%rcx)
	jne	fast_finish
fast_flags:
	mov	64(%rsp), %r11
	test	$0x44500, %r11d		/* AC, NT, DF, TF: for popf, which is slow */
	jnz	fast_restore
	mov	%r11d, %eax		/* OF by an addition, the others by sahf */
	shr	$11, %eax
	and	$1, %eax
	add	$0x7f, %al
	mov	%r11d, %eax
	mov	%al, %ah
	sahf
	mov	56(%rsp), %rax
	mov	88(%rsp), %rcx
	mov	72(%rsp), %rsp
fast_quick_gone:
	jmp	*%rcx

/* A descriptor that is not posted, nor is anything by other processes: as if nobody had asked for it. */
fast_posts:
	mov	post_active(%rip), %r11
	mov	(%r11), %r11d
	cmp	post_count(%rip), %r11d
	jne	fast_by_call
	mov	%edi, %r11d
	cmp	$POST_FDS, %r11d
	jae	fast_by_call
	lea	post_marks(%rip), %rax
	cmpb	$0, (%rax, %r11)
	mov	56(%rsp), %rax
	je	fast_quick
	jmp	fast_by_call

/* An answer that the agent knows, or 0xffffffff: not now. */
fast_local:
	cmp	$WAY_POSTS, %r11d
	je	fast_posts
	sub	$WAY_KNOWN, %r11d
	jbe	fast_by_call
	mov	48(%rcx, %r11, 4), %r11d
	cmp	$-1, %r11d
	je	fast_by_call
	decl	44(%rcx)		/* as above */
	js	fast_by_call
	mov	%r11, 56(%rsp)
	jmp	fast_quick_leave

fast_by_call:
	cld
	mov	%rcx, %rdi
	mov	%rsp, %rsi
	call	fast_call
fast_leave:
	mov	(%rsp), %rcx
	cmpl	$0, 24(%rcx)
	jne	fast_finish
	mov	8(%rsp), %rdi
	mov	16(%rsp), %rsi
	mov	24(%rsp), %rdx
	mov	32(%rsp), %r10
	mov	40(%rsp), %r8
	mov	48(%rsp), %r9
	jmp	fast_flags
fast_restore:
	mov	64(%rsp), %r11
	pushq	%r11
	popfq
	mov	8(%rsp), %rdi
	mov	16(%rsp), %rsi
	mov	24(%rsp), %rdx
	mov	32(%rsp), %r10
	mov	40(%rsp), %r8
	mov	48(%rsp), %r9
	mov	56(%rsp), %rax
	mov	88(%rsp), %rcx
	mov	72(%rsp), %rsp
fast_gone:
	jmp	*%rcx

fast_quick_bail:
	subq	$2, 88(%rsp)		/* the `syscall` instruction, and its number is there already */
	jmp	fast_leave

/* A signal waits: everything as after the call, then a SIGSYS, whose frame lets go of signals and stack at once. */
fast_finish:
	lea	fast_finish_insn(%rip), %rax
	cmp	%rax, 88(%rsp)
	je	fast_restore
	mov	88(%rsp), %rdx
	mov	%rdx, 32(%rcx)
	mov	%rax, 88(%rsp)
	jmp	fast_restore

	.globl range_end
range_end:
	nop

/*
 * What patched sites jump to, one for each entry of sites[]. A stub finds the caller's struct thread by the fs base and
 * moves to the agent's own stack, with rcx and r11 only, which the call may clobber, and without touching flags, or the
 * program's stack, of which there may be nothing left. No such thread, or not now: the call is made by the instruction
 * in the middle, and caught by the signal. What a stub must know of its site it takes from there, so that all of them
 * are part of the file that programs share. sites.h knows the sizes.
 */
	.set	SITES, 1024
	.set	STUB_SIZE, 96
	.set	SITE_SIZE, 40

	.macro	stub index
1:	mov	sites+SITE_SIZE*\index+24(%rip), %eax	/* the number: what the jump has replaced */
4:	rdfsbase %r11
	rorx	$12, %r11, %rcx
	movzwl	%cx, %ecx
	lea	thread_keys(%rip), %r11
	mov	(%r11, %rcx, 8), %rcx
	jrcxz	2f
	mov	(%rcx), %rcx		/* minus the key */
	rdfsbase %r11
	lea	(%rcx, %r11), %rcx
	jrcxz	3f
2:	syscall
3:	rorx	$12, %r11, %rcx
	movzwl	%cx, %ecx
	lea	thread_keys(%rip), %r11
	mov	(%r11, %rcx, 8), %rcx
	mov	%rsp, 16(%rcx)
	mov	8(%rcx), %rsp
	pushq	sites+SITE_SIZE*\index+8(%rip)	/* where to go on */
	.byte	0x68			/* push: the site's number */
	.long	\index
	.byte	0xe9			/* jmp fast_entry */
	.long	fast_entry - . - 4
	.org	1b + STUB_SIZE, 0xcc
	.ifeq	\index
	.set	site_stub_any, 4b
	.set	site_stub_slow, 2b
	.endif
	.endm

	.section .stubs, "ax", @progbits
	.globl site_stubs, site_stub_any, site_stub_slow
	.hidden site_stubs, site_stub_any, site_stub_slow
	.balign	64
site_stubs:
	.altmacro
	.set	index, 0
	.rept	SITES
	stub	%index
	.set	index, index + 1
	.endr
	.noaltmacro

	.text
/* The end of a call during which a signal came: see fast_finish. Outside of the range, so that it is caught. */
	.globl fast_finished
	.hidden fast_finished
fast_finish_insn:
	syscall
fast_finished:
	hlt

/* uint64_t copy_try(void *to, const void *from, uint64_t n): bytes that were not copied; a fault ends it. */
	.globl copy_try, copy_try_insn, copy_try_out
	.hidden copy_try, copy_try_insn, copy_try_out
	.type copy_try, @function
copy_try:
	mov	%rdx, %rcx
copy_try_insn:
	rep movsb
copy_try_out:
	mov	%rcx, %rax
	ret

/* int64_t string_try(char *to, const char *from, uint64_t room): length, or -EFAULT, or -ENAMETOOLONG. */
	.globl string_try, string_try_fault
	.hidden string_try, string_try_fault
	.type string_try, @function
string_try:
	xor	%eax, %eax
1:	cmp	%rdx, %rax
	jae	2f
	movzbl	(%rsi, %rax), %ecx
	mov	%cl, (%rdi, %rax)
	test	%ecx, %ecx
	jz	3f
	inc	%rax
	jmp	1b
2:	mov	$-36, %rax
3:	ret
string_try_fault:
	mov	$-14, %rax
	ret

	.section .note.GNU-stack, "", @progbits
