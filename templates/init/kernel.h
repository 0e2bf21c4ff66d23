/* SPDX-License-Identifier: MIT */
/* What hooks.c and cpu.c have of each other. entry.h is generated from kernel.entry. */
#ifndef KERNEL_H
#define KERNEL_H

#include "entry.h"
#include "cpu.h"
#include "user.h"

void put_char(char c);
void timer_again(void); /* the interrupt is dealt with, the next one may come */
void power_off(int status) __attribute__((noreturn));

void print(const char *text);
void print_hex(uint64_t value);
void panic(const char *what, const struct regs *regs) __attribute__((noreturn));

/* user.c */
extern char user_stack[USER_STACK];
void user_main(void);

#endif
