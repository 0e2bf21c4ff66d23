/* SPDX-License-Identifier: MIT */
/* QEMU's `virt` board enters here at EL1 with the MMU off. All addresses are physical ones: the map is the identity. */

#define BLOCK     0x401			/* accessed, valid: a block of 2 MiB */
#define TABLE     0x3
#define NORMAL    0x300			/* attribute 0 of MAIR, inner shareable */
#define DEVICE    0x4			/* attribute 1 */
#define USER      0x40
#define READ_ONLY 0x80
#define NO_KERNEL (1 << 53)		/* not executable at EL1 */
#define NO_USER   (1 << 54)		/* not executable at EL0 */

#define MAIR      0x04ff		/* 0: write-back; 1: Device-nGnRE */
#define TCR       0x200803519		/* 39-bit addresses by TTBR0 alone, pages of 4 KiB, write-back walks */
#define SCTLR     0x30d0181d		/* MMU, caches, stack alignment checks; RES1 bits */

	.section .text.start, "ax"
	.globl	start
start:
	msr	daifset, #0xf
	adrp	x0, boot_stack_top
	add	sp, x0, :lo12:boot_stack_top
	ldr	x0, =MAIR
	msr	mair_el1, x0
	ldr	x0, =TCR
	msr	tcr_el1, x0
	adrp	x0, root
	msr	ttbr0_el1, x0
	tlbi	vmalle1
	dsb	nsh
	isb
	ldr	x0, =SCTLR
	msr	sctlr_el1, x0
	isb
	bl	kernel_main
	.ltorg

/* Devices below 1 GiB; then memory: user code, user data, kernel code, kernel data, 2 MiB each, as in kernel.ld. */
	.data
	.balign	4096
root:	.quad	0 | BLOCK | DEVICE | NO_KERNEL | NO_USER
	.quad	memory + TABLE
	.balign	4096
memory:	.quad	0
	.quad	0x40200000 | BLOCK | NORMAL | USER | READ_ONLY | NO_KERNEL
	.quad	0x40400000 | BLOCK | NORMAL | USER | NO_KERNEL | NO_USER
	.quad	0x40600000 | BLOCK | NORMAL | READ_ONLY | NO_USER
	.quad	0x40800000 | BLOCK | NORMAL | NO_KERNEL | NO_USER
	.balign	4096

	.bss
	.balign	16
	.skip	4096
boot_stack_top:

	.section .note.GNU-stack, "", %progbits
