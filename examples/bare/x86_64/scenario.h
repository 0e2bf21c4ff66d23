/* SPDX-License-Identifier: MIT */
/* What the x86-64 kernel and its own scenarios agree on, beyond abi.h. */
#ifndef SCENARIO_H
#define SCENARIO_H

#include "abi.h"

enum stat_cpu { /* as in struct percpu */
	STAT_RETURNED = STAT_CPU_FIRST,
	STAT_REFUSED = STAT_RETURNED + 2,
	STAT_RETURNED_32 = STAT_REFUSED + 6,
	STAT_REFUSED_32 = STAT_RETURNED_32 + 2,
	STAT_CPU_COUNT = 16,
};

enum { /* sys_test(op, a, b) */
	TEST_COUNTERS = TEST_CPU_FIRST, /* all counters at one moment, to the array at a */
	TEST_LAYOUT,    /* addresses of the kernel, to the array at a */
	TEST_WATCH,     /* this CPU's breakpoint 0: DR0 = a, DR7 = b */
	TEST_STEPS,     /* single steps of this thread that trapped in the kernel */
	TEST_HITS,      /* breakpoints of this thread that trapped in the kernel */
	TEST_LOAD_GS,   /* GS = a: how many selectors of this thread the CPU has refused */
	TEST_NMI,       /* send one to CPU a */
	TEST_IPI,       /* send the interrupt with vector b to CPU a */
	TEST_IPIS,      /* how many of each vector came to CPU a: 256 words to the array at b */
	TEST_NMIS,      /* how many came to CPU a: of user mode, of kernel code, those sent round again: to the array at b */
};

enum { /* TEST_LAYOUT */
	LAYOUT_KERNEL_TEXT, LAYOUT_KERNEL_DATA, LAYOUT_ENTRY_TEXT, LAYOUT_ENTRY_DATA,
	LAYOUT_PERCPU, LAYOUT_PRIVATE, LAYOUT_GDT, /* the private part of a CPU's block follows struct percpu */
	LAYOUT_SP0, LAYOUT_DF_TOP, LAYOUT_NMI_TOP, LAYOUT_DB_TOP, LAYOUT_MC_TOP, LAYOUT_TASK_TOP,
	LAYOUT_SYSCALL_64, LAYOUT_SYSCALL_32, LAYOUT_SYSENTER, LAYOUT_INT80,
	LAYOUT_SYSRET_64, LAYOUT_SYSRET_32, LAYOUT_IRET_USER, LAYOUT_NMI_MARK,
	LAYOUT_NMI_REDIRECT, LAYOUT_TRAP, LAYOUT_NMI_TRAP,
	LAYOUT_COUNT,
};

#endif
