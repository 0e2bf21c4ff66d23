/* SPDX-License-Identifier: MIT */
/* What the arm64 kernel and its own scenarios agree on, beyond abi.h. */
#ifndef SCENARIO_H
#define SCENARIO_H

#include "abi.h"

enum { /* sys_test(op, a, b) */
	TEST_EL1T = TEST_CPU_FIRST, /* an exception of the kernel on SP_EL0, registers made from seed a: */
				    /* 0, or 1 + index of a wrong slot in the frame */
	TEST_AARCH32,               /* run AArch32 user code at a, which is not mapped: the same */
};

#endif
