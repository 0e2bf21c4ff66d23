/* SPDX-License-Identifier: MIT */
/* From the PVH protocol (32-bit, flat segments, no paging) to C in long mode. All addresses are physical ones: the map is the identity. */

#define PRESENT 0x1
#define WRITE   0x2
#define USER    0x4
#define DEVICE  0x18			/* not cached */
#define LARGE   0x80			/* a page of 2 MiB */
#define NX      (1 << 63)

	.section .note.pvh, "a", @note
	.balign	4
	.long	4, 4, 18		/* "Xen", an address of 32 bits, XEN_ELFNOTE_PHYS32_ENTRY */
	.asciz	"Xen"
	.long	start

	.section .text.start, "ax"
	.code32
	.globl	start
start:
	movl	$0x20, %eax		/* CR4.PAE */
	movl	%eax, %cr4
	movl	$pml4, %eax
	movl	%eax, %cr3
	movl	$0xc0000080, %ecx	/* EFER: long mode, NX */
	rdmsr
	orl	$0x900, %eax
	wrmsr
	movl	$0x80010001, %eax	/* CR0: paging, write protection, protected mode */
	movl	%eax, %cr0
	lgdt	gdt_pointer
	ljmp	$0x08, $in_long_mode
	.code64
in_long_mode:
	movl	$0x10, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	xorl	%eax, %eax
	movl	%eax, %fs
	movl	%eax, %gs
	movl	$boot_stack_top, %esp
	call	kernel_main
	ud2

	.data
	.globl	gdt
	.balign	8
gdt:
	.quad	0
	.quad	0x00af9b000000ffff	/* KERNEL_CS */
	.quad	0x00cf93000000ffff	/* KERNEL_DS */
	.quad	0x00cffb000000ffff	/* USER32_CS */
	.quad	0x00cff3000000ffff	/* USER_DS */
	.quad	0x00affb000000ffff	/* USER_CS */
	.quad	0, 0			/* the TSS: cpu.c */
gdt_pointer:
	.word	gdt_pointer - gdt - 1
	.quad	gdt

/* Address 0 is not there; then user code, user data, kernel code, kernel data, 2 MiB each, as in kernel.ld; and the local APIC. */
	.balign	4096
pml4:	.quad	pdpt + (PRESENT | WRITE | USER)
	.balign	4096
pdpt:	.quad	low + (PRESENT | WRITE | USER), 0, 0, high + (PRESENT | WRITE)
	.balign	4096
low:	.quad	0
	.quad	0x200000 | PRESENT | USER | LARGE
	.quad	0x400000 | PRESENT | USER | WRITE | LARGE | NX
	.quad	0x600000 | PRESENT | LARGE
	.quad	0x800000 | PRESENT | WRITE | LARGE | NX
	.balign	4096
high:	.skip	0x1f7 * 8
	.quad	0xfee00000 | PRESENT | WRITE | DEVICE | LARGE | NX
	.balign	4096

	.bss
	.balign	16
	.skip	4096
boot_stack_top:

	.section .note.GNU-stack, "", @progbits
