/* SPDX-License-Identifier: MIT */
/* Boot: both CPUs become idle threads; CPU 0 loads the user image and starts its first thread. */
#include "kernel.h"

#ifndef TIMER_US
#define TIMER_US 50
#endif

static void start_cpu(unsigned int id)
{
	struct cpu *cpu = &cpus[id];

	cpu->self = cpu;
	cpu->id = id;
	cpu_setup(cpu);
	thread_make_idle(cpu);
}

void kernel_main(void)
{
	struct regs regs;

	start_cpu(0);
	user_load(&regs);
	cpu_start_second();
	if (thread_spawn(&regs, 0) < 0)
		panic("no first thread", NULL);
	cpu_irqs_off();
	cpu_timer_start(TIMER_US);
	idle_loop();
}

void kernel_second_cpu(void)
{
	start_cpu(1);
	cpu_timer_start(TIMER_US);
	idle_loop();
}
