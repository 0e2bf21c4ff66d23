# SPDX-License-Identifier: MIT
ifeq ($(origin CC),default)
CC := gcc
endif
ifeq ($(origin LD),default)
LD := ld
endif
OBJCOPY ?= objcopy

PORT_CFLAGS := -m64 -mno-red-zone -fcf-protection=none
KERNEL_CFLAGS := -mcmodel=kernel
on = $(1:%=-DCONFIG_%=1)
CONFIG_CFLAGS_base :=
CONFIG_CFLAGS_smap := $(call on,SMAP)
CONFIG_CFLAGS_pti := $(call on,SMAP PTI)
CONFIG_CFLAGS_fsgsbase := $(call on,SMAP FSGSBASE FENCE)
CONFIG_CFLAGS_intel := $(call on,SMAP PTI PCID FENCE IBRS BHB VERW)
CONFIG_CFLAGS_amd := $(call on,SMAP FSGSBASE UNTRAIN)
# All else of `intel`. The emulator takes CR4.PCIDE and bit 11 of CR3, but never ends a MOV to CR3 that sets bit 63.
CONFIG_CFLAGS_intel_nopcid := $(call on,SMAP PTI FENCE IBRS BHB VERW)
PORT_SOURCES := boot.S switch.S cpu.c mmu.c traps.c probes.c apic.c
PORT_USER_SOURCES := user_asm.S user_gates.S user_cpu.c user_faults.c user_methods.c user_gates32.c user_returns.c \
	user_debug.c user_hostile.c user_isolation.c user_nmi.c user_ipis.c user_load_gs.c
USER_BASE := 0x40000000
LDFLAGS := -m elf_x86_64 -nostdlib -static -z max-page-size=4096 -z noexecstack --no-warn-rwx-segments

# For Bochs: a ROM with the kernel in it, in place of a BIOS.
.DEFAULT_GOAL := all
$(OUT)/rom.bin: $(HERE)/x86_64/rom.S $(OUT)/kernel.elf
	$(OBJCOPY) -O binary $(OUT)/kernel.elf $(OUT)/kernel.bin
	$(CC) -m32 -c -DKERNEL_IMAGE='"$(OUT)/kernel.bin"' -o $(OUT)/rom.o $<
	$(OBJCOPY) -O binary -j .text $(OUT)/rom.o $@

QEMU := qemu-system-x86_64 -accel tcg -smp 2 -m 64 -display none -serial stdio -no-reboot -nodefaults \
	-device isa-debug-exit,iobase=0xf4,iosize=4
# What the emulator lacks of these CPUs: without this, it warns.
LACKS := pcid x2apic tsc-deadline hle invpcid rtm avx512f avx512dq rdseed avx512cd avx512bw avx512vl \
	3dnowprefetch xsavec sha-ni fxsr-opt misalignsse osvw topoext nrip-save avx512vnni spec-ctrl \
	ssbd avx512vbmi avx512vbmi2 gfni vpclmulqdq avx512bitalg avx512-vpopcntdq wbnoinvd
comma := ,
empty :=
WITHOUT := $(subst $(empty) ,,$(LACKS:%=,-%))
# A CPU of AMD has SYSCALL in 32-bit code, one of Intel SYSENTER. The emulator lets both have both.
QEMU_CONFIG_base := -cpu qemu64
QEMU_CONFIG_smap := -cpu max
QEMU_CONFIG_pti := -cpu Skylake-Server-v1$(WITHOUT)
QEMU_CONFIG_fsgsbase := -cpu Icelake-Server-v1$(WITHOUT)
QEMU_CONFIG_intel := -cpu Skylake-Server-v1$(WITHOUT)
QEMU_CONFIG_intel_nopcid := -cpu Cascadelake-Server-v1$(WITHOUT)
QEMU_CONFIG_amd := -cpu EPYC-v1$(WITHOUT)
QEMU_PASSED := 33
