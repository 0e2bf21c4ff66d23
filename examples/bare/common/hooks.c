/* SPDX-License-Identifier: MIT */
/*
 * The hooks of the generated entry code that do not depend on the CPU. Each one checks what the entry code
 * promises at that point; a broken promise is a panic, which fails the run.
 */
#include "kernel.h"

static const uint64_t work_flags[] = { NEED_RESCHED, SIGPENDING, NOTIFY_RESUME };

static void check(const char *hook, bool irqs_on, const struct regs *regs)
{
	struct thread *thread = current_thread();
	const char *wrong = cpu_wrong_state();

	if (wrong)
		panic(wrong, regs);
	if (thread->in_user)
		panic("a hook before user_left() or after user_resumes()", regs);
	if (cpu_irqs_are_on() != irqs_on)
		panic(hook, regs);
}

void flags_raise(struct thread *thread, uint64_t mask)
{
	for (unsigned int i = 0; i < 3; i++) {
		if (!(mask & work_flags[i]))
			continue;
		if (__atomic_fetch_or(&thread->flags, work_flags[i], __ATOMIC_SEQ_CST) & work_flags[i])
			continue; /* raised and not handled yet: this is the same work */
		if (thread->work)
			__atomic_fetch_add(&thread->work->raised[i], 1, __ATOMIC_RELAXED);
	}
}

static void work_handled(struct thread *thread, uint64_t flag)
{
	if (thread->work)
		__atomic_fetch_add(&thread->work->handled[flag >> 1], 1, __ATOMIC_RELAXED); /* 1 2 4 -> 0 1 2 */
}

/* Every fourth piece of work makes more: whoever leaves after one round leaves with work pending. */
static void work_more(struct thread *thread, uint64_t flag, uint64_t next)
{
	if (thread->work && thread->work->handled[flag >> 1] % 4 == 0)
		flags_raise(thread, next);
}

/* Take the flag; was it set? */
static bool flags_take(struct thread *thread, uint64_t flag)
{
	if (!(__atomic_fetch_and(&thread->flags, ~flag, __ATOMIC_SEQ_CST) & flag))
		return false;
	work_handled(thread, flag);
	return true;
}

uint64_t thread_flags(void)
{
	if (cpu_irqs_are_on())
		panic("thread_flags() with interrupts on", NULL);
	return __atomic_load_n(&current_thread()->flags, __ATOMIC_ACQUIRE);
}

void thread_flags_clear(uint64_t mask)
{
	__atomic_fetch_and(&current_thread()->flags, ~mask, __ATOMIC_SEQ_CST);
}

void user_left(struct regs *regs)
{
	struct thread *thread = current_thread();

	if (!thread->in_user)
		panic("user_left() without user_resumes()", regs);
	thread->in_user = false;
	check("user_left() with interrupts on", false, regs);
	if (regs != thread->regs)
		panic("the frame is not at the top of the thread's stack", regs);
	if (thread->cpu != cpu_self())
		panic("user_left() on a wrong CPU", regs);
	cpu_user_left(regs);
}

void user_resumes(struct regs *regs)
{
	struct thread *thread = current_thread();

	check("user_resumes() with interrupts on", false, regs);
	if (regs != thread->regs)
		panic("user_resumes() with a strange frame", regs);
	if (__atomic_load_n(&thread->flags, __ATOMIC_ACQUIRE))
		panic("user mode resumes with work pending", regs);
	if (thread->depth)
		panic("user mode resumes inside an interrupt of kernel code", regs);
	thread->in_user = true;
}

void kernel_interrupted(struct regs *regs)
{
	check("kernel_interrupted() with interrupts on", false, regs);
	current_thread()->depth++;
}

void kernel_resumes(struct regs *regs)
{
	check("kernel_resumes() with interrupts on", false, regs);
	if (!current_thread()->depth--)
		panic("kernel_resumes() without kernel_interrupted()", regs);
}

/* A nested interrupt may have done this work already, after the entry code had read the flags. */
void schedule(void)
{
	check("schedule() with interrupts off", true, NULL);
	flags_take(current_thread(), NEED_RESCHED);
	thread_yield();
}

bool preemptible(void)
{
	return current_thread()->preempt_count == 0;
}

void preempt_schedule(void)
{
	check("preempt_schedule() with interrupts on", false, NULL);
	if (!preemptible())
		panic("preempt_schedule() where preemption is forbidden", NULL);
	if (!flags_take(current_thread(), NEED_RESCHED))
		panic("preempt_schedule() without NEED_RESCHED", NULL);
	cpu_self()->preemptions++;
	thread_switch();
}

void deliver_signal(struct regs *regs)
{
	struct thread *thread = current_thread();

	check("deliver_signal() with interrupts off", true, regs);
	if (!flags_take(thread, SIGPENDING))
		panic("deliver_signal() without SIGPENDING", regs);
	work_more(thread, SIGPENDING, NOTIFY_RESUME);
	if (!thread->signal_handler)
		return;
	if (thread->in_signal) {
		if (thread->work)
			__atomic_fetch_add(&thread->work->merged, 1, __ATOMIC_RELAXED);
		return;
	}
	thread->in_signal = true;
	user_continue(regs, thread->signal_handler, NULL);
}

/* The entry code has cleared the flag; an interrupt may have raised it again. */
void notify_resume(struct regs *regs)
{
	check("notify_resume() with interrupts off", true, regs);
	work_handled(current_thread(), NOTIFY_RESUME);
	work_more(current_thread(), NOTIFY_RESUME, NEED_RESCHED | SIGPENDING);
}

void deliver_fault(struct regs *regs, const struct fault *fault)
{
	struct thread *thread = current_thread();

	check("an exception with interrupts on", false, regs);
	if (!thread->fault_handler)
		panic("an exception in user mode that nobody wants", regs);
	user_continue(regs, thread->fault_handler, fault);
}

static uint64_t random_word(struct cpu *cpu)
{
	uint64_t x = cpu->ticks * UINT64_C(0x9e3779b97f4a7c15) + cpu->id;

	x ^= x >> 31;
	return x * UINT64_C(0xbf58476d1ce4e5b9) >> 33;
}

void timer_tick(struct regs *regs)
{
	struct cpu *cpu = cpu_self();
	struct thread *thread = current_thread();

	check("an interrupt with interrupts on", false, regs);
	cpu->ticks++;
	if (!regs_from_user(regs))
		cpu->ticks_kernel++;
	if (thread == cpu->idle)
		return;
	if (cpu->ticks % 2 == 0 && __atomic_load_n(&cpu->queue, __ATOMIC_RELAXED))
		flags_raise(thread, NEED_RESCHED);
	flags_raise(thread, thread->timer_flags & random_word(cpu));
}
