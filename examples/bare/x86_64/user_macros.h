/* SPDX-License-Identifier: MIT */
/* Assembly macros of the user programs: load or store the whole machine state. */
#include "user_port.h"

/* All of *rdi, rdi itself last. No instruction after POPFQ changes a flag. */
	.macro load_state
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	movups	(MACHINE_XMM + 2 * \n) * 8(%rdi), %xmm\n
	.endr
	ldmxcsr	MACHINE_MXCSR * 8(%rdi)
	pushq	MACHINE_FLAGS * 8(%rdi)
	popfq
	movq	MACHINE_AX * 8(%rdi), %rax
	movq	MACHINE_BX * 8(%rdi), %rbx
	movq	MACHINE_CX * 8(%rdi), %rcx
	movq	MACHINE_DX * 8(%rdi), %rdx
	movq	MACHINE_SI * 8(%rdi), %rsi
	movq	MACHINE_BP * 8(%rdi), %rbp
	.irp	n, 8, 9, 10, 11, 12, 13, 14, 15
	movq	(MACHINE_R8 + \n - 8) * 8(%rdi), %r\n
	.endr
	movq	MACHINE_DI * 8(%rdi), %rdi
	.endm

/* All to *rdi; the user's rdi was pushed. No instruction before PUSHFQ changes a flag. */
	.macro store_state
	movq	%rax, MACHINE_AX * 8(%rdi)
	movq	%rbx, MACHINE_BX * 8(%rdi)
	movq	%rcx, MACHINE_CX * 8(%rdi)
	movq	%rdx, MACHINE_DX * 8(%rdi)
	movq	%rsi, MACHINE_SI * 8(%rdi)
	movq	%rbp, MACHINE_BP * 8(%rdi)
	.irp	n, 8, 9, 10, 11, 12, 13, 14, 15
	movq	%r\n, (MACHINE_R8 + \n - 8) * 8(%rdi)
	.endr
	popq	MACHINE_DI * 8(%rdi)
	movq	%rsp, MACHINE_SP * 8(%rdi)
	pushfq
	popq	MACHINE_FLAGS * 8(%rdi)
	cld
	movq	%fs:0, %rax
	movq	%rax, MACHINE_FS * 8(%rdi)
	movq	%gs:0, %rax
	movq	%rax, MACHINE_GS * 8(%rdi)
	movq	$0, MACHINE_MXCSR * 8(%rdi)
	stmxcsr	MACHINE_MXCSR * 8(%rdi)
	.irp	n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
	movups	%xmm\n, (MACHINE_XMM + 2 * \n) * 8(%rdi)
	.endr
	.endm

	.macro save_callee
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	pushfq
	.endm

	.macro restore_callee
	popfq
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	.endm

/* (rdi = in, rsi = out): out waits on the stack for store_out. */
	.macro begin_state
	save_callee
	pushq	%rsi
	movq	%rsp, MACHINE_SP * 8(%rdi)
	load_state
	.endm

	.macro store_out
	pushq	%rdi
	movq	8(%rsp), %rdi
	store_state
	.endm

	.macro end_state
	store_out
	addq	$8, %rsp
	restore_callee
	ret
	.endm
