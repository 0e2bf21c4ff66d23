/* SPDX-License-Identifier: MIT */
/* What all scenarios use: output, random numbers, worker threads, comparison of machine states, handlers. */
#include "format.h"
#include "user.h"

#define STACK_SIZE 16384

static uint8_t stacks[MAX_THREADS][STACK_SIZE] __attribute__((aligned(4096)));
static struct worker *stack_owner[MAX_THREADS]; /* whose code runs on this stack */
static char said[200], differed[200];

uint64_t rng_next(struct rng *rng)
{
	uint64_t x = rng->state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

uint64_t scaled(uint64_t count)
{
#ifdef QUICK
	return count / 20 + 1;
#else
	return count;
#endif
}

static void write_text(const char *text)
{
	size_t size = 0;

	while (text[size])
		size++;
	user_call(SYS_WRITE, (uint64_t)text, size, 0, 0, 0, 0);
}

void say(const char *template, ...)
{
	va_list args;

	va_start(args, template);
	format(said, sizeof(said), template, args);
	va_end(args);
}

void differ(const char *template, ...)
{
	va_list args;

	if (differed[0])
		return;
	va_start(args, template);
	format(differed, sizeof(differed), template, args);
	va_end(args);
}

static void line(char *text, size_t size, const char *template, ...)
{
	va_list args;

	va_start(args, template);
	format(text, size, template, args);
	va_end(args);
}

bool run_scenario(const struct scenario *scenario)
{
	char text[320];
	bool passed;

	said[0] = differed[0] = 0;
	passed = scenario->run();
	line(text, sizeof(text), "%s %s: %s\n", passed ? "PASS" : "FAIL", scenario->id, passed ? said : differed);
	write_text(text);
	return passed;
}

void finish(uint64_t failed)
{
	char text[32];

	if (failed)
		line(text, sizeof(text), "FAILED %lu\n", failed);
	else
		line(text, sizeof(text), "ALL PASSED\n");
	write_text(text);
	user_call(SYS_TEST, TEST_SHUTDOWN, failed, 0, 0, 0, 0);
}

uint64_t user_stack(unsigned int index)
{
	return (uint64_t)(stacks + index + 1);
}

static unsigned int stack_index(uint64_t address)
{
	uint64_t index = (address - (uint64_t)stacks) / STACK_SIZE;

	return index < MAX_THREADS ? (unsigned int)index : 0;
}

void user_stack_give(unsigned int index, struct worker *worker)
{
	stack_owner[index] = worker;
}

struct worker *user_stack_owner(uint64_t sp)
{
	return stack_owner[stack_index(sp)];
}

void worker_error(struct worker *worker, const char *template, ...)
{
	va_list args;

	if (worker->errors++)
		return;
	va_start(args, template);
	format(worker->text, sizeof(worker->text), template, args);
	va_end(args);
}

bool machine_same(struct worker *worker, const char *what, const struct machine *expected, const struct machine *got)
{
	bool same = true;

	for (unsigned int i = 0; i < MACHINE_WORDS; i++) {
		if (expected->word[i] == got->word[i])
			continue;
		worker_error(worker, "%s: %s is %lx, not %lx (round %lu)", what, machine_names[i], got->word[i],
			     expected->word[i], worker->count);
		same = false;
	}
	return same;
}

static void worker_start(struct worker *worker)
{
	worker->run(worker);
	__atomic_store_n(&worker->done, true, __ATOMIC_RELEASE);
}

int64_t user_spawn(const struct regs *regs, uint64_t cpu)
{
	return user_call(SYS_TEST, TEST_SPAWN, (uint64_t)regs, cpu, 0, 0, 0);
}

void wait_thread(uint64_t pid)
{
	while (user_call(SYS_TEST, TEST_ALIVE, pid, 0, 0, 0, 0))
		user_call(SYS_YIELD, 0, 0, 0, 0, 0, 0);
}

bool run_workers(struct worker *workers, unsigned int count)
{
	bool passed = true;

	for (unsigned int i = 0; i < count; i++) {
		struct worker *worker = &workers[i];
		const uint64_t args[6] = { (uint64_t)worker_start, (uint64_t)worker };
		struct machine start = { 0 };
		struct regs regs;

		user_stack_give(i, worker);
		machine_set_call(&start, 0, args); /* the first arguments of a function are in the same registers */
		start.word[MACHINE_SP] = user_stack(i);
		machine_to_regs(&start, &regs, (uint64_t)user_thread_entry);
		worker->pid = user_spawn(&regs, worker->cpu);
		if (worker->pid < 0)
			worker_error(worker, "no thread: %ld", worker->pid);
	}
	for (unsigned int i = 0; i < count; i++) {
		if (workers[i].pid > 0)
			wait_thread((uint64_t)workers[i].pid);
		if (!workers[i].errors && !workers[i].done)
			worker_error(&workers[i], "the worker ended early");
		if (workers[i].errors) {
			differ("CPU %u: %lu errors, first: %s", workers[i].cpu, workers[i].errors, workers[i].text);
			passed = false;
		}
	}
	return passed;
}

void give_up(const char *template, ...)
{
	char text[200];
	va_list args;

	va_start(args, template);
	format(text, sizeof(text), template, args);
	va_end(args);
	write_text("FAIL given-up: ");
	write_text(text);
	write_text("\n");
	finish(1);
	__builtin_unreachable();
}

/* Exceptions: either one that user_try() waits for, or the one of user_fault_state(). */
static struct user_frame *try_frame;
static uint64_t try_sp;
static bool try_raised;

bool user_try(void (*fn)(uint64_t arg), uint64_t arg, struct user_frame *frame)
{
	try_frame = frame;
	try_raised = false;
	user_try_asm(fn, arg, &try_sp);
	try_frame = NULL;
	return try_raised;
}

void user_exception_c(struct user_frame *frame)
{
	if (try_frame) {
		*try_frame = *frame;
		try_frame = NULL;
		try_raised = true;
		regs_call_user(&frame->regs, (uint64_t)user_try_back, try_sp, 0);
	} else {
		user_skip_fault(frame);
	}
}

void user_signal(struct user_frame *frame)
{
	struct worker *worker = user_stack_owner((uint64_t)frame);

	if (worker)
		worker->signals++;
}
