/* SPDX-License-Identifier: MIT */
/* The x86-64 port: descriptor tables, page tables, context switch, hooks that know the CPU. */
#include "format.h"
#include "kernel.h"
#include "scenario.h"

extern uint64_t boot_pml4[512], boot_pdpt[512];
extern void switch_stack(uint64_t *from, uint64_t to);

static uint64_t gdts[CPU_COUNT][GDT_WORDS] __attribute__((aligned(8)));
static uint64_t user_pd[512] __attribute__((aligned(4096)));
static uint64_t user_pt[512] __attribute__((aligned(4096)));
static uint64_t high_pdpt[512] __attribute__((aligned(4096)));
static uint64_t high_pd[512] __attribute__((aligned(4096)));
static uint64_t high_pt[512] __attribute__((aligned(4096)));
static uint8_t high_pages[2][4096] __attribute__((aligned(4096)));
static uint8_t clean_fx[512] __attribute__((aligned(16)));

void cpu_putc(char c)
{
	while (!(inb(0x3f8 + 5) & 0x20))
		cpu_relax();
	outb(0x3f8, (uint8_t)c);
}

void cpu_shutdown(bool passed)
{
	cpu_irqs_off();
	for (;;)
		outb(0xf4, passed ? 0x10 : 0x11); /* isa-debug-exit: status 33 or 35 */
}

struct percpu *this_cpu(void)
{
	struct percpu *cpu;

	__asm__ volatile("movq %%gs:%c1, %0" : "=r"(cpu) : "i"(offsetof(struct cpu, self)));
	return cpu;
}

static void load_gdt(struct cpu *cpu)
{
	uint64_t *gdt = gdts[cpu->id], base = (uint64_t)&cpu->percpu.tss;
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) pointer = { sizeof(gdts[0]) - 1, (uint64_t)gdt };

	gdt[KERNEL_CS / 8] = UINT64_C(0x00af9b000000ffff);
	gdt[KERNEL_DS / 8] = UINT64_C(0x00cf93000000ffff);
	gdt[USER32_CS / 8] = UINT64_C(0x00cffb000000ffff);
	gdt[USER_DS / 8] = gdt[OTHER_USER_DS / 8] = UINT64_C(0x00cff3000000ffff);
	gdt[USER_CS / 8] = gdt[OTHER_USER_CS / 8] = UINT64_C(0x00affb000000ffff);
	gdt[ABSENT_USER_DS / 8] = UINT64_C(0x00cf73000000ffff);
	gdt[TSS_SELECTOR / 8] = (sizeof(struct task_state) - 1) | (base & 0xffffff) << 16 |
				UINT64_C(0x89) << 40 | (base >> 24 & 0xff) << 56;
	gdt[TSS_SELECTOR / 8 + 1] = base >> 32;
	cpu->percpu.tss.io_map = sizeof(struct task_state);
	__asm__ volatile("lgdt %0; ltr %w1" :: "m"(pointer), "r"(TSS_SELECTOR) : "memory");
}

void cpu_setup(struct cpu *cpu)
{
	load_gdt(cpu);
	if (cpu->id == 0) {
		__asm__ volatile("fxsave %0" : "=m"(clean_fx));
		entry_setup();
	}
	entry_setup_cpu(&cpu->percpu);
	apic_setup();
#ifdef CONFIG_SMAP
	uint64_t cr4;

	__asm__ volatile("movq %%cr4, %0" : "=r"(cr4));
	__asm__ volatile("movq %0, %%cr4" :: "r"(cr4 | CR4_SMAP) : "memory");
#endif
}

void cpu_start_second(void)
{
	apic_start_cpu(1, AP_BOOT_PAGE);
}

/* USER_BASE, and the last two pages below the end of the canonical addresses: code may run up there too. */
void cpu_map_user(uint64_t data)
{
	uint64_t rights = PAGE_PRESENT | PAGE_USER;

	for (uint64_t i = 0; i < 512; i++) {
		uint64_t page = (uint64_t)user_memory + i * 4096;

		user_pt[i] = page | rights | (USER_BASE + i * 4096 < data ? 0 : PAGE_WRITE | PAGE_NX);
	}
	rights |= PAGE_WRITE;
	user_pd[0] = (uint64_t)user_pt | rights;
	high_pt[510] = (uint64_t)high_pages[0] | rights;
	high_pt[511] = (uint64_t)high_pages[1] | rights;
	high_pd[511] = (uint64_t)high_pt | rights;
	high_pdpt[511] = (uint64_t)high_pd | rights;
	boot_pdpt[1] = (uint64_t)user_pd | rights;
	boot_pml4[255] = (uint64_t)high_pdpt | rights;
}

void cpu_idle(void)
{
	__asm__ volatile("sti; hlt; cli" ::: "memory");
}

static void first_switch(void)
{
	thread_first();
}

void cpu_thread_init(struct thread *thread)
{
	uint64_t *sp = (uint64_t *)thread->regs;

	*--sp = 0; /* where a caller's return address would be: keeps the ABI's alignment */
	*--sp = (uint64_t)first_switch;
	for (int i = 0; i < 6; i++)
		*--sp = 0;
	thread->arch.sp = (uint64_t)sp;
	memcpy(thread->arch.fx, clean_fx, sizeof(clean_fx));
}

void cpu_thread_copy(struct thread *to)
{
	const struct thread *self = current_thread();

	__asm__ volatile("fxsave %0" : "=m"(to->arch.fx));
	to->arch.fs_base = self->arch.fs_base;
	to->arch.gs_base = self->arch.gs_base;
}

static void set_current(struct thread *thread)
{
	struct percpu *cpu = this_cpu();

	cpu->current = (uint64_t)thread;
	cpu->tss.sp0 = (uint64_t)(thread->stack + THREAD_STACK);
}

void cpu_switch(struct thread *from, struct thread *to)
{
	__asm__ volatile("fxsave %0" : "=m"(from->arch.fx));
	__asm__ volatile("fxrstor %0" :: "m"(to->arch.fx));
	wrmsr(MSR_FS_BASE, to->arch.fs_base);
	wrmsr(MSR_KERNEL_GS_BASE, to->arch.gs_base); /* SWAPGS makes it the user's */
	set_current(to);
	switch_stack(&from->arch.sp, to->arch.sp);
}

void cpu_adopt(struct thread *thread)
{
	memcpy(thread->arch.fx, clean_fx, sizeof(clean_fx));
	set_current(thread);
}

int64_t cpu_set_base(uint64_t first, uint64_t second)
{
	struct thread *thread = current_thread();

	if (!user_pointer(first, 8) || !user_pointer(second, 8))
		return -22;
	cpu_irqs_off();
	thread->arch.fs_base = first;
	thread->arch.gs_base = second;
	wrmsr(MSR_FS_BASE, first);
	wrmsr(MSR_KERNEL_GS_BASE, second);
	cpu_irqs_on();
	return 0;
}

/* Counters in the order of enum stat_cpu. */
uint64_t cpu_stat(uint64_t which)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < CPU_COUNT; i++) {
		const struct percpu *cpu = &cpus[i].percpu;

		if (which < STAT_REFUSED)
			sum += cpu->returned[which - STAT_RETURNED];
		else if (which < STAT_REFUSED + 6)
			sum += cpu->refused[which - STAT_REFUSED];
	}
	return sum;
}

int64_t cpu_test(uint64_t op, uint64_t a, uint64_t b)
{
	uint64_t *to = user_pointer(a, STAT_CPU_COUNT * sizeof(*to));

	(void)b;
	if (op != TEST_COUNTERS || !to)
		return -22;
	for (unsigned int i = 0; i < STAT_CPU_COUNT; i++)
		to[i] = cpu_stat(STAT_CPU_FIRST + i);
	return 0;
}

const char *cpu_wrong_state(void)
{
	const struct thread *thread = current_thread();
	uint64_t flags = cpu_flags();

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
	if (rdmsr(MSR_KERNEL_GS_BASE) != thread->arch.gs_base)
		return "the user's GS base is lost";
	return NULL;
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

	deliver_fault(regs, &fault);
}

void user_page_fault(struct regs *regs, uint64_t address)
{
	const struct fault fault = { regs->vector, regs->error, address };

	deliver_fault(regs, &fault);
}

void kernel_exception(struct regs *regs)
{
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
	if (vector != TIMER_VECTOR)
		panic("an interrupt that no device sends", regs);
	apic_end();
	timer_tick(regs);
}
