/* SPDX-License-Identifier: MIT */
/* The local APIC: the periodic timer of each CPU, and the start of the second CPU. */
#include "kernel.h"

#define APIC ((volatile uint32_t *)(UINT64_C(0xffffffff00000000) + APIC_PHYSICAL)) /* mmu.c */
#define AT(offset) APIC[(offset) / 4]

#define APIC_EOI       0x0b0
#define APIC_SPURIOUS  0x0f0
#define APIC_ISR       0x100
#define APIC_ICR_LOW   0x300
#define APIC_ICR_HIGH  0x310
#define APIC_TIMER     0x320
#define APIC_LINT1     0x360
#define APIC_TIMER_SET 0x380
#define APIC_TIMER_DIV 0x3e0
#define LINT_NMI       0x400u
#define TIMER_PERIODIC (1u << 17)
#define ICR_INIT       0x4500u
#define ICR_START      0x4600u
#define ICR_NMI        0x4400u
#define ICR_ASSERT     0x4000u
#define ICR_PENDING    (1u << 12)
#define DIVIDE_BY_1    0xbu

void apic_setup(void)
{
	outb(0x21, 0xff); /* no interrupt comes from the old controllers */
	outb(0xa1, 0xff);
	AT(APIC_LINT1) = LINT_NMI; /* the emulator's monitor has a button for it */
	AT(APIC_SPURIOUS) = 0x100 | SPURIOUS_VECTOR;
}

void apic_end(void)
{
	AT(APIC_EOI) = 0;
}

bool apic_in_service(unsigned int vector)
{
	return AT(APIC_ISR + vector / 32 * 16) >> vector % 32 & 1;
}

static void send(unsigned int id, uint32_t command)
{
	AT(APIC_ICR_HIGH) = id << 24;
	AT(APIC_ICR_LOW) = command;
	while (AT(APIC_ICR_LOW) & ICR_PENDING)
		cpu_relax();
}

/* The emulator needs no pause between the two. */
void apic_start_cpu(unsigned int id, unsigned int page)
{
	send(id, ICR_INIT);
	send(id, ICR_START | page >> 12);
}

void apic_send(unsigned int id, unsigned int vector)
{
	send(id, ICR_ASSERT | vector);
}

void apic_send_nmi(unsigned int id)
{
	send(id, ICR_NMI);
}

/* The emulator's APIC counts at 1 GHz. */
void cpu_timer_start(uint32_t microseconds)
{
	AT(APIC_TIMER_DIV) = DIVIDE_BY_1;
	AT(APIC_TIMER) = TIMER_PERIODIC | TIMER_VECTOR;
	AT(APIC_TIMER_SET) = microseconds * 1000;
}
