/* SPDX-License-Identifier: MIT */
/* The arm64 port of the example kernel: threads, exceptions, checks. */
#include "kernel.h"
#include "devices.h"
#include "hardware.h"
#include "scenario.h"

#define EC_PC_ALIGNMENT 0x22
#define PSR_AARCH32     0x10 /* user mode */
#define SLOTS_TO_PC     (offsetof(struct regs, pc) / 8 + 1)
#define SAVED_WORDS     12 /* what switch_context() keeps on the stack: x29, x30, x19..x28 */

_Static_assert(offsetof(struct percpu, current) == 0, "this_cpu() and the entry code agree");
_Static_assert(offsetof(struct cpu, percpu) == 0, "tpidr_el1 finds struct cpu");
_Static_assert(offsetof(struct cpu_thread, fpcr) == 16 && offsetof(struct cpu_thread, vector) == 32,
	       "switch.S knows these");

/* boot.S and switch.S */
void second_start(void);
void switch_context(struct cpu_thread *from, struct cpu_thread *to);
void save_vectors(struct cpu_thread *thread);
uint64_t raise_el1t(const struct regs *in, uint64_t *saved_sp);
extern const char raise_el1t_at[];
void raise_el1t_back(uint64_t saved_sp, uint64_t result) __attribute__((noreturn));
void spin_registers(const uint64_t in[31], uint64_t out[31], uint64_t nzcv);

struct percpu *this_cpu(void)
{
	struct percpu *cpu;

	__asm__ volatile("mrs %0, tpidr_el1" : "=r"(cpu));
	return cpu;
}

void cpu_setup(struct cpu *cpu)
{
	if (cpu->id == 0) {
		uart_setup();
		entry_setup();
	}
	entry_setup_cpu(&cpu->percpu);
	gic_setup();
}

void cpu_start_second(void)
{
	int64_t result = psci_cpu_on(1, (uint64_t)second_start);

	if (result != 0)
		panic("PSCI CPU_ON failed", NULL);
}

void cpu_timer_start(uint32_t microseconds)
{
	timer_start(microseconds);
}

void cpu_idle(void)
{
	__asm__ volatile("wfi" ::: "memory");
	cpu_irqs_on();
	__asm__ volatile("isb" ::: "memory");
	cpu_irqs_off();
}

/* Threads. */

static void set_current(struct thread *thread)
{
	this_cpu()->current = (uint64_t)thread;
	__asm__ volatile("msr sp_el0, %0" :: "r"(thread) : "memory");
}

void cpu_adopt(struct thread *thread)
{
	set_current(thread);
}

void cpu_thread_init(struct thread *thread)
{
	uint64_t *stack = (uint64_t *)thread->regs - SAVED_WORDS;

	for (int i = 0; i < SAVED_WORDS; i++)
		stack[i] = 0;
	stack[1] = (uint64_t)thread_first; /* x30: where switch_context() returns to */
	thread->arch.sp = (uint64_t)stack;
}

void cpu_thread_copy(struct thread *to)
{
	__asm__ volatile("mrs %0, tpidr_el0" : "=r"(to->arch.tpidr_el0));
	save_vectors(&to->arch);
}

void cpu_switch(struct thread *from, struct thread *to)
{
	__asm__ volatile("mrs %0, tpidr_el0" : "=r"(from->arch.tpidr_el0));
	__asm__ volatile("msr tpidr_el0, %0" :: "r"(to->arch.tpidr_el0));
	set_current(to);
	switch_context(&from->arch, &to->arch);
}

int64_t cpu_set_base(uint64_t first, uint64_t second)
{
	(void)second;
	__asm__ volatile("msr tpidr_el0, %0" :: "r"(first));
	return 0;
}

/* Exceptions: the hooks of entry.h. */

static void fault(struct regs *regs, uint64_t syndrome, uint64_t address)
{
	const struct fault fault = {
		.vector = syndrome >> 26,
		.code = syndrome & 0x1ffffff,
		.address = address,
	};

	deliver_fault(regs, &fault);
}

void user_exception(struct regs *regs, uint64_t syndrome)
{
	uint64_t far = 0;

	if (syndrome >> 26 == EC_PC_ALIGNMENT) /* not an abort, but FAR_EL1 holds the address; interrupts are off */
		__asm__ volatile("mrs %0, far_el1" : "=r"(far));
	fault(regs, syndrome, far);
}

void user_abort(struct regs *regs, uint64_t syndrome, uint64_t address)
{
	fault(regs, syndrome, address);
}

void kernel_exception(struct regs *regs, uint64_t syndrome)
{
	(void)syndrome;
	panic("exception in the kernel", regs);
}

void kernel_abort(struct regs *regs, uint64_t syndrome, uint64_t address)
{
	(void)syndrome;
	(void)address;
	panic("abort in the kernel", regs);
}

void interrupt(struct regs *regs)
{
	uint32_t acknowledged = gic_acknowledge();
	uint32_t number = acknowledged & 0x3ff;

	if (number == NO_INTERRUPT)
		return;
	if (number != TIMER_INTERRUPT)
		panic("unknown interrupt", regs);
	timer_again();
	gic_end(acknowledged);
	timer_tick(regs);
}

/* Checks. */

const char *cpu_wrong_state(void)
{
	uint64_t spsel, daif, sp_el0;

	__asm__ volatile("mrs %0, spsel" : "=r"(spsel));
	__asm__ volatile("mrs %0, daif" : "=r"(daif));
	__asm__ volatile("mrs %0, sp_el0" : "=r"(sp_el0));
	if (spsel != 1)
		return "SP_EL0 is the kernel's stack pointer";
	if (daif != 0 && daif != PSR_DAIF)
		return "some of D, A, I, F differ";
	if (sp_el0 != this_cpu()->current)
		return "sp_el0 is not percpu.current";
	return NULL;
}

/* All of x1..x30 and the flags hold a value of their own while x0 counts. */
uint64_t cpu_kernel_spin(uint64_t seed, uint64_t count)
{
	uint64_t in[31], out[31];
	uint64_t nzcv = seed & UINT64_C(0xf0000000);

	for (int i = 1; i < 31; i++)
		in[i] = (seed + (uint64_t)i) * UINT64_C(0x9e3779b97f4a7c15);
	in[0] = count + 1;
	spin_registers(in, out, nzcv);
	in[0] = nzcv;
	for (int i = 0; i < 31; i++)
		if (in[i] != out[i])
			return 1 + (uint64_t)i;
	return 0;
}

uint64_t cpu_stat(uint64_t which)
{
	(void)which;
	return 0;
}

/*
 * The events of bad_mode(). Two of them the scenario "bad-mode" raises on purpose, on one CPU at a time. As nothing
 * may be trusted in bad_mode(), it asks percpu, not sp_el0, for the thread.
 */
static struct {
	const struct thread *volatile thread; /* expects an event: NULL, or the only thread that does */
	bool aarch32;
	uint64_t sp;
	struct regs regs;
} expected;

/* Compare the first `count` slots of the frame. */
static uint64_t wrong_slot(const struct regs *got, unsigned int count)
{
	const uint64_t *a = (const uint64_t *)got, *b = (const uint64_t *)&expected.regs;

	for (unsigned int i = 0; i < count; i++)
		if (a[i] != b[i])
			return 1 + i;
	return 0;
}

static int64_t test_el1t(uint64_t seed)
{
	struct thread *thread = current_thread();
	uint64_t *x = (uint64_t *)&expected.regs;
	uint64_t result;

	cpu_irqs_off();
	for (uint64_t i = 0; i < 31; i++)
		x[i] = (seed + i) * UINT64_C(0x9e3779b97f4a7c15);
	expected.regs.sp = (uint64_t)thread; /* the stack pointer that it runs on for one instruction */
	expected.regs.pc = (uint64_t)raise_el1t_at;
	expected.aarch32 = false;
	expected.thread = thread;
	result = raise_el1t(&expected.regs, &expected.sp);
	cpu_irqs_on();
	return (int64_t)result;
}

/* User mode goes on at `pc` in AArch32 state. bad_mode() puts the frame back. */
static int64_t test_aarch32(uint64_t pc)
{
	struct thread *thread = current_thread();

	cpu_irqs_off();
	expected.regs = *thread->regs;
	expected.aarch32 = true;
	expected.sp = pc;
	expected.thread = thread;
	thread->regs->pstate = PSR_AARCH32;
	thread->regs->pc = pc;
	cpu_irqs_on();
	return 0;
}

int64_t cpu_test(uint64_t op, uint64_t a, uint64_t b)
{
	(void)b;
	switch (op) {
	case TEST_EL1T:
		return test_el1t(a);
	case TEST_AARCH32:
		return test_aarch32(a);
	default:
		return -ENOSYS;
	}
}

void bad_mode(struct regs *regs)
{
	struct thread *thread = (struct thread *)this_cpu()->current;
	uint64_t wrong;

	if (!thread || thread != expected.thread)
		panic("event that this kernel never expects", regs);
	expected.thread = NULL;
	if (!expected.aarch32)
		raise_el1t_back(expected.sp, wrong_slot(regs, SLOTS_TO_PC));
	if (regs != thread->regs)
		panic("the frame is not at the top of the thread's stack", regs);
	wrong = regs->pc == expected.sp ? 0 : 1 + offsetof(struct regs, pc) / 8;
	*regs = expected.regs;
	regs->x0 = wrong;
	return_to_user(regs);
}

void cpu_print_regs(const struct regs *regs)
{
	const uint64_t *slot = (const uint64_t *)regs; /* x0..x30 come first */
	uint64_t esr, far;

	__asm__ volatile("mrs %0, esr_el1" : "=r"(esr));
	__asm__ volatile("mrs %0, far_el1" : "=r"(far));
	for (uint64_t i = 0; i < 31; i++)
		print("x%02lu %016lx%s", i, slot[i], i % 4 == 3 ? "\n" : "  ");
	print("\nsp %lx  pc %lx  pstate %lx  esr %lx  far %lx\n", regs->sp, regs->pc, regs->pstate, esr, far);
}
