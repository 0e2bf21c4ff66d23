/* SPDX-License-Identifier: MIT */
#ifndef CPU_H
#define CPU_H

#define UNDEFINED_INSTRUCTION 6 /* #UD */
#define UNDEFINED_SIZE 2        /* of UD2, in bytes */

#endif
