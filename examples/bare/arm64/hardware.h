/* SPDX-License-Identifier: MIT */
/* Values of system registers and addresses of QEMU's `virt` board, for C and assembly. */
#ifndef HARDWARE_H
#define HARDWARE_H

#define BOOT_STACK        16384
#define USER_BASE         0x1000000000	/* port.mk has it too, for the linker */

#define CURRENT_EL2       (2 << 2)
#define PSR_EL1H          0x5
#define PSR_DAIF          0x3c0

#define HCR_RW            (1 << 31)
#define CNTHCTL_EL1_ALL   0x3		/* EL1 uses the physical counter and timer */
#define CPTR_EL2_NO_TRAPS 0x32ff	/* RES1 bits; FP and SVE of EL1 are not trapped */
#define CPACR_FPEN        (3 << 20)	/* FP and SIMD at EL1 and EL0 */

/*
 * SCTLR_EL1. RES1 bits of Armv8.0; among them SPAN: taking an exception leaves PSTATE.PAN as it is.
 * On: MMU, caches, both SP alignment checks, WFI and WFE at EL0. Off, so trapped: DAIF, CTR_EL0 and DC ZVA at EL0.
 */
#define SCTLR_OFF         0x30d00800
#define SCTLR_ON          (SCTLR_OFF | 1 << 0 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 12 | 1 << 16 | 1 << 18)

#define MAIR_NORMAL       0		/* indices */
#define MAIR_DEVICE       1
#define MAIR_VALUE        0x04ff	/* 0: write-back; 1: Device-nGnRE */

/* 39-bit addresses in 4 KiB pages from TTBR0, write-back inner-shareable walks; TTBR1 off; 40-bit physical. */
#define VA_BITS           39
#define TCR_VALUE         ((64 - VA_BITS) | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 23 | 2 << 32)

#define UART_BASE         0x09000000
#define GICD_BASE         0x08000000
#define GICC_BASE         0x08010000
#define DEVICES_BASE      0x08000000	/* 32 MiB with all of the above */
#define DEVICES_SIZE      0x02000000
#define TIMER_INTERRUPT   27		/* the virtual timer's private interrupt */

#endif
