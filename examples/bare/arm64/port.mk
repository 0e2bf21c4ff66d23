# SPDX-License-Identifier: MIT
# Configurations: base, and the same kernel on the emulator's newest CPU (max) and entered at EL2 (el2).
ifneq ($(findstring clang,$(CC)),)
PORT_TARGET := --target=aarch64-linux-gnu
ifeq ($(origin LD),default)
LD := ld.lld
endif
else
ifneq ($(filter cc gcc,$(CC)),) # make's default, or the native compiler's name
override CC := aarch64-linux-gnu-gcc
endif
ifeq ($(origin LD),default)
LD := aarch64-linux-gnu-ld
endif
PORT_LDFLAGS := --no-warn-rwx-segments
endif
OBJCOPY ?= aarch64-linux-gnu-objcopy

# Strictly aligned accesses: mmu_build() runs with the MMU off. No calls of libgcc's atomics.
PORT_CFLAGS := $(PORT_TARGET) -mstrict-align -mno-outline-atomics
CONFIG_CFLAGS_base :=
CONFIG_CFLAGS_max :=
CONFIG_CFLAGS_el2 :=
PORT_SOURCES := boot.S switch.S cpu.c mmu.c devices.c
PORT_USER_SOURCES := user_asm.S user_cpu.c
USER_BASE := 0x1000000000
LDFLAGS := -nostdlib -static -z max-page-size=4096 $(PORT_LDFLAGS)

QEMU := qemu-system-aarch64 -accel tcg -smp 2 -m 64 -display none -serial stdio -no-reboot -nodefaults \
	-semihosting-config enable=on,target=native
QEMU_CONFIG_base := -M virt -cpu cortex-a72
QEMU_CONFIG_max := -M virt -cpu max
QEMU_CONFIG_el2 := -M virt,virtualization=on -cpu max
QEMU_PASSED := 0
