/* SPDX-License-Identifier: MIT */
/* The hooks and system calls that kernel.entry names: what this kernel does once it is entered. Interrupts are off here. */
#include "kernel.h"

extern char user_begin[], user_end[]; /* kernel.ld */

static uint64_t ticks;

int64_t sys_exit(uint64_t status)
{
	print(status ? "the user program failed\n" : "the user program is done: powering off\n");
	power_off(status != 0);
}

int64_t sys_write(uint64_t address, uint64_t length)
{
	uint64_t begin = (uint64_t)user_begin, end = (uint64_t)user_end;

	if (address < begin || address > end || length > end - address)
		return -1;
	for (uint64_t i = 0; i < length; i++)
		put_char(((const char *)address)[i]);
	return (int64_t)length;
}

int64_t sys_ticks(void)
{
	return (int64_t)ticks;
}

void timer_tick(struct regs *regs)
{
	(void)regs;
	ticks++;
	timer_again();
}

void user_exception(struct regs *regs, uint64_t number, uint64_t address)
{
	print("exception ");
	print_hex(number);
	print(" of user mode at ");
	print_hex(regs->ip);
	if (number == UNDEFINED_INSTRUCTION) {
		print(": stepped over\n");
		regs->ip += UNDEFINED_SIZE;
		return;
	}
	print(", address ");
	print_hex(address);
	print("\n");
	sys_exit(1);
}

void kernel_exception(struct regs *regs, uint64_t number, uint64_t address)
{
	print("exception ");
	print_hex(number);
	print(", address ");
	print_hex(address);
	panic(", of the kernel", regs);
}

void panic(const char *what, const struct regs *regs)
{
	print(what);
	print(" at ");
	print_hex(regs->ip);
	print("\n");
	power_off(1);
}

void print(const char *text)
{
	while (*text)
		put_char(*text++);
}

void print_hex(uint64_t value)
{
	int shift = 60;

	while (shift && !(value >> shift))
		shift -= 4;
	print("0x");
	for (; shift >= 0; shift -= 4)
		put_char("0123456789abcdef"[value >> shift & 15]);
}
