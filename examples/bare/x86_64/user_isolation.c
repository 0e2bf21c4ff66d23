/* SPDX-License-Identifier: MIT */
/*
 * What of the kernel user mode's page table maps: the error code of a page fault tells whether there is a page. With
 * PTI, only what the CPU and the entry code need before they switch the table; without it, all of the kernel.
 */
#include "user_x86.h"

#define PAGE UINT64_C(4096)
#define IMAGE (UINT64_C(8) << 20)
#define AREA (15 * PAGE) /* a CPU's GDT and stacks with their guards: mmu.h */
#define AREA_GUARDS 5

static void read_byte(uint64_t address)
{
	__asm__ volatile("movb (%0), %%al" :: "r"(address) : "rax", "memory");
}

/* 1: there is a page, 0: there is none, -1: no page fault of user mode came. */
static int is_mapped(uint64_t address)
{
	struct user_frame frame;

	if (!user_try(read_byte, address, &frame) || frame.fault.vector != 14 || frame.fault.address != address ||
	    (frame.fault.code & ~UINT64_C(1)) != 4)
		return -1;
	return (int)(frame.fault.code & 1);
}

static uint64_t count_pages(uint64_t from, uint64_t to, bool *failed)
{
	uint64_t count = 0;

	for (uint64_t page = from; page < to; page += PAGE) {
		int mapped = is_mapped(page);

		*failed |= mapped < 0;
		count += mapped > 0;
	}
	return count;
}

bool run_isolation(void)
{
	uint64_t layout[LAYOUT_COUNT], pages, text, shared;
	bool failed = false, passed;

	read_layout(layout);
	pages = count_pages(KERNEL_BASE, KERNEL_BASE + IMAGE, &failed);
	text = count_pages(layout[LAYOUT_ENTRY_TEXT], layout[LAYOUT_ENTRY_TEXT] + 8 * PAGE, &failed);
	/* the other CPU has the same again */
	shared = count_pages(layout[LAYOUT_ENTRY_DATA], layout[LAYOUT_ENTRY_DATA] + PAGE, &failed);
	shared += 2 * count_pages(layout[LAYOUT_PERCPU], layout[LAYOUT_PRIVATE], &failed);
	shared += 2 * count_pages(layout[LAYOUT_GDT], layout[LAYOUT_GDT] + AREA, &failed);
#ifdef CONFIG_PTI
	passed = is_mapped(layout[LAYOUT_KERNEL_TEXT]) == 0 && is_mapped(layout[LAYOUT_KERNEL_DATA] + PAGE) == 0 &&
		 is_mapped(layout[LAYOUT_PRIVATE]) == 0 && is_mapped(layout[LAYOUT_TASK_TOP] - 8) == 0 &&
		 text && pages == text + shared;
#else
	passed = pages > text + shared;
#endif
	passed = passed && !failed && shared == 1 + 2 * (1 + AREA / PAGE - AREA_GUARDS);
	say("%lu pages of the kernel are in the user's page table: %lu of entry code, %lu that the CPU needs", pages, text,
	    shared);
	if (!passed)
		differ("%lu pages of the kernel are in the user's page table: %lu of entry code, %lu that the CPU needs%s",
		       pages, text, shared, failed ? "; a read was no page fault" : "");
	return passed;
}
