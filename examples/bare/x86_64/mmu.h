/* SPDX-License-Identifier: MIT */
/* What a CPU touches before and after the kernel has its own page table: one of these for each CPU. */
#ifndef MMU_H
#define MMU_H

#include "kernel.h"

#define PAGE 4096
#define IST_STACK 8192
#define PRESET 16 /* above an IST stack: entry_setup_cpu() writes percpu's address there */

/* A page in front of each stack stays unmapped: whoever uses too much of a stack gets a double fault. */
struct cpu_area {
	uint64_t gdt[PAGE / 8];
	uint8_t entry_guard[PAGE], entry_stack[PAGE];
	uint8_t df_guard[PAGE], df_stack[IST_STACK];
	uint8_t nmi_guard[PAGE], nmi_stack[IST_STACK];
	uint8_t db_guard[PAGE], db_stack[IST_STACK];
	uint8_t mc_guard[PAGE], mc_stack[IST_STACK];
} __attribute__((aligned(PAGE)));
extern struct cpu_area cpu_areas[CPU_COUNT];

void mmu_build(void); /* once */
void mmu_load(void);  /* on each CPU; its GDT is loaded already */

#endif
