/* SPDX-License-Identifier: MIT */
/* The user programs' x86-64 part: the machine state. */
#include "scenario.h"
#include "user.h"
#include "user_x86.h"

_Static_assert(NR_EXIT == SYS_EXIT && NR_RETURN_FRAME == SYS_RETURN_FRAME, "user_asm.S has the right numbers");

#define XMM(n) "xmm" #n ".low", "xmm" #n ".high"
const char *const machine_names[MACHINE_WORDS] = {
	"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rsp",
	"rflags", "fs:0", "gs:0", "mxcsr",
	XMM(0), XMM(1), XMM(2), XMM(3), XMM(4), XMM(5), XMM(6), XMM(7),
	XMM(8), XMM(9), XMM(10), XMM(11), XMM(12), XMM(13), XMM(14), XMM(15),
};

/* fs and gs point to one of these; each has another value. */
#define BASES 64
static uint64_t base_words[BASES];
uint64_t base_calls;

static void set_random_bases(struct rng *rng)
{
	uint64_t random = rng_next(rng);

	if (!base_words[0])
		for (unsigned int i = 0; i < BASES; i++)
			base_words[i] = UINT64_C(0xba5e0000ba5e0000) + i;
	__atomic_fetch_add(&base_calls, 1, __ATOMIC_RELAXED);
	user_call(SYS_SET_BASE, (uint64_t)&base_words[random % BASES], (uint64_t)&base_words[random / BASES % BASES],
		  0, 0, 0, 0);
}

void machine_random(struct machine *machine, struct rng *rng)
{
	static uint32_t started;

	for (unsigned int i = 0; i < MACHINE_WORDS; i++)
		if (i != MACHINE_SP)
			machine->word[i] = rng_next(rng);
	machine->word[MACHINE_FLAGS] &= FLAGS_STATUS | FLAG_DF | FLAG_NT | FLAG_AC | FLAG_ID;
	machine->word[MACHINE_FLAGS] |= FLAG_ONE | FLAG_IF;
	machine->word[MACHINE_MXCSR] = (machine->word[MACHINE_MXCSR] & 0xe03f) | 0x1f80;
	if (!__atomic_exchange_n(&started, 1, __ATOMIC_RELAXED) || rng_next(rng) % 8 == 0)
		set_random_bases(rng);
	__asm__ volatile("movq %%fs:0, %0" : "=r"(machine->word[MACHINE_FS]));
	__asm__ volatile("movq %%gs:0, %0" : "=r"(machine->word[MACHINE_GS]));
}

void machine_set_call(struct machine *machine, uint64_t number, const uint64_t args[6])
{
	static const unsigned int places[6] = {
		MACHINE_DI, MACHINE_SI, MACHINE_DX, MACHINE_R10, MACHINE_R8, MACHINE_R9,
	};

	machine->word[MACHINE_AX] = number;
	for (unsigned int i = 0; i < 6; i++)
		machine->word[places[i]] = args[i];
}

/* SYSCALL itself overwrites rcx and r11. */
void machine_after_call(struct machine *machine, int64_t result, const void *after)
{
	machine->word[MACHINE_AX] = (uint64_t)result;
	machine->word[MACHINE_CX] = (uint64_t)after;
	machine->word[MACHINE_R11] = machine->word[MACHINE_FLAGS];
}

void machine_to_regs(const struct machine *machine, struct regs *regs, uint64_t ip)
{
	const uint64_t *word = machine->word;

	regs_init_user(regs);
	regs->ax = word[MACHINE_AX];
	regs->bx = word[MACHINE_BX];
	regs->cx = word[MACHINE_CX];
	regs->dx = word[MACHINE_DX];
	regs->si = word[MACHINE_SI];
	regs->di = word[MACHINE_DI];
	regs->bp = word[MACHINE_BP];
	regs->r8 = word[MACHINE_R8];
	regs->r9 = word[MACHINE_R9];
	regs->r10 = word[MACHINE_R10];
	regs->r11 = word[MACHINE_R11];
	regs->r12 = word[MACHINE_R12];
	regs->r13 = word[MACHINE_R13];
	regs->r14 = word[MACHINE_R14];
	regs->r15 = word[MACHINE_R15];
	regs->sp = word[MACHINE_SP];
	regs->flags = word[MACHINE_FLAGS] | FLAG_ONE | FLAG_IF;
	regs->ip = ip;
}

int64_t user_fork(struct machine *in, struct machine *out, struct machine *child_expected, uint64_t child_sp,
		  uint64_t cpu)
{
	struct machine *child_out = (struct machine *)((child_sp - sizeof(*child_out)) & ~UINT64_C(15));
	uint64_t *sp = (uint64_t *)child_out - 1;
	const uint64_t args[6] = {
		TEST_FORK, (uint64_t)sp, cpu, in->word[MACHINE_R10], in->word[MACHINE_R8], in->word[MACHINE_R9],
	};

	*sp = (uint64_t)child_out;
	machine_set_call(in, SYS_TEST, args);
	*child_expected = *in;
	machine_after_call(child_expected, 0, user_fork_after);
	child_expected->word[MACHINE_SP] = (uint64_t)sp;
	return user_fork_state(in, out);
}

/* UD2 has two bytes. What else arrives here a scenario waits for. */
void (*fault_hook)(struct user_frame *frame);

void user_skip_fault(struct user_frame *frame)
{
	if (fault_hook)
		fault_hook(frame);
	else if (frame->fault.vector != 6)
		give_up("vector %lu error %lx address %lx ip %lx", frame->fault.vector, frame->fault.code,
			frame->fault.address, frame->regs.ip);
	else
		frame->regs.ip += 2;
}

void read_layout(uint64_t *layout)
{
	user_call(SYS_TEST, TEST_LAYOUT, (uint64_t)layout, 0, 0, 0, 0);
}

void set_watch(uint64_t address, uint64_t control)
{
	user_call(SYS_TEST, TEST_WATCH, address, control, 0, 0, 0);
}

uint64_t kernel_steps(void)
{
	return (uint64_t)user_call(SYS_TEST, TEST_STEPS, 0, 0, 0, 0, 0);
}

uint64_t kernel_hits(void)
{
	return (uint64_t)user_call(SYS_TEST, TEST_HITS, 0, 0, 0, 0, 0);
}

const struct scenario cpu_scenarios[] = {
	{ "methods", run_methods },
	{ "gates32", run_gates32 },
	{ "bad-returns", run_bad_returns },
	{ "single-step", run_single_step },
	{ "breakpoints", run_breakpoints },
	{ "hostile", run_hostile },
	{ "mov-ss", run_mov_ss },
	{ "isolation", run_isolation },
	{ "nmi", run_nmi },
	{ "ipis", run_ipis },
	{ "load-gs", run_load_gs },
	{ NULL, NULL },
};
