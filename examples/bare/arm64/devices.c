/* SPDX-License-Identifier: MIT */
/* QEMU's `virt` board: PL011, GICv2, virtual timer, PSCI, and the semihosting exit. */
#include "cpu.h"
#include "devices.h"
#include "hardware.h"

static volatile uint32_t *reg(uint64_t base, uint64_t offset)
{
	return (volatile uint32_t *)(base + offset);
}

/* PL011 */
#define UART_DATA        0x00
#define UART_FLAGS       0x18
#define UART_FLAG_FULL   (1u << 5)
#define UART_LINE        0x2c
#define UART_LINE_8N1    0x70 /* with FIFO */
#define UART_CONTROL     0x30
#define UART_CONTROL_TX  0x101 /* UART on, transmitter on */

void uart_setup(void)
{
	*reg(UART_BASE, UART_LINE) = UART_LINE_8N1;
	*reg(UART_BASE, UART_CONTROL) = UART_CONTROL_TX;
}

void cpu_putc(char c)
{
	if (c == '\n')
		cpu_putc('\r');
	while (*reg(UART_BASE, UART_FLAGS) & UART_FLAG_FULL)
		;
	*reg(UART_BASE, UART_DATA) = (uint8_t)c;
}

/* GICv2 */
#define GICD_CTLR        0x000
#define GICD_ISENABLER   0x100
#define GICD_IPRIORITYR  0x400
#define GICC_CTLR        0x000
#define GICC_PMR         0x004
#define GICC_IAR         0x00c
#define GICC_EOIR        0x010

void gic_setup(void)
{
	*reg(GICD_BASE, GICD_CTLR) = 1;
	*reg(GICC_BASE, GICC_PMR) = 0xff;
	*reg(GICC_BASE, GICC_CTLR) = 1;
}

void gic_enable_timer(void)
{
	volatile uint8_t *priority = (volatile uint8_t *)(GICD_BASE + GICD_IPRIORITYR);

	priority[TIMER_INTERRUPT] = 0x80;
	*reg(GICD_BASE, GICD_ISENABLER) = 1u << TIMER_INTERRUPT;
}

uint32_t gic_acknowledge(void)
{
	return *reg(GICC_BASE, GICC_IAR);
}

void gic_end(uint32_t acknowledged)
{
	*reg(GICC_BASE, GICC_EOIR) = acknowledged;
}

/* The virtual timer: a level interrupt that stays up until the timer is set again. */
static uint64_t timer_period;

void timer_again(void)
{
	__asm__ volatile("msr cntv_tval_el0, %0\n\tisb" :: "r"(timer_period) : "memory");
}

void timer_start(uint32_t microseconds)
{
	uint64_t frequency;

	__asm__ volatile("mrs %0, cntfrq_el0" : "=r"(frequency));
	timer_period = frequency * microseconds / 1000000;
	timer_again();
	__asm__ volatile("msr cntv_ctl_el0, %0\n\tisb" :: "r"(UINT64_C(1)) : "memory");
	gic_enable_timer();
}

/* PSCI: the conduit is HVC, or SMC when the kernel was entered at EL2. */
#define PSCI_CPU_ON      UINT64_C(0xc4000003)
#define PSCI_SYSTEM_OFF  UINT64_C(0x84000008)

extern const uint64_t boot_el;

static int64_t psci(uint64_t function, uint64_t a, uint64_t b, uint64_t c)
{
	register uint64_t x0 __asm__("x0") = function;
	register uint64_t x1 __asm__("x1") = a;
	register uint64_t x2 __asm__("x2") = b;
	register uint64_t x3 __asm__("x3") = c;

	if (boot_el == CURRENT_EL2)
		__asm__ volatile("smc #0" : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3) :: "memory", "x4", "x5", "x6", "x7",
				 "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17");
	else
		__asm__ volatile("hvc #0" : "+r"(x0), "+r"(x1), "+r"(x2), "+r"(x3) :: "memory", "x4", "x5", "x6", "x7",
				 "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17");
	return (int64_t)x0;
}

int64_t psci_cpu_on(uint64_t cpu, uint64_t entry)
{
	return psci(PSCI_CPU_ON, cpu, entry, 0);
}

void psci_system_off(void)
{
	psci(PSCI_SYSTEM_OFF, 0, 0, 0);
}

/* Semihosting SYS_EXIT_EXTENDED: QEMU ends with this status. */
#define SEMIHOSTING_EXIT 0x20
#define APPLICATION_EXIT 0x20026

void cpu_shutdown(bool passed)
{
	const uint64_t block[2] = { APPLICATION_EXIT, passed ? 0 : 1 };
	register uint64_t x0 __asm__("x0") = SEMIHOSTING_EXIT;
	register const uint64_t *x1 __asm__("x1") = block;

	__asm__ volatile("hlt #0xf000" : "+r"(x0) : "r"(x1) : "memory");
	for (;;)
		psci_system_off();
}
