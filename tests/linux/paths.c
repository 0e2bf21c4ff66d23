// SPDX-License-Identifier: MIT
/* Takes each way into the kernel once; who traces it stops at the labels at_*, in this order. It goes on in paths32. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

enum { SA_WITH_RESTORER = 0x04000000 };

void at_syscall(void);
void take_int80(void);
void take_touch(void *page);
void take_hole(void *page);
void take_ud(void);
void take_divide(void);
void take_gp(void);
void take_int3(void);
void take_sleep(struct timespec *time);
void take_spin(void);
void take_device(void);
void take_device_of_kernel(void);
void restore(void);

__asm__(".text\n"
	"take_syscall:\n\tmov $-1, %rax\n"
	"at_syscall:\n\tsyscall\n\tret\n"
	"take_int80:\n\tpush %rbx\n\tmov $-1, %eax\n"
	"at_int80:\n\tint $0x80\n\tpop %rbx\n\tret\n"
	"take_touch:\n"
	"at_touch:\n\tmovb $1, (%rdi)\n\tret\n"
	"take_hole:\n\tmov $63, %eax\n"		/* uname */
	"at_hole:\n\tsyscall\n\tret\n"
	"take_ud:\n"
	"at_ud:\n\tud2\n\tret\n"
	"take_divide:\n\txor %ecx, %ecx\n\txor %edx, %edx\n"
	"at_divide:\n\tdiv %ecx\n\tret\n"
	"take_gp:\n"
	"at_gp:\n\thlt\n\tnop\n\tret\n"
	"take_int3:\n"
	"at_int3:\n\tint3\n\tret\n"
	"take_spin:\n"
	"at_spin:\n\tmov $20000000, %ecx\n"
	"1:\tdec %ecx\n\tjnz 1b\n\tret\n"
	"take_sleep:\n\tmov $35, %eax\n\txor %esi, %esi\n"	/* nanosleep */
	"at_sleep:\n\tsyscall\n\tret\n"
	"take_device:\n"
	"at_device:\n\tmov $20000000, %ecx\n"
	"1:\tdec %ecx\n\tjnz 1b\n\tret\n"
	"take_device_of_kernel:\n"
	"at_device_of_kernel:\n\tret\n"
	"restore:\n\tmov $15, %eax\n"		/* rt_sigreturn */
	"at_sigreturn:\n\tsyscall\n");
void take_syscall(void);

/* Goes on behind the instruction, which has two bytes, or one and is a trap. */
static void on_signal(int number, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)info;
	if (number != SIGTRAP)
		uc->uc_mcontext.gregs[REG_RIP] += 2;
}

static void handle(int number)
{
	struct { void (*handler)(int, siginfo_t *, void *); unsigned long flags; void (*restorer)(void); uint64_t mask; } action =
		{ on_signal, SA_SIGINFO | SA_WITH_RESTORER, restore, 0 };

	syscall(SYS_rt_sigaction, number, &action, NULL, 8);
}

int main(void)
{
	char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct timespec time = { 0, 30000000 };
	static const char line[] = "..............................................................\n";
	char *const arguments[] = { "paths32", NULL };

	handle(SIGILL);
	handle(SIGFPE);
	handle(SIGSEGV);
	handle(SIGTRAP);
	take_syscall();
	take_int80();
	take_touch(pages);
	take_hole(pages + 4096);
	take_ud();
	take_divide();
	take_gp();
	take_int3();
	take_spin();
	take_sleep(&time);
	take_device();
	take_device_of_kernel();
	if (write(1, line, sizeof(line) - 1) < 0)
		return 1;
	execv("/paths32", arguments);
	return 1;
}
