// SPDX-License-Identifier: MIT
/* As paths.c, for the ways of 32-bit code: the call by the vDSO, which takes SYSCALL or SYSENTER as the CPU has it, and INT 0x80. */
#include "bare32.h"

void take32(void (*call)(void));

__attribute__((used)) void begin(uint32_t *stack)
{
	started(stack);
	take32(vsyscall);
}

__asm__(".text\n"
	"take32:\n\tmovl 4(%esp), %edi\n\tmovl $-1, %eax\n\tcall *%edi\n"	/* its page is there from now on */
	"\tmovl $-1, %eax\n"
	"at_fast32:\n\tcall *%edi\n\tmovl $-1, %eax\n"
	"at_int80_32:\n\tint $0x80\n"
	"\tmovl $88, %eax\n\tmovl $0xfee1dead, %ebx\n\tmovl $672274793, %ecx\n\tmovl $0x1234567, %edx\n\tint $0x80\n");	/* reboot */
