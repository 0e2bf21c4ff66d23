/* SPDX-License-Identifier: MIT */
/* What the x86-64 kernel and its own scenarios agree on, beyond abi.h. */
#ifndef SCENARIO_H
#define SCENARIO_H

#include "abi.h"

enum stat_cpu { /* as in struct percpu */
	STAT_RETURNED = STAT_CPU_FIRST,
	STAT_REFUSED = STAT_RETURNED + 2,
	STAT_CPU_COUNT = 8,
};

#define TEST_COUNTERS TEST_CPU_FIRST /* all counters at one moment, to the array at a */

#endif
