/* SPDX-License-Identifier: MIT */
/*
 * Debug exceptions: single steps over every gate, hardware breakpoints on every instruction of the entry code, and
 * the one that MOV SS puts off. In user mode they arrive as exceptions; the kernel goes on with its own.
 */
#include "user_x86.h"

#define ENTRY_BYTES 0x180 /* from each of the entry code's labels on: more than the entry and the exit behind it */

/* single-step */

static const struct gate *stepped_gate;
static uint64_t steps, last_ip;
static const char *step_error;

/* TF is in the state of user_call_...(): its first instructions trap as well, and the handler leaves TF set there. */
static void stepped(struct user_frame *frame)
{
	uint64_t ip = frame->regs.ip;

	steps++;
	if (frame->fault.vector != 1)
		step_error = "another exception";
	else if (ip == (uint64_t)stepped_gate->after)
		step_error = "the instruction behind the gate was not executed";
	else if (last_ip == (uint64_t)stepped_gate->at && ip != (uint64_t)stepped_gate->next)
		step_error = "the step over the gate trapped at a wrong instruction";
	last_ip = ip;
	if (ip == (uint64_t)stepped_gate->next || step_error)
		frame->regs.flags &= ~(uint64_t)FLAG_TF;
}

bool run_single_step(void)
{
	static struct worker worker;
	struct rng rng = { 11 };
	uint64_t in_kernel = kernel_steps(), sysenters = 0;

	worker.pid = user_call(SYS_GETPID, 0, 0, 0, 0, 0, 0);
	for (unsigned int i = 0; i < GATE_COUNT; i++)
		gate_works(&gates[i]); /* asks before the hook is there */
	fault_hook = stepped;
	for (uint64_t i = 0; i < scaled(400) && !worker.errors; i++) {
		for (unsigned int j = 0; j < GATE_COUNT && !worker.errors; j++) {
			stepped_gate = &gates[j];
			if (!gate_works(stepped_gate))
				continue;
			last_ip = 0;
			gate_check(&worker, stepped_gate, &rng, FLAG_TF);
			sysenters += j == GATE_SYSENTER;
			if (step_error)
				worker_error(&worker, "%s: %s: %lx", stepped_gate->name, step_error, last_ip);
			else if (last_ip != (uint64_t)stepped_gate->next)
				worker_error(&worker, "%s: no step over the gate", stepped_gate->name);
		}
	}
	fault_hook = NULL;
	in_kernel = kernel_steps() - in_kernel;
	if (in_kernel != sysenters)
		worker_error(&worker, "%lu steps in the kernel after %lu times SYSENTER", in_kernel, sysenters);
	say("%lu calls by all gates with TF set: %lu steps of user mode at the right instructions, %lu in the kernel",
	    worker.count, steps, in_kernel);
	if (worker.errors)
		differ("%s", worker.text);
	return !worker.errors;
}

/* breakpoints: #DB of kernel code with either GS base, page table and stack */

/*
 * Where no breakpoint may be: in the path of NMIs. The return of #DB lets the next one in, which would strike in the
 * handler of #DB while the first one builds its frames. nmi_redirect is the first of that path, trap stands behind
 * the last one, nmi_trap is the last entry point.
 */
static bool is_of_nmi(uint64_t at, const uint64_t *layout)
{
	return (at >= layout[LAYOUT_NMI_REDIRECT] && at < layout[LAYOUT_TRAP]) || at >= layout[LAYOUT_NMI_TRAP];
}

static uint64_t sweep(struct worker *worker, struct rng *rng, const struct gate *gate, uint64_t from)
{
	uint64_t layout[LAYOUT_COUNT], places = 0;

	read_layout(layout);
	for (uint64_t at = from; at < from + ENTRY_BYTES && !worker->errors; at++) {
		uint64_t before = kernel_hits(), hits;

		if (is_of_nmi(at, layout))
			continue;
		set_watch(at, DR7_ON | DR7_EXECUTE);
		for (unsigned int i = 0; i < 3; i++)
			gate_check(worker, gate, rng, 0);
		set_watch(0, 0);
		hits = kernel_hits() - before;
		places += hits != 0;
		if (worker->errors)
			worker_error(worker, "the breakpoint was at %lx", at);
	}
	return places;
}

bool run_breakpoints(void)
{
	static struct worker worker;
	static const struct {
		unsigned int gate, from;
	} sweeps[] = {
		{ GATE_SYSCALL, LAYOUT_SYSCALL_64 }, { GATE_SYSCALL, LAYOUT_SYSRET_64 },
		{ GATE_INT80, LAYOUT_INT80 }, { GATE_INT80, LAYOUT_IRET_USER },
		{ GATE_SYSCALL_32, LAYOUT_SYSCALL_32 }, { GATE_SYSCALL_32, LAYOUT_SYSRET_32 },
		{ GATE_SYSENTER, LAYOUT_SYSENTER }, { GATE_SYSENTER, LAYOUT_SYSRET_32 },
	};
	struct rng rng = { 12 };
	uint64_t layout[LAYOUT_COUNT], places = 0, hits = kernel_hits();

	read_layout(layout);
	worker.pid = user_call(SYS_GETPID, 0, 0, 0, 0, 0, 0);
	for (unsigned int i = 0; i < sizeof(sweeps) / sizeof(sweeps[0]) && !worker.errors; i++) {
		const struct gate *gate = &gates[sweeps[i].gate];
		uint64_t found;

		if (!gate_works(gate))
			continue;
		found = sweep(&worker, &rng, gate, layout[sweeps[i].from]);
		places += found;
		if (found < 15)
			worker_error(&worker, "%s: only %lu instructions had a breakpoint", gate->name, found);
	}
	hits = kernel_hits() - hits;
	say("%lu breakpoints of the kernel at %lu places in the entry code, all registers compared in %lu calls", hits,
	    places, worker.count);
	if (worker.errors)
		differ("%s", worker.text);
	return !worker.errors;
}

/*
 * mov-ss: a CPU puts the #DB of MOV SS off until the next instruction is done: if that one enters the kernel, the
 * exception is the kernel's. QEMU raises it at once; Bochs puts it off, and loses that of INT3 and INT 0x80.
 */

static volatile uint64_t watched = USER_DS;
static uint64_t traps, breakpoints, strange;

static void counted(struct user_frame *frame)
{
	traps += frame->fault.vector == 1;
	breakpoints += frame->fault.vector == 3;
	strange += frame->fault.vector != 1 && frame->fault.vector != 3;
}

#define MOV_SS(name, instruction)                                                                    \
	static int64_t name(int64_t number)                                                          \
	{                                                                                            \
		__asm__ volatile("movw %1, %%ss\n\t" instruction                                     \
				 : "+a"(number) : "m"(watched) : "rcx", "r11", "memory");            \
		return number;                                                                       \
	}
MOV_SS(mov_ss_int3, "int3")
MOV_SS(mov_ss_syscall, "syscall")
MOV_SS(mov_ss_int80, "int $0x80")
MOV_SS(mov_ss_nothing, "nop")

bool run_mov_ss(void)
{
	static int64_t (*const functions[])(int64_t) = { mov_ss_int3, mov_ss_syscall, mov_ss_int80, mov_ss_nothing };
	const int64_t pid = user_call(SYS_GETPID, 0, 0, 0, 0, 0, 0);
	uint64_t in_kernel = kernel_hits(), rounds = scaled(1000), wrong = 0, wanted;

	fault_hook = counted;
	set_watch((uint64_t)&watched, DR7_ON | DR7_ACCESS);
	for (uint64_t i = 0; i < rounds; i++)
		for (unsigned int j = 0; j < 4; j++)
			wrong += functions[j](SYS_GETPID) != (j == 1 || j == 2 ? pid : SYS_GETPID);
	set_watch(0, 0);
	fault_hook = NULL;
	in_kernel = kernel_hits() - in_kernel;
	wanted = (in_kernel ? 2 : 4) * rounds;
	say("%lu times a watched MOV SS in front of INT3, SYSCALL, INT 0x80 and NOP: %lu traps in user mode, %lu in the kernel",
	    4 * rounds, traps, in_kernel);
	if (wrong || strange || breakpoints != rounds || traps + in_kernel < wanted)
		differ("%lu wrong results, %lu other exceptions, %lu breakpoints, %lu traps in user mode, %lu in the kernel",
		       wrong, strange, breakpoints, traps, in_kernel);
	return !wrong && !strange && breakpoints == rounds && traps + in_kernel >= wanted;
}
