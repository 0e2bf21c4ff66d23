/* SPDX-License-Identifier: MIT */
/* The x86-64 port: descriptor tables, the state of a CPU and of a thread, context switch. */
#include "format.h"
#include "mmu.h"


bool spec_ctrl_is_kept;
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
	while (!(inb(0x3f8 + 5) & 0x40)) /* all is sent */
		cpu_relax();
	for (;;) {
		outb(0xf4, passed ? 0x10 : 0x11); /* isa-debug-exit of QEMU: status 33 or 35 */
		for (const char *p = "Shutdown"; *p; p++)
			outb(0x8900, (uint8_t)*p); /* Bochs: status 1 */
	}
}

struct percpu *this_cpu(void)
{
	struct percpu *cpu;

	__asm__ volatile("movq %%gs:%c1, %0" : "=r"(cpu) : "i"(offsetof(struct cpu, self)));
	return cpu;
}

static void load_gdt(struct cpu *cpu)
{
	uint64_t *gdt = cpu_areas[cpu->id].gdt, base = (uint64_t)&cpu->percpu.tss;
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) pointer = { GDT_WORDS * 8 - 1, (uint64_t)gdt };

	gdt[KERNEL_CS / 8] = UINT64_C(0x00af9b000000ffff);
	gdt[KERNEL_DS / 8] = UINT64_C(0x00cf93000000ffff);
	gdt[USER32_CS / 8] = UINT64_C(0x00cffb000000ffff);
	gdt[USER_DS / 8] = gdt[OTHER_USER_DS / 8] = UINT64_C(0x00cff3000000ffff);
	gdt[USER_CS / 8] = gdt[OTHER_USER_CS / 8] = UINT64_C(0x00affb000000ffff);
	gdt[ABSENT_USER_CS / 8] = UINT64_C(0x00af7b000000ffff);
	gdt[ABSENT_USER_DS / 8] = UINT64_C(0x00cf73000000ffff);
	gdt[TSS_SELECTOR / 8] = (sizeof(struct task_state) - 1) | (base & 0xffffff) << 16 |
				UINT64_C(0x89) << 40 | (base >> 24 & 0xff) << 56;
	gdt[TSS_SELECTOR / 8 + 1] = base >> 32;
	cpu->percpu.tss.io_map = sizeof(struct task_state);
	__asm__ volatile("lgdt %0; ltr %w1; lldt %w2" :: "m"(pointer), "r"(TSS_SELECTOR), "r"(0) : "memory");
}

/* The stacks that the CPU itself switches to. */
static void set_stacks(struct cpu *cpu)
{
	struct task_state *tss = &cpu->percpu.tss;
	struct cpu_area *area = &cpu_areas[cpu->id];

	tss->ist1 = (uint64_t)(area->df_stack + IST_STACK - PRESET);
	tss->ist2 = (uint64_t)(area->nmi_stack + IST_STACK - PRESET);
	tss->ist3 = (uint64_t)(area->db_stack + IST_STACK - PRESET);
	tss->ist4 = (uint64_t)(area->mc_stack + IST_STACK - PRESET);
#ifdef CONFIG_PTI
	tss->sp0 = (uint64_t)(area->entry_stack + sizeof(area->entry_stack));
#endif
}

static void set_features(void)
{
	uint64_t cr4;

	__asm__ volatile("movq %%cr4, %0" : "=r"(cr4));
#ifdef CONFIG_SMAP
	cr4 |= CR4_SMAP | CR4_SMEP;
#endif
#ifdef CONFIG_FSGSBASE
	cr4 |= CR4_FSGSBASE;
#endif
#ifdef CONFIG_PCID
	cr4 |= CR4_PCIDE;
#endif
	__asm__ volatile("movq %0, %%cr4" :: "r"(cr4) : "memory");
}

void cpu_setup(struct cpu *cpu)
{
	if (cpu->id == 0) {
		outb(0x3f8 + 3, 3); /* 8 bits: without firmware, a serial port sends 5 */
		__asm__ volatile("fxsave %0" : "=m"(clean_fx));
		entry_setup();
		mmu_build();
	}
	load_gdt(cpu);
	mmu_load();
	set_stacks(cpu);
	cpu->percpu.spec_kernel = SPEC_CTRL_IBRS;
	cpu->percpu.verw_sel = KERNEL_DS;
	entry_setup_cpu(&cpu->percpu);
	/* 64-bit code does not look at them; 32-bit user code does, and no return to user mode loads them */
	__asm__ volatile("movl %0, %%ds; movl %0, %%es" :: "r"(USER_DS));
	apic_setup();
#ifdef CONFIG_IBRS
	wrmsr(MSR_SPEC_CTRL, SPEC_CTRL_IBRS);
	spec_ctrl_is_kept = rdmsr(MSR_SPEC_CTRL) == SPEC_CTRL_IBRS;
#endif
	set_features();
}

void cpu_start_second(void)
{
	apic_start_cpu(1, AP_BOOT_PAGE);
}

void cpu_idle(void)
{
	__asm__ volatile("sti; hlt; cli" ::: "memory");
}

/* thread_start() of the entry code comes here with what cpu_thread_init() has put into rbx and r12. */
void thread_main(uint64_t function, uint64_t argument)
{
	if (argument != (uint64_t)current_thread())
		panic("a thread starts with another one's argument", NULL);
	((void (*)(void))function)();
	panic("a thread's first function has returned", NULL);
}

void cpu_thread_init(struct thread *thread)
{
	struct switched *switched = (struct switched *)thread->regs - 1;

	*switched = (struct switched){
		.bx = (uint64_t)thread_first, .r12 = (uint64_t)thread, .ip = (uint64_t)thread_start,
	};
	thread->arch.sp = (uint64_t)switched;
	memcpy(thread->arch.fx, clean_fx, sizeof(clean_fx));
}

/* With CR4.FSGSBASE, user code changes them without the kernel. While the kernel runs, SWAPGS has put the GS base away. */
static void save_bases(struct thread *thread)
{
#ifdef CONFIG_FSGSBASE
	thread->arch.fs_base = rdmsr(MSR_FS_BASE);
	thread->arch.gs_base = rdmsr(MSR_KERNEL_GS_BASE);
#else
	(void)thread;
#endif
}

void cpu_thread_copy(struct thread *to)
{
	struct thread *self = current_thread();

	__asm__ volatile("fxsave %0" : "=m"(to->arch.fx));
	save_bases(self);
	to->arch.fs_base = self->arch.fs_base;
	to->arch.gs_base = self->arch.gs_base;
}

static void set_current(struct thread *thread)
{
	struct percpu *cpu = this_cpu();

	cpu->current = (uint64_t)thread;
	cpu->task_top = (uint64_t)(thread->stack + THREAD_STACK);
#ifndef CONFIG_PTI
	cpu->tss.sp0 = cpu->task_top;
#endif
}

void cpu_switch(struct thread *from, struct thread *to)
{
	__asm__ volatile("fxsave %0" : "=m"(from->arch.fx));
	save_bases(from);
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

/* The user's GS selector: its base is the user's base then. A selector that no CPU takes becomes 0: kernel_exception(). */
void cpu_set_gs_selector(uint64_t selector)
{
	cpu_irqs_off();
	load_gs(selector);
	current_thread()->arch.gs_base = rdmsr(MSR_KERNEL_GS_BASE);
	cpu_irqs_on();
}
