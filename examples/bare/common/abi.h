/* SPDX-License-Identifier: MIT */
/* What the example kernel and its user programs agree on. */
#ifndef ABI_H
#define ABI_H

#include <stdint.h>

#include "entry.h" /* struct regs: what a signal handler gets, and sys_return_frame takes */

#define USER_SIZE     UINT64_C(0x200000)
#define USER_MAGIC    UINT64_C(0x727473656c707865)
#define MAX_THREADS   12
#define CLOBBER_DONE  INT64_C(0x5ca1ab1e) /* what TEST_CLOBBER returns */

enum { /* numbers of the system calls: as in the spec */
	SYS_EXIT, SYS_WRITE, SYS_YIELD, SYS_GETPID, SYS_SET_BASE,
	SYS_STAT, SYS_RAISE, SYS_RETURN_FRAME, SYS_ADD6, SYS_TEST,
};

enum { /* sys_test(op, a, b) */
	TEST_CLOBBER,    /* overwrite all registers that C code may: CLOBBER_DONE */
	TEST_SPAWN,      /* a thread from the struct regs at a, on CPU b: its number, or < 0 */
	TEST_FORK,       /* a thread from the caller's own frame, sp = a, on CPU b: its number; 0 in the child */
	TEST_ALIVE,      /* is thread a alive? */
	TEST_HANDLERS,   /* the handler for exceptions is a, for signals b (0: none) */
	TEST_WORK,       /* a = address of this thread's struct work (0: none); b = flags that the timer raises */
	TEST_SPIN,       /* stay in the kernel, interrupts on, all registers known; a = seed, b = loops */
	TEST_SPIN_HELD,  /* the same, with preemption forbidden */
	TEST_SHUTDOWN,   /* a = number of failed scenarios */
	TEST_CPU_FIRST = 64,
};

enum { /* sys_stat(which): sums over the CPUs */
	STAT_TICKS, STAT_TICKS_KERNEL, STAT_SWITCHES, STAT_PREEMPTIONS,
	STAT_CPU_FIRST = 64,
};

/* An exception of user mode. */
struct fault {
	uint64_t vector;  /* x86: vector; arm64: exception class (ESR.EC) */
	uint64_t code;    /* x86: error code; arm64: ESR.ISS */
	uint64_t address; /* of a page fault or abort, else 0 */
};

/* What the kernel puts on the user's stack before it continues in a handler: handler(struct user_frame *). */
struct user_frame {
	struct regs regs;
	struct fault fault;
};

/* Exit work as a thread sees it: index = number of the flag. The kernel counts, user code compares. */
struct work {
	volatile uint64_t raised[3];
	volatile uint64_t handled[3];
	volatile uint64_t merged; /* signals that came while the handler ran: not delivered */
};

/* The first bytes of the user image. */
struct user_header {
	uint64_t magic;
	uint64_t entry; /* the first thread starts here, on `stack`, with the argument `first` */
	uint64_t stack;
	uint64_t first;
	uint64_t data;  /* from here on user memory is writable and not executable */
};

#endif
