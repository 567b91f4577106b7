/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x86-64: every instruction of the agent that enters the kernel, and every one that the kernel enters. All of it lies
 * between range_begin and range_end, the range from which calls are let through. Reaching past the last instruction by
 * one byte matters: the kernel compares the address after the instruction.
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

/* Every handler that the program installs is entered through here: rdi = signal, rsi = siginfo, rdx = ucontext. */
	.globl signal_entry
	.hidden signal_entry
	.type signal_entry, @function
signal_entry:
	push	%rdi
	push	%rsi
	push	%rdx
	call	signal_arrived
	pop	%rdx
	pop	%rsi
	pop	%rdi
	test	%rax, %rax
	jz	1f
	mov	%rax, %r11
	xor	%eax, %eax
	jmp	*%r11
1:	lea	8(%rsp), %rsp		/* put off: back to where the agent was */
	mov	$15, %eax
	syscall
	hlt

/*
 * clone, clone3, fork and vfork are made here, in the program's own context (registers, vector state, stack), which
 * rt_sigreturn has restored with all signals blocked. r9, which none of the four uses, carries the struct birth.
 * Parent and child both come out of the call; what must be kept lies in the birth, not on a stack they may share.
 */
	.globl birth_stub
	.hidden birth_stub
birth_stub:
	syscall
	lea	-128(%rsp), %rsp	/* the red zone */
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
	pop	%rbp
	pop	%r9
	pop	%r8
	pop	%r10
	pop	%rdx
	pop	%rsi
	pop	%rdi
	pop	%rax
	popfq
	lea	128(%rsp), %rsp
	jmp	*%rcx

	.globl range_end
range_end:
	nop

/* Where the launcher starts an agent that it has put in. Never returns: stops with a trap when it is done. */
	.globl agent_entry
	.type agent_entry, @function
agent_entry:
	and	$-16, %rsp
	call	start_injected
	hlt

/* void launcher_stop(uint64_t why): hand over to the launcher; returns when it continues us. */
	.globl launcher_stop
	.hidden launcher_stop
	.type launcher_stop, @function
launcher_stop:
	int3
	ret

	.section .note.GNU-stack, "", @progbits
