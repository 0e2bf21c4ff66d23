/* SPDX-License-Identifier: MIT */
/* The user-visible machine of x86-64 as an array of words, for C and assembly. */
#ifndef USER_PORT_H
#define USER_PORT_H

#define MACHINE_AX     0 /* ax bx cx dx si di bp r8 .. r15 */
#define MACHINE_BX     1
#define MACHINE_CX     2
#define MACHINE_DX     3
#define MACHINE_SI     4
#define MACHINE_DI     5
#define MACHINE_BP     6
#define MACHINE_R8     7
#define MACHINE_R9     8
#define MACHINE_R10    9
#define MACHINE_R11    10
#define MACHINE_R12    11
#define MACHINE_R13    12
#define MACHINE_R14    13
#define MACHINE_R15    14
#define MACHINE_SP     15
#define MACHINE_FLAGS  16
#define MACHINE_FRAME  17 /* what struct regs holds ends here */
#define MACHINE_FS     17 /* the words that the two bases point to */
#define MACHINE_GS     18
#define MACHINE_MXCSR  19
#define MACHINE_XMM    20 /* xmm0..xmm15, low word first */
#define MACHINE_WORDS  52
#define MACHINE_SPIN   MACHINE_CX

/* What user_asm.S needs of abi.h; user_cpu.c asserts that they agree. */
#define NR_EXIT         0
#define NR_RETURN_FRAME 7

#ifndef __ASSEMBLER__
struct machine {
	uint64_t word[MACHINE_WORDS];
} __attribute__((aligned(16)));
#endif

#endif
