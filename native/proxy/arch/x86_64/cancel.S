/* SPDX-License-Identifier: Apache-2.0 */
/*
 * int64_t cancellable(const uint32_t *cancel, uint64_t nr, const uint64_t *args): a call that can be taken back as long
 * as it has not been made: -513, and it was as if never asked for. -512: it was made and has waited, and the kernel
 * would make it again if the handler says SA_RESTART. The signal handler in serve.c decides.
 */
	.text
	.globl cancellable, cancellable_insn, cancellable_out, cancellable_again
	.type cancellable, @function
cancellable:
	mov	%rsi, %rax
	mov	%rdi, %r11
	mov	%rdx, %rcx
	mov	0(%rcx), %rdi
	mov	8(%rcx), %rsi
	mov	16(%rcx), %rdx
	mov	24(%rcx), %r10
	mov	32(%rcx), %r8
	mov	40(%rcx), %r9
	cmpl	$0, (%r11)
	jne	cancellable_out
cancellable_insn:
	syscall
	ret
cancellable_out:
	mov	$-513, %rax
	ret
cancellable_again:
	mov	$-512, %rax
	ret
	.section .note.GNU-stack, "", @progbits
