/* SPDX-License-Identifier: MIT */
/*
 * The system calls of 32-bit code, by every gate that this CPU has, and INT 0x80 of 64-bit code: random registers
 * before, all registers compared after, under interrupts and exit work.
 */
#include "user_x86.h"

#define WORKERS 4

#define GATE(name)                                           \
	void name(struct machine *in, struct machine *out); \
	extern const char name##_at[], name##_after[], name##_next[]
GATE(gate_syscall);
GATE(gate_int80);
GATE(gate_int80_32);
GATE(gate_syscall_32);
GATE(gate_sysenter);

#define ROW(name, kind) { #name, gate_##name, gate_##name##_at, gate_##name##_after, gate_##name##_next, kind }
const struct gate gates[GATE_COUNT] = {
	ROW(syscall, GATE_SYSCALL), ROW(int80, GATE_INT80), ROW(int80_32, GATE_INT80_32),
	ROW(syscall_32, GATE_SYSCALL_32), ROW(sysenter, GATE_SYSENTER),
};

static struct worker workers[WORKERS];
static uint64_t calls[GATE_COUNT], spins;

static bool is_intel(void)
{
	uint32_t a = 0, b, c, d;

	__asm__("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
	return b == 0x756e6547; /* "Genu" */
}

static void probe(uint64_t arg)
{
	const struct gate *gate = (const struct gate *)arg;
	struct machine in = { .word[MACHINE_AX] = SYS_GETPID, .word[MACHINE_FLAGS] = FLAG_ONE | FLAG_IF,
			      .word[MACHINE_MXCSR] = 0x1f80 }, out;

	gate->call(&in, &out);
}

bool gate_works(const struct gate *gate)
{
	static uint8_t answers[GATE_COUNT]; /* 0: not asked yet */
	struct user_frame frame;
	uint8_t *answer = &answers[gate->kind];

	if (!*answer)
		*answer = user_try(probe, (uint64_t)gate, &frame) ? 1 : 2;
	return *answer == 2;
}

/* 32-bit code has lower halves only; what becomes of the upper ones nobody promises. */
static void cut_halves(struct machine *machine)
{
	for (unsigned int i = MACHINE_AX; i <= MACHINE_BP; i++)
		machine->word[i] = (uint32_t)machine->word[i];
}

static const uint8_t compat_places[6] = { MACHINE_BX, MACHINE_CX, MACHINE_DX, MACHINE_SI, MACHINE_DI, MACHINE_BP };
static const uint8_t fast_places[2] = { MACHINE_BX, MACHINE_SI };

static int64_t random_compat(struct machine *in, struct rng *rng, int64_t pid)
{
	static const uint64_t weights[6] = { 1, 2, 3, 5, 7, 11 };
	uint64_t *number = &in->word[MACHINE_AX], sum = 0;

	switch (rng_next(rng) % 5) {
	case 0:
		*number = SYS_GETPID | *number << 32; /* the upper half does not count */
		return pid;
	case 1:
		*number = SYS_YIELD;
		return 0;
	case 2:
		*number = SYS_SET_BASE + *number % 4; /* no call of this table */
		return -38;
	case 3:
		*number = (uint32_t)*number | 1u << 20;
		return -38;
	default:
		*number = SYS_ADD6;
		for (unsigned int i = 0; i < 6; i++)
			sum += weights[i] * (uint32_t)in->word[compat_places[i]];
		return (int64_t)sum;
	}
}

static int64_t random_fast(struct machine *in, struct rng *rng, int64_t pid)
{
	uint64_t *number = &in->word[MACHINE_AX];

	switch (rng_next(rng) % 5) {
	case 0:
		*number = SYS_GETPID;
		return pid;
	case 1:
		*number = SYS_YIELD;
		return 0;
	case 2:
		*number = SYS_SET_BASE + (uint32_t)*number % 100;
		return -38;
	case 3: /* both arguments at their places: no byte at a good address, any number at a bad one */
		*number = SYS_WRITE;
		in->word[fast_places[0]] = USER_BASE + (uint16_t)*number;
		in->word[fast_places[1]] = 0;
		return 0;
	default:
		*number = SYS_WRITE;
		in->word[fast_places[0]] = USER_BASE - 1 - (uint16_t)*number;
		return -14;
	}
}

void gate_random(const struct gate *gate, struct rng *rng, int64_t pid, struct machine *in, struct machine *after)
{
	const uint64_t none[6] = { 0 };
	uint64_t *word = after->word;
	int64_t result;

	machine_random(in, rng);
	if (gate->kind == GATE_SYSCALL) {
		machine_set_call(in, SYS_GETPID, none);
		result = pid;
	} else if (gate->kind <= GATE_INT80_32) {
		if (gate->kind == GATE_INT80_32)
			cut_halves(in);
		result = random_compat(in, rng, pid);
	} else {
		cut_halves(in);
		result = random_fast(in, rng, pid);
	}
	*after = *in;
	word[MACHINE_AX] = (uint64_t)result;
	if (gate->kind == GATE_SYSENTER)
		word[MACHINE_DX] = (uint64_t)gate->after;
	if (gate->kind != GATE_INT80 && gate->kind != GATE_INT80_32) {
		word[MACHINE_CX] = (uint64_t)gate->after;
		word[MACHINE_R11] = word[MACHINE_FLAGS];
	}
}

bool gate_check(struct worker *worker, const struct gate *gate, struct rng *rng, uint64_t more_flags)
{
	struct machine in, out, after;

	gate_random(gate, rng, worker->pid, &in, &after);
	in.word[MACHINE_FLAGS] |= more_flags;
	gate->call(&in, &out);
	after.word[MACHINE_SP] = in.word[MACHINE_SP];
	if (gate->kind >= GATE_INT80_32) {
		cut_halves(&after);
		cut_halves(&out);
	}
	if (gate->kind == GATE_SYSENTER) { /* its entry may change them before it saves the flags */
		after.word[MACHINE_FLAGS] |= FLAGS_STATUS;
		out.word[MACHINE_FLAGS] |= FLAGS_STATUS;
		after.word[MACHINE_R11] |= FLAGS_STATUS;
		out.word[MACHINE_R11] |= FLAGS_STATUS;
	}
	if (more_flags) /* r11 as well holds whatever flags the kernel returned with */
		after.word[MACHINE_R11] = out.word[MACHINE_R11] = 0;
	__atomic_fetch_add(&calls[gate->kind], 1, __ATOMIC_RELAXED);
	worker->count++;
	return machine_same(worker, gate->name, &after, &out);
}

static void spin_check(struct worker *worker, struct rng *rng)
{
	struct machine in, out;

	machine_random(&in, rng);
	cut_halves(&in);
	in.word[MACHINE_SPIN] = 1 + rng_next(rng) % 5000;
	user_spin_32(&in, &out);
	in.word[MACHINE_SPIN] = 0;
	__atomic_fetch_add(&spins, 1, __ATOMIC_RELAXED);
	machine_same(worker, "spinning in 32-bit code", &in, &out);
}

static void gates_worker(struct worker *worker)
{
	struct rng rng = { worker->seed };

	worker->pid = user_call(SYS_GETPID, 0, 0, 0, 0, 0, 0);
	user_call(SYS_TEST, TEST_WORK, (uint64_t)&worker->work, NEED_RESCHED | SIGPENDING | NOTIFY_RESUME, 0, 0, 0);
	for (uint64_t i = 0; i < scaled(5000) && worker->errors < 10; i++) {
		for (unsigned int j = 0; j < GATE_COUNT; j++)
			if (gate_works(&gates[j]))
				gate_check(worker, &gates[j], &rng, 0);
		spin_check(worker, &rng);
	}
	user_call(SYS_TEST, TEST_WORK, (uint64_t)&worker->work, 0, 0, 0, 0);
	user_call(SYS_TEST, TEST_WORK, 0, 0, 0, 0, 0);
	for (unsigned int i = 0; i < 3; i++)
		if (worker->work.raised[i] != worker->work.handled[i])
			worker_error(worker, "flag %u raised %lu times, handled %lu times", i, worker->work.raised[i],
				     worker->work.handled[i]);
}

bool run_gates32(void)
{
	const bool intel = is_intel();
	uint64_t before[STAT_CPU_COUNT], after[STAT_CPU_COUNT], by_sysret, by_iret;

	for (unsigned int i = 0; i < GATE_COUNT; i++) {
		bool wanted = i == GATE_SYSENTER ? intel : i != GATE_SYSCALL_32 || !intel;

		if (gate_works(&gates[i]) < wanted) {
			differ("the gate %s does not work", gates[i].name);
			return false;
		}
		calls[i] = 0;
	}
	for (unsigned int i = 0; i < WORKERS; i++)
		workers[i] = (struct worker){ .run = gates_worker, .seed = 32 + i * UINT64_C(0x1234567), .cpu = i % 2 };
	user_call(SYS_TEST, TEST_COUNTERS, (uint64_t)before, 0, 0, 0, 0);
	if (!run_workers(workers, WORKERS))
		return false;
	user_call(SYS_TEST, TEST_COUNTERS, (uint64_t)after, 0, 0, 0, 0);
	by_iret = after[STAT_RETURNED_32 - STAT_RETURNED] - before[STAT_RETURNED_32 - STAT_RETURNED];
	by_sysret = after[STAT_RETURNED_32 - STAT_RETURNED + 1] - before[STAT_RETURNED_32 - STAT_RETURNED + 1];
	say("int80 %lu, int80_32 %lu, syscall_32 %lu, sysenter %lu calls, %lu by sysretl, %lu by iret; %lu spins in 32-bit code",
	    calls[GATE_INT80], calls[GATE_INT80_32], calls[GATE_SYSCALL_32], calls[GATE_SYSENTER], by_sysret, by_iret, spins);
	if (by_sysret + by_iret != calls[GATE_SYSCALL_32] + calls[GATE_SYSENTER]) {
		differ("%lu returns of 32-bit system calls are counted", by_sysret + by_iret);
		return false;
	}
	if (by_sysret < by_iret) {
		differ("only %lu of %lu returned by sysretl", by_sysret, by_sysret + by_iret);
		return false;
	}
	return true;
}
