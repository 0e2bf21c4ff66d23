/* SPDX-License-Identifier: MIT */
/*
 * A ROM that is a whole BIOS: it has the kernel's image in it, copies it to 1 MiB and jumps to its first byte as PVH
 * does (32-bit, flat segments, no paging). The ROM ends at 4 GiB; the CPU starts 16 bytes before that, in real mode.
 */
#define ROM_SIZE 0x80000
#define CODE     0x1000                       /* these last bytes are code, all before them is the kernel */
#define AT(label) ((label) - code - CODE)     /* its address: a negative number of 32 bits */

	.text
rom:
	.incbin KERNEL_IMAGE
kernel_image_end:
	.org	ROM_SIZE - CODE
code:
	.code32
copy:
	movl	$0x10, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	cld
	movl	$-ROM_SIZE, %esi
	movl	$0x100000, %edi
	movl	$(kernel_image_end - rom + 3) / 4, %ecx
	rep movsl
	movl	$0x100000, %eax
	jmp	*%eax

	.balign	8
gdt:
	.quad	0
	.quad	0x00cf9b000000ffff
	.quad	0x00cf93000000ffff
gdt_pointer:
	.word	gdt_pointer - gdt - 1
	.long	AT(gdt)

	.org	ROM_SIZE - 64
	.code16
start:
	lgdtl	%cs:AT(gdt_pointer) & 0xffff
	movl	%cr0, %eax
	orl	$1, %eax
	movl	%eax, %cr0
	ljmpl	$0x08, $AT(copy)

	.org	ROM_SIZE - 16
	jmp	start
	.org	ROM_SIZE

	.section .note.GNU-stack, "", @progbits
