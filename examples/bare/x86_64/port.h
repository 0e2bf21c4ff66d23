/* SPDX-License-Identifier: MIT */
/* The inline part of the x86-64 port; see common/cpu.h. */
#ifndef PORT_H
#define PORT_H

#include "frame.h"

#define CPU_NAME  "x86_64"
#define PERCPU_ALIGN 4096 /* the user's page table maps struct percpu, and nothing that follows it */

struct cpu_thread {
	uint8_t fx[512] __attribute__((aligned(16)));
	uint64_t sp;
	uint64_t fs_base, gs_base;
	bool step;            /* TF was set at SYSENTER: cpu_user_left() puts it into the frame */
	uint64_t steps, hits; /* debug exceptions of kernel code */
	uint64_t selectors;   /* of GS: refused by the CPU */
};

struct thread;

static inline void cpu_irqs_on(void)
{
	__asm__ volatile("sti" ::: "memory");
}

static inline void cpu_irqs_off(void)
{
	__asm__ volatile("cli" ::: "memory");
}

static inline uint64_t cpu_flags(void)
{
	uint64_t flags;

	__asm__ volatile("pushfq; popq %0" : "=r"(flags) :: "memory");
	return flags;
}

static inline bool cpu_irqs_are_on(void)
{
	return cpu_flags() & FLAG_IF;
}

static inline void cpu_relax(void)
{
	__asm__ volatile("pause" ::: "memory");
}

static inline struct thread *current_thread(void)
{
	struct thread *thread;

	__asm__ volatile("movq %%gs:%c1, %0" : "=r"(thread) : "i"(offsetof(struct percpu, current)));
	return thread;
}

static inline void wrmsr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr" :: "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)) : "memory");
}

static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t low, high;

	__asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
	return low | (uint64_t)high << 32;
}

static inline void outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" :: "a"(value), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

/* switch.S: a place for a breakpoint, and waiting until a word has a value: 1, did not come: 0, rdx changed: 2 */
void nmi_mark(void);
unsigned int nmi_wait(const uint64_t *word, uint64_t value, uint64_t loops);

/* cpu.c */
extern bool spec_ctrl_is_kept; /* QEMU forgets what is written to MSR_SPEC_CTRL */
void cpu_set_gs_selector(uint64_t selector);

/* traps.c */
extern uint64_t ipi_counts[2][256]; /* of each CPU: how many of each vector came */
extern uint64_t ipi_sent[2][256];
extern uint64_t nmi_counts[2][3]; /* of each CPU: of user mode, of kernel code, sent round again */
void cpu_user_left(struct regs *regs);

/* apic.c */
void apic_setup(void);
void apic_end(void);
bool apic_in_service(unsigned int vector);
void apic_start_cpu(unsigned int id, unsigned int page);
void apic_send(unsigned int id, unsigned int vector); /* interrupts off, as for all these: the command has two words */
void apic_send_nmi(unsigned int id);
#define TIMER_VECTOR    0x40
#define SPURIOUS_VECTOR 0xff

#endif
