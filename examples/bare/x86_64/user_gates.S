/* SPDX-License-Identifier: MIT */
/* User mode: the ways into the kernel, from 64-bit and from 32-bit code, each with all registers known. */
#include "entry.h"
#include "user_macros.h"

/* Far jumps change no register and no flag. */
	.macro to_32
	ljmpl	*1f(%rip)
	.section .rodata
1:	.long	2f
	.word	USER32_CS
	.text
	.code32
2:
	.endm

	.macro to_64
	ljmp	$USER_CS, $3f
	.code64
3:
	.endm

	.macro labels name
	.globl	\name, \name\()_at, \name\()_after, \name\()_next
	.endm

	.macro after name
\name\()_after:
	nop
\name\()_next:
	nop
	.endm

	.text
	labels	gate_syscall
gate_syscall:
	begin_state
gate_syscall_at:
	syscall
	after	gate_syscall
	end_state

	labels	gate_int80
gate_int80:
	begin_state
gate_int80_at:
	int	$0x80
	after	gate_int80
	end_state

	labels	gate_int80_32
gate_int80_32:
	begin_state
	to_32
gate_int80_32_at:
	int	$0x80
	after	gate_int80_32
	to_64
	end_state

	labels	gate_syscall_32
gate_syscall_32:
	begin_state
	to_32
gate_syscall_32_at:
	syscall
	after	gate_syscall_32
	to_64
	end_state

/* SYSENTER saves nothing: the kernel finds esp in ecx and the way back in edx. */
	labels	gate_sysenter
gate_sysenter:
	begin_state
	to_32
	movl	%esp, %ecx
	movl	$gate_sysenter_after, %edx
gate_sysenter_at:
	sysenter
	ud2
	after	gate_sysenter
	to_64
	end_state

/* Not by RETF: with SMAP, QEMU 7.2 reads the stack for it with the rights of the kernel, and refuses. */
	.globl	user_spin_32
user_spin_32:
	begin_state
	to_32
4:	loop	4b
	.rept	4000
	nop
	.endr
	to_64
	end_state

/*
 * As gate_...(), with another stack pointer and another GS base: hostile_sp, hostile_gs. What they were afterwards is
 * in hostile_sp_after, hostile_gs_after. In 32-bit code, only the GS base is another one.
 */
	.macro	be_hostile
	movq	%rsp, hostile_old_sp(%rip)
#ifdef CONFIG_FSGSBASE
	movq	%rax, hostile_ax(%rip)
	rdgsbase %rax
	movq	%rax, hostile_old_gs(%rip)
	movq	hostile_gs(%rip), %rax
	wrgsbase %rax
	movq	hostile_ax(%rip), %rax
#endif
	.endm

	.macro	be_nice
#ifdef CONFIG_FSGSBASE
	movq	%rax, hostile_ax(%rip)
	rdgsbase %rax
	movq	%rax, hostile_gs_after(%rip)
	movq	hostile_old_gs(%rip), %rax
	wrgsbase %rax
	movq	hostile_ax(%rip), %rax
#endif
	movq	%rsp, hostile_sp_after(%rip)
	movq	hostile_old_sp(%rip), %rsp
	.endm

	.macro	hostile name, instruction:vararg
	.globl	\name, \name\()_after
\name:
	begin_state
	be_hostile
	movq	hostile_sp(%rip), %rsp
	\instruction
\name\()_after:
	be_nice
	end_state
	.endm

	.macro	hostile_32 name, instruction:vararg
	.globl	\name, \name\()_after
\name:
	begin_state
	be_hostile
	to_32
	\instruction
\name\()_after:
	to_64
	be_nice
	end_state
	.endm

	.macro	hostile_registers
	movl	hostile_sp, %ecx
	movl	$hostile_sysenter_after, %edx
	sysenter
	.endm

	hostile	hostile_syscall, syscall
	hostile	hostile_int80, int $0x80
	hostile	hostile_spin, 4: loop 4b
	hostile_32 hostile_syscall_32, syscall
	hostile_32 hostile_sysenter, hostile_registers

	.bss
	.balign	8
	.irp	name, sp, gs, sp_after, gs_after, old_sp, old_gs, ax
	.globl	hostile_\name
hostile_\name: .skip 8
	.endr

	.section .note.GNU-stack, "", @progbits
