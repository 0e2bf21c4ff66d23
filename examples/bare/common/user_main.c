/* SPDX-License-Identifier: MIT */
/* The first thread: the image's header, and all scenarios in order. */
#include "user.h"

static uint8_t main_stack[16384] __attribute__((aligned(16)));

extern char user_data[]; /* user.ld */

const struct user_header header __attribute__((section(".user_header"), used)) = {
	.magic = USER_MAGIC,
	.entry = (uint64_t)user_thread_entry,
	.stack = (uint64_t)(main_stack + sizeof(main_stack)),
	.first = (uint64_t)user_main,
	.data = (uint64_t)user_data,
};

/* Built with ONLY="id": only this scenario. */
static bool wanted(const char *id)
{
#ifdef ONLY
	const char *only = ONLY;

	while (*id && *id == *only) {
		id++;
		only++;
	}
	return *id == *only;
#else
	return id[0] != 0;
#endif
}

static uint64_t run_all(const struct scenario *scenarios)
{
	uint64_t failed = 0;

	for (; scenarios->id; scenarios++)
		if (wanted(scenarios->id) && !run_scenario(scenarios))
			failed++;
	return failed;
}

void user_main(void)
{
	struct machine machine;
	struct rng rng = { 1 };
	uint64_t failed;

	user_call(SYS_TEST, TEST_HANDLERS, (uint64_t)user_fault_entry, (uint64_t)user_signal_entry, 0, 0, 0);
	machine_random(&machine, &rng); /* new threads inherit base registers that can be read through */
	failed = run_all(common_scenarios);
	failed += run_all(cpu_scenarios);
	finish(failed);
}
