/* As count.c, for 32-bit code without a library: calls by the vDSO, which takes SYSCALL or SYSENTER as the CPU has it, and by INT 0x80. */
#include "bare32.h"

enum { SYS_WRITE = 4, SYS_GETPPID = 64, SYS_REBOOT = 88 };

static uint64_t stamp(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static void say(const char *text)
{
	long n = 0;

	while (text[n])
		n++;
	int80(SYS_WRITE, 1, (long)text, n);
}

static void number(uint32_t value)
{
	char digits[12], *at = digits + 11;

	*at = 0;
	do {
		*--at = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	say(at);
}

static void count(const char *name, int by_vdso, long what)
{
	uint32_t least = UINT32_MAX;

	for (int run = 0; run < 20; run++) {
		uint64_t start = stamp();

		for (int i = 0; i < 100; i++) {
			if (by_vdso)
				fast(what, 0, 0);
			else
				int80(what, 0, 0, 0);
		}
		start = stamp() - start;
		if (start < least)
			least = (uint32_t)start;
	}
	say("COUNT ");
	say(name);
	say(" ");
	number(least);
	say("\n");
}

__attribute__((used)) void begin(uint32_t *stack)
{
	started(stack);
	count("enosys32", 1, -1);
	count("getppid32", 1, SYS_GETPPID);
	count("int80.enosys32", 0, -1);
	count("int80.getppid32", 0, SYS_GETPPID);
	int80(SYS_REBOOT, (long)0xfee1dead, 672274793, 0x1234567);
	for (;;)
		;
}
