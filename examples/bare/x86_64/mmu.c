/* SPDX-License-Identifier: MIT */
/*
 * The page tables to stay with. Two halves of a pair: the kernel's PML4, and the user's 4 KiB above it.
 *
 * The kernel's half maps the image at KERNEL_BASE with the rights of its sections, and the local APIC. The user's
 * half, with CONFIG_PTI, maps user memory and of the kernel only what share() gets; without it, the kernel's half
 * maps user memory as well and is the only one. The kernel reads user memory through its own image in either case.
 */
#include "mmu.h"

#define IMAGE_TABLES 4 /* of 2 MiB each */

struct cpu_area cpu_areas[CPU_COUNT];

static uint64_t halves[2][512] __attribute__((aligned(2 * PAGE)));
static uint64_t kernel_pdpt[512] __attribute__((aligned(PAGE)));
static uint64_t kernel_pd[512] __attribute__((aligned(PAGE)));
static uint64_t kernel_pts[IMAGE_TABLES * 512] __attribute__((aligned(PAGE)));
static uint64_t apic_pd[512] __attribute__((aligned(PAGE)));
static uint64_t user_pdpt[512] __attribute__((aligned(PAGE)));
static uint64_t user_pd[512] __attribute__((aligned(PAGE)));
static uint64_t user_pt[512] __attribute__((aligned(PAGE)));
static uint64_t high_pdpt[512] __attribute__((aligned(PAGE)));
static uint64_t high_pd[512] __attribute__((aligned(PAGE)));
static uint64_t high_pt[512] __attribute__((aligned(PAGE)));
static uint8_t high_pages[2][PAGE] __attribute__((aligned(PAGE)));
#ifdef CONFIG_PTI
static uint64_t shared_pdpt[512] __attribute__((aligned(PAGE)));
static uint64_t shared_pd[512] __attribute__((aligned(PAGE)));
static uint64_t shared_pts[IMAGE_TABLES * 512] __attribute__((aligned(PAGE)));
#endif

/* kernel.ld */
extern uint8_t kernel_text[], kernel_rodata[], kernel_data[], kernel_end[];
extern uint8_t entry_text[], entry_text_end[], entry_data[], entry_data_end[];

static uint64_t physical(const void *address)
{
	return (uint64_t)address - KERNEL_BASE;
}

static unsigned int image_page(const void *address)
{
	return (unsigned int)(physical(address) / PAGE);
}

static void map_image(const uint8_t *from, const uint8_t *to, uint64_t rights)
{
	for (unsigned int i = image_page(from); i < image_page(to); i++)
		kernel_pts[i] = (uint64_t)i * PAGE | rights;
}

static void unmap_guard(const uint8_t *guard)
{
	kernel_pts[image_page(guard)] = 0;
}

#ifdef CONFIG_PTI
/* In both halves, with the same rights. */
static void share(const void *from, const void *to)
{
	for (unsigned int i = image_page(from); i < image_page(to); i++)
		shared_pts[i] = kernel_pts[i];
}

static void build_shared(void)
{
	const uint64_t rights = PAGE_PRESENT | PAGE_WRITE;

	share(entry_text, entry_text_end);
	share(entry_data, entry_data_end);
	for (unsigned int i = 0; i < CPU_COUNT; i++) {
		_Static_assert(offsetof(struct cpu, self) % PAGE == 0, "what is behind percpu is not shared with it");
		share(&cpus[i].percpu, &cpus[i].self);
		share(&cpu_areas[i], &cpu_areas[i] + 1);
	}
	for (unsigned int i = 0; i < IMAGE_TABLES; i++)
		shared_pd[i] = physical(shared_pts + i * 512) | rights;
	shared_pdpt[510] = physical(shared_pd) | rights;
	halves[1][511] = physical(shared_pdpt) | rights;
}
#endif

void mmu_build(void)
{
	const uint64_t rights = PAGE_PRESENT | PAGE_WRITE;

	if (image_page(kernel_end) > IMAGE_TABLES * 512)
		panic("the image is larger than its page tables", NULL);
	map_image(kernel_text, kernel_rodata, PAGE_PRESENT);
	map_image(kernel_rodata, kernel_data, PAGE_PRESENT | PAGE_NX);
	map_image(kernel_data, kernel_end, PAGE_PRESENT | PAGE_WRITE | PAGE_NX);
	for (unsigned int i = 0; i < CPU_COUNT; i++) {
		unmap_guard(cpu_areas[i].entry_guard);
		unmap_guard(cpu_areas[i].df_guard);
		unmap_guard(cpu_areas[i].nmi_guard);
		unmap_guard(cpu_areas[i].db_guard);
		unmap_guard(cpu_areas[i].mc_guard);
	}
	for (unsigned int i = 0; i < IMAGE_TABLES; i++)
		kernel_pd[i] = physical(kernel_pts + i * 512) | rights;
	apic_pd[0x1f7] = APIC_PHYSICAL | rights | PAGE_LARGE | PAGE_UNCACHED | PAGE_NX;
	kernel_pdpt[510] = physical(kernel_pd) | rights;
	kernel_pdpt[511] = physical(apic_pd) | rights;
	halves[0][511] = physical(kernel_pdpt) | rights;
#ifdef CONFIG_PTI
	build_shared();
#endif
}

void mmu_load(void)
{
	__asm__ volatile("movq %0, %%cr3" :: "r"(physical(halves[0])) : "memory");
}

/* USER_BASE, and the last two pages below the end of the canonical addresses: code may run up there too. */
void cpu_map_user(uint64_t data)
{
#ifdef CONFIG_PTI
	uint64_t *pml4 = halves[1];
#else
	uint64_t *pml4 = halves[0];
#endif
	uint64_t rights = PAGE_PRESENT | PAGE_USER;

	for (uint64_t i = 0; i < 512; i++) {
		uint64_t page = physical(user_memory) + i * PAGE;

		user_pt[i] = page | rights | (USER_BASE + i * PAGE < data ? 0 : PAGE_WRITE | PAGE_NX);
	}
	rights |= PAGE_WRITE;
	user_pd[0] = physical(user_pt) | rights;
	high_pt[510] = physical(high_pages[0]) | rights;
	high_pt[511] = physical(high_pages[1]) | rights;
	high_pd[511] = physical(high_pt) | rights;
	high_pdpt[511] = physical(high_pd) | rights;
	user_pdpt[1] = physical(user_pd) | rights;
	pml4[0] = physical(user_pdpt) | rights;
	pml4[255] = physical(high_pdpt) | rights;
}
