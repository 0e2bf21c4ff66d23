// SPDX-License-Identifier: MIT
/* As paths.c, for the ways of 32-bit code: the call by the vDSO, which takes SYSCALL or SYSENTER as the CPU has it, and INT 0x80. */
#include <stdint.h>

enum { AT_SYSINFO = 32 };

void take32(void (*vsyscall)(void));

__attribute__((used)) void begin(uint32_t *stack)
{
	uint32_t *at = stack + 1 + stack[0] + 1;
	void (*vsyscall)(void) = 0;

	while (*at)				/* the environment */
		at++;
	for (at++; at[0]; at += 2) {
		if (at[0] == AT_SYSINFO)
			vsyscall = (void (*)(void))at[1];
	}
	take32(vsyscall);
}

__asm__(".globl _start\n_start:\n\tmovl %esp, %eax\n\tandl $-16, %esp\n\tsubl $12, %esp\n\tpushl %eax\n\tcall begin\n"
	"take32:\n\tmovl 4(%esp), %edi\n\tmovl $-1, %eax\n\tcall *%edi\n"	/* its page is there from now on */
	"\tmovl $-1, %eax\n"
	"at_fast32:\n\tcall *%edi\n\tmovl $-1, %eax\n"
	"at_int80_32:\n\tint $0x80\n"
	"\tmovl $88, %eax\n\tmovl $0xfee1dead, %ebx\n\tmovl $672274793, %ecx\n\tmovl $0x1234567, %edx\n\tint $0x80\n");	/* reboot */
