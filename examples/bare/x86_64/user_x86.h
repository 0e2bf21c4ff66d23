/* SPDX-License-Identifier: MIT */
/* What the x86-64 files of the user programs share. */
#ifndef USER_X86_H
#define USER_X86_H

#include "user.h"

/* user_asm.S */
int64_t user_fork_state(struct machine *in, struct machine *out);
void user_return_state(struct regs *frame, struct machine *out);
extern const char user_landing[], user_landing_second[];

/* user_cpu.c */
extern uint64_t base_calls; /* system calls that machine_random() made */

/* user_methods.c */
bool run_methods(void);
void methods_stepped(struct user_frame *frame); /* an exception that user_try() did not wait for */

#endif
