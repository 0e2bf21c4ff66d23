/* SPDX-License-Identifier: MIT */
/* The few library functions that the kernel and the user programs both are built with. */
#ifndef FORMAT_H
#define FORMAT_H

#include <stdarg.h>
#include <stddef.h>

/* %s %c %d %u %x, with l for 64 bit, with 0 and a width. Returns the length; the text always ends in NUL. */
size_t format(char *text, size_t size, const char *template, va_list args);
void *memcpy(void *to, const void *from, size_t size);
void *memset(void *to, int byte, size_t size);
int memcmp(const void *a, const void *b, size_t size);

#endif
