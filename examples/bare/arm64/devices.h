/* SPDX-License-Identifier: MIT */
#ifndef DEVICES_H
#define DEVICES_H

#include <stdint.h>

#define NO_INTERRUPT 1023

void uart_setup(void);               /* once */
void gic_setup(void);                /* on each CPU */
void gic_enable_timer(void);         /* on this CPU */
uint32_t gic_acknowledge(void);      /* what must be given to gic_end(); its number is in bits 9..0 */
void gic_end(uint32_t acknowledged);

void timer_start(uint32_t microseconds); /* on this CPU */
void timer_again(void);              /* next interrupt one period from now */

int64_t psci_cpu_on(uint64_t cpu, uint64_t entry);
void psci_system_off(void);

#endif
