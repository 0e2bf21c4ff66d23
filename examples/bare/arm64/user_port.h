/* SPDX-License-Identifier: MIT */
/* The user-visible machine of arm64 as an array of words, for C and assembly. */
#ifndef USER_PORT_H
#define USER_PORT_H

/* x0..x30 come first. */
#define MACHINE_SP     31
#define MACHINE_NZCV   32
#define MACHINE_FRAME  33 /* what struct regs holds ends here */
#define MACHINE_TPIDR  33
#define MACHINE_FPCR   34
#define MACHINE_FPSR   35
#define MACHINE_VECTOR 36 /* v0..v31, low word first */
#define MACHINE_WORDS  100
#define MACHINE_SPIN   9

/* What user_asm.S needs of abi.h; user_cpu.c asserts that they agree. */
#define NR_EXIT         0
#define NR_RETURN_FRAME 7

#ifndef __ASSEMBLER__
struct machine {
	uint64_t word[MACHINE_WORDS];
} __attribute__((aligned(16)));
#endif

#endif
