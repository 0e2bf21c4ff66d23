/* SPDX-License-Identifier: MIT */
/*
 * Page tables. One address space: devices and kernel at their physical addresses, in blocks of 2 MiB; user memory
 * at USER_BASE, in pages, so that its code and its data can differ.
 */
#include "cpu.h"
#include "hardware.h"

#define ENTRIES     512
#define PAGE        UINT64_C(0x1000)
#define BLOCK       UINT64_C(0x200000)

#define PTE_TABLE   UINT64_C(3)
#define PTE_PAGE    UINT64_C(3)
#define PTE_BLOCK   UINT64_C(1)
#define PTE_ATTR(i) ((uint64_t)(i) << 2)
#define PTE_USER    (UINT64_C(1) << 6)
#define PTE_READ    (UINT64_C(1) << 7)
#define PTE_INNER   (UINT64_C(3) << 8)
#define PTE_AF      (UINT64_C(1) << 10)
#define PTE_PXN     (UINT64_C(1) << 53)
#define PTE_UXN     (UINT64_C(1) << 54)

#define NORMAL      (PTE_ATTR(MAIR_NORMAL) | PTE_INNER | PTE_AF)
#define DEVICE      (PTE_ATTR(MAIR_DEVICE) | PTE_AF | PTE_PXN | PTE_UXN)
#define KERNEL_CODE (NORMAL | PTE_READ | PTE_UXN)
#define KERNEL_DATA (NORMAL | PTE_PXN | PTE_UXN)
#define USER_CODE   (NORMAL | PTE_USER | PTE_READ | PTE_PXN)
#define USER_DATA   (NORMAL | PTE_USER | PTE_PXN | PTE_UXN)

_Static_assert(USER_SIZE == BLOCK && USER_BASE % BLOCK == 0, "user memory fills one table of pages");
_Static_assert(USER_BASE >> VA_BITS == 0, "user memory is in the reach of TTBR0");

typedef uint64_t table[ENTRIES] __attribute__((aligned(4096)));

extern char __text_start[], __data_start[], __end[];
extern char user_memory[];

table mmu_root; /* level 1: entries of 1 GiB */
static table devices, kernel, user, user_pages;

void mmu_build(void);

static void map_blocks(uint64_t *level2, uint64_t from, uint64_t to, uint64_t attributes)
{
	for (uint64_t at = from; at < to; at += BLOCK)
		level2[at / BLOCK % ENTRIES] = at | attributes | PTE_BLOCK;
}

static void link_table(uint64_t *level1, uint64_t address, const uint64_t *level2)
{
	level1[address >> 30] = (uint64_t)level2 | PTE_TABLE;
}

/* Called from boot.S with the MMU off. */
void mmu_build(void)
{
	link_table(mmu_root, DEVICES_BASE, devices);
	link_table(mmu_root, (uint64_t)__text_start, kernel);
	link_table(mmu_root, USER_BASE, user);
	map_blocks(devices, DEVICES_BASE, DEVICES_BASE + DEVICES_SIZE, DEVICE);
	map_blocks(kernel, (uint64_t)__text_start, (uint64_t)__data_start, KERNEL_CODE);
	map_blocks(kernel, (uint64_t)__data_start, (uint64_t)__end, KERNEL_DATA);
}

void cpu_map_user(uint64_t data)
{
	for (uint64_t offset = 0; offset < USER_SIZE; offset += PAGE) {
		uint64_t attributes = USER_BASE + offset < data ? USER_CODE : USER_DATA;

		user_pages[offset / PAGE] = ((uint64_t)user_memory + offset) | attributes | PTE_PAGE;
	}
	/* The code came here as data: make it visible to instruction fetches before anything runs it. */
	__asm__ volatile("dsb ish\n\tic ialluis\n\tdsb ish" ::: "memory");
	user[USER_BASE / BLOCK % ENTRIES] = (uint64_t)user_pages | PTE_TABLE;
	__asm__ volatile("dsb ish\n\tisb" ::: "memory");
}
