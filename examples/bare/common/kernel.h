/* SPDX-License-Identifier: MIT */
/* The inside of the example kernel. */
#ifndef KERNEL_H
#define KERNEL_H

#include "cpu.h"

#define THREAD_STACK 16384

enum thread_state { THREAD_FREE, THREAD_ALIVE, THREAD_DEAD };

struct thread {
	struct cpu_thread arch;
	struct regs *regs;      /* the frame of user mode: the top of the stack */
	uint8_t *stack;         /* THREAD_STACK bytes, aligned to 16 */
	struct cpu *cpu;        /* a thread never moves */
	struct thread *next;    /* in cpu->queue */
	uint64_t pid;
	enum thread_state state;
	uint64_t flags;         /* NEED_RESCHED, ...; atomic */
	uint64_t timer_flags;   /* those that the timer raises at random */
	uint32_t preempt_count; /* > 0: this kernel code must not be switched away from */
	uint64_t switches;      /* how often it was switched away from */
	uint32_t depth;         /* nested interrupts of kernel code */
	bool in_user;
	bool in_signal;
	uint64_t fault_handler, signal_handler;
	struct work *work;
};

static inline struct cpu *cpu_self(void)
{
	return (struct cpu *)this_cpu();
}

/* thread.c */
int64_t thread_spawn(const struct regs *regs, uint64_t cpu);
bool thread_alive(uint64_t pid);
void thread_exit(void) __attribute__((noreturn));
void thread_yield(void);          /* interrupts on */
void thread_switch(void);         /* interrupts off */
void thread_make_idle(struct cpu *cpu);
void idle_loop(void) __attribute__((noreturn));

/* hooks.c */
void flags_raise(struct thread *thread, uint64_t mask);

/* user_memory.c */
extern uint8_t user_memory[USER_SIZE];
void *user_pointer(uint64_t address, uint64_t size); /* the kernel's own address of user memory, or NULL */
void user_load(struct regs *regs);                   /* copy the image in, map it: the frame of its first thread */
void user_continue(struct regs *regs, uint64_t handler, const struct fault *fault);

/* console.c */
void print(const char *template, ...) __attribute__((format(printf, 1, 2)));
void print_text(const char *text, uint64_t size);

#endif
