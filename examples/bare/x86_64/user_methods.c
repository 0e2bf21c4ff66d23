/* SPDX-License-Identifier: MIT */
/*
 * SYSRET or IRET: user code asks for frames that SYSRET can or cannot restore, predicts what the kernel must
 * choose and why, compares all registers, and at the end the kernel's counters.
 */
#include "scenario.h"
#include "user_x86.h"

/* A page of user code from USER_END on; the kernel maps it. */
#define HIGH_CODE ((uint8_t *)USER_END)

#define METHODS_COUNT (STAT_RETURNED_32 - STAT_RETURNED) /* of the 64-bit gate */

static uint64_t counted[STAT_CPU_COUNT], expected_count[METHODS_COUNT];
static uint64_t steps;
static const char *step_error;

static void stepped(struct user_frame *frame)
{
	if (frame->fault.vector != 1)
		step_error = "an exception that is no single step";
	else if (frame->regs.ip != (uint64_t)user_landing_second)
		step_error = "the single step trapped at another instruction";
	steps++;
	frame->regs.flags &= ~(uint64_t)FLAG_TF;
}

/* jmp *0(%rip) to user_landing changes no register. */
static void make_high_code(void)
{
	static const uint8_t jump[6] = { 0xff, 0x25, 0, 0, 0, 0 };
	uint64_t target = (uint64_t)user_landing;

	for (unsigned int i = 0; i < 6; i++)
		((volatile uint8_t *)HIGH_CODE)[i] = jump[i];
	for (unsigned int i = 0; i < 8; i++)
		((volatile uint8_t *)HIGH_CODE)[6 + i] = (uint8_t)(target >> 8 * i);
}

enum { /* what makes a frame unfit for SYSRET, in the order in which the spec asks */
	OTHER_CX = 1, OTHER_R11 = 2, OTHER_CS = 4, OTHER_SS = 8, HIGH_IP = 16, WITH_RF = 32, WITH_TF = 64,
};

static unsigned int predict(unsigned int kinds)
{
	static const struct {
		unsigned int kinds, clause;
	} clauses[] = {
		{ OTHER_CX, RETURN_64_REFUSED_IP_NOT_IN_CX }, { OTHER_R11, RETURN_64_REFUSED_FLAGS_NOT_IN_R11 },
		{ OTHER_CS, RETURN_64_REFUSED_FOREIGN_CS }, { OTHER_SS, RETURN_64_REFUSED_FOREIGN_SS },
		{ HIGH_IP, RETURN_64_REFUSED_HIGH_IP }, { WITH_RF | WITH_TF, RETURN_64_REFUSED_RF_OR_TF },
	};

	for (unsigned int i = 0; i < 6; i++) {
		if (!(kinds & clauses[i].kinds))
			continue;
		expected_count[STAT_REFUSED - STAT_RETURNED + clauses[i].clause]++;
		return RETURN_64_IRET;
	}
	return RETURN_64_SYSRET;
}

static uint64_t selectors(void)
{
	uint32_t cs, ss;

	__asm__ volatile("movl %%cs, %0; movl %%ss, %1" : "=r"(cs), "=r"(ss));
	return (uint64_t)cs << 32 | ss;
}

static bool one_return(struct worker *worker, struct rng *rng, unsigned int kinds)
{
	struct machine expected, got;
	struct regs regs;
	uint64_t seen, steps_before = steps, wanted_selectors;

	if (kinds & HIGH_IP)
		kinds &= ~(unsigned int)WITH_TF; /* it would trap on another page */
	machine_random(&expected, rng);
	machine_to_regs(&expected, &regs, kinds & HIGH_IP ? (uint64_t)HIGH_CODE : (uint64_t)user_landing);
	regs.flags |= (kinds & WITH_RF ? FLAG_RF : 0) | (kinds & WITH_TF ? FLAG_TF : 0);
	if (!(kinds & OTHER_CX))
		regs.cx = regs.ip;
	if (!(kinds & OTHER_R11))
		regs.r11 = regs.flags;
	if (kinds & OTHER_CS)
		regs.cs = OTHER_USER_CS;
	if (kinds & OTHER_SS)
		regs.ss = OTHER_USER_DS;
	expected.word[MACHINE_CX] = regs.cx;
	expected.word[MACHINE_R11] = regs.r11;

	user_return_state(&regs, &got);
	seen = selectors(); /* before the next system call, which sets both */

	expected.word[MACHINE_SP] = regs.sp;
	for (unsigned int i = MACHINE_MXCSR; i < MACHINE_WORDS; i++)
		expected.word[i] = got.word[i]; /* not part of a frame */
	expected_count[predict(kinds)]++;
	if (kinds & WITH_TF) {
		/* the handler came back through a frame without TF: r11 cannot hold its flags */
		unsigned int again = OTHER_CX | OTHER_R11 | (kinds & (OTHER_CS | OTHER_SS));

		expected_count[predict(again)]++;
	}
	worker->count++;
	if (steps - steps_before != (kinds & WITH_TF ? 1 : 0))
		worker_error(worker, "%lu single steps, kinds %x", steps - steps_before, kinds);
	if (step_error)
		worker_error(worker, "%s, kinds %x", step_error, kinds);
	wanted_selectors = (uint64_t)(kinds & OTHER_CS ? OTHER_USER_CS : USER_CS) << 32 |
			   (kinds & OTHER_SS ? OTHER_USER_DS : USER_DS);
	if (seen != wanted_selectors)
		worker_error(worker, "cs:ss is %016lx, not %016lx, kinds %x", seen, wanted_selectors, kinds);
	return machine_same(worker, "after sys_return_frame", &expected, &got);
}

static void read_counters(uint64_t *to)
{
	user_call(SYS_TEST, TEST_COUNTERS, (uint64_t)to, 0, 0, 0, 0);
}

bool run_methods(void)
{
	static const char *const names[METHODS_COUNT] = {
		"iret", "sysret", "refused: ip not in cx", "refused: flags not in r11", "refused: foreign cs",
		"refused: foreign ss", "refused: high ip", "refused: rf or tf",
	};
	static struct worker worker;
	struct rng rng = { 8 };
	uint64_t after[STAT_CPU_COUNT], plain_calls;

	make_high_code();
	fault_hook = stepped;
	for (unsigned int kind = 0; kind < 8; kind++) { /* first each kind alone, with the counters behind it */
		for (unsigned int i = 0; i < METHODS_COUNT; i++)
			expected_count[i] = 0;
		read_counters(counted); /* whose own return is not in them yet */
		plain_calls = base_calls;
		one_return(&worker, &rng, kind ? 1u << (kind - 1) : 0);
		for (uint64_t i = 0; kind == 7 && i < scaled(4000) && !worker.errors; i++) /* then all mixtures */
			one_return(&worker, &rng, (unsigned int)(rng_next(&rng) & rng_next(&rng) % 128));
		read_counters(after);
		expected_count[RETURN_64_SYSRET] += 1 + base_calls - plain_calls;
		for (unsigned int i = 0; i < METHODS_COUNT; i++)
			if (after[i] - counted[i] != expected_count[i])
				worker_error(&worker, "counter \"%s\" moved by %lu, not %lu (kind %u)", names[i],
					     after[i] - counted[i], expected_count[i], kind);
	}
	fault_hook = NULL;
	say("%lu frames: registers, selectors, method and reason as predicted; %lu by iret, %lu by sysret since boot",
	    worker.count, after[0], after[1]);
	if (worker.errors)
		differ("%s", worker.text);
	return !worker.errors;
}
