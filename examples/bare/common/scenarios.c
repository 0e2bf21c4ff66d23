/* SPDX-License-Identifier: MIT */
/*
 * The scenarios that every CPU runs. Each compares the whole user-visible machine state before and after, so a
 * register that the entry code loses, leaks or swaps is named in the FAIL line.
 */
#include "user.h"

#define ENOSYS_RESULT INT64_C(-38)
#define WORKERS 4 /* two on each CPU: they are switched as well */

static struct worker workers[WORKERS];

static void prepare(void (*run)(struct worker *worker), uint64_t seed)
{
	for (unsigned int i = 0; i < WORKERS; i++)
		workers[i] = (struct worker){ .run = run, .seed = seed + i * UINT64_C(0x1234567), .cpu = i % 2 };
}

static uint64_t total_count(void)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < WORKERS; i++)
		sum += workers[i].count;
	return sum;
}

static uint64_t stat(uint64_t which)
{
	return (uint64_t)user_call(SYS_STAT, which, 0, 0, 0, 0, 0);
}

/* One system call with the state *in, compared. */
static bool checked_call(struct worker *worker, struct machine *in, const char *what, int64_t result)
{
	struct machine out;

	user_call_state(in, &out);
	machine_after_call(in, result, user_call_state_after);
	worker->count++;
	return machine_same(worker, what, in, &out);
}

/* bad-number */

static void bad_number_worker(struct worker *worker)
{
	static const uint64_t numbers[] = {
		10, 11, 63, 64, 255, 256, 257, 0x7fffffff, 0x80000000, 0x80000003, 0xffffffff,
		UINT64_C(0x100000000), UINT64_C(0x100000001), UINT64_C(0x100000003), UINT64_C(0x100000008),
		UINT64_C(0x7fffffffffffffff), UINT64_C(0x8000000000000000), UINT64_C(0x8000000000000003),
		UINT64_C(0xffffffff00000003), UINT64_C(0xfffffffffffffff8), (uint64_t)-2, (uint64_t)-1,
	};
	struct rng rng = { worker->seed };

	for (uint64_t round = 0; round < scaled(40); round++) {
		for (unsigned int i = 0; i < sizeof(numbers) / sizeof(numbers[0]) + 10; i++) {
			uint64_t args[6], number = rng_next(&rng) | 1u << 20;
			struct machine in;

			if (i < sizeof(numbers) / sizeof(numbers[0]))
				number = numbers[i];
			machine_random(&in, &rng);
			for (unsigned int j = 0; j < 6; j++)
				args[j] = rng_next(&rng);
			machine_set_call(&in, number, args);
			checked_call(worker, &in, "a number that is no system call", ENOSYS_RESULT);
		}
	}
}

static bool bad_number(void)
{
	prepare(bad_number_worker, 1);
	if (!run_workers(workers, WORKERS))
		return false;
	say("%lu calls with numbers that do not exist return -ENOSYS and change nothing else", total_count());
	return true;
}

/* registers */

/* A random system call whose result is known. */
static int64_t random_call(struct machine *in, struct rng *rng, const struct worker *worker)
{
	uint64_t args[6];

	machine_random(in, rng);
	for (unsigned int i = 0; i < 6; i++)
		args[i] = rng_next(rng);
	switch (rng_next(rng) % 8) {
	case 0:
		machine_set_call(in, SYS_GETPID, args);
		return worker->pid;
	case 1:
		args[0] = TEST_CLOBBER;
		machine_set_call(in, SYS_TEST, args);
		return CLOBBER_DONE;
	case 2:
		machine_set_call(in, SYS_YIELD, args);
		return 0;
	case 3:
		machine_set_call(in, args[5] | UINT64_C(0x100000000), args);
		return ENOSYS_RESULT;
	default:
		machine_set_call(in, SYS_ADD6, args);
		return (int64_t)(args[0] + 2 * args[1] + 3 * args[2] + 5 * args[3] + 7 * args[4] + 11 * args[5]);
	}
}

/* A worker runs before its creator has stored its number. */
static void know_pid(struct worker *worker)
{
	worker->pid = user_call(SYS_GETPID, 0, 0, 0, 0, 0, 0);
}

static void registers_worker(struct worker *worker)
{
	struct rng rng = { worker->seed };
	uint64_t end = stat(STAT_TICKS) + scaled(4000);

	know_pid(worker);
	/* a busy machine sends few interrupts: go on until there were enough */
	for (uint64_t i = 0; (i < scaled(26000) || stat(STAT_TICKS) < end) && worker->errors < 10; i++) {
		struct machine in;
		int64_t result = random_call(&in, &rng, worker);

		checked_call(worker, &in, "after a system call", result);
	}
}

static bool registers(void)
{
	uint64_t ticks = stat(STAT_TICKS);

	prepare(registers_worker, 2);
	if (!run_workers(workers, WORKERS))
		return false;
	ticks = stat(STAT_TICKS) - ticks;
	say("%lu system calls under %lu interrupts, %u words of state each", total_count(), ticks, MACHINE_WORDS);
	return true;
}

/* interrupts */

static uint64_t interrupts_of_user(void)
{
	return stat(STAT_TICKS) - stat(STAT_TICKS_KERNEL);
}

/* Until there were enough of them; on a machine that hardly gets to user mode, not for ever. */
static void interrupts_worker(struct worker *worker)
{
	struct rng rng = { worker->seed };
	uint64_t start = stat(STAT_TICKS), enough = interrupts_of_user() + scaled(2000);
	uint64_t end = start + scaled(20000), limit = start + scaled(2000000);

	while ((stat(STAT_TICKS) < end || interrupts_of_user() < enough) && stat(STAT_TICKS) < limit && worker->errors < 10) {
		struct machine in, out;

		machine_random(&in, &rng);
		in.word[MACHINE_SPIN] = 1 + rng_next(&rng) % 30000;
		user_spin(&in, &out);
		in.word[MACHINE_SPIN] = 0;
		machine_same(worker, "after spinning in user mode", &in, &out);
		worker->count++;
	}
}

static bool interrupts(void)
{
	uint64_t ticks = interrupts_of_user();

	prepare(interrupts_worker, 3);
	if (!run_workers(workers, WORKERS))
		return false;
	ticks = interrupts_of_user() - ticks;
	say("%lu times all registers known, %lu interrupts of user mode", total_count(), ticks);
	if (ticks < scaled(2000))
		differ("only %lu interrupts of user mode: this shows nothing", ticks);
	return ticks >= scaled(2000);
}

/* faults */

static void faults_worker(struct worker *worker)
{
	struct rng rng = { worker->seed };

	for (uint64_t i = 0; i < scaled(1000) && worker->errors < 10; i++) {
		struct machine in, out;

		machine_random(&in, &rng);
		user_fault_state(&in, &out);
		machine_same(worker, "after an exception", &in, &out);
		worker->count++;
	}
}

static bool faults(void)
{
	uint64_t count = 0;

	prepare(faults_worker, 4);
	if (!run_workers(workers, WORKERS) || !cpu_faults(&count))
		return false;
	say("%lu exceptions with the right number, code and address; %lu with all registers compared", count,
	    total_count());
	return true;
}

/* exit-work */

static void check_work(struct worker *worker, const char *when)
{
	static const char *const names[] = { "NEED_RESCHED", "SIGPENDING", "NOTIFY_RESUME" };
	struct work *work = &worker->work;

	for (unsigned int i = 0; i < 3; i++) {
		uint64_t raised, handled;

		do { /* an interrupt in between changes both: read again */
			raised = work->raised[i];
			handled = work->handled[i];
		} while (work->raised[i] != raised);
		if (raised != handled)
			worker_error(worker, "%s: %s raised %lu times, handled %lu times", when, names[i], raised, handled);
	}
}

static void exit_work_worker(struct worker *worker)
{
	struct rng rng = { worker->seed };

	know_pid(worker);
	user_call(SYS_TEST, TEST_WORK, (uint64_t)&worker->work, NEED_RESCHED | SIGPENDING | NOTIFY_RESUME, 0, 0, 0);
	for (uint64_t i = 0; i < scaled(4000) && worker->errors < 10; i++) {
		uint64_t args[6] = { rng_next(&rng) % 8 };
		struct machine in, out;
		int64_t result;

		machine_random(&in, &rng);
		machine_set_call(&in, SYS_RAISE, args);
		checked_call(worker, &in, "after sys_raise", 0);
		check_work(worker, "after sys_raise");

		result = random_call(&in, &rng, worker);
		checked_call(worker, &in, "after a system call with work raised by interrupts", result);
		check_work(worker, "after a system call");

		machine_random(&in, &rng);
		in.word[MACHINE_SPIN] = 1 + rng_next(&rng) % 5000;
		user_spin(&in, &out);
		in.word[MACHINE_SPIN] = 0;
		machine_same(worker, "after spinning with work raised by interrupts", &in, &out);
		check_work(worker, "after spinning");
	}
	/* no more signals from the timer; then nothing is pending when the counting ends */
	user_call(SYS_TEST, TEST_WORK, (uint64_t)&worker->work, 0, 0, 0, 0);
	user_call(SYS_TEST, TEST_WORK, 0, 0, 0, 0, 0);
	check_work(worker, "at the end");
	if (worker->signals + worker->work.merged != worker->work.handled[1])
		worker_error(worker, "%lu signals handled, but the handler ran %lu times, %lu merged",
			     worker->work.handled[1], worker->signals, worker->work.merged);
}

static bool exit_work(void)
{
	uint64_t sum[3] = { 0 };

	prepare(exit_work_worker, 5);
	if (!run_workers(workers, WORKERS))
		return false;
	for (unsigned int i = 0; i < WORKERS; i++)
		for (unsigned int j = 0; j < 3; j++)
			sum[j] += workers[i].work.handled[j];
	say("each handled once before user mode: %lu reschedules, %lu signals, %lu notifications", sum[0], sum[1], sum[2]);
	for (unsigned int j = 0; j < 3; j++) {
		if (sum[j] < scaled(6000)) {
			differ("only %lu of flag %u: this shows nothing", sum[j], j);
			return false;
		}
	}
	return true;
}

/* preempt */

/* The same for all workers: one that went on alone on its CPU would never be preempted. */
static uint64_t last_preemption, last_tick;

static void preempt_worker(struct worker *worker)
{
	struct rng rng = { worker->seed };

	while (stat(STAT_PREEMPTIONS) < last_preemption && stat(STAT_TICKS_KERNEL) < last_tick && worker->errors < 10) {
		struct machine in;
		uint64_t args[6] = { TEST_SPIN, rng_next(&rng), 1 + rng_next(&rng) % 60000 };

		if (worker->count % 8 == 7)
			args[0] = TEST_SPIN_HELD;
		machine_random(&in, &rng);
		machine_set_call(&in, SYS_TEST, args);
		checked_call(worker, &in, "a system call that was preempted (result: the kernel's register that changed)", 0);
	}
}

static bool preempt(void)
{
	uint64_t before = stat(STAT_PREEMPTIONS), ticks = stat(STAT_TICKS_KERNEL);

	last_preemption = before + scaled(2000);
	last_tick = ticks + scaled(100000); /* no hope that it still happens */
	prepare(preempt_worker, 6);
	if (!run_workers(workers, WORKERS))
		return false;
	before = stat(STAT_PREEMPTIONS) - before;
	ticks = stat(STAT_TICKS_KERNEL) - ticks;
	say("%lu system calls, %lu interrupts of kernel code, %lu of them switched threads", total_count(), ticks, before);
	if (before < scaled(500))
		differ("only %lu preemptions in %lu interrupts of kernel code", before, ticks);
	return before >= scaled(500);
}

/* fork-return: threads start with every register as given, in return_to_user() */

static struct machine expected; /* of the one child at a time */
static volatile bool child_done;

static void child_end(struct worker *worker)
{
	worker->count++;
	child_done = true;
	user_call(SYS_EXIT, 0, 0, 0, 0, 0, 0);
	__builtin_trap();
}

void user_first_check(const struct machine *state)
{
	struct worker *worker = user_stack_owner((uint64_t)state);

	for (unsigned int i = MACHINE_FRAME; i < MACHINE_WORDS; i++)
		expected.word[i] = state->word[i]; /* inherited: the fork half compares these */
	machine_same(worker, "first entry", &expected, state);
	child_end(worker);
	__builtin_unreachable();
}

void user_fork_child(const struct machine *state)
{
	struct worker *worker = user_stack_owner((uint64_t)state);

	machine_same(worker, "forked child", &expected, state);
	child_end(worker);
	__builtin_unreachable();
}

static void wait_child(struct worker *worker, int64_t pid, const char *what)
{
	if (pid <= 0) {
		worker_error(worker, "%s: no thread: %ld", what, pid);
		return;
	}
	wait_thread((uint64_t)pid);
	if (!child_done)
		worker_error(worker, "%s: the child did not report", what);
	child_done = false;
}

static bool fork_return(void)
{
	struct worker *worker = &workers[0];
	struct rng rng = { 7 };

	prepare(NULL, 7);
	user_stack_give(0, worker);
	for (uint64_t i = 0; i < scaled(400) && !worker->errors; i++) {
		struct machine in, out;
		struct regs regs;
		int64_t pid;

		machine_random(&expected, &rng);
		expected.word[MACHINE_SP] = user_stack(0) - 16 * (rng_next(&rng) % 16);
		machine_to_regs(&expected, &regs, (uint64_t)user_first_entry);
		wait_child(worker, user_spawn(&regs, i % 2), "first entry");

		machine_random(&in, &rng);
		pid = user_fork(&in, &out, &expected, user_stack(0), i % 2);
		wait_child(worker, pid, "fork");
		machine_after_call(&in, pid, user_fork_after);
		machine_same(worker, "fork, in the parent", &in, &out);
	}
	say("%lu threads started with every register as given, half of them forked", worker->count);
	if (worker->errors)
		differ("%s", worker->text);
	return !worker->errors;
}

const struct scenario common_scenarios[] = {
	{ "bad-number", bad_number },
	{ "registers", registers },
	{ "interrupts", interrupts },
	{ "faults", faults },
	{ "exit-work", exit_work },
	{ "preempt", preempt },
	{ "fork-return", fork_return },
	{ NULL, NULL },
};
