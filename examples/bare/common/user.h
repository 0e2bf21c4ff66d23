/* SPDX-License-Identifier: MIT */
/*
 * The user programs: what the CPU-independent scenarios offer and what a port gives them.
 * All user code is one image (common/user.ld, linked at USER_BASE), built with -mgeneral-regs-only
 * so that vector registers change only where user_asm.S changes them.
 */
#ifndef USER_H
#define USER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi.h"

struct rng {
	uint64_t state;
};
uint64_t rng_next(struct rng *rng);

/*
 * The user-visible state of the machine, as words. user_port.h defines
 *   MACHINE_WORDS   how many: general registers, flags, base registers, vector registers
 *   MACHINE_SP      index of the stack pointer
 *   MACHINE_FRAME   words [0, MACHINE_FRAME) come from a struct regs (general registers, sp, flags);
 *                   the rest (base and vector registers) a new thread inherits from its creator
 *   MACHINE_SPIN    index of the register that user_spin() counts down to 0
 *   struct machine  { uint64_t word[MACHINE_WORDS]; } (aligned as the vector moves want)
 */
#include "frame.h"     /* the port's regs_...() functions, see cpu.h */
#include "user_port.h"

/* user_cpu.c of the port */
extern const char *const machine_names[MACHINE_WORDS];
/* Random values everywhere but in sp; flags and bases: what a user may choose. May call sys_set_base. */
void machine_random(struct machine *machine, struct rng *rng);
/* Put a system call into the state. */
void machine_set_call(struct machine *machine, uint64_t number, const uint64_t args[6]);
/* Turn the state before a system call into the one expected after it. */
void machine_after_call(struct machine *machine, int64_t result, const void *after);
/* The address behind the system call instruction, for `after` (x86: what rcx must hold). */
extern const char user_call_state_after[], user_fork_after[];
/* The general registers, flags and sp of the state, as a frame for a new thread that starts at ip. */
void machine_to_regs(const struct machine *machine, struct regs *regs, uint64_t ip);

/* user_asm.S of the port */
int64_t user_call(uint64_t number, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f);
/* Load *in, make the system call, store all to *out. in->word[MACHINE_SP] is set to the sp in use. */
void user_call_state(struct machine *in, struct machine *out);
/* Load *in, count MACHINE_SPIN down to 0, run at least 4,000 instructions that use no register, store all. */
void user_spin(struct machine *in, struct machine *out);
/* Load *in, raise an exception (ud2, brk) whose handler steps over it (user_skip_fault), store all. */
void user_fault_state(struct machine *in, struct machine *out);
/* TEST_FORK (args: TEST_FORK, child's sp, cpu) with all other registers of *in. Parent: stores to *out, returns the
 * result. Child: starts near child_sp, stores its state on its stack and calls user_fork_child(state). The port
 * fills in *child_expected before the call. May be C around an assembly routine. */
int64_t user_fork(struct machine *in, struct machine *out, struct machine *child_expected, uint64_t child_sp,
		  uint64_t cpu);
/* Start of a thread whose registers are checked: stores all below sp, calls user_first_check(state). */
void user_first_entry(void);
/* Start of a worker: first argument = function, second = its argument; sys_exit(0) when it returns. */
void user_thread_entry(void);
/* Handlers of signals and exceptions: call user_signal(frame), user_exception_c(frame), then sys_return_frame. */
void user_signal_entry(void);
void user_fault_entry(void);

/* The port's own scenarios, ended by a null id. */
struct scenario {
	const char *id;
	bool (*run)(void); /* true = passed; says what it counted by say() or what differed by differ() */
};
extern const struct scenario cpu_scenarios[];
/* The port's part of the scenario "faults": every exception that user mode can raise. Adds to *count. */
bool cpu_faults(uint64_t *count);
/* Called by the common fault handler: continue after the instruction that user_fault_state raises with. */
void user_skip_fault(struct user_frame *frame);

/* user_lib.c */
struct worker {
	void (*run)(struct worker *worker);
	uint64_t seed;
	int64_t pid;
	unsigned int cpu;
	uint64_t count;     /* what it did */
	uint64_t errors;
	char text[160];     /* the first error */
	struct work work;
	volatile uint64_t signals; /* counted by the handler itself */
	volatile bool done;
};
/* Formats: %s %c %d %u %x %ld %lu %lx %016lx (see format.h). */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));    /* text of the PASS line */
void differ(const char *format, ...) __attribute__((format(printf, 1, 2))); /* of the FAIL line; the first stays */
void worker_error(struct worker *worker, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool machine_same(struct worker *worker, const char *what, const struct machine *expected, const struct machine *got);
uint64_t scaled(uint64_t count);                       /* fewer when built with QUICK */
uint64_t user_stack(unsigned int index);               /* top of a stack; workers have 0, 1, ... */
void user_stack_give(unsigned int index, struct worker *worker);
struct worker *user_stack_owner(uint64_t sp);          /* NULL: the main thread */
int64_t user_spawn(const struct regs *regs, uint64_t cpu);
void wait_thread(uint64_t pid);
bool run_workers(struct worker *workers, unsigned int count); /* start, wait for all; false and differ() if one failed */
/* Runs fn(arg); true and *fault when it raised an exception. One thread at a time. */
bool user_try(void (*fn)(uint64_t arg), uint64_t arg, struct user_frame *frame);
/* Asm of the port, for user_try: call fn(arg) with a way back through user_try_back. */
void user_try_asm(void (*fn)(uint64_t arg), uint64_t arg, uint64_t *saved_sp);
void user_try_back(void); /* sp = saved sp: restores callee-saved registers, returns from user_try_asm */

bool run_scenario(const struct scenario *scenario);
void finish(uint64_t failed);
/* Nothing can go on: a FAIL line and the end. */
void give_up(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* scenarios.c */
extern const struct scenario common_scenarios[];

/* C, called by the port's assembly */
void user_main(void);
void user_signal(struct user_frame *frame);
void user_exception_c(struct user_frame *frame);
void user_first_check(const struct machine *state) __attribute__((noreturn));
void user_fork_child(const struct machine *state) __attribute__((noreturn));

#endif
