/* SPDX-License-Identifier: MIT */
/* The hooks of the generated entry code that know the CPU: exceptions, interrupts, what may come at any instruction. */
#include "mmu.h"

uint64_t nmi_counts[CPU_COUNT][3];
uint64_t ipi_counts[CPU_COUNT][256], ipi_sent[CPU_COUNT][256];

extern const char load_gs_change[]; /* entry.S: the instruction that loads the selector */
extern const char nmi_run_again[];  /* where an NMI within an NMI makes the outer one return to */

/* What the entry code promises to all C code, whoever was interrupted. */
static const char *wrong_anywhere(void)
{
	uint64_t flags = cpu_flags(), cr3;

	if (flags & FLAG_DF)
		return "C runs with DF set";
	if (flags & (FLAG_TF | FLAG_NT))
		return "C runs with TF or NT set";
#ifdef CONFIG_SMAP
	if (flags & FLAG_AC)
		return "C runs with AC set: SMAP is off";
#endif
	if (rdmsr(MSR_GS_BASE) != (uint64_t)this_cpu())
		return "C runs without the kernel's GS base";
	if (spec_ctrl_is_kept && rdmsr(MSR_SPEC_CTRL) != SPEC_CTRL_IBRS)
		return "C runs without IBRS";
	__asm__ volatile("movq %%cr3, %0" : "=r"(cr3));
	if (cr3 & (USER_TABLE_PCID | USER_TABLE))
		return "C runs on the user's page table";
	return NULL;
}

const char *cpu_wrong_state(void)
{
	const char *wrong = wrong_anywhere();

#ifndef CONFIG_FSGSBASE
	if (!wrong && rdmsr(MSR_KERNEL_GS_BASE) != current_thread()->arch.gs_base)
		return "the user's GS base is lost";
#endif
	return wrong;
}

void cpu_print_regs(const struct regs *regs)
{
	print("ip %lx cs %lx flags %lx sp %lx ss %lx vector %lx error %lx\n", regs->ip, regs->cs, regs->flags, regs->sp,
	      regs->ss, regs->vector, regs->error);
	print("ax %lx bx %lx cx %lx dx %lx si %lx di %lx bp %lx\n", regs->ax, regs->bx, regs->cx, regs->dx, regs->si,
	      regs->di, regs->bp);
	print("r8 %lx r9 %lx r10 %lx r11 %lx r12 %lx r13 %lx r14 %lx r15 %lx\n", regs->r8, regs->r9, regs->r10,
	      regs->r11, regs->r12, regs->r13, regs->r14, regs->r15);
}

void user_exception(struct regs *regs)
{
	const struct fault fault = { regs->vector, regs->error, 0 };

	if (regs->vector == 1) /* its causes stay until somebody clears them */
		__asm__ volatile("movq %0, %%dr6" :: "r"((uint64_t)DR6_NONE));
	deliver_fault(regs, &fault);
}

void user_page_fault(struct regs *regs, uint64_t address)
{
	const struct fault fault = { regs->vector, regs->error, address };

	deliver_fault(regs, &fault);
}

/* In these the frame lies at the top of the event's own stack, and no lock may be taken. */
static void check_paranoid(const char *hook, const struct regs *regs, uint64_t top)
{
	const char *wrong = wrong_anywhere();

	if (wrong)
		panic(wrong, regs);
	if (cpu_irqs_are_on() || (uint64_t)(regs + 1) != top)
		panic(hook, regs);
}

/* A CPU looks at TF after SYSCALL has cleared it, Bochs before. */
static bool stepped_syscall(const struct regs *regs)
{
	return (regs->ip == (uint64_t)syscall_64 || regs->ip == (uint64_t)syscall_32) && !(regs->flags & FLAG_TF);
}

/*
 * SYSENTER keeps TF: the kernel's first instruction traps. The system call goes on without it, and the user's single
 * step comes after the return: cpu_user_left(). All other debug exceptions here are ordered by TEST_WATCH, or come
 * from a user's MOV SS.
 */
void kernel_debug(struct regs *regs)
{
	struct cpu_thread *arch = &current_thread()->arch;
	uint64_t cause;

	check_paranoid("#DB on a wrong stack", regs, this_cpu()->tss.ist3);
	__asm__ volatile("movq %%dr6, %0" : "=r"(cause));
	__asm__ volatile("movq %0, %%dr6" :: "r"((uint64_t)DR6_NONE));
	if ((cause & DR6_STEP) && !stepped_syscall(regs)) {
		if (regs->ip != (uint64_t)sysenter)
			panic("a single step of kernel code", regs);
		regs->flags &= ~(uint64_t)FLAG_TF;
		arch->step = true;
		arch->steps++;
	}
	if (cause & DR6_HIT) {
		regs->flags |= FLAG_RF;
		arch->hits++;
	}
}

void cpu_user_left(struct regs *regs)
{
	struct cpu_thread *arch = &current_thread()->arch;

	if (arch->step)
		regs->flags |= FLAG_TF;
	arch->step = false;
}

/*
 * An exception in here ends with IRET, which lets the next NMI in: nmi_mark() is where a scenario has it happen. That
 * NMI does not get here but makes the entry code run this once more, after the return.
 */
void nmi(struct regs *regs)
{
	const struct percpu *cpu = this_cpu();
	const struct nmi *top = (const struct nmi *)cpu->tss.ist2 - 1;
	uint64_t *counts = nmi_counts[cpu_self()->id];
	bool from_user = regs_from_user(regs);
	uint64_t breakpoint;

	check_paranoid("an NMI on a wrong stack", regs, from_user ? cpu->task_top : (uint64_t)&top->again_ip);
	counts[from_user ? 0 : 1]++;
	nmi_mark();
	__asm__ volatile("movq %%dr7, %0" : "=r"(breakpoint));
	if (from_user || !(breakpoint & DR7_ON) || counts[1] % 4 == 0) /* else it might go on like this for ever */
		return;
	switch (nmi_wait(&top->again_ip, (uint64_t)nmi_run_again, 20000)) {
	case 0:
		break;
	case 1:
		counts[2]++;
		break;
	default:
		panic("an NMI within an NMI has changed rdx", regs);
	}
}

void machine_check(struct regs *regs)
{
	panic("a machine check", regs);
}

void double_fault(struct regs *regs)
{
	check_paranoid("#DF on a wrong stack", regs, this_cpu()->tss.ist1);
	panic("a double fault", regs);
}

bool int80_external(void)
{
	return apic_in_service(0x80);
}

void bad_interrupt(struct regs *regs)
{
	panic("an interrupt on the vector of system calls", regs);
}

void bad_stack_segment(struct regs *regs)
{
	panic("a stack segment of an LDT", regs);
}

/* No emulated CPU has FRED, and no configuration here uses it. */
void fred_user(struct regs *regs, uint64_t address)
{
	(void)address;
	panic("an event of FRED", regs);
}

void fred_kernel(struct regs *regs, uint64_t address)
{
	(void)address;
	panic("an event of FRED", regs);
}

void kernel_exception(struct regs *regs)
{
	if (regs->ip == (uint64_t)load_gs_change) { /* once more from its beginning, with a selector that is good */
		current_thread()->arch.selectors++;
		regs->ip = (uint64_t)load_gs;
		regs->di = 0;
		return;
	}
	panic("an exception in the kernel", regs);
}

void kernel_page_fault(struct regs *regs, uint64_t address)
{
	print("address %lx\n", address);
	panic("a page fault in the kernel", regs);
}

void interrupt(struct regs *regs, uint8_t vector)
{
	if (vector == SPURIOUS_VECTOR)
		return;
	apic_end();
	if (vector == TIMER_VECTOR) {
		timer_tick(regs);
		return;
	}
	if (++ipi_counts[cpu_self()->id][vector] > __atomic_load_n(&ipi_sent[cpu_self()->id][vector], __ATOMIC_ACQUIRE))
		panic("an interrupt that nobody sent", regs);
}
