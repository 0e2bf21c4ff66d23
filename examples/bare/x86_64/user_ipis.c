/* SPDX-License-Identifier: MIT */
/* Interrupts from CPU to CPU, by every vector that software may use: each one arrives, once, as the vector that it was sent as. */
#include "user_x86.h"

#define FIRST  32
#define TIMER  0x40
#define INT80  0x80
#define LAST   0xfe /* 0xff: the spurious one */

static struct worker workers[2];
static uint64_t sent[2][256];

static bool in_use(unsigned int vector)
{
	return vector != TIMER && vector != INT80;
}

/* An interrupt that waits takes in all later ones of its vector: none is sent before the last one came. */
static void wait_for_all(struct worker *worker, unsigned int other)
{
	uint64_t seen[256], tries = 0;

	for (unsigned int vector = FIRST; vector <= LAST; vector++)
		do {
			user_call(SYS_TEST, TEST_IPIS, other, (uint64_t)seen, 0, 0, 0);
			if (++tries == 1000000)
				worker_error(worker, "vector %u came %lu times, sent %lu times", vector, seen[vector],
					     sent[other][vector]);
		} while (seen[vector] != sent[other][vector] && !worker->errors);
}

static void send(struct worker *worker)
{
	struct rng rng = { worker->seed };
	unsigned int other = !worker->cpu;
	struct machine in, out;

	worker->pid = user_call(SYS_GETPID, 0, 0, 0, 0, 0, 0);
	for (uint64_t round = 0; round < scaled(60) && !worker->errors; round++) {
		for (unsigned int vector = FIRST; vector <= LAST && !worker->errors; vector++) {
			if (!in_use(vector))
				continue;
			sent[other][vector]++;
			user_call(SYS_TEST, TEST_IPI, other, vector, 0, 0, 0);
			if (vector % 8 == 0)
				gate_check(worker, &gates[GATE_SYSCALL], &rng, 0);
		}
		machine_random(&in, &rng);
		in.word[MACHINE_SPIN] = 1 + rng_next(&rng) % 2000;
		user_spin(&in, &out);
		in.word[MACHINE_SPIN] = 0;
		machine_same(worker, "spinning in user mode under interrupts", &in, &out);
		wait_for_all(worker, other);
	}
}

bool run_ipis(void)
{
	uint64_t seen[256], strange = 0, total = 0;

	for (unsigned int i = 0; i < 2; i++)
		workers[i] = (struct worker){ .run = send, .seed = 16 + i, .cpu = i };
	if (!run_workers(workers, 2))
		return false;
	for (unsigned int cpu = 0; cpu < 2; cpu++) {
		user_call(SYS_TEST, TEST_IPIS, cpu, (uint64_t)seen, 0, 0, 0);
		for (unsigned int vector = 0; vector < 256; vector++)
			total += sent[cpu][vector], strange += seen[vector] != sent[cpu][vector];
	}
	say("%lu interrupts from CPU to CPU by %u vectors, each arrived once; %lu system calls compared", total, LAST - FIRST + 1 - 2,
	    workers[0].count + workers[1].count);
	if (strange)
		differ("%lu vectors came another number of times than they were sent", strange);
	return !strange;
}
