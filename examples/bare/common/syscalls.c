/* SPDX-License-Identifier: MIT */
/* The system calls. Interrupts are on. */
#include "kernel.h"

#define EINVAL 22
#define EFAULT 14

int64_t sys_exit(uint64_t code)
{
	(void)code;
	thread_exit();
}

int64_t sys_write(uint64_t text, uint64_t size)
{
	const char *p = user_pointer(text, size);

	if (!p)
		return -EFAULT;
	print_text(p, size);
	return (int64_t)size;
}

int64_t sys_yield(void)
{
	thread_yield();
	return 0;
}

int64_t sys_getpid(void)
{
	return (int64_t)current_thread()->pid;
}

int64_t sys_set_base(uint64_t first, uint64_t second)
{
	return cpu_set_base(first, second);
}

int64_t sys_stat(uint64_t which)
{
	uint64_t sum = 0;

	if (which >= STAT_CPU_FIRST)
		return (int64_t)cpu_stat(which);
	for (unsigned int i = 0; i < CPU_COUNT; i++) {
		const struct cpu *cpu = &cpus[i];
		const uint64_t *counters[] = { &cpu->ticks, &cpu->ticks_kernel, &cpu->switches, &cpu->preemptions };

		if (which >= sizeof(counters) / sizeof(counters[0]))
			return -EINVAL;
		sum += __atomic_load_n(counters[which], __ATOMIC_RELAXED);
	}
	return (int64_t)sum;
}

int64_t sys_raise(uint64_t mask)
{
	flags_raise(current_thread(), mask & (NEED_RESCHED | SIGPENDING | NOTIFY_RESUME));
	return 0;
}

int64_t sys_return_frame(uint64_t address)
{
	struct thread *thread = current_thread();
	const struct regs *from = user_pointer(address, sizeof(struct regs));

	if (!from)
		return -EFAULT;
	if (!regs_user_ok(from))
		return -EINVAL;
	*thread->regs = *from;
	thread->in_signal = false;
	return (int64_t)regs_result(from); /* the caller writes it where it is already */
}

/* Different weights: two arguments swapped give another sum. */
int64_t sys_add6(uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
	cpu_clobber();
	return (int64_t)(a + 2 * b + 3 * c + 5 * d + 7 * e + 11 * f);
}

static int64_t test_fork(uint64_t sp, uint64_t cpu)
{
	struct regs regs = *current_thread()->regs;

	regs_set_sp(&regs, sp);
	regs_set_result(&regs, 0);
	return thread_spawn(&regs, cpu);
}

static int64_t test_work(uint64_t address, uint64_t flags)
{
	struct thread *thread = current_thread();
	struct work *work = address ? user_pointer(address, sizeof(*work)) : NULL;
	uint64_t pending;

	if (address && !work)
		return -EFAULT;
	cpu_irqs_off();
	pending = __atomic_load_n(&thread->flags, __ATOMIC_ACQUIRE);
	for (unsigned int i = 0; i < 3; i++) { /* what is raised now is handled at the end of this call: whose is it? */
		if (!(pending >> i & 1))
			continue;
		if (thread->work)
			thread->work->raised[i]--;
		if (work)
			work->raised[i]++;
	}
	thread->timer_flags = flags;
	thread->work = work;
	cpu_irqs_on();
	return 0;
}

int64_t sys_test(uint64_t op, uint64_t a, uint64_t b)
{
	struct thread *thread = current_thread();

	switch (op) {
	case TEST_CLOBBER:
		cpu_clobber();
		return CLOBBER_DONE;
	case TEST_SPAWN: {
		const struct regs *regs = user_pointer(a, sizeof(*regs));

		return regs ? thread_spawn(regs, b) : -EFAULT;
	}
	case TEST_FORK:
		return test_fork(a, b);
	case TEST_ALIVE:
		return thread_alive(a);
	case TEST_HANDLERS:
		thread->fault_handler = a;
		thread->signal_handler = b;
		return 0;
	case TEST_WORK:
		return test_work(a, b);
	case TEST_SPIN:
		return (int64_t)cpu_kernel_spin(a, b);
	case TEST_SPIN_HELD: {
		uint64_t switches, wrong;

		thread->preempt_count++;
		switches = thread->switches;
		wrong = cpu_kernel_spin(a, b);
		if (thread->switches != switches)
			panic("a switch where preemption is forbidden", NULL);
		thread->preempt_count--;
		return (int64_t)wrong;
	}
	case TEST_SHUTDOWN:
		cpu_shutdown(a == 0);
	default:
		return op >= TEST_CPU_FIRST ? cpu_test(op, a, b) : -EINVAL;
	}
}
