/* SPDX-License-Identifier: MIT */
/* What the x86-64 scenarios ask the kernel for: counters, addresses, hardware breakpoints. */
#include "mmu.h"
#include "scenario.h"

/* Labels of entry.S that are no entry points. */
extern const char sysret_64[], sysret_32[], iret_user[], nmi_redirect[], trap[];

/* Counters in the order of enum stat_cpu. */
uint64_t cpu_stat(uint64_t which)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < CPU_COUNT; i++) {
		const struct percpu *cpu = &cpus[i].percpu;

		if (which < STAT_REFUSED)
			sum += cpu->returned[which - STAT_RETURNED];
		else if (which < STAT_RETURNED_32)
			sum += cpu->refused[which - STAT_REFUSED];
		else if (which < STAT_REFUSED_32)
			sum += cpu->returned_32[which - STAT_RETURNED_32];
		else if (which < STAT_REFUSED_32 + 6)
			sum += cpu->refused_32[which - STAT_REFUSED_32];
	}
	return sum;
}

/* All counters at one moment. */
static int64_t test_counters(uint64_t a)
{
	uint64_t *to = user_pointer(a, STAT_CPU_COUNT * sizeof(*to));

	if (!to)
		return -22;
	for (unsigned int i = 0; i < STAT_CPU_COUNT; i++)
		to[i] = cpu_stat(STAT_CPU_FIRST + i);
	return 0;
}

/* Of the caller's CPU. */
static int64_t test_layout(uint64_t a)
{
	extern uint8_t kernel_text[], kernel_data[], entry_text[], entry_data[];
	uint64_t *to = user_pointer(a, LAYOUT_COUNT * sizeof(*to));
	const struct cpu *cpu = cpu_self();
	const struct task_state *tss = &cpu->percpu.tss;

	if (!to)
		return -22;
	to[LAYOUT_KERNEL_TEXT] = (uint64_t)kernel_text;
	to[LAYOUT_KERNEL_DATA] = (uint64_t)kernel_data;
	to[LAYOUT_ENTRY_TEXT] = (uint64_t)entry_text;
	to[LAYOUT_ENTRY_DATA] = (uint64_t)entry_data;
	to[LAYOUT_PERCPU] = (uint64_t)cpu;
	to[LAYOUT_PRIVATE] = (uint64_t)&cpu->self;
	to[LAYOUT_GDT] = (uint64_t)cpu_areas[cpu->id].gdt;
	to[LAYOUT_SP0] = tss->sp0;
	to[LAYOUT_DF_TOP] = tss->ist1;
	to[LAYOUT_NMI_TOP] = tss->ist2;
	to[LAYOUT_DB_TOP] = tss->ist3;
	to[LAYOUT_MC_TOP] = tss->ist4;
	to[LAYOUT_TASK_TOP] = cpu->percpu.task_top;
	to[LAYOUT_SYSCALL_64] = (uint64_t)syscall_64;
	to[LAYOUT_SYSCALL_32] = (uint64_t)syscall_32;
	to[LAYOUT_SYSENTER] = (uint64_t)sysenter;
	to[LAYOUT_INT80] = (uint64_t)int80;
	to[LAYOUT_SYSRET_64] = (uint64_t)sysret_64;
	to[LAYOUT_SYSRET_32] = (uint64_t)sysret_32;
	to[LAYOUT_IRET_USER] = (uint64_t)iret_user;
	to[LAYOUT_NMI_REDIRECT] = (uint64_t)nmi_redirect;
	to[LAYOUT_TRAP] = (uint64_t)trap;
	to[LAYOUT_NMI_TRAP] = (uint64_t)nmi_trap;
	to[LAYOUT_NMI_MARK] = (uint64_t)nmi_mark;
	return 0;
}

/* Breakpoint 0 of the caller's CPU. */
static int64_t test_watch(uint64_t address, uint64_t control)
{
	__asm__ volatile("movq %0, %%dr0" :: "r"(address));
	__asm__ volatile("movq %0, %%dr6" :: "r"((uint64_t)DR6_NONE));
	__asm__ volatile("movq %0, %%dr7" :: "r"(control));
	return 0;
}

static int64_t test_nmi(uint64_t cpu)
{
	if (cpu >= CPU_COUNT)
		return -22;
	cpu_irqs_off();
	apic_send_nmi((unsigned int)cpu);
	cpu_irqs_on();
	return 0;
}

static int64_t test_ipi(uint64_t cpu, uint64_t vector)
{
	if (cpu >= CPU_COUNT || vector > 255)
		return -22;
	cpu_irqs_off();
	__atomic_fetch_add(&ipi_sent[cpu][vector], 1, __ATOMIC_RELEASE);
	apic_send((unsigned int)cpu, (unsigned int)vector);
	cpu_irqs_on();
	return 0;
}

static int64_t test_ipis(uint64_t cpu, uint64_t b)
{
	uint64_t *to = user_pointer(b, sizeof(ipi_counts[0]));

	if (cpu >= CPU_COUNT || !to)
		return -22;
	for (unsigned int i = 0; i < 256; i++)
		to[i] = __atomic_load_n(&ipi_counts[cpu][i], __ATOMIC_ACQUIRE);
	return 0;
}

static int64_t test_nmis(uint64_t cpu, uint64_t b)
{
	uint64_t *to = user_pointer(b, sizeof(nmi_counts[0]));

	if (cpu >= CPU_COUNT || !to)
		return -22;
	for (unsigned int i = 0; i < 3; i++)
		to[i] = nmi_counts[cpu][i];
	return 0;
}

int64_t cpu_test(uint64_t op, uint64_t a, uint64_t b)
{
	const struct cpu_thread *arch = &current_thread()->arch;

	switch (op) {
	case TEST_COUNTERS:
		return test_counters(a);
	case TEST_LAYOUT:
		return test_layout(a);
	case TEST_WATCH:
		return test_watch(a, b);
	case TEST_STEPS:
		return (int64_t)arch->steps;
	case TEST_HITS:
		return (int64_t)arch->hits;
	case TEST_LOAD_GS:
		cpu_set_gs_selector(a);
		return (int64_t)arch->selectors;
	case TEST_NMI:
		return test_nmi(a);
	case TEST_IPI:
		return test_ipi(a, b);
	case TEST_IPIS:
		return test_ipis(a, b);
	case TEST_NMIS:
		return test_nmis(a, b);
	default:
		return -22;
	}
}
