/* SPDX-License-Identifier: MIT */
/* What this machine needs: segments, console, timer, power, and the way to user mode. */
#include "kernel.h"

#define TSS_SELECTOR 0x30
#define TIMER_VECTOR 32 /* kernel.entry has it too */
#define APIC(offset) (*(volatile uint32_t *)(UINT64_C(0xfee00000) + (offset)))

extern uint64_t gdt[]; /* start.S */
void kernel_main(void);

static struct percpu boot_cpu;
static uint8_t task_stack[16384] __attribute__((aligned(16)));

static void outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" :: "a"(value), "Nd"(port));
}

void put_char(char c)
{
	outb(0x3f8, (uint8_t)c); /* QEMU's serial port is always ready */
}

void power_off(int status)
{
	for (;;)
		outb(0xf4, status ? 0x11 : 0x10); /* isa-debug-exit: QEMU ends with 2 * value + 1 */
}

void timer_again(void)
{
	APIC(0x0b0) = 0; /* end of interrupt */
}

static void timer_start(void)
{
	outb(0x21, 0xff); /* no interrupt comes from the old controllers */
	outb(0xa1, 0xff);
	APIC(0x0f0) = 0x1ff;                 /* APIC on; the spurious vector is 255 */
	APIC(0x3e0) = 0xb;                   /* counts at bus speed */
	APIC(0x320) = 1 << 17 | TIMER_VECTOR; /* again and again */
	APIC(0x380) = 10000000;              /* 10 ms on QEMU */
}

static void load_tss(void)
{
	uint64_t base = (uint64_t)&boot_cpu.tss;

	boot_cpu.tss.sp0 = (uint64_t)(task_stack + sizeof(task_stack));
	boot_cpu.tss.io_map = sizeof(boot_cpu.tss);
	gdt[TSS_SELECTOR / 8] = (sizeof(boot_cpu.tss) - 1) | (base & 0xffffff) << 16 | UINT64_C(0x89) << 40 | (base >> 24 & 0xff) << 56;
	gdt[TSS_SELECTOR / 8 + 1] = base >> 32;
	__asm__ volatile("ltr %w0" :: "r"(TSS_SELECTOR) : "memory");
}

void kernel_main(void)
{
	struct regs *regs = (struct regs *)(task_stack + sizeof(task_stack)) - 1; /* all zero */

	entry_setup();
	load_tss();
	entry_setup_cpu(&boot_cpu);
	timer_start();
	regs->ip = (uint64_t)user_main;
	regs->cs = USER_CS;
	regs->flags = 0x202; /* interrupts on */
	regs->sp = (uint64_t)user_stack + USER_STACK - 8; /* as after a call */
	regs->ss = USER_DS;
	return_to_user(regs);
}
