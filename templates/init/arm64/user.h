/* SPDX-License-Identifier: MIT */
/* User mode on arm64: number in x8, arguments in x0 and x1, result in x0. */
#ifndef USER_H
#define USER_H

#define USER_STACK 16384

static inline long system_call(long number, long first, long second)
{
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = first;
	register long x1 __asm__("x1") = second;

	__asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1) : "memory");
	return x0;
}

static inline void undefined_instruction(void)
{
	__asm__ volatile(".inst 0" ::: "memory");
}

#endif
