// SPDX-License-Identifier: MIT
/*
 * Makes fast calls of 32-bit code return in one of the ways that the kernel counts, a hundred times; the argument is a digit that says which way.
 * All else that it asks of the kernel goes by INT 0x80, which is not counted.
 *
 * A signal that a process sends itself by a fast call changes where that call returns to. The handler's own return is a fast call, too, and goes where the
 * first one was to: SYSRET would do, but for what the handler has changed in the frame.
 */
#include "bare32.h"

enum { SYS_EXIT = 1, SYS_GETPID = 20, SYS_KILL = 37, SYS_GETPPID = 64, SYS_MODIFY_LDT = 123, SYS_RT_SIGACTION = 174 };
enum { SIGTRAP = 5, SIGUSR1 = 10, SA_SIGINFO = 4, SA_RESTORER = 0x04000000 };
enum { TIMES = 100, TRAP = 0x100, RESUME = 0x10000 };
enum { CLEAN, SIGNAL, CS, SS, RF, TF };
/* Words of struct ucontext. */
enum { UC_CS = 5 + 15, UC_FLAGS = 5 + 16, UC_SS = 5 + 18 };
/* Entries of the LDT and their selectors; bits of struct user_desc: 32 bits, code, limit in pages, usable. */
enum { LDT_CODE = 0, LDT_DATA = 1, CODE_SELECTOR = 7, DATA_SELECTOR = 15, FLAT_DATA = 1 | 16 | 64, FLAT_CODE = FLAT_DATA | 4 };

static int want, traps;

void by_fast(void);
void by_int80(void);

/* The frame is 16 bytes below the stack that the call by the vDSO is made with: its three pushes and the return address come in between. */
__attribute__((used)) static void (**const how)(void) = &vsyscall;
__asm__(".text\n"
	"by_fast:\n\taddl $16, %esp\n\tmovl how, %ecx\n\tmovl $173, %eax\n\tcall *(%ecx)\n"
	"by_int80:\n\tmovl $173, %eax\n\tint $0x80\n");

static void on_signal(int number, void *info, uint32_t *uc)
{
	(void)info;
	if (number == SIGTRAP) {
		traps++;
		uc[UC_FLAGS] &= ~(uint32_t)TRAP;
		return;
	}
	switch (want) {
	case CS:
		uc[UC_CS] = CODE_SELECTOR;
		break;
	case SS:
		uc[UC_SS] = DATA_SELECTOR;
		break;
	case RF:
		uc[UC_FLAGS] |= RESUME;
		break;
	case TF:
		uc[UC_FLAGS] |= TRAP;
		break;
	}
}

static long handle(int number, void (*restorer)(void))
{
	uint32_t action[5] = { (uint32_t)on_signal, SA_SIGINFO | SA_RESTORER, (uint32_t)restorer, 0, 0 };

	__asm__ volatile("" : : "r"(action) : "memory");
	long ax = SYS_RT_SIGACTION;

	__asm__ volatile("int $0x80" : "+a"(ax) : "b"(number), "c"(action), "d"(0), "S"(8) : "memory");
	return ax;
}

static long segment(uint32_t number, uint32_t bits)
{
	uint32_t entry[4] = { number, 0, 0xfffff, bits };

	return int80(SYS_MODIFY_LDT, 1, (long)entry, sizeof(entry));
}

__attribute__((used)) void begin(uint32_t *stack)
{
	char **arguments = started(stack);
	long self = int80(SYS_GETPID, 0, 0, 0);
	long failed = handle(SIGUSR1, by_fast) | handle(SIGTRAP, by_int80) | segment(LDT_CODE, FLAT_CODE) | segment(LDT_DATA, FLAT_DATA);

	want = arguments[1][0] - '0';
	for (int i = 0; i < TIMES && !failed; i++) {
		if (want == CLEAN)
			fast(SYS_GETPPID, 0, 0);
		else
			failed |= fast(SYS_KILL, self, SIGUSR1);
	}
	failed |= traps != (want == TF ? TIMES : 0);
	for (;;)
		int80(SYS_EXIT, failed != 0, 0, 0);
}
