/* SPDX-License-Identifier: MIT */
/*
 * NMIs: CPU 1 sends them, CPU 0 makes system calls, spins in user mode and in the kernel, all registers compared.
 * Half of the time a breakpoint waits in the handler: its IRET lets the next NMI in before the first one is done.
 */
#include "user_x86.h"

static struct worker workers[2];
static volatile bool target_done;
static uint64_t seen[3];

static void read_counts(uint64_t *counts)
{
	user_call(SYS_TEST, TEST_NMIS, 0, (uint64_t)counts, 0, 0, 0);
}

static void wait_loops(uint64_t loops)
{
	while (loops--)
		__asm__ volatile("");
}

static uint64_t count_all(void)
{
	uint64_t counts[3];

	read_counts(counts);
	return counts[0] + counts[1];
}

/* When no other one is on its way, each one must arrive. */
static void send_one_and_see(struct worker *worker)
{
	uint64_t before, tries = 0;

	wait_loops(30000);
	before = count_all();
	user_call(SYS_TEST, TEST_NMI, 0, 0, 0, 0, 0);
	while (count_all() == before && !worker->errors)
		if (++tries == 1000000)
			worker_error(worker, "an NMI did not arrive");
}

/* Not always in the same rhythm, and with time for the other CPU to go on. */
static void send(struct worker *worker)
{
	struct rng rng = { worker->seed };

	while (!target_done && !worker->errors) {
		user_call(SYS_TEST, TEST_NMI, 0, 0, 0, 0, 0);
		wait_loops(100 + rng_next(&rng) % (worker->count % 2 ? 3000 : 40000));
		if (++worker->count % 8 == 0)
			send_one_and_see(worker);
	}
}

static void one_round(struct worker *worker, struct rng *rng)
{
	struct machine in, out;
	int64_t wrong;

	for (unsigned int i = 0; i < GATE_COUNT; i++)
		if (gate_works(&gates[i]))
			gate_check(worker, &gates[i], rng, 0);
	machine_random(&in, rng);
	in.word[MACHINE_SPIN] = 1 + rng_next(rng) % 5000;
	user_spin(&in, &out);
	in.word[MACHINE_SPIN] = 0;
	machine_same(worker, "spinning in user mode under NMIs", &in, &out);
	wrong = user_call(SYS_TEST, TEST_SPIN, rng_next(rng), 1 + rng_next(rng) % 5000, 0, 0, 0);
	if (wrong)
		worker_error(worker, "register %ld of the kernel changed under NMIs", wrong);
}

static void be_target(struct worker *worker)
{
	struct rng rng = { worker->seed };
	uint64_t layout[LAYOUT_COUNT], before[3], wanted = scaled(1000);

	worker->pid = user_call(SYS_GETPID, 0, 0, 0, 0, 0, 0);
	read_layout(layout);
	read_counts(before);
	for (uint64_t i = 0; i < 400000 && worker->errors < 10; i++) {
		if (i % 64 == 0)
			set_watch(layout[LAYOUT_NMI_MARK], i % 128 ? DR7_ON | DR7_EXECUTE : 0);
		one_round(worker, &rng);
		read_counts(seen);
		for (unsigned int j = 0; j < 3; j++)
			seen[j] -= before[j];
		if (seen[0] >= wanted && seen[1] >= wanted && seen[2] >= wanted / 20)
			break;
	}
	set_watch(0, 0);
	target_done = true;
}

bool run_nmi(void)
{
	const uint64_t enough = scaled(200); /* a busy machine sends few: be_target() waits for more, but not for ever */

	for (unsigned int i = 0; i < GATE_COUNT; i++)
		gate_works(&gates[i]);
	workers[0] = (struct worker){ .run = be_target, .seed = 14, .cpu = 0 };
	workers[1] = (struct worker){ .run = send, .seed = 15, .cpu = 1 };
	if (!run_workers(workers, 2))
		return false;
	say("%lu NMIs of user mode, %lu of kernel code, %lu within one: run again; all registers compared in %lu calls",
	    seen[0], seen[1], seen[2], workers[0].count);
	if (seen[0] < enough || seen[1] < enough || seen[2] <= enough / 20) {
		differ("only %lu NMIs of user mode, %lu of kernel code, %lu within one", seen[0], seen[1], seen[2]);
		return false;
	}
	return true;
}
