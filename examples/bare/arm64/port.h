/* SPDX-License-Identifier: MIT */
/* What cpu.h asks of a port, inline part; see common/cpu.h. */
#ifndef PORT_H
#define PORT_H

#include "frame.h"
#include "hardware.h"

#define CPU_NAME "arm64"
#define PERCPU_ALIGN 16

/* A thread that does not run. Its callee-saved registers are on its kernel stack; switch.S knows the offsets. */
struct cpu_thread {
	uint64_t sp;
	uint64_t tpidr_el0;
	uint64_t fpcr, fpsr;
	uint64_t vector[64];
} __attribute__((aligned(16)));

/* All four masks at once, as the generated C does. */
static inline void cpu_irqs_on(void)
{
	__asm__ volatile("msr daifclr, #0xf" ::: "memory");
}

static inline void cpu_irqs_off(void)
{
	__asm__ volatile("msr daifset, #0xf" ::: "memory");
}

static inline bool cpu_irqs_are_on(void)
{
	uint64_t daif;

	__asm__ volatile("mrs %0, daif" : "=r"(daif) :: "memory");
	return (daif & PSR_I) == 0;
}

static inline void cpu_relax(void)
{
	__asm__ volatile("yield" ::: "memory");
}

static inline struct thread *current_thread(void)
{
	struct thread *thread;

	__asm__ volatile("mrs %0, sp_el0" : "=r"(thread));
	return thread;
}

/* The frame has all that the user needs. */
static inline void cpu_user_left(struct regs *regs)
{
	(void)regs;
}

#endif
