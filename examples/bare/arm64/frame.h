/* SPDX-License-Identifier: MIT */
/* What cpu.h asks of a port about struct regs; user programs include this too. */
#ifndef FRAME_H
#define FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "entry.h"

/* What user mode may have in PSTATE: NZCV and, on CPUs that have them, TCO, DIT, SSBS and BTYPE. */
#define PSR_USER  UINT64_C(0xf3001c00)
#define PSR_BTYPE UINT64_C(0xc00)

static inline uint64_t regs_ip(const struct regs *regs)
{
	return regs->pc;
}

static inline uint64_t regs_sp(const struct regs *regs)
{
	return regs->sp;
}

static inline void regs_set_sp(struct regs *regs, uint64_t sp)
{
	regs->sp = sp;
}

static inline uint64_t regs_result(const struct regs *regs)
{
	return regs->x0;
}

static inline void regs_set_result(struct regs *regs, uint64_t result)
{
	regs->x0 = result;
}

static inline bool regs_from_user(const struct regs *regs)
{
	return (regs->pstate & 0x1f) == 0; /* EL0t, AArch64 */
}

static inline void regs_init_user(struct regs *regs)
{
	*regs = (struct regs){ 0 };
}

static inline bool regs_user_ok(const struct regs *regs)
{
	return (regs->pstate & ~PSR_USER) == 0;
}

static inline void regs_call_user(struct regs *regs, uint64_t ip, uint64_t sp, uint64_t arg)
{
	regs->pc = ip;
	regs->sp = sp;
	regs->x0 = arg;
	regs->pstate &= ~PSR_BTYPE; /* this is no indirect branch */
}

#endif
