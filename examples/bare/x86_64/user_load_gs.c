/* SPDX-License-Identifier: MIT */
/*
 * GS selectors: the kernel loads them for the user, between two SWAPGS. One that the CPU refuses faults there, with the
 * user's GS base, and becomes 0. All registers are compared, and the base is what the descriptor says.
 */
#include "user_x86.h"

struct selector {
	uint64_t value;
	bool good;
};

static const struct selector selectors[] = {
	{ 0, true }, { 3, true }, { USER_DS, true }, { OTHER_USER_DS, true }, { USER_CS, true },
	{ ABSENT_USER_DS, false }, { KERNEL_DS | 3, false }, { TSS_SELECTOR, false },
	{ 0x1234, false }, { 0x1230, false }, { 0xfff8, false },
};

static uint64_t words[2]; /* the base is 0 after a load: these are what user code may read through */

static void set_good_bases(void)
{
	user_call(SYS_SET_BASE, (uint64_t)&words[0], (uint64_t)&words[1], 0, 0, 0, 0);
}

static uint64_t gs_selector(void)
{
	uint32_t value;

	__asm__ volatile("movl %%gs, %0" : "=r"(value));
	return value;
}

static void one_load(struct worker *worker, struct rng *rng, const struct selector *selector)
{
	struct machine in, out, after;
	const uint64_t args[6] = { TEST_LOAD_GS, selector->value };
	uint64_t before = (uint64_t)user_call(SYS_TEST, TEST_LOAD_GS, 0, 0, 0, 0, 0), refused, value;

	refused = (uint64_t)user_call(SYS_TEST, TEST_LOAD_GS, selector->value, 0, 0, 0, 0) - before;
	value = gs_selector();
	if (selector->good && selector->value < 4 && !value)
		value = selector->value; /* IRET after an interrupt makes 1 to 3 to 0; QEMU's does not */
	if (value != (selector->good ? selector->value : 0) || refused != !selector->good)
		worker_error(worker, "selector %lx became %lx, %lu refused", selector->value, value, refused);

	set_good_bases();
	machine_random(&in, rng);
	machine_set_call(&in, SYS_YIELD, args);
	after = in;
	user_call_state(&in, &out);
	after.word[MACHINE_SP] = in.word[MACHINE_SP];
	machine_after_call(&after, 0, user_call_state_after);
	worker->count++;
	machine_same(worker, "after a load of GS", &after, &out);
}

bool run_load_gs(void)
{
	static struct worker worker;
	const unsigned int count = sizeof(selectors) / sizeof(selectors[0]);
	struct rng rng = { 16 };

	for (uint64_t i = 0; i < scaled(1000) && !worker.errors; i++)
		for (unsigned int j = 0; j < count && !worker.errors; j++)
			one_load(&worker, &rng, &selectors[j]);
	user_call(SYS_TEST, TEST_LOAD_GS, 0, 0, 0, 0, 0);
	set_good_bases();
	say("%lu GS selectors of %u kinds loaded or refused, all registers compared", worker.count, count);
	if (worker.errors)
		differ("%s", worker.text);
	return !worker.errors;
}
