/* SPDX-License-Identifier: MIT */
/*
 * A user who wants the entry code to believe him: stack pointers into the kernel's own stacks, GS bases in the
 * kernel's half (with FSGSBASE), and all flags that the kernel must not run with.
 */
#include "user_x86.h"

/* user_gates.S */
extern volatile uint64_t hostile_sp, hostile_gs, hostile_sp_after, hostile_gs_after;
#define HOSTILE(name) void name(struct machine *in, struct machine *out); extern const char name##_after[]
HOSTILE(hostile_syscall);
HOSTILE(hostile_int80);
HOSTILE(hostile_spin);
HOSTILE(hostile_syscall_32);
HOSTILE(hostile_sysenter);

static uint64_t layout[LAYOUT_COUNT];
static uint64_t calls, steps;

static uint64_t hostile_address(struct rng *rng)
{
	uint64_t random = rng_next(rng);

	switch (random % 4) {
	case 0:
		return layout[LAYOUT_PERCPU];
	case 1: /* within the topmost kilobyte of a stack, or at its top */
		return layout[LAYOUT_SP0 + random / 4 % 6] - (random >> 32) % 128 * 8;
	case 2:
		return layout[random / 4 % LAYOUT_COUNT];
	default: /* some canonical address of the upper half */
		return random | UINT64_C(0xffff800000000000);
	}
}

static void step(struct user_frame *frame)
{
	steps += frame->fault.vector == 1;
}

static bool in_32_bits(const struct gate *gate)
{
	return gate->kind == GATE_SYSCALL_32 || gate->kind == GATE_SYSENTER;
}

/* One call, with TF set where only the kernel can trap: user mode has no stack for a handler's frame. */
static bool hostile_call(struct worker *worker, struct rng *rng, const struct gate *gate)
{
	static void (*const functions[GATE_COUNT])(struct machine *in, struct machine *out) = {
		[GATE_SYSCALL] = hostile_syscall, [GATE_INT80] = hostile_int80, [GATE_INT80_32] = hostile_spin,
		[GATE_SYSCALL_32] = hostile_syscall_32, [GATE_SYSENTER] = hostile_sysenter,
	};
	struct machine in, out, after;
	uint64_t sp;

	gate_random(gate, rng, worker->pid, &in, &after);
	hostile_sp = sp = hostile_address(rng);
	hostile_gs = hostile_address(rng);
	switch (gate->kind) {
	case GATE_SYSCALL:
		after.word[MACHINE_CX] = (uint64_t)hostile_syscall_after;
		break;
	case GATE_INT80_32: /* no gate: interrupts come while it spins */
		in.word[MACHINE_SPIN] = 1 + rng_next(rng) % 20000;
		after = in;
		after.word[MACHINE_SPIN] = 0;
		break;
	case GATE_SYSCALL_32:
		after.word[MACHINE_CX] = (uint64_t)hostile_syscall_32_after;
		break;
	case GATE_SYSENTER:
		after.word[MACHINE_CX] = after.word[MACHINE_DX] = (uint64_t)hostile_sysenter_after;
		sp = (uint32_t)sp;
		break;
	default:
		break;
	}
	functions[gate->kind](&in, &out);
	after.word[MACHINE_SP] = in.word[MACHINE_SP];
	if (gate->kind == GATE_SYSENTER) {
		after.word[MACHINE_FLAGS] |= FLAGS_STATUS;
		out.word[MACHINE_FLAGS] |= FLAGS_STATUS;
		after.word[MACHINE_R11] |= FLAGS_STATUS;
		out.word[MACHINE_R11] |= FLAGS_STATUS;
	}
	if (in_32_bits(gate)) {
		after.word[MACHINE_AX] = (uint32_t)after.word[MACHINE_AX];
		out.word[MACHINE_AX] = (uint32_t)out.word[MACHINE_AX];
	}
	calls++;
	if (gate->kind != GATE_SYSCALL_32 && hostile_sp_after != sp)
		worker_error(worker, "%s: sp became %lx, not %lx", gate->name, hostile_sp_after, sp);
#ifdef CONFIG_FSGSBASE
	if (hostile_gs_after != hostile_gs)
		worker_error(worker, "%s: the GS base became %lx, not %lx", gate->name, hostile_gs_after, hostile_gs);
#endif
	return machine_same(worker, gate->name, &after, &out);
}

#ifdef CONFIG_FSGSBASE
/* Exceptions with a hostile GS base: the handler's own code does not use it. */
static void raise_undefined(uint64_t arg)
{
	(void)arg;
	__asm__ volatile("ud2");
}

static void hostile_exceptions(struct worker *worker, struct rng *rng)
{
	uint64_t base = hostile_address(rng), good, seen;
	struct user_frame frame;
	bool raised;

	__asm__ volatile("rdgsbase %0; wrgsbase %1" : "=&r"(good) : "r"(base));
	raised = user_try(raise_undefined, 0, &frame);
	__asm__ volatile("pushfq; orl $0x100, (%%rsp); popfq; nop; nop; pushfq; andl $~0x100, (%%rsp); popfq" ::: "memory", "cc");
	user_call(SYS_YIELD, 0, 0, 0, 0, 0, 0);
	__asm__ volatile("rdgsbase %0; wrgsbase %1" : "=&r"(seen) : "r"(good));
	if (!raised || frame.fault.vector != 6)
		worker_error(worker, "no #UD with a GS base of the kernel's half");
	if (seen != base)
		worker_error(worker, "the GS base %lx became %lx by exceptions", base, seen);
}

/* SYSENTER with TF set: the kernel's first instruction traps with the user's GS base. */
static void hostile_step(struct worker *worker, struct rng *rng)
{
	static uint8_t stack[4096] __attribute__((aligned(16))); /* steps of user mode come too: their handler needs one */
	uint64_t base = hostile_address(rng), good, seen;
	struct machine in = { .word[MACHINE_AX] = SYS_GETPID, .word[MACHINE_FLAGS] = FLAG_ONE | FLAG_IF | FLAG_TF,
			      .word[MACHINE_MXCSR] = 0x1f80 }, out;

	if (!gate_works(&gates[GATE_SYSENTER]))
		return;
	__asm__ volatile("rdgsbase %0" : "=r"(good));
	hostile_gs = base;
	hostile_sp = (uint64_t)(stack + sizeof(stack));
	hostile_sysenter(&in, &out);
	if ((uint32_t)out.word[MACHINE_AX] != (uint32_t)worker->pid)
		worker_error(worker, "SYSENTER with TF and a hostile GS base returned %lx", out.word[MACHINE_AX]);
	__asm__ volatile("rdgsbase %0" : "=r"(seen));
	if (hostile_gs_after != base || seen != good)
		worker_error(worker, "the GS base %lx became %lx by a step into the kernel", base, hostile_gs_after);
}
#endif

bool run_hostile(void)
{
	static struct worker worker;
	struct rng rng = { 13 };

	worker.pid = user_call(SYS_GETPID, 0, 0, 0, 0, 0, 0);
	read_layout(layout);
	for (unsigned int i = 0; i < GATE_COUNT; i++)
		gate_works(&gates[i]);
	fault_hook = step;
	for (uint64_t i = 0; i < scaled(4000) && !worker.errors; i++) {
		for (unsigned int j = 0; j < GATE_COUNT; j++)
			if (gate_works(&gates[j]))
				hostile_call(&worker, &rng, &gates[j]);
#ifdef CONFIG_FSGSBASE
		hostile_exceptions(&worker, &rng);
		hostile_step(&worker, &rng);
#endif
	}
	fault_hook = NULL;
	say("%lu calls and spins with stack pointers of the kernel, GS bases too: %s; %lu single steps", calls,
#ifdef CONFIG_FSGSBASE
	    "yes",
#else
	    "no",
#endif
	    steps);
	if (worker.errors)
		differ("%s", worker.text);
	return !worker.errors;
}
