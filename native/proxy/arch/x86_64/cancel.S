/* SPDX-License-Identifier: Apache-2.0 */
/*
 * int64_t cancellable(uint64_t nr, const uint64_t *args): a call that the signal handler in serve.c can recognise.
 * -512: it was made, has waited and was interrupted, and the kernel would make it again for a handler with SA_RESTART.
 */
	.text
	.globl cancellable, cancellable_insn, cancellable_again
	.type cancellable, @function
cancellable:
	mov	%rdi, %rax
	mov	%rsi, %rcx
	mov	0(%rcx), %rdi
	mov	8(%rcx), %rsi
	mov	16(%rcx), %rdx
	mov	24(%rcx), %r10
	mov	32(%rcx), %r8
	mov	40(%rcx), %r9
cancellable_insn:
	syscall
	ret
cancellable_again:
	mov	$-512, %rax
	ret
	.section .note.GNU-stack, "", @progbits
