// SPDX-License-Identifier: MIT
/*
 * Runs every program in /tests, all of them twice, and writes what each says of itself: "SAYS round name line", and how it ended: "ENDS round name status".
 * One that takes longer than its limit is killed, with all that it has started. All that goes to the second serial port: the kernel has the first one.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { ROUNDS = 2, SECONDS = 240, LINE = 4096 };          /* a program that hangs, not one that is slow */

/* Where these end at all, they do in a second; with SMAP, the emulator lets them fault for ever, on stock kernels, too. */
static const char *const hang[] = { "sysret_ss_attrs_64", "test_syscall_vdso_32" };
enum { HANG_SECONDS = 30 };

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void said(int round, const char *name, char *text)
{
	for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		if (line[0] == '[')
			printf("SAYS %d %s %s\n", round, name, line);
}

static int limit_of(const char *name)
{
	for (size_t i = 0; i < sizeof(hang) / sizeof(*hang); i++)
		if (!strcmp(name, hang[i]))
			return HANG_SECONDS;
	return SECONDS;
}

static void run(int round, const char *name)
{
	static char text[1 << 20];
	size_t length = 0;
	int ends[2], status = -1;
	double limit = now() + limit_of(name);
	char path[300];

	snprintf(path, sizeof(path), "/tests/%s", name);
	if (pipe(ends))
		return;
	pid_t child = fork();

	if (!child) {
		setpgid(0, 0);
		dup2(ends[1], 1);
		dup2(ends[1], 2);
		close(ends[0]);
		close(ends[1]);
		execl(path, path, (char *)NULL);
		_exit(127);
	}
	close(ends[1]);
	for (;;) {
		struct pollfd wait = { ends[0], POLLIN, 0 };
		double left = limit - now();

		if (left <= 0 || poll(&wait, 1, (int)(left * 1000) + 1) <= 0)
			break;
		ssize_t got = read(ends[0], text + length, sizeof(text) - 1 - length);

		if (got <= 0)
			break;
		length += (size_t)got;
	}
	kill(-child, SIGKILL);
	/* A program that has closed its output ends by itself, if it was not killed. */
	waitpid(child, &status, 0);
	close(ends[0]);
	text[length] = 0;
	said(round, name, text);
	printf("ENDS %d %s %d\n", round, name, status);
	fflush(stdout);
	while (waitpid(-1, NULL, WNOHANG) > 0)
		;
}

static int program(const struct dirent *entry)
{
	return entry->d_name[0] != '.';
}

/* Lines of a file that begin with a word, after the name that they are told by. */
static void tell(const char *path, const char *name, const char *start)
{
	char line[LINE];
	FILE *file = fopen(path, "r");

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, start, strlen(start)))
			printf("KNOWS %s %s", name, line);
	if (file)
		fclose(file);
}

static void weaknesses(void)
{
	static const char folder[] = "/sys/devices/system/cpu/vulnerabilities";
	char path[300];
	struct dirent **names;
	int count = scandir(folder, &names, program, alphasort);

	tell("/proc/cpuinfo", "cpu", "bugs");
	for (int i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]->d_name);
		tell(path, names[i]->d_name, "");
	}
}

int main(void)
{
	struct dirent **names;

	mount("proc", "/proc", "proc", 0, NULL);
	mount("sys", "/sys", "sysfs", 0, NULL);
	mkdir("/tmp", 01777);
	mknod("/dev/ttyS1", S_IFCHR | 0600, makedev(4, 65));
	if (!freopen("/dev/ttyS1", "w", stdout))
		perror("/dev/ttyS1");
	mknod("/dev/null", S_IFCHR | 0666, makedev(1, 3));
	mknod("/dev/zero", S_IFCHR | 0666, makedev(1, 5));
	weaknesses();
	int count = scandir("/tests", &names, program, alphasort);

	for (int round = 1; round <= ROUNDS; round++)
		for (int i = 0; i < count; i++)
			run(round, names[i]->d_name);
	printf("DONE programs %d\n", count);
	fflush(stdout);
	tcdrain(fileno(stdout));
	reboot(RB_AUTOBOOT);
	return 0;
}
