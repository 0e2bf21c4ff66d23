/* SPDX-License-Identifier: MIT */
/* Names of architected bits and registers that the port uses, for C and assembly. */
#ifndef HARDWARE_H
#define HARDWARE_H

#define USER_BASE          0x40000000 /* port.mk has it too */
#define KERNEL_BASE        0xffffffff80000000 /* kernel.ld has it too */

#define MSR_SPEC_CTRL      0x48
#define MSR_EFER           0xc0000080
#define MSR_FS_BASE        0xc0000100
#define MSR_GS_BASE        0xc0000101
#define MSR_KERNEL_GS_BASE 0xc0000102
#define EFER_LME           (1 << 8)
#define EFER_NXE           (1 << 11)

#define CR0_PE (1 << 0)
#define CR0_MP (1 << 1)
#define CR0_EM (1 << 2)
#define CR0_TS (1 << 3)
#define CR0_NE (1 << 5)
#define CR0_WP (1 << 16)
#define CR0_PG (1 << 31)
#define CR4_PAE        (1 << 5)
#define CR4_OSFXSR     (1 << 9)
#define CR4_OSXMMEXCPT (1 << 10)
#define CR4_FSGSBASE   (1 << 16)
#define CR4_PCIDE      (1 << 17)
#define CR4_SMEP       (1 << 20)
#define CR4_SMAP       (1 << 21)

#define SPEC_CTRL_IBRS 1

#define FLAG_CF   (1 << 0)
#define FLAG_ONE  (1 << 1)
#define FLAG_TF   (1 << 8)
#define FLAG_IF   (1 << 9)
#define FLAG_DF   (1 << 10)
#define FLAG_OF   (1 << 11)
#define FLAG_IOPL (3 << 12)
#define FLAG_NT   (1 << 14)
#define FLAG_RF   (1 << 16)
#define FLAG_VM   (1 << 17)
#define FLAG_AC   (1 << 18)
#define FLAG_ID   (1 << 21)
#define FLAGS_STATUS 0x8d5 /* CF PF AF ZF SF OF */

/* Selectors that the spec does not know: for frames that SYSRET cannot restore, and for faults. */
#define OTHER_USER_CS   0x3b
#define OTHER_USER_DS   0x43
#define ABSENT_USER_DS  0x4b
#define TSS_SELECTOR    0x50
#define ABSENT_USER_CS  0x63
#define GDT_WORDS       13

#define PAGE_PRESENT 0x1
#define PAGE_WRITE   0x2
#define PAGE_USER    0x4
#define PAGE_LARGE   0x80
#define PAGE_UNCACHED 0x10
#define PAGE_NX      (UINT64_C(1) << 63)

#define AP_BOOT_PAGE 0x8000
#define APIC_PHYSICAL 0xfee00000

/* DR7: breakpoint 0 on, and what it is on. DR6: it was hit; a single step. */
#define DR7_ON      (1 << 1)
#define DR7_EXECUTE (0 << 16)
#define DR7_WRITE   (1 << 16 | 3 << 18)
#define DR7_ACCESS  (3 << 16 | 3 << 18)
#define DR6_NONE    0xffff0ff0
#define DR6_HIT     (1 << 0)
#define DR6_STEP    (1 << 14)

#endif
