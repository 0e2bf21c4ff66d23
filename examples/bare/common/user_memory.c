/* SPDX-License-Identifier: MIT */
/*
 * User memory: one array, mapped for user mode at USER_BASE. The kernel uses its own mapping of it, so it never
 * needs a right to touch user addresses.
 */
#include "format.h"
#include "kernel.h"

#define RED_ZONE 128 /* the largest of the C ABIs */

uint8_t user_memory[USER_SIZE] __attribute__((aligned(USER_SIZE)));

extern const char user_image[], user_image_end[]; /* user_image.S */

void *user_pointer(uint64_t address, uint64_t size)
{
	uint64_t offset = address - USER_BASE;

	if (offset >= USER_SIZE || size > USER_SIZE - offset)
		return NULL;
	return user_memory + offset;
}

void user_load(struct regs *regs)
{
	const struct user_header *header = (const struct user_header *)user_memory;
	uint64_t size = (uint64_t)(user_image_end - user_image);

	if (size > USER_SIZE)
		panic("the user image is too large", NULL);
	memcpy(user_memory, user_image, size);
	if (header->magic != USER_MAGIC)
		panic("no user image", NULL);
	cpu_map_user(header->data);
	regs_init_user(regs);
	regs_call_user(regs, header->entry, header->stack, header->first);
}

/* User mode goes on in a handler; what it did so far is saved on its own stack, for sys_return_frame(). */
void user_continue(struct regs *regs, uint64_t handler, const struct fault *fault)
{
	uint64_t address = (regs_sp(regs) - RED_ZONE - sizeof(struct user_frame)) & ~UINT64_C(15);
	struct user_frame *frame = user_pointer(address, sizeof(struct user_frame));

	if (!frame)
		panic("no room for a handler's frame on the user's stack", regs);
	frame->regs = *regs;
	if (fault)
		frame->fault = *fault;
	else
		memset(&frame->fault, 0, sizeof(frame->fault));
	regs_call_user(regs, handler, address, address);
}
