/* SPDX-License-Identifier: MIT */
/* User mode on x86-64: number and result in rax, arguments in rdi and rsi; SYSCALL itself overwrites rcx and r11. */
#ifndef USER_H
#define USER_H

#define USER_STACK 16384

static inline long system_call(long number, long first, long second)
{
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(first), "S"(second) : "rcx", "r11", "memory");
	return result;
}

static inline void undefined_instruction(void)
{
	__asm__ volatile("ud2" ::: "memory");
}

#endif
