/* SPDX-License-Identifier: MIT */
/* What this machine needs, QEMU's `virt` board: console, timer, power, and the way to user mode. */
#include "kernel.h"

#define UART_DATA (*(volatile uint32_t *)UINT64_C(0x09000000)) /* PL011 */
#define GICD(offset) (*(volatile uint32_t *)(UINT64_C(0x08000000) + (offset)))
#define GICC(offset) (*(volatile uint32_t *)(UINT64_C(0x08010000) + (offset)))
#define TIMER_INTERRUPT 27 /* the virtual timer */

void kernel_main(void);

static uint8_t task_stack[16384] __attribute__((aligned(16)));

void put_char(char c)
{
	UART_DATA = (uint8_t)c; /* QEMU's is always ready */
}

void power_off(int status)
{
	const uint64_t block[2] = { 0x20026, (uint64_t)status }; /* ADP_Stopped_ApplicationExit */

	for (;;) {
		register uint64_t x0 __asm__("x0") = 0x20; /* semihosting: SYS_EXIT_EXTENDED */
		register const uint64_t *x1 __asm__("x1") = block;

		__asm__ volatile("hlt #0xf000" : "+r"(x0) : "r"(x1) : "memory");
	}
}

static void timer_next(void)
{
	uint64_t frequency;

	__asm__ volatile("mrs %0, cntfrq_el0" : "=r"(frequency));
	__asm__ volatile("msr cntv_tval_el0, %0; isb" :: "r"(frequency / 100) : "memory"); /* 10 ms */
}

void timer_again(void)
{
	uint32_t acknowledged = GICC(0x00c);

	timer_next();
	GICC(0x010) = acknowledged;
}

static void timer_start(void)
{
	GICD(0x000) = 1;                     /* the distributor is on */
	GICD(0x100) = 1u << TIMER_INTERRUPT; /* and lets this one through */
	GICC(0x004) = 0xff;                  /* every priority */
	GICC(0x000) = 1;
	timer_next();
	__asm__ volatile("msr cntv_ctl_el0, %0; isb" :: "r"(UINT64_C(1)) : "memory");
}

/* An event that this kernel never expects. */
void unexpected(struct regs *regs)
{
	panic("unexpected event", regs);
}

void kernel_main(void)
{
	struct regs *regs = (struct regs *)(task_stack + sizeof(task_stack)) - 1; /* all zero: EL0, interrupts on */

	entry_setup();
	entry_setup_cpu();
	timer_start();
	regs->ip = (uint64_t)user_main;
	regs->sp = (uint64_t)user_stack + USER_STACK;
	return_to_user(regs);
}
