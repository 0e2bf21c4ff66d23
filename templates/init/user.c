/* SPDX-License-Identifier: MIT */
/* The user program. kernel.ld puts it on pages of its own. */
#include "user.h"

enum { EXIT, WRITE, TICKS }; /* as kernel.entry numbers them */

char user_stack[USER_STACK] __attribute__((aligned(16)));

static void say(const char *text)
{
	long length = 0;

	while (text[length])
		length++;
	system_call(WRITE, (long)text, length);
}

void user_main(void)
{
	say("hello from user mode\n");
	undefined_instruction();
	while (system_call(TICKS, 0, 0) < 3)
		;
	say("three timer interrupts later\n");
	system_call(EXIT, 0, 0);
}
