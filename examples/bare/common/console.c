/* SPDX-License-Identifier: MIT */
#include "format.h"
#include "kernel.h"

static uint32_t console_lock;

/* The lock forbids preemption, not interrupts: no interrupt handler prints, and panic() does not ask. */
void print_text(const char *text, uint64_t size)
{
	struct thread *thread = current_thread();

	thread->preempt_count++;
	while (__atomic_exchange_n(&console_lock, 1, __ATOMIC_ACQUIRE))
		cpu_relax();
	while (size--)
		cpu_putc(*text++);
	__atomic_store_n(&console_lock, 0, __ATOMIC_RELEASE);
	thread->preempt_count--;
}

void print(const char *template, ...)
{
	char text[256];
	va_list args;

	va_start(args, template);
	format(text, sizeof(text), template, args);
	va_end(args);
	for (const char *p = text; *p; p++)
		cpu_putc(*p);
}

void panic(const char *why, const struct regs *regs)
{
	static uint32_t once;

	cpu_irqs_off();
	while (__atomic_exchange_n(&once, 1, __ATOMIC_ACQUIRE)) /* the first CPU's report is the one to read */
		cpu_relax();
	print("\npanic: %s\n", why);
	if (regs)
		cpu_print_regs(regs);
	print("FAIL panic: %s\nFAILED 1\n", why);
	cpu_shutdown(false);
}
