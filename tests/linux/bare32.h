/* SPDX-License-Identifier: MIT */
/* A 32-bit program without a library: begin() is called with the stack as the kernel made it; calls by INT 0x80, and by the vDSO, which takes SYSCALL
 * or SYSENTER as the CPU has it. */
#include <stdint.h>

enum { AT_SYSINFO = 32 };

static void (*vsyscall)(void);

static inline long int80(long number, long a, long b, long c)
{
	long ax = number;

	__asm__ volatile("int $0x80" : "+a"(ax) : "b"(a), "c"(b), "d"(c) : "memory");
	return ax;
}

static inline long fast(long number, long a, long b)
{
	long ax = number;

	__asm__ volatile("call *%1" : "+a"(ax) : "m"(vsyscall), "b"(a), "c"(b) : "memory", "cc");
	return ax;
}

/* Finds the entry of the vDSO, and gives the arguments. */
static char **started(uint32_t *stack)
{
	uint32_t *at = stack + 1 + stack[0] + 1;

	while (*at)				/* the environment */
		at++;
	for (at++; at[0]; at += 2) {
		if (at[0] == AT_SYSINFO)
			vsyscall = (void (*)(void))at[1];
	}
	return (char **)(stack + 1);
}

__asm__(".globl _start\n_start:\n\tmovl %esp, %eax\n\tandl $-16, %esp\n\tsubl $12, %esp\n\tpushl %eax\n\tcall begin\n");
