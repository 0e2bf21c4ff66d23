/* SPDX-License-Identifier: MIT */
/* Thread switch, and the functions that need every register for themselves. */
#include "macros.h"

	.text

/* The offsets in struct cpu_thread; cpu.c asserts them. */
#define THREAD_SP     0
#define THREAD_FPCR   16
#define THREAD_FPSR   24
#define THREAD_VECTOR 32

/* void save_vectors(struct cpu_thread *thread) */
	.global save_vectors
save_vectors:
	mrs	x9, fpcr
	mrs	x10, fpsr
	stp	x9, x10, [x0, #THREAD_FPCR]
	add	x9, x0, #THREAD_VECTOR
	vectors	stp, x9
	ret

/* void switch_context(struct cpu_thread *from, struct cpu_thread *to): returns on the stack of `to` */
	.global switch_context
switch_context:
	push_callee_saved
	bl	save_vectors
	mov	x9, sp
	str	x9, [x0, #THREAD_SP]
	ldr	x9, [x1, #THREAD_SP]
	mov	sp, x9
	ldp	x9, x10, [x1, #THREAD_FPCR]
	msr	fpcr, x9
	msr	fpsr, x10
	add	x9, x1, #THREAD_VECTOR
	vectors	ldp, x9
	pop_callee_saved
	ret

/* void cpu_clobber(void): all that AAPCS64 gives to a callee, the link register and the flags included */
	.global cpu_clobber
cpu_clobber:
	mov	x16, x30
	mov	x0, #0xdead
	.irp	n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17, 18, 30
	add	x\n, x0, #\n
	.endr
	mov	x0, #0xf0000000
	msr	nzcv, x0
	ret	x16

.macro load_all base				/* x0..x30; base is x30 */
	ldp	x0, x1, [\base, #0]
	ldp	x2, x3, [\base, #16]
	ldp	x4, x5, [\base, #32]
	ldp	x6, x7, [\base, #48]
	ldp	x8, x9, [\base, #64]
	ldp	x10, x11, [\base, #80]
	ldp	x12, x13, [\base, #96]
	ldp	x14, x15, [\base, #112]
	ldp	x16, x17, [\base, #128]
	ldp	x18, x19, [\base, #144]
	ldp	x20, x21, [\base, #160]
	ldp	x22, x23, [\base, #176]
	ldp	x24, x25, [\base, #192]
	ldp	x26, x27, [\base, #208]
	ldp	x28, x29, [\base, #224]
	ldr	x30, [\base, #240]
.endm

/*
 * uint64_t raise_el1t(const struct regs *in, uint64_t *saved_sp)
 * x0..x30 from `in`, then an exception on SP_EL0, which ends in bad_mode(). That calls raise_el1t_back(saved sp,
 * result) and so returns from here. Interrupts off.
 */
	.global raise_el1t, raise_el1t_at, raise_el1t_back
raise_el1t:
	push_callee_saved
	mov	x9, sp
	str	x9, [x1]
	mov	x30, x0
	load_all x30
	msr	spsel, #0
raise_el1t_at:
	brk	#1
raise_el1t_back:
	mov	sp, x0
	mov	x0, x1
	pop_callee_saved
	ret

/*
 * void spin_registers(const uint64_t in[31], uint64_t out[31], uint64_t nzcv)
 * All of x0..x30 from `in`; x0 counts down to 0 without touching the flags; then all to `out`. The flags
 * take the place of x0, whose last value is known.
 */
	.global spin_registers
spin_registers:
	push_callee_saved
	str	x1, [sp, #-16]!
	msr	nzcv, x2
	mov	x30, x0
	load_all x30
1:	sub	x0, x0, #1
	cbnz	x0, 1b
	ldr	x0, [sp], #16
	stp	x1, x2, [x0, #8]
	stp	x3, x4, [x0, #24]
	stp	x5, x6, [x0, #40]
	stp	x7, x8, [x0, #56]
	stp	x9, x10, [x0, #72]
	stp	x11, x12, [x0, #88]
	stp	x13, x14, [x0, #104]
	stp	x15, x16, [x0, #120]
	stp	x17, x18, [x0, #136]
	stp	x19, x20, [x0, #152]
	stp	x21, x22, [x0, #168]
	stp	x23, x24, [x0, #184]
	stp	x25, x26, [x0, #200]
	stp	x27, x28, [x0, #216]
	stp	x29, x30, [x0, #232]
	mrs	x1, nzcv
	str	x1, [x0]
	pop_callee_saved
	ret
