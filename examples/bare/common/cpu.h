/* SPDX-License-Identifier: MIT */
/*
 * What a CPU port gives to the example kernel, and what the kernel gives back.
 *
 * A port is a folder with: port.h (included here), frame.h, boot.S, cpu.c, switch.S, kernel.ld, port.mk,
 * and for the user programs: user_port.h, user_asm.S, user_cpu.c (see user.h).
 * The port also implements the hooks of entry.h that depend on the CPU: this_cpu(),
 * user_exception(), kernel_exception(), the page-fault or abort hooks, interrupt(), bad_mode().
 */
#ifndef CPU_H
#define CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "entry.h" /* generated */
#include "abi.h"

struct thread; /* kernel.h: ports include that one */

/*
 * port.h defines
 *   CPU_NAME                  a string
 *   USER_BASE                 where user memory starts; USER_SIZE bytes (abi.h), a multiple of 2 MiB
 *   PERCPU_ALIGN              of struct percpu and of what follows it: 4096 where a page table maps the one alone
 *   struct cpu_thread         what a thread keeps while it does not run: kernel stack pointer, user
 *                             base registers, vector registers
 * and as static inline functions, the regs_ ones in frame.h, which user programs include too,
 *   uint64_t regs_ip(const struct regs *)
 *   uint64_t regs_sp(const struct regs *)
 *   void regs_set_sp(struct regs *, uint64_t)
 *   uint64_t regs_result(const struct regs *)
 *   void regs_set_result(struct regs *, uint64_t)
 *   bool regs_from_user(const struct regs *)
 *   void regs_init_user(struct regs *)       all zero, but: user mode, interrupts on
 *   bool regs_user_ok(const struct regs *)   a return with this frame stays in user mode, interrupts on
 *   void regs_call_user(struct regs *, uint64_t ip, uint64_t sp, uint64_t arg)
 *                             continue at a user function: ip, sp and first argument set, and whatever
 *                             the C ABI wants clear (DF, single step, ...) cleared; nothing else changed
 *   void cpu_irqs_on(void), cpu_irqs_off(void), bool cpu_irqs_are_on(void)
 *   void cpu_relax(void)                     inside a spin loop
 *   struct thread *current_thread(void)      one instruction: right even when preempted
 *   void cpu_user_left(struct regs *)        the frame of user mode is new: the port's last word on it
 */
#include "port.h"

#define CPU_COUNT 2

/* One per CPU; percpu must stay first: the entry code finds it through this address. */
struct cpu {
	struct percpu percpu __attribute__((aligned(PERCPU_ALIGN)));
	struct cpu *self __attribute__((aligned(PERCPU_ALIGN)));
	unsigned int id;
	struct thread *idle;
	struct thread *queue; /* ring of runnable threads, without the running one and the idle one */
	struct thread *dead;  /* exited; its stack is free once another thread runs */
	uint32_t lock;        /* guards queue, which other CPUs append to */
	uint64_t ticks, ticks_kernel, switches, preemptions;
};
extern struct cpu cpus[CPU_COUNT];

/* The port, called by the kernel. */
void cpu_putc(char c);
void cpu_shutdown(bool passed) __attribute__((noreturn)); /* qemu ends; its exit status tells */
void cpu_start_second(void);         /* start CPU 1: on its own boot stack it calls kernel_second_cpu() */
void cpu_setup(struct cpu *cpu);     /* on each CPU, interrupts off: GDT, TSS, interrupt controller; */
				     /* then entry_setup_cpu(&cpu->percpu); in CPU 0 entry_setup() first */
void cpu_map_user(uint64_t data);    /* map user_memory at USER_BASE: code up to data (no write), then data (no execute) */
void cpu_timer_start(uint32_t microseconds); /* on each CPU: a periodic interrupt that calls timer_tick() */
void cpu_idle(void);                 /* interrupts off on entry and exit; waits for an interrupt and takes it */

/* thread->regs is filled in: let the first cpu_switch() to this thread call thread_first(), interrupts off. */
void cpu_thread_init(struct thread *thread);
/* The new thread inherits the vector registers and user bases of the running one. */
void cpu_thread_copy(struct thread *to);
/* Interrupts off. Save all that belongs to `from` (callee-saved, vector registers, user bases), make `to` */
/* the current thread (percpu.current and, by CPU, sp0 or sp_el0), load all that belongs to it. */
void cpu_switch(struct thread *from, struct thread *to);
/* The running context becomes `thread` (a CPU's idle thread): set percpu.current (and sp_el0). */
void cpu_adopt(struct thread *thread);

int64_t cpu_set_base(uint64_t first, uint64_t second); /* user base registers: fs, gs; tpidr_el0, unused */
uint64_t cpu_stat(uint64_t which);                     /* STAT_CPU_FIRST and up: counters of the port */
/* sys_test(op, a, b) with op >= TEST_CPU_FIRST: what only this CPU's scenarios need. */
int64_t cpu_test(uint64_t op, uint64_t a, uint64_t b);

/* Overwrite every register that the C ABI lets a function overwrite, flags too; vector registers not. */
void cpu_clobber(void);
/* Load values made from `seed` into all general registers (the stack pointer aside), loop `count` times */
/* comparing or just waiting, then compare all: 0 = nothing changed, else 1 + index of a register. */
uint64_t cpu_kernel_spin(uint64_t seed, uint64_t count);
/* What must hold in every hook, whoever was interrupted (DF and AC clear, ...): NULL, or what is wrong. */
const char *cpu_wrong_state(void);
void cpu_print_regs(const struct regs *regs);

/* The kernel, called by the port. */
void kernel_main(void) __attribute__((noreturn));       /* boot CPU, own stack, bss zeroed, interrupts off */
void kernel_second_cpu(void) __attribute__((noreturn)); /* CPU 1, same */
void thread_first(void) __attribute__((noreturn));
void timer_tick(struct regs *regs);                     /* from interrupt(), after the acknowledge */
void deliver_fault(struct regs *regs, const struct fault *fault); /* user mode raised an exception */
void panic(const char *why, const struct regs *regs) __attribute__((noreturn));

#endif
