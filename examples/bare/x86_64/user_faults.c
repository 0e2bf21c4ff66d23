/* SPDX-License-Identifier: MIT */
/*
 * Every exception that user mode can raise on this emulator: vector, error code, address, instruction pointer.
 * Missing: #AC and #XM, which QEMU's TCG never raises; it raises #GP where a CPU raises #SS for an address.
 */
#include "scenario.h"
#include "user_x86.h"

/* A function whose instruction `name_at` raises; an exception that is a trap arrives at `name_next`. */
#define RAISE(name, before, instruction)                                                \
	void name(uint64_t arg);                                                        \
	extern const char name##_at[], name##_next[];                                   \
	__asm__(".text\n.globl " #name ", " #name "_at, " #name "_next\n" #name ":\n\t" \
		before "\n" #name "_at:\n\t" instruction "\n" #name "_next:\n\tnop\n\tnop\n\tret\n")

RAISE(raise_divide, "xorl %ecx, %ecx; xorl %edx, %edx; movl $1, %eax", "divl %ecx");
RAISE(raise_step, "pushfq; orl $0x100, (%rsp); popfq", "nop");
RAISE(raise_breakpoint, "", "int3");
RAISE(raise_breakpoint_2, "", ".byte 0xcd, 3");
RAISE(raise_overflow, "", "int $4");
RAISE(raise_undefined, "", "ud2");
RAISE(raise_float, "fninit; pushq $0x340; fldcw (%rsp); popq %rax; fldz; fld1; fdivp", "fwait");
RAISE(raise_absent, "movl $0x4b, %eax", "movl %eax, %ds");
RAISE(raise_stack, "movl $0x4b, %eax", "movl %eax, %ss");
RAISE(raise_int_32, "", "int $0x20");
RAISE(raise_int_64, "", "int $0x40");
RAISE(raise_int_14, "", "int $14");
RAISE(raise_int_255, "", "int $0xff");
RAISE(raise_halt, "", "hlt");
RAISE(raise_cli, "", "cli");
RAISE(raise_port, "movl $0x80, %edx", "outb %al, %dx");
RAISE(raise_wrmsr, "xorl %ecx, %ecx", "wrmsr");
RAISE(raise_swapgs, "", "swapgs");
RAISE(raise_sysret, "", "sysretq");
RAISE(raise_kernel_ds, "movl $0x10, %eax", "movl %eax, %ds");
RAISE(raise_local_ds, "movl $0x1234, %eax", "movl %eax, %es");
RAISE(raise_beyond_ds, "movl $0x1230, %eax", "movl %eax, %es");
RAISE(raise_read, "", "movq (%rdi), %rax");
RAISE(raise_write, "", "movq %rax, (%rdi)");
RAISE(raise_jump, "", "jmp *%rdi");

enum { DE = 0, DB = 1, BP = 3, OF = 4, UD = 6, NP = 11, SS = 12, GP = 13, PF = 14, MF = 16 };
enum { PF_PRESENT = 1, PF_WRITE = 2, PF_USER = 4, PF_FETCH = 16 };

#define UNMAPPED UINT64_C(0x50000000)
#define KERNEL   (KERNEL_BASE + UINT64_C(0x00100000))
#ifdef CONFIG_PTI
#define PF_KERNEL 0 /* what is not mapped is not present */
#else
#define PF_KERNEL PF_PRESENT
#endif
#define NOT_CANONICAL UINT64_C(0x0000800000000000)
#define IDT(vector) ((vector) * 8 + 2)

struct fault_case {
	const char *name;
	void (*raise)(uint64_t arg);
	uint64_t arg;
	const char *ip;
	uint64_t vector, code, address;
};

/* QEMU before 8 reports a gate that user mode may not use with 16, not 8 times its number. */
static bool same_code(uint64_t code, uint64_t expected)
{
	bool is_gate = expected & 2;

	return code == expected || (is_gate && code == (expected - 2) * 2 + 2);
}

static bool check_case(const struct fault_case *c)
{
	struct user_frame frame;

	if (!user_try(c->raise, c->arg, &frame)) {
		differ("%s: no exception", c->name);
		return false;
	}
	if (frame.fault.vector == c->vector && same_code(frame.fault.code, c->code) && frame.fault.address == c->address &&
	    frame.regs.ip == (uint64_t)c->ip && frame.regs.cs == USER_CS && frame.regs.ss == USER_DS)
		return true;
	differ("%s: vector %lu error %lx address %lx ip %lx, expected %lu %lx %lx %lx", c->name, frame.fault.vector,
	       frame.fault.code, frame.fault.address, frame.regs.ip, c->vector, c->code, c->address, (uint64_t)c->ip);
	return false;
}

bool cpu_faults(uint64_t *count)
{
	static uint64_t word;
	const uint64_t data = (uint64_t)&word, code = (uint64_t)raise_read;
	const struct fault_case cases[] = {
		{ "div", raise_divide, 0, raise_divide_at, DE, 0, 0 },
		{ "single step", raise_step, 0, raise_step_next, DB, 0, 0 },
		{ "int3", raise_breakpoint, 0, raise_breakpoint_next, BP, 0, 0 },
		{ "int 3", raise_breakpoint_2, 0, raise_breakpoint_2_next, BP, 0, 0 },
		{ "int 4", raise_overflow, 0, raise_overflow_next, OF, 0, 0 },
		{ "ud2", raise_undefined, 0, raise_undefined_at, UD, 0, 0 },
		{ "fwait", raise_float, 0, raise_float_at, MF, 0, 0 },
		{ "absent ds", raise_absent, 0, raise_absent_at, NP, 0x48, 0 },
		{ "absent ss", raise_stack, 0, raise_stack_at, SS, 0x48, 0 },
		{ "int 0x20", raise_int_32, 0, raise_int_32_at, GP, IDT(0x20), 0 },
		{ "int 0x40", raise_int_64, 0, raise_int_64_at, GP, IDT(0x40), 0 },
		{ "int 14", raise_int_14, 0, raise_int_14_at, GP, IDT(14), 0 },
		{ "int 0xff", raise_int_255, 0, raise_int_255_at, GP, IDT(0xff), 0 },
		{ "hlt", raise_halt, 0, raise_halt_at, GP, 0, 0 },
		{ "cli", raise_cli, 0, raise_cli_at, GP, 0, 0 },
		{ "out", raise_port, 0, raise_port_at, GP, 0, 0 },
		{ "wrmsr", raise_wrmsr, 0, raise_wrmsr_at, GP, 0, 0 },
		{ "swapgs", raise_swapgs, 0, raise_swapgs_at, GP, 0, 0 },
		{ "sysretq", raise_sysret, 0, raise_sysret_at, GP, 0, 0 },
		{ "ds of the kernel", raise_kernel_ds, 0, raise_kernel_ds_at, GP, 0x10, 0 },
		{ "ds in no table", raise_local_ds, 0, raise_local_ds_at, GP, 0x1234, 0 },
		{ "ds beyond the table", raise_beyond_ds, 0, raise_beyond_ds_at, GP, 0x1230, 0 },
		{ "read of no address", raise_read, NOT_CANONICAL, raise_read_at, GP, 0, 0 },

		{ "read of an unmapped page", raise_read, UNMAPPED, raise_read_at, PF, PF_USER, UNMAPPED },
		{ "read at 0", raise_read, 8, raise_read_at, PF, PF_USER, 8 },
		{ "write to an unmapped page", raise_write, UNMAPPED + 8, raise_write_at, PF, PF_USER | PF_WRITE,
		  UNMAPPED + 8 },
		{ "write to code", raise_write, code, raise_write_at, PF, PF_USER | PF_WRITE | PF_PRESENT, code },
		{ "read of the kernel", raise_read, KERNEL, raise_read_at, PF, PF_USER | PF_KERNEL, KERNEL },
		{ "write to the kernel", raise_write, KERNEL, raise_write_at, PF, PF_USER | PF_WRITE | PF_KERNEL,
		  KERNEL },
		{ "jump to an unmapped page", raise_jump, UNMAPPED, (const char *)UNMAPPED, PF, PF_USER | PF_FETCH,
		  UNMAPPED },
		{ "jump to data", raise_jump, data, (const char *)data, PF, PF_USER | PF_FETCH | PF_PRESENT, data },
		{ "jump to the kernel", raise_jump, KERNEL, (const char *)KERNEL, PF, PF_USER | PF_FETCH | PF_KERNEL,
		  KERNEL },
	};

	for (unsigned int i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (!check_case(&cases[i]))
			return false;
		++*count;
	}
	return true;
}
