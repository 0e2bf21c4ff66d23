# SPDX-License-Identifier: MIT
# Entry code as one writes it by hand: SYSCALL with SYSRET or IRET, and the timer's interrupt.
# GS points to the kernel's per-CPU data: cpu_stack holds the top of the kernel stack, cpu_scratch is a free word.
	.section .entry.text, "ax"
	.globl	syscall_entry, timer_entry

	.macro	save_rest
	pushq	%rdi
	pushq	%rsi
	pushq	%rdx
	pushq	%rcx
	pushq	%rax
	pushq	%r8
	pushq	%r9
	pushq	%r10
	pushq	%r11
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	.irp	name, esi, edx, ecx, eax, r8d, r9d, r10d, r11d, ebx, ebp, r12d, r13d, r14d, r15d
	xorl	%\name, %\name
	.endr
	movq	%rsp, %rdi
	.endm

	.macro	restore_rest
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	popq	%r11
	popq	%r10
	popq	%r9
	popq	%r8
	popq	%rax
	popq	%rcx
	popq	%rdx
	popq	%rsi
	popq	%rdi
	.endm

syscall_entry:
	swapgs
	movq	%rsp, %gs:cpu_scratch
	movq	%gs:cpu_stack, %rsp
	pushq	$0x23				# ss
	pushq	%gs:cpu_scratch			# sp
	pushq	%r11				# flags
	pushq	$0x2b				# cs
	pushq	%rcx				# ip
	pushq	%rax				# number
	save_rest
	call	handle_syscall
	testb	%al, %al
	jz	to_user
	restore_rest
	movq	0x20(%rsp), %rsp
	swapgs
	sysretq
	int3

to_user:
	restore_rest
	addq	$0x8, %rsp
	swapgs
	iretq

timer_entry:
	cld
	pushq	$-1				# no number
	testb	$0x3, 0x10(%rsp)
	jz	1f
	swapgs
1:	lfence
	save_rest
	call	handle_timer
	testb	$0x3, 0x88(%rsp)
	jnz	to_user
	restore_rest
	addq	$0x8, %rsp
	iretq
