/* SPDX-License-Identifier: MIT */
/* The user programs' arm64 part: the machine state, and every exception that user mode can raise. */
#include "hardware.h"
#include "scenario.h"
#include "user.h"

_Static_assert(NR_EXIT == SYS_EXIT && NR_RETURN_FRAME == SYS_RETURN_FRAME, "user_asm.S has the right numbers");

#define X(n) "x" #n
#define V(n) "v" #n ".low", "v" #n ".high"
const char *const machine_names[MACHINE_WORDS] = {
	X(0), X(1), X(2), X(3), X(4), X(5), X(6), X(7), X(8), X(9), X(10), X(11), X(12), X(13), X(14), X(15),
	X(16), X(17), X(18), X(19), X(20), X(21), X(22), X(23), X(24), X(25), X(26), X(27), X(28), X(29), X(30),
	"sp", "nzcv", "tpidr_el0", "fpcr", "fpsr",
	V(0), V(1), V(2), V(3), V(4), V(5), V(6), V(7), V(8), V(9), V(10), V(11), V(12), V(13), V(14), V(15),
	V(16), V(17), V(18), V(19), V(20), V(21), V(22), V(23), V(24), V(25), V(26), V(27), V(28), V(29), V(30),
	V(31),
};

#define NZCV      UINT64_C(0xf0000000)
#define FPCR_MASK UINT64_C(0x07c00000) /* AHP, DN, FZ, rounding */
#define FPSR_MASK UINT64_C(0x0800009f) /* QC and the exception flags */

void machine_random(struct machine *machine, struct rng *rng)
{
	for (unsigned int i = 0; i < MACHINE_WORDS; i++)
		if (i != MACHINE_SP)
			machine->word[i] = rng_next(rng);
	machine->word[MACHINE_NZCV] &= NZCV;
	machine->word[MACHINE_FPCR] &= FPCR_MASK;
	machine->word[MACHINE_FPSR] &= FPSR_MASK;
}

void machine_set_call(struct machine *machine, uint64_t number, const uint64_t args[6])
{
	machine->word[8] = number;
	for (unsigned int i = 0; i < 6; i++)
		machine->word[i] = args[i];
}

void machine_after_call(struct machine *machine, int64_t result, const void *after)
{
	(void)after; /* SVC leaves the address in no register of user mode */
	machine->word[0] = (uint64_t)result;
}

void machine_to_regs(const struct machine *machine, struct regs *regs, uint64_t ip)
{
	uint64_t *x = (uint64_t *)regs; /* x0..x30 come first */

	regs_init_user(regs);
	for (unsigned int i = 0; i < 31; i++)
		x[i] = machine->word[i];
	regs->sp = machine->word[MACHINE_SP];
	regs->pstate = machine->word[MACHINE_NZCV];
	regs->pc = ip;
}

void user_thread_regs(struct regs *regs, uint64_t sp, uint64_t fn, uint64_t arg)
{
	regs_init_user(regs);
	regs_call_user(regs, (uint64_t)user_thread_entry, sp, fn);
	regs->x1 = arg;
}

/* user_asm.S */
int64_t user_fork_state(struct machine *in, struct machine *out);
void raise_undefined(uint64_t arg);
void raise_system_instruction(uint64_t arg);
void raise_system_register(uint64_t arg);
void raise_trapped_register(uint64_t arg);
void raise_trapped_instruction(uint64_t arg);
void raise_brk(uint64_t arg);
void raise_read(uint64_t arg);
void raise_write(uint64_t arg);
void raise_exclusive(uint64_t arg);
void raise_jump(uint64_t arg);

int64_t user_fork(struct machine *in, struct machine *out, struct machine *child_expected, uint64_t child_sp,
		  uint64_t cpu)
{
	const uint64_t args[6] = { TEST_FORK, child_sp, cpu, in->word[3], in->word[4], in->word[5] };

	machine_set_call(in, SYS_TEST, args);
	*child_expected = *in;
	child_expected->word[0] = 0;
	child_expected->word[MACHINE_SP] = child_sp;
	return user_fork_state(in, out);
}

void user_skip_fault(struct user_frame *frame)
{
	frame->regs.pc += 4;
}

/* DDI 0487, ESR_EL1: exception classes, and instruction-specific syndromes of the aborts. */
enum {
	EC_UNKNOWN = 0x00, EC_TRAPPED = 0x18, EC_IABORT = 0x20, EC_PC = 0x22, EC_DABORT = 0x24, EC_BRK = 0x3c,
};
enum { TRANSLATION = 0x04, PERMISSION = 0x0c, ALIGNMENT = 0x21, WRITE = 1 << 6 }; /* + level of the table */

/* Trapped MSR, MRS: Op0, Op2, Op1, CRn, Rt, CRm, direction. */
#define TRAP_ISS(op0, op1, crn, crm, op2, rt, read) \
	((op0) << 20 | (op2) << 17 | (op1) << 14 | (crn) << 10 | (rt) << 5 | (crm) << 1 | (read))

#define KERNEL_CODE UINT64_C(0x40200000)
#define DEVICE      UINT64_C(0x09000000)
#define UNMAPPED    (USER_BASE + USER_SIZE)
#define OUT_OF_VA   UINT64_C(0x0000800000000000)
#define TOP_HALF    UINT64_C(0xffffff8000000000)

static uint64_t data_page[512] __attribute__((aligned(4096)));

struct fault_case {
	const char *name;
	void (*raise)(uint64_t arg);
	uint64_t arg;
	uint64_t pc;      /* 0: the first instruction of raise() */
	uint64_t class, code, address;
};

static bool check_case(const struct fault_case *c)
{
	uint64_t pc = c->pc ? c->pc : (uint64_t)c->raise;
	struct user_frame frame;

	if (!user_try(c->raise, c->arg, &frame)) {
		differ("%s: no exception", c->name);
		return false;
	}
	if (frame.fault.vector == c->class && frame.fault.code == c->code && frame.fault.address == c->address &&
	    frame.regs.pc == pc)
		return true;
	differ("%s: class %lx code %lx address %lx pc %lx, expected %lx %lx %lx %lx", c->name, frame.fault.vector,
	       frame.fault.code, frame.fault.address, frame.regs.pc, c->class, c->code, c->address, pc);
	return false;
}

/* SP alignment (class 0x26) is missing: QEMU's TCG does not check it. */
bool cpu_faults(uint64_t *count)
{
	const uint64_t data = (uint64_t)data_page, code = (uint64_t)raise_read;
	const struct fault_case cases[] = {
		{ "undefined instruction", raise_undefined, 0, 0, EC_UNKNOWN, 0, 0 },
		{ "eret", raise_system_instruction, 0, 0, EC_UNKNOWN, 0, 0 },
		{ "mrs vbar_el1", raise_system_register, 0, 0, EC_UNKNOWN, 0, 0 },
		{ "mrs ctr_el0", raise_trapped_register, 0, 0, EC_TRAPPED, TRAP_ISS(3, 3, 0, 0, 1, 7, 1), 0 },
		{ "dc zva", raise_trapped_instruction, 0, 0, EC_TRAPPED, TRAP_ISS(1, 3, 7, 4, 1, 7, 0), 0 },
		{ "brk", raise_brk, 0, 0, EC_BRK, 0xabcd, 0 },

		{ "read of an unmapped page", raise_read, UNMAPPED, 0, EC_DABORT, TRANSLATION + 2, UNMAPPED },
		{ "write to an unmapped page", raise_write, UNMAPPED + 8, 0, EC_DABORT, WRITE | (TRANSLATION + 2),
		  UNMAPPED + 8 },
		{ "read at 0", raise_read, 0, 0, EC_DABORT, TRANSLATION + 2, 0 },
		{ "read beyond the tables", raise_read, OUT_OF_VA, 0, EC_DABORT, TRANSLATION, OUT_OF_VA },
		{ "read of the top half", raise_read, TOP_HALF, 0, EC_DABORT, TRANSLATION, TOP_HALF },
		{ "read of kernel code", raise_read, KERNEL_CODE, 0, EC_DABORT, PERMISSION + 2, KERNEL_CODE },
		{ "write to kernel code", raise_write, KERNEL_CODE, 0, EC_DABORT, WRITE | (PERMISSION + 2),
		  KERNEL_CODE },
		{ "read of a device", raise_read, DEVICE, 0, EC_DABORT, PERMISSION + 2, DEVICE },
		{ "write to user code", raise_write, code, 0, EC_DABORT, WRITE | (PERMISSION + 3), code },
		{ "unaligned exclusive", raise_exclusive, data + 1, 0, EC_DABORT, ALIGNMENT, data + 1 },

		{ "jump to an unmapped page", raise_jump, UNMAPPED, UNMAPPED, EC_IABORT, TRANSLATION + 2, UNMAPPED },
		{ "jump to kernel code", raise_jump, KERNEL_CODE, KERNEL_CODE, EC_IABORT, PERMISSION + 2,
		  KERNEL_CODE },
		{ "jump to data", raise_jump, data, data, EC_IABORT, PERMISSION + 3, data },
		{ "jump to an odd address", raise_jump, code + 2, code + 2, EC_PC, 0, code + 2 },
	};

	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (!check_case(&cases[i]))
			return false;
		++*count;
	}
	return true;
}

static uint64_t read_base(void)
{
	uint64_t base;

	__asm__ volatile("mrs %0, tpidr_el0" : "=r"(base));
	return base;
}

/* tpidr_el0 is what sys_set_base says, and what user code wrote itself, across switches to other threads. */
static void base_worker(struct worker *worker)
{
	struct rng rng = { worker->seed };

	for (uint64_t i = scaled(2000); i && !worker->errors; i--) {
		uint64_t base = rng_next(&rng);

		if (i & 1)
			user_call(SYS_SET_BASE, base, ~base, 0, 0, 0, 0);
		else
			__asm__ volatile("msr tpidr_el0, %0" :: "r"(base));
		if (read_base() != base)
			worker_error(worker, "tpidr_el0 is %lx, not %lx", read_base(), base);
		user_call(SYS_YIELD, 0, 0, 0, 0, 0, 0);
		if (read_base() != base)
			worker_error(worker, "tpidr_el0 is %lx after a switch, not %lx", read_base(), base);
		worker->count++;
	}
}

static bool run_bases(void)
{
	static struct worker workers[4];

	for (unsigned int i = 0; i < 4; i++)
		workers[i] = (struct worker){ .run = base_worker, .seed = 77 + i, .cpu = i & 1 };
	if (!run_workers(workers, 4))
		return false;
	say("%lu values of tpidr_el0 on both CPUs", workers[0].count + workers[1].count + workers[2].count +
	    workers[3].count);
	return true;
}

/* The vectors that end in bad_mode() hand it a whole frame. The kernel raises the events and comes back. */
static bool run_bad_mode(void)
{
	const uint64_t count = scaled(500);
	struct rng rng = { 99 };

	for (uint64_t i = 0; i < count; i++) {
		int64_t wrong = user_call(SYS_TEST, TEST_EL1T, rng_next(&rng), 0, 0, 0, 0);

		if (wrong) {
			differ("exception on SP_EL0 in the kernel: slot %ld of the frame", wrong - 1);
			return false;
		}
		wrong = user_call(SYS_TEST, TEST_AARCH32, 0x1000 + 4 * i, 0, 0, 0, 0);
		if (wrong) {
			differ("exception of AArch32 user mode: slot %ld of the frame", wrong - 1);
			return false;
		}
	}
	say("%lu exceptions on SP_EL0 in the kernel, %lu of AArch32 user mode", count, count);
	return true;
}

const struct scenario cpu_scenarios[] = {
	{ "bases", run_bases },
	{ "bad-mode", run_bad_mode },
	{ NULL, NULL },
};
