/* SPDX-License-Identifier: MIT */
/* Threads: a fixed table, one round-robin queue per CPU, no migration. */
#include "format.h"
#include "kernel.h"

struct cpu cpus[CPU_COUNT];

static struct thread threads[MAX_THREADS];
static struct thread idle_threads[CPU_COUNT];
static uint8_t stacks[MAX_THREADS][THREAD_STACK] __attribute__((aligned(4096)));
static uint32_t table_lock;
static uint64_t next_pid = 1;

static void lock(uint32_t *word)
{
	while (__atomic_exchange_n(word, 1, __ATOMIC_ACQUIRE))
		cpu_relax();
}

static void unlock(uint32_t *word)
{
	__atomic_store_n(word, 0, __ATOMIC_RELEASE);
}

/* cpu->queue points to the last of a ring. Interrupts off. */
static void enqueue(struct cpu *cpu, struct thread *thread)
{
	lock(&cpu->lock);
	if (cpu->queue) {
		thread->next = cpu->queue->next;
		cpu->queue->next = thread;
	} else {
		thread->next = thread;
	}
	cpu->queue = thread;
	unlock(&cpu->lock);
}

static struct thread *dequeue(struct cpu *cpu)
{
	struct thread *thread = NULL;

	lock(&cpu->lock);
	if (cpu->queue) {
		thread = cpu->queue->next;
		if (thread == cpu->queue)
			cpu->queue = NULL;
		else
			cpu->queue->next = thread->next;
	}
	unlock(&cpu->lock);
	return thread;
}

/* First thing on the new stack: what the previous thread could not do on its own. */
static void switch_done(void)
{
	struct cpu *cpu = cpu_self();

	if (cpu->dead) {
		__atomic_store_n(&cpu->dead->state, THREAD_FREE, __ATOMIC_RELEASE);
		cpu->dead = NULL;
	}
}

void thread_switch(void)
{
	struct cpu *cpu = cpu_self();
	struct thread *from = current_thread(), *to;

	if (cpu_irqs_are_on())
		panic("thread_switch with interrupts on", NULL);
	if (from->state == THREAD_DEAD)
		cpu->dead = from;
	else if (from != cpu->idle)
		enqueue(cpu, from);
	to = dequeue(cpu);
	if (!to)
		to = cpu->idle;
	if (to == from)
		return;
	cpu->switches++;
	from->switches++;
	cpu_switch(from, to);
	switch_done();
}

void thread_first(void)
{
	struct thread *thread = current_thread();

	switch_done();
	thread->in_user = true;
	return_to_user(thread->regs);
}

int64_t thread_spawn(const struct regs *regs, uint64_t cpu)
{
	struct thread *self = current_thread(), *thread = NULL;
	unsigned int i;

	if (cpu >= CPU_COUNT || !regs_user_ok(regs))
		return -22;
	self->preempt_count++;
	lock(&table_lock);
	for (i = 0; i < MAX_THREADS && !thread; i++) {
		if (__atomic_load_n(&threads[i].state, __ATOMIC_ACQUIRE) != THREAD_FREE)
			continue;
		thread = &threads[i];
		memset(thread, 0, sizeof(*thread));
		thread->state = THREAD_ALIVE;
		thread->pid = next_pid++;
		thread->stack = stacks[i];
	}
	unlock(&table_lock);
	self->preempt_count--;
	if (!thread)
		return -11;
	thread->cpu = &cpus[cpu];
	thread->regs = (struct regs *)(thread->stack + THREAD_STACK) - 1;
	*thread->regs = *regs;
	thread->fault_handler = self->fault_handler;
	thread->signal_handler = self->signal_handler;
	cpu_thread_init(thread);
	cpu_thread_copy(thread);
	i = (unsigned int)thread->pid; /* once queued, it may end at any time */
	cpu_irqs_off();
	enqueue(&cpus[cpu], thread);
	cpu_irqs_on();
	return i;
}

bool thread_alive(uint64_t pid)
{
	for (unsigned int i = 0; i < MAX_THREADS; i++)
		if (__atomic_load_n(&threads[i].state, __ATOMIC_ACQUIRE) != THREAD_FREE && threads[i].pid == pid)
			return true;
	return false;
}

void thread_exit(void)
{
	struct thread *thread = current_thread();

	cpu_irqs_off();
	thread->state = THREAD_DEAD;
	thread_switch();
	panic("a dead thread runs", NULL);
}

void thread_yield(void)
{
	cpu_irqs_off();
	thread_switch();
	cpu_irqs_on();
}

void thread_make_idle(struct cpu *cpu)
{
	struct thread *thread = &idle_threads[cpu->id];

	thread->state = THREAD_ALIVE;
	thread->cpu = cpu;
	thread->preempt_count = 1; /* the idle loop looks for work itself */
	cpu->idle = thread;
	cpu_adopt(thread);
}

void idle_loop(void)
{
	for (;;) {
		thread_switch();
		cpu_idle();
	}
}
