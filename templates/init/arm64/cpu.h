/* SPDX-License-Identifier: MIT */
#ifndef CPU_H
#define CPU_H

#define UNDEFINED_INSTRUCTION 0 /* exception class of UDF */
#define UNDEFINED_SIZE 4        /* in bytes */

#endif
