/* SPDX-License-Identifier: MIT */
/* Kernel assembly that is not entry code: routines for the scenarios, and the mitigations that entry code calls. */
	.text

/* void cpu_clobber(void) */
	.globl	cpu_clobber
cpu_clobber:
	movabsq	$0xdead0000dead0001, %rax
	leaq	1(%rax), %rcx
	leaq	2(%rax), %rdx
	leaq	3(%rax), %rsi
	leaq	4(%rax), %rdi
	leaq	5(%rax), %r8
	leaq	6(%rax), %r9
	leaq	7(%rax), %r10
	leaq	8(%rax), %r11
	xorq	%r11, %rax			/* and other flags */
	ret

/*
 * uint64_t cpu_kernel_spin(uint64_t seed, uint64_t count): LOOP changes no flag, so CF must survive as well.
 * Index of a register in the result: as written here.
 */
	.globl	cpu_kernel_spin
cpu_kernel_spin:
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	pushq	%rdi
	movq	%rsi, %rcx
	leaq	1(%rdi), %rax
	leaq	2(%rdi), %rbx
	leaq	3(%rdi), %rdx
	leaq	4(%rdi), %rsi
	leaq	5(%rdi), %rbp
	leaq	6(%rdi), %r8
	leaq	7(%rdi), %r9
	leaq	8(%rdi), %r10
	leaq	9(%rdi), %r11
	leaq	10(%rdi), %r12
	leaq	11(%rdi), %r13
	leaq	12(%rdi), %r14
	leaq	13(%rdi), %r15
	stc
1:	loop	1b
	jnc	15f
	cmpq	(%rsp), %rdi
	jne	14f
	.macro	same register, index
	leaq	\index(%rdi), %rcx
	cmpq	%rcx, \register
	movl	$\index, %ecx
	jne	2f
	.endm
	same	%rax, 1
	same	%rbx, 2
	same	%rdx, 3
	same	%rsi, 4
	same	%rbp, 5
	same	%r8, 6
	same	%r9, 7
	same	%r10, 8
	same	%r11, 9
	same	%r12, 10
	same	%r13, 11
	same	%r14, 12
	same	%r15, 13
	xorl	%ecx, %ecx
2:	movl	%ecx, %eax
	popq	%rdi
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	ret
14:	movl	$14, %ecx
	jmp	2b
15:	movl	$15, %ecx
	jmp	2b

	.globl	nmi_mark
nmi_mark:
	nop
	ret

/* rdx stays as it is all the time: the entry code of an NMI within an NMI uses it before it knows more. */
	.globl	nmi_wait
nmi_wait:
	movq	%rdx, %rcx
	movq	%rdx, %r8
1:	cmpq	%r8, %rdx
	jne	3f
	cmpq	%rsi, (%rdi)
	je	2f
	loop	1b
	xorl	%eax, %eax
	ret
2:	movl	$1, %eax
	ret
3:	movl	$2, %eax
	ret

/*
 * void untrain_returns(void): no register but the flags changes. The entry code calls it; a real kernel uses what its
 * CPU needs. The return address of the inner call is dropped: RET uses the prediction of another call.
 */
	.globl	untrain_returns
untrain_returns:
	call	1f
	int3
1:	addq	$8, %rsp
	ret

/* void clear_branch_history(void): may change rax and rcx. The number of branches is for show. */
	.globl	clear_branch_history
clear_branch_history:
	movl	$16, %ecx
1:	call	2f
	decl	%ecx
	jnz	1b
	xorl	%eax, %eax
	ret
2:	ret

	.section .note.GNU-stack, "", @progbits
