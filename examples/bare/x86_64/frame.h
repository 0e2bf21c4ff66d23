/* SPDX-License-Identifier: MIT */
/* What the kernel and the user programs do with a struct regs. */
#ifndef FRAME_H
#define FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "entry.h"
#include "hardware.h"

static inline uint64_t regs_ip(const struct regs *regs)
{
	return regs->ip;
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
	return regs->ax;
}

static inline void regs_set_result(struct regs *regs, uint64_t result)
{
	regs->ax = result;
}

static inline bool regs_from_user(const struct regs *regs)
{
	return (regs->cs & 3) == 3;
}

static inline void regs_init_user(struct regs *regs)
{
	*regs = (struct regs){ .cs = USER_CS, .ss = USER_DS, .flags = FLAG_ONE | FLAG_IF, .vector = NO_VECTOR };
}

/*
 * Selectors and ip may be as bad as the user likes: IRET refuses them, and the entry code makes that his exception.
 * But for a stack segment of an LDT: if it had 16 bits, IRET would leave bits 31:16 of the kernel's stack pointer.
 */
static inline bool regs_user_ok(const struct regs *regs)
{
	return regs_from_user(regs) && !(regs->ss & 4) && (regs->flags & (FLAG_IF | FLAG_IOPL | FLAG_VM)) == FLAG_IF;
}

static inline void regs_call_user(struct regs *regs, uint64_t ip, uint64_t sp, uint64_t arg)
{
	regs->ip = ip;
	regs->sp = sp;
	regs->di = arg;
	regs->cs = USER_CS;
	regs->ss = USER_DS;
	regs->flags &= ~(uint64_t)(FLAG_TF | FLAG_DF | FLAG_RF | FLAG_NT | FLAG_AC);
}

#endif
