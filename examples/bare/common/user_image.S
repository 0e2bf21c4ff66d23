/* SPDX-License-Identifier: MIT */
/* The user programs, linked on their own, as data. */
	.section .rodata
	.balign 8
	.globl user_image, user_image_end
user_image:
	.incbin USER_IMAGE
user_image_end:
	.section .note.GNU-stack, "", %progbits
