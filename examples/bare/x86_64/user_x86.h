/* SPDX-License-Identifier: MIT */
/* What the x86-64 files of the user programs share. */
#ifndef USER_X86_H
#define USER_X86_H

#include "scenario.h"
#include "user.h"

/* user_asm.S */
int64_t user_fork_state(struct machine *in, struct machine *out);
void user_return_state(struct regs *frame, struct machine *out);
extern const char user_landing[], user_landing_second[];

/* user_cpu.c */
extern uint64_t base_calls; /* system calls that machine_random() made */
extern void (*fault_hook)(struct user_frame *frame); /* an exception that user_try() did not wait for; NULL: UD2 */
void read_layout(uint64_t *layout);
void set_watch(uint64_t address, uint64_t control);
uint64_t kernel_steps(void), kernel_hits(void);

/*
 * user_gates.S: one routine for each way into the kernel. It loads *in, goes to 32-bit code if the gate is one of
 * those, executes the instruction at `at` and two NOPs, `after` and `next`, comes back and stores to *out.
 */
struct gate {
	const char *name;
	void (*call)(struct machine *in, struct machine *out);
	const char *at, *after, *next;
	enum { GATE_SYSCALL, GATE_INT80, GATE_INT80_32, GATE_SYSCALL_32, GATE_SYSENTER } kind;
};
#define GATE_COUNT 5
extern const struct gate gates[GATE_COUNT]; /* by kind */
void user_spin_32(struct machine *in, struct machine *out); /* as user_spin() */

/* user_gates32.c */
bool gate_works(const struct gate *gate); /* on this CPU; asks it once. One thread at a time. */
/* A random state for the gate, and the one expected afterwards in *after, sp aside. */
void gate_random(const struct gate *gate, struct rng *rng, int64_t pid, struct machine *in, struct machine *after);
/* One call, compared: what a gate does not keep is not looked at. */
bool gate_check(struct worker *worker, const struct gate *gate, struct rng *rng, uint64_t more_flags);

/* The scenarios. */
bool run_methods(void);
bool run_gates32(void);
bool run_bad_returns(void);
bool run_single_step(void);
bool run_breakpoints(void);
bool run_hostile(void);
bool run_mov_ss(void);
bool run_isolation(void);
bool run_nmi(void);
bool run_ipis(void);
bool run_load_gs(void);

#endif
