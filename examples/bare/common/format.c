/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <stdint.h>

#include "format.h"

struct sink {
	char *text;
	size_t size, used;
};

static void put(struct sink *sink, char c)
{
	if (sink->used + 1 < sink->size)
		sink->text[sink->used++] = c;
}

static void put_number(struct sink *sink, uint64_t value, unsigned int base, unsigned int width, char fill)
{
	char digits[20];
	unsigned int count = 0;

	do {
		digits[count++] = "0123456789abcdef"[value % base];
		value /= base;
	} while (value);
	for (unsigned int i = count; i < width; i++)
		put(sink, fill);
	while (count)
		put(sink, digits[--count]);
}

size_t format(char *text, size_t size, const char *template, va_list args)
{
	struct sink sink = { text, size, 0 };

	for (const char *p = template; *p; p++) {
		bool is_long = false;
		char fill = ' ';
		unsigned int width = 0;

		if (*p != '%') {
			put(&sink, *p);
			continue;
		}
		if (*++p == '0')
			fill = *p++;
		while (*p >= '0' && *p <= '9')
			width = width * 10 + (unsigned int)(*p++ - '0');
		if (*p == 'l') {
			is_long = true;
			p++;
		}
		switch (*p) {
		case 's':
			for (const char *s = va_arg(args, const char *); *s; s++)
				put(&sink, *s);
			break;
		case 'c':
			put(&sink, (char)va_arg(args, int));
			break;
		case 'd': {
			int64_t value = is_long ? va_arg(args, long) : va_arg(args, int);

			if (value < 0)
				put(&sink, '-');
			put_number(&sink, value < 0 ? 0 - (uint64_t)value : (uint64_t)value, 10, width, fill);
			break;
		}
		case 'u':
		case 'x': {
			uint64_t value = is_long ? va_arg(args, unsigned long) : va_arg(args, unsigned int);

			put_number(&sink, value, *p == 'x' ? 16 : 10, width, fill);
			break;
		}
		default:
			put(&sink, '?');
		}
	}
	text[sink.used] = 0;
	return sink.used;
}

/* GCC and clang may turn a copying loop into a call of the function that it is in: volatile forbids that. */
void *memcpy(void *to, const void *from, size_t size)
{
	volatile unsigned char *d = to;
	const unsigned char *s = from;

	while (size--)
		*d++ = *s++;
	return to;
}

void *memset(void *to, int byte, size_t size)
{
	volatile unsigned char *d = to;

	while (size--)
		*d++ = (unsigned char)byte;
	return to;
}

int memcmp(const void *a, const void *b, size_t size)
{
	const volatile unsigned char *x = a, *y = b;

	for (; size; size--, x++, y++)
		if (*x != *y)
			return *x < *y ? -1 : 1;
	return 0;
}
