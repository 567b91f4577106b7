/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x86-64: where an agent begins that the launcher has put in (launcher/inject.c, alone.c), and how it asks for the
 * launcher. No call is caught yet, so those that are made here may stand anywhere.
 */
	.text

/* Where the launcher starts an agent that it has put in. Never returns: stops with a trap when it is done. */
	.globl agent_entry
	.type agent_entry, @function
agent_entry:
	and	$-16, %rsp
	call	start_injected
	hlt

/*
 * The same without the launcher (launcher/inject_x86_64.c): rax: here; r14: how far this is from the beginning;
 * r8: descriptor of the file; rbp, r13: place and size of the data; r15: configuration.
 */
	.globl agent_alone
	.type agent_alone, @function
agent_alone:
	sub	%r14, %rax
	add	%rax, %rbp
	mov	%r8d, %edi
	mov	$3, %eax		/* close */
	syscall
	mov	%rbp, %rdi
	mov	%r13, %rsi
	mov	$3, %edx
	mov	$10, %eax		/* mprotect(data, size, PROT_READ | PROT_WRITE) */
	syscall
	and	$-16, %rsp
	test	%eax, %eax
	jnz	1f
	mov	%r15, %rdi
	call	start_injected
1:	mov	$2, %edi		/* STOP_FAILED */
	lea	agent_config(%rip), %rsi
	call	agent_waits
	jmp	1b

/*
 * void launcher_stop(why, agent_config): hand over to the launcher; returns when it continues us. One that has let go
 * already comes by, and then finds us turning here, or somebody has killed it: the trap ends us.
 */
	.globl launcher_stop
	.hidden launcher_stop
	.type launcher_stop, @function
launcher_stop:
	testl	$8, agent_config+56(%rip)	/* AGENT_ALONE */
	jz	agent_waits_end
	.globl agent_waits, agent_waits_end, agent_waits_over
	.type agent_waits, @function
agent_waits:
	mov	$1 << 27, %ecx
1:	pause
	dec	%ecx
	jnz	1b
agent_waits_end:
	int3
agent_waits_over:
	ret

	.section .note.GNU-stack, "", @progbits
