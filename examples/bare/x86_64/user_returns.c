/* SPDX-License-Identifier: MIT */
/*
 * Frames that IRET refuses: the refusal has to arrive as an exception of user mode, with the state that the frame
 * asked for; the handler repairs the frame, and all registers have survived both ways.
 */
#include "format.h"
#include "user_x86.h"

enum { NP = 11, SS = 12, GP = 13, PF = 14 };
enum { PF_PRESENT = 1, PF_USER = 4, PF_FETCH = 16 };

#define NOT_CANONICAL UINT64_C(0x0000800000000000)
#define LANDING 0 /* instead of an ip: user_landing */

struct bad_return {
	const char *name;
	uint64_t cs, ss, ip;
	uint64_t vector, code;
};

static const struct bad_return cases[] = {
	{ "no cs", 3, USER_DS, LANDING, GP, 0 },
	{ "data as cs", USER_DS, USER_DS, LANDING, GP, 0x20 },
	{ "cs of the kernel", KERNEL_CS | 3, USER_DS, LANDING, GP, 0x08 },
	{ "data of the kernel as cs", KERNEL_DS | 3, USER_DS, LANDING, GP, 0x10 },
	{ "cs in no table", 0x1237, USER_DS, LANDING, GP, 0x1234 },
	{ "cs beyond the table", 0x1233, USER_DS, LANDING, GP, 0x1230 },
	{ "task state as cs", TSS_SELECTOR | 3, USER_DS, LANDING, GP, TSS_SELECTOR },
	{ "absent cs", ABSENT_USER_CS, USER_DS, LANDING, NP, 0x60 },
	{ "no ss", USER_CS, 3, LANDING, GP, 0 },
	{ "ss of level 0", USER_CS, USER_DS & ~3, LANDING, GP, 0x20 },
	{ "ss of the kernel", USER_CS, KERNEL_DS | 3, LANDING, GP, 0x10 },
	{ "code as ss", USER_CS, USER_CS, LANDING, GP, 0x28 },
	{ "ss beyond the table", USER_CS, 0x1233, LANDING, GP, 0x1230 },
	{ "absent ss", USER_CS, ABSENT_USER_DS, LANDING, SS, 0x48 },
	{ "absent ss, 32-bit code", USER32_CS, ABSENT_USER_DS, LANDING, SS, 0x48 },
	{ "ip behind the user's half", USER_CS, USER_DS, NOT_CANONICAL, GP, 0 },
	{ "ip between the halves", USER_CS, USER_DS, UINT64_C(0xdeadbeef00000000), GP, 0 },
	{ "ip before the kernel's half", USER_CS, USER_DS, UINT64_C(0xffff7fffffffffff), GP, 0 },
	{ "ip in an unmapped page", USER_CS, USER_DS, USER_BASE - 4096, PF, PF_USER | PF_FETCH },
};

static const struct bad_return *waiting;
static struct regs asked;
static uint64_t arrived;
static const char *wrong;

/* Before version 8, QEMU raises #NP where a CPU raises #SS. */
static bool same_vector(uint64_t vector, uint64_t expected)
{
	return vector == expected || (expected == SS && vector == NP);
}

static void arrive(struct user_frame *frame)
{
	struct regs *regs = &frame->regs;

	arrived++;
	asked.vector = regs->vector; /* these two the exception brings */
	asked.error = regs->error;
	asked.flags |= regs->flags & FLAG_RF; /* a CPU sets it in the frame of a fault, QEMU does not */
	if (!same_vector(frame->fault.vector, waiting->vector))
		wrong = "vector";
	else if (frame->fault.code != waiting->code)
		wrong = "error code";
	else if (memcmp(regs, &asked, sizeof(asked)))
		wrong = "frame";
	regs->cs = USER_CS;
	regs->ss = USER_DS;
	regs->ip = (uint64_t)user_landing;
}

static void one_return(struct worker *worker, struct rng *rng, const struct bad_return *c)
{
	struct machine expected, got;
	struct regs regs;

	machine_random(&expected, rng);
	machine_to_regs(&expected, &regs, c->ip == LANDING ? (uint64_t)user_landing : c->ip);
	regs.cs = c->cs;
	regs.ss = c->ss;
	if (rng_next(rng) % 2) { /* as SYSRET would want it */
		expected.word[MACHINE_CX] = regs.cx = regs.ip;
		expected.word[MACHINE_R11] = regs.r11 = regs.flags;
	}
	asked = regs;
	waiting = c;
	wrong = NULL;
	arrived = 0;
	/* user_return_state() writes its stack pointer into the frame: the handler compares with that one */
	user_return_state(&asked, &got);
	expected.word[MACHINE_SP] = asked.sp;
	for (unsigned int i = MACHINE_FRAME; i < MACHINE_WORDS; i++)
		expected.word[i] = got.word[i];
	worker->count++;
	if (arrived != 1)
		worker_error(worker, "%s: %lu exceptions", c->name, arrived);
	if (wrong)
		worker_error(worker, "%s: another %s than expected (vector %lu, error code %lx)", c->name, wrong,
			     asked.vector, asked.error);
	machine_same(worker, c->name, &expected, &got);
}

bool run_bad_returns(void)
{
	static struct worker worker;
	struct rng rng = { 9 };
	const unsigned int count = sizeof(cases) / sizeof(cases[0]);

	fault_hook = arrive;
	for (uint64_t i = 0; i < scaled(200) && !worker.errors; i++)
		for (unsigned int j = 0; j < count && !worker.errors; j++)
			one_return(&worker, &rng, &cases[j]);
	fault_hook = NULL;
	say("%lu returns of %u kinds ended in an exception of user mode with the frame as given", worker.count, count);
	if (worker.errors)
		differ("%s", worker.text);
	return !worker.errors;
}
