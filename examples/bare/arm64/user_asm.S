/* SPDX-License-Identifier: MIT */
/* The user programs' assembly: all that must know every register. */
#include "macros.h"
#include "user_port.h"

#define WORD(n)     ((n) * 8)
#define MACHINE     WORD(MACHINE_WORDS)
#define BRK_SKIPPED 0x51

	.macro function name
	.global	\name
	.balign	16
	.type	\name, %function
\name:
	.endm

	/* x2..x29; x0 and x1 come last in a load, for x0 is its base */
	.macro general op, base
	\op	x2, x3, [\base, #16]
	\op	x4, x5, [\base, #32]
	\op	x6, x7, [\base, #48]
	\op	x8, x9, [\base, #64]
	\op	x10, x11, [\base, #80]
	\op	x12, x13, [\base, #96]
	\op	x14, x15, [\base, #112]
	\op	x16, x17, [\base, #128]
	\op	x18, x19, [\base, #144]
	\op	x20, x21, [\base, #160]
	\op	x22, x23, [\base, #176]
	\op	x24, x25, [\base, #192]
	\op	x26, x27, [\base, #208]
	\op	x28, x29, [\base, #224]
	.endm

	/* All from *x0; notes the stack pointer in use. */
	.macro load_machine
	mov	x1, sp
	str	x1, [x0, #WORD(MACHINE_SP)]
	ldp	x1, x2, [x0, #WORD(MACHINE_NZCV)]
	msr	nzcv, x1
	msr	tpidr_el0, x2
	ldp	x1, x2, [x0, #WORD(MACHINE_FPCR)]
	msr	fpcr, x1
	msr	fpsr, x2
	add	x1, x0, #WORD(MACHINE_VECTOR)
	vectors	ldp, x1
	general	ldp, x0
	ldr	x30, [x0, #WORD(30)]
	ldp	x0, x1, [x0]
	.endm

	/* All but x0, x1 and sp to *x0. Uses x1, x2. */
	.macro store_rest
	general	stp, x0
	str	x30, [x0, #WORD(30)]
	mrs	x1, nzcv
	mrs	x2, tpidr_el0
	stp	x1, x2, [x0, #WORD(MACHINE_NZCV)]
	mrs	x1, fpcr
	mrs	x2, fpsr
	stp	x1, x2, [x0, #WORD(MACHINE_FPCR)]
	add	x1, x0, #WORD(MACHINE_VECTOR)
	vectors	stp, x1
	.endm

	/* All to the machine whose address is at sp. Uses x0..x2. */
	.macro store_machine
	stp	x0, x1, [sp, #-16]!
	ldr	x0, [sp, #16]
	store_rest
	ldp	x1, x2, [sp], #16
	stp	x1, x2, [x0]
	mov	x1, sp
	str	x1, [x0, #WORD(MACHINE_SP)]
	.endm

	/* All to memory below sp, where x0 and sp point then. */
	.macro store_machine_on_stack
	sub	sp, sp, #MACHINE
	stp	x0, x1, [sp]
	mov	x0, sp
	store_rest
	add	x1, x0, #MACHINE
	str	x1, [x0, #WORD(MACHINE_SP)]
	.endm

	.macro begin_state
	push_callee_saved
	str	x1, [sp, #-16]!
	load_machine
	.endm
	.macro end_state
	store_machine
	add	sp, sp, #16
	pop_callee_saved
	ret
	.endm

	.text

function user_call
	mov	x8, x0
	mov	x0, x1
	mov	x1, x2
	mov	x2, x3
	mov	x3, x4
	mov	x4, x5
	mov	x5, x6
	svc	#0
	ret

function user_call_state
	begin_state
	svc	#0
	.global	user_call_state_after
user_call_state_after:
	end_state

function user_spin
	begin_state
1:	sub	x9, x9, #1			/* MACHINE_SPIN; the flags stay */
	cbnz	x9, 1b
	.rept	4096
	nop
	.endr
	end_state

function user_fault_state
	begin_state
	brk	#BRK_SKIPPED
	end_state

/* int64_t user_fork_state(struct machine *in, struct machine *out): the call is in *in */
function user_fork_state
	begin_state
	svc	#0
	.global	user_fork_after
user_fork_after:
	cbz	x0, 1f
	store_machine
	ldr	x0, [x0]
	add	sp, sp, #16
	pop_callee_saved
	ret
1:	store_machine_on_stack
	bl	user_fork_child

function user_first_entry
	store_machine_on_stack
	bl	user_first_check

function user_thread_entry
	mov	x9, x0
	mov	x0, x1
	blr	x9
	mov	x0, #0
	mov	x8, #NR_EXIT
	svc	#0

/* x0 = struct user_frame *, whose first member is what sys_return_frame takes */
function user_signal_entry
	mov	x19, x0
	bl	user_signal
	b	return_frame
function user_fault_entry
	mov	x19, x0
	bl	user_exception_c
return_frame:
	mov	x0, x19
	mov	x8, #NR_RETURN_FRAME
	svc	#0
	brk	#0				/* it came back: the frame was refused */

function user_try_asm
	push_callee_saved
	mov	x9, sp
	str	x9, [x2]
	mov	x9, x0
	mov	x0, x1
	blr	x9
function user_try_back
	pop_callee_saved
	ret

/* One exception each, raised by the first instruction; x0 is an address where it matters. */
function raise_undefined
	.inst	0x00000000
	ret
function raise_system_instruction
	eret
	ret
function raise_system_register
	mrs	x0, vbar_el1
	ret
function raise_trapped_register
	mrs	x7, ctr_el0
	ret
function raise_trapped_instruction
	dc	zva, x7
	ret
function raise_brk
	brk	#0xabcd
	ret
function raise_read
	ldr	x1, [x0]
	ret
function raise_write
	str	x1, [x0]
	ret
function raise_exclusive
	ldxr	x1, [x0]
	ret
function raise_jump
	br	x0
