// SPDX-License-Identifier: MIT
/* Says which features the kernel found, and waits: its memory is looked at from outside. */
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

int main(void)
{
	static char line[1 << 14];

	mount("proc", "/proc", "proc", 0, NULL);
	FILE *file = fopen("/proc/cpuinfo", "r");

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, "flags", 5))
			printf("HAS %s", strchr(line, ':') + 1);
	printf("READY\n");
	fflush(stdout);
	for (;;)
		pause();
}
