/* SPDX-License-Identifier: MIT */
/*
 * Boot: the boot CPU comes by the PVH protocol (32-bit, flat segments, no paging), the second one in real mode
 * at AP_BOOT_PAGE. Both end in long mode, on a boot stack of their own, in C. The kernel is linked at KERNEL_BASE
 * plus where it is loaded; these page tables map the first GiB there, and also one to one, for the way from here to
 * there. mmu.c makes the ones to stay with.
 */
#include "hardware.h"

#define PHYSICAL(symbol) (symbol - KERNEL_BASE)

	.section .note.pvh, "a", @note
	.balign 4
	.long	4, 4, 18			/* "Xen", a 32-bit address, XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz	"Xen"
	.long	PHYSICAL(start_boot_cpu)

	.section .text.boot, "ax"
	.code32
	.globl	start_boot_cpu
start_boot_cpu:
	cld
	movl	$PHYSICAL(boot_stack_0), %esp
	movl	$PHYSICAL(kernel_main), %edi

	/* page tables: the first GiB in pages of 2 MiB, at 0 and at KERNEL_BASE */
	movl	$PHYSICAL(boot_pml4), %eax
	movl	$PHYSICAL(boot_pdpt) + (PAGE_PRESENT | PAGE_WRITE), (%eax)
	movl	$PHYSICAL(boot_pdpt) + (PAGE_PRESENT | PAGE_WRITE), 511 * 8(%eax)
	movl	$PHYSICAL(boot_pdpt), %eax
	movl	$PHYSICAL(boot_pd) + (PAGE_PRESENT | PAGE_WRITE), (%eax)
	movl	$PHYSICAL(boot_pd) + (PAGE_PRESENT | PAGE_WRITE), 510 * 8(%eax)
	movl	$PHYSICAL(boot_pd), %eax
	movl	$(PAGE_PRESENT | PAGE_WRITE | PAGE_LARGE), %ecx
1:	movl	%ecx, (%eax)
	addl	$8, %eax
	addl	$0x200000, %ecx
	cmpl	$0x40000000, %ecx
	jb	1b

	/* the second CPU's first instructions go where a start-up IPI can point to */
	movl	$PHYSICAL(second_cpu_begin), %esi
	movl	$AP_BOOT_PAGE, %eax
2:	movl	(%esi), %ecx
	movl	%ecx, (%eax)
	addl	$4, %esi
	addl	$4, %eax
	cmpl	$PHYSICAL(second_cpu_end), %esi
	jb	2b

/* esp = boot stack, edi = C function: physical addresses */
long_mode:
	movl	$(CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT), %eax
	movl	%eax, %cr4
	movl	$PHYSICAL(boot_pml4), %eax
	movl	%eax, %cr3
	movl	$MSR_EFER, %ecx
	rdmsr
	orl	$(EFER_LME | EFER_NXE), %eax
	wrmsr
	movl	$(CR0_PG | CR0_WP | CR0_NE | CR0_MP | CR0_PE), %eax
	movl	%eax, %cr0
	lgdt	PHYSICAL(boot_gdt_pointer)
	ljmp	$0x08, $PHYSICAL(in_long_mode)
	.code64
in_long_mode:
	movq	$1f, %rax
	jmp	*%rax
1:	movl	$0x10, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	xorl	%eax, %eax
	movl	%eax, %fs
	movl	%eax, %gs
	fninit
	movl	%esp, %esp
	movl	%edi, %edi
	addq	$KERNEL_BASE, %rsp
	addq	$KERNEL_BASE, %rdi
	xorl	%ebp, %ebp
	call	*%rdi
	ud2

/* Copied: no absolute address of its own, and everything it loads is a physical address below 4 GiB. */
	.code16
	.balign	4
second_cpu_begin:
	cli
	cld
	movw	%cs, %ax
	movw	%ax, %ds
	lgdtl	second_cpu_gdt_pointer - second_cpu_begin
	movl	%cr0, %eax
	orl	$CR0_PE, %eax
	movl	%eax, %cr0
	ljmpl	$0x18, $PHYSICAL(second_cpu_32)
	.balign	4
second_cpu_gdt_pointer:
	.word	boot_gdt_end - boot_gdt - 1
	.long	PHYSICAL(boot_gdt)
	.balign	4
second_cpu_end:

	.code32
second_cpu_32:
	movl	$0x10, %eax
	movl	%eax, %ds
	movl	%eax, %ss
	movl	$PHYSICAL(boot_stack_1), %esp
	movl	$PHYSICAL(kernel_second_cpu), %edi
	jmp	long_mode

	.section .rodata
	.balign	8
boot_gdt:
	.quad	0
	.quad	0x00af9b000000ffff		/* 0x08: 64-bit code */
	.quad	0x00cf93000000ffff		/* 0x10: data */
	.quad	0x00cf9b000000ffff		/* 0x18: 32-bit code */
boot_gdt_end:
boot_gdt_pointer:
	.word	boot_gdt_end - boot_gdt - 1
	.long	PHYSICAL(boot_gdt), 0

	.bss
	.balign	4096
boot_pml4:	.skip 4096
boot_pdpt:	.skip 4096
boot_pd:	.skip 4096
	.skip	16384
boot_stack_0:
	.skip	16384
boot_stack_1:

	.section .note.GNU-stack, "", @progbits
