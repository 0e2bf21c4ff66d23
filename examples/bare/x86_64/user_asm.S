/* SPDX-License-Identifier: MIT */
/* User mode: load the whole machine state, do one thing, store the whole machine state. */
#include "entry.h"
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

	.text
	.globl	user_call_state, user_call_state_after
user_call_state:
	begin_state
	syscall
user_call_state_after:
	end_state

/* LOOP and NOP change no flag, and NOP no register at all. */
	.globl	user_spin
user_spin:
	begin_state
1:	loop	1b
	.rept	4000
	nop
	.endr
	end_state

	.globl	user_fault_state
user_fault_state:
	begin_state
	ud2
	end_state

/* The child finds its own `out` where the parent has one; user_fork() put it there. */
	.globl	user_fork_state, user_fork_after
user_fork_state:
	begin_state
	syscall
user_fork_after:
	store_out
	movq	MACHINE_AX * 8(%rdi), %rax
	testq	%rax, %rax
	jz	1f
	addq	$8, %rsp
	restore_callee
	ret
1:	andq	$-16, %rsp
	call	user_fork_child
	ud2

	.globl	user_first_entry
user_first_entry:
	pushq	%rdi
	leaq	-(MACHINE_WORDS * 8 + 64)(%rsp), %rdi
	store_state
	leaq	-128(%rdi), %rsp
	andq	$-16, %rsp
	call	user_first_check
	ud2

	.globl	user_thread_entry
user_thread_entry:
	movq	%rdi, %rax
	movq	%rsi, %rdi
	call	*%rax
	movl	$NR_EXIT, %eax
	syscall
	ud2

/* A system call from C: the arguments move by one, the fourth is not in rcx. */
	.globl	user_call
user_call:
	movq	%rdi, %rax
	movq	%rsi, %rdi
	movq	%rdx, %rsi
	movq	%rcx, %rdx
	movq	%r8, %r10
	movq	%r9, %r8
	movq	8(%rsp), %r9
	syscall
	ret

	.macro handler function
	movq	%rdi, %rbx
	call	\function
	movq	%rbx, %rdi
	movl	$NR_RETURN_FRAME, %eax
	syscall
	ud2
	.endm

	.globl	user_signal_entry, user_fault_entry
user_signal_entry:
	handler	user_signal
user_fault_entry:
	handler	user_exception_c

	.globl	user_try_asm, user_try_back
user_try_asm:
	save_callee
	movq	%rsp, (%rdx)
	movq	%rdi, %rax
	movq	%rsi, %rdi
	call	*%rax
user_try_back:
	restore_callee
	ret

/*
 * user_return_state(struct regs *frame (rdi), struct machine *out (rsi)): sys_return_frame with this frame, which
 * ends in user_landing on this stack. user_landing_second is where a single step from user_landing arrives.
 */
	.globl	user_return_state, user_landing, user_landing_second
user_return_state:
	save_callee
	pushq	%rsi
	movq	%rsp, REGS_SP_OFFSET(%rdi)
	movl	$NR_RETURN_FRAME, %eax
	syscall
	ud2
user_landing:
	nop
user_landing_second:
	end_state

	.section .note.GNU-stack, "", @progbits
