# SPDX-License-Identifier: MIT
ifeq ($(origin CC),default)
CC := gcc
endif
ifeq ($(origin LD),default)
LD := ld
endif
OBJCOPY ?= objcopy

PORT_CFLAGS := -m64 -mno-red-zone -fcf-protection=none
CONFIG_CFLAGS_base :=
CONFIG_CFLAGS_smap := -DCONFIG_SMAP=1
PORT_SOURCES := boot.S switch.S cpu.c apic.c
PORT_USER_SOURCES := user_asm.S user_cpu.c user_faults.c user_methods.c
USER_BASE := 0x40000000
LDFLAGS := -m elf_x86_64 -nostdlib -static -z max-page-size=4096 -z noexecstack --no-warn-rwx-segments

QEMU := qemu-system-x86_64 -accel tcg -smp 2 -m 64 -display none -serial stdio -no-reboot -nodefaults \
	-device isa-debug-exit,iobase=0xf4,iosize=4
QEMU_CONFIG_base := -cpu qemu64
QEMU_CONFIG_smap := -cpu max
QEMU_PASSED := 33
