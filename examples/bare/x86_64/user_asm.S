/* SPDX-License-Identifier: MIT */
/* User mode: load the whole machine state, do one thing, store the whole machine state. */
#include "entry.h"
#include "user_macros.h"

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
