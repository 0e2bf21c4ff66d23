/* SPDX-License-Identifier: MIT */
/*
 * From reset state to C at EL1 with the MMU on. QEMU enters at EL1, or at EL2 with virtualization=on; both CPUs
 * come through here, the second one by PSCI CPU_ON.
 */
#include "hardware.h"

	.section .boot.text, "ax"

	.global _start
_start:
	msr	daifset, #0xf
	mrs	x19, CurrentEL
	bl	drop_to_el1
	adrp	x0, boot_stack_0_top
	add	sp, x0, :lo12:boot_stack_0_top

	adrp	x0, __bss_start
	add	x0, x0, :lo12:__bss_start
	adrp	x1, __bss_end
	add	x1, x1, :lo12:__bss_end
1:	cmp	x0, x1				/* both ends are aligned to 16 by the linker script */
	b.hs	2f
	stp	xzr, xzr, [x0], #16
	b	1b
2:
	adrp	x0, boot_el			/* PSCI is called by SMC from below EL2, else by HVC */
	str	x19, [x0, :lo12:boot_el]
	bl	mmu_build			/* C, with the MMU off: aligned accesses only */
	bl	mmu_on
	mov	x29, xzr
	bl	kernel_main

	.global second_start
second_start:
	msr	daifset, #0xf
	bl	drop_to_el1
	bl	mmu_on
	adrp	x0, boot_stack_1_top
	add	sp, x0, :lo12:boot_stack_1_top
	mov	x29, xzr
	bl	kernel_second_cpu

/* Continue at the caller's next instruction, at EL1 with all exceptions masked and FP usable. Uses x0. */
drop_to_el1:
	mrs	x0, CurrentEL
	cmp	x0, #CURRENT_EL2
	b.ne	1f
	mov	x0, #HCR_RW			/* EL1 is AArch64; nothing of EL1 is trapped or virtual */
	msr	hcr_el2, x0
	mov	x0, #CNTHCTL_EL1_ALL
	msr	cnthctl_el2, x0
	msr	cntvoff_el2, xzr
	mov	x0, #CPTR_EL2_NO_TRAPS
	msr	cptr_el2, x0
	msr	hstr_el2, xzr
	mrs	x0, midr_el1
	msr	vpidr_el2, x0
	mrs	x0, mpidr_el1
	msr	vmpidr_el2, x0
	ldr	x0, =SCTLR_OFF
	msr	sctlr_el1, x0
	mov	x0, #PSR_DAIF | PSR_EL1H
	msr	spsr_el2, x0
	adr	x0, 1f
	msr	elr_el2, x0
	eret
1:	mov	x0, #CPACR_FPEN
	msr	cpacr_el1, x0
	isb
	ret

/* Registers only: the second CPU has no stack yet. Code runs on, for the map is the identity. Uses x0. */
mmu_on:
	ldr	x0, =MAIR_VALUE
	msr	mair_el1, x0
	ldr	x0, =TCR_VALUE
	msr	tcr_el1, x0
	adrp	x0, mmu_root
	msr	ttbr0_el1, x0
	dsb	sy
	tlbi	vmalle1
	dsb	nsh
	isb
	ldr	x0, =SCTLR_ON
	msr	sctlr_el1, x0
	isb
	ic	iallu
	dsb	nsh
	isb
	ret

	.section .bss.boot, "aw", %nobits
	.balign 16
	.space	BOOT_STACK
boot_stack_0_top:
	.space	BOOT_STACK
boot_stack_1_top:
	.global boot_el
	.balign 8
boot_el:
	.space	8
