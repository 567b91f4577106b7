/* SPDX-License-Identifier: Apache-2.0 */
/* See arch/x86_64/cancel.S. */
	.text
	.globl cancellable, cancellable_insn, cancellable_again
	.type cancellable, %function
cancellable:
	mov	x8, x0
	mov	x10, x1
	ldp	x0, x1, [x10]
	ldp	x2, x3, [x10, #16]
	ldp	x4, x5, [x10, #32]
cancellable_insn:
	svc	#0
	ret
cancellable_again:
	mov	x0, #-512
	ret
	.section .note.GNU-stack, "", %progbits
