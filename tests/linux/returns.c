/*
 * Makes system calls return in each way that the counters of the kernel know, a hundred times each, and says by how much each counter grew.
 * A frame that SYSRET cannot restore is made by a signal handler, whose return takes any frame; the return itself is a system call.
 * The fast calls of 32-bit code are made by returns32, the ways to return from them in its order.
 */
#define _GNU_SOURCE
#include <asm/ldt.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

enum { ROWS = 16, TIMES = 100, TRAP = 0x100, RESUME = 0x10000, USER_CS = 0x33, USER32_CS = 0x23, LDT_0 = 7 };
#define VSYSCALL_TIME 0xffffffffff600400

struct row {
	char name[64];
	unsigned long count;
};

static int want;				/* what the handler changes */
static int traps;

static uint64_t back_sp;			/* for the way back from 32-bit code */
static unsigned char *low;			/* a page below 4 GiB */

/* The way back from elsewhere: the word at the stack pointer is where to go on, 128 bytes lower than there. */
void way_back(void);
__asm__(".text\nway_back:\n\tret $112\n");

/* The frame goes elsewhere first, with the stack prepared for the way back. */
static void detour(greg_t *regs, uint64_t to)
{
	uint64_t *sp;

	regs[REG_RSP] -= 128;
	sp = (uint64_t *)regs[REG_RSP];
	sp[0] = (uint64_t)way_back;
	sp[1] = regs[REG_RIP];
	back_sp = regs[REG_RSP];
	regs[REG_RIP] = to;
	regs[REG_RCX] = to;
}

/* 32-bit code that jumps back to 64-bit code, which takes its stack pointer and returns. */
static void prepare(void)
{
	struct user_desc data = { .entry_number = 0, .limit = 0xfffff, .seg_32bit = 1, .limit_in_pages = 1, .useable = 1 };
	uint32_t next;
	uint64_t at = (uint64_t)&back_sp;

	low = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	next = (uint32_t)(uintptr_t)low + 7;
	low[0] = 0xea;				/* ljmp $USER_CS, $next */
	memcpy(low + 1, &next, 4);
	low[5] = USER_CS;
	low[6] = 0;
	low[7] = 0x48;				/* movabs back_sp, %rax */
	low[8] = 0xa1;
	memcpy(low + 9, &at, 8);
	memcpy(low + 17, "\x48\x89\xc4\xc3", 4);	/* mov %rax, %rsp; ret */
	if (low == MAP_FAILED || syscall(SYS_modify_ldt, 1, &data, sizeof(data)))
		printf("FAILED no low page or no LDT\n");
}

/* All counters, summed over the CPUs. */
static int counters(struct row *rows)
{
	FILE *file = fopen("/sys/kernel/debug/x86/returns", "r");
	char line[256];
	int n = 0;

	if (!file)
		return -1;
	while (n < ROWS && fgets(line, sizeof(line), file)) {
		char choice[32], method[16], reason[32] = "";
		char *rest = line;
		int used = 0;

		if (sscanf(rest, "%31s %15s %n", choice, method, &used) < 2)
			continue;
		rest += used;
		if (*rest < '0' || *rest > '9') {
			sscanf(rest, "%31s %n", reason, &used);
			rest += used;
		}
		snprintf(rows[n].name, sizeof(rows[n].name), "%s.%s%s%s", choice, method, *reason ? "." : "", reason);
		rows[n].count = 0;
		for (char *end; ; rest = end) {
			unsigned long value = strtoul(rest, &end, 10);

			if (end == rest)
				break;
			rows[n].count += value;
		}
		n++;
	}
	fclose(file);
	return n;
}

static void on_signal(int number, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	greg_t *regs = uc->uc_mcontext.gregs;

	(void)info;
	if (number == SIGTRAP) {
		traps++;
		regs[REG_EFL] &= ~TRAP;
	}
	/* sigreturn restores cx and r11 as they are here: equal to ip and flags, SYSRET would do. */
	regs[REG_RCX] = regs[REG_RIP];
	regs[REG_R11] = regs[REG_EFL];
	if (number == SIGTRAP)
		return;
	switch (want) {
	case 1:
		regs[REG_RCX] ^= 1;
		break;
	case 2:
		regs[REG_R11] ^= 1;
		break;
	case 3:
		regs[REG_EFL] |= TRAP;
		regs[REG_R11] = regs[REG_EFL];
		break;
	case 4:
		regs[REG_EFL] |= RESUME;
		regs[REG_R11] = regs[REG_EFL];
		break;
	case 5:
		detour(regs, (uint64_t)low);
		regs[REG_CSGSFS] = (regs[REG_CSGSFS] & ~0xffffLL) | USER32_CS;
		break;
	case 6:
		regs[REG_CSGSFS] = (regs[REG_CSGSFS] & 0xffffffffffffLL) | (greg_t)LDT_0 << 48;
		break;
	case 7:
		detour(regs, VSYSCALL_TIME);
		regs[REG_RDI] = 0;
		break;
	}
}

static void nothing(void)
{
	for (int i = 0; i < TIMES; i++)
		syscall(SYS_getppid);
}

static void signals(void)
{
	for (int i = 0; i < TIMES; i++)
		syscall(SYS_tgkill, getpid(), getpid(), SIGUSR1);
}

static void calls32(void)
{
	char way[] = { (char)('0' + want), 0 };
	char *const arguments[] = { "returns32", way, NULL };
	int status = -1;
	pid_t child = fork();

	if (!child) {
		execv("/returns32", arguments);
		_exit(127);
	}
	waitpid(child, &status, 0);
	if (status)
		printf("FAILED returns32 %s: %d\n", way, status);
}

static void measure(const char *name, void (*what)(void))
{
	struct row before[ROWS], after[ROWS];
	int n = counters(before);

	what();
	if (n < 0 || counters(after) != n) {
		printf("FAILED the counters cannot be read\n");
		return;
	}
	for (int i = 0; i < n; i++)
		printf("GREW %s.%s %lu\n", name, after[i].name, after[i].count - before[i].count);
}

int main(void)
{
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	static const char *const names[] = { "clean", "cx", "r11", "tf", "rf", "cs", "ss", "high" };
	static const char *const names32[] = { "clean32", "signal32", "cs32", "ss32", "rf32", "tf32" };

	mount("none", "/sys", "sysfs", 0, "");
	mount("none", "/sys/kernel/debug", "debugfs", 0, "");
	sigaction(SIGUSR1, &action, NULL);
	sigaction(SIGTRAP, &action, NULL);
	measure("idle", nothing);
	prepare();
	for (want = 0; want < 8; want++)
		measure(names[want], signals);
	for (want = 0; want < 6; want++)
		measure(names32[want], calls32);
	printf("TRAPS all %d\n", traps);
	fflush(stdout);
	reboot(RB_AUTOBOOT);
	return 1;
}
