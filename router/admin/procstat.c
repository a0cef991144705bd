// SPDX-License-Identifier: ISC
// router/admin/procstat.c: see router/admin/procstat.h.
#include "router/admin/procstat.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

struct procstat {
    int statm; // /proc/self/statm, -1 when it cannot be opened
    DIR *fds;  // /proc/self/fd, or NULL
    double start_time_seconds;
};

static double clock_seconds(clockid_t id) {
    struct timespec ts = {0};
    clock_gettime(id, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

// The text of a small /proc file, from its beginning. False when it cannot be read.
static bool read_start(int fd, char *to, size_t cap) {
    ssize_t n = fd < 0 ? -1 : pread(fd, to, cap - 1, 0);
    if (n <= 0) return false;
    to[n] = '\0';
    return true;
}

// Field 22 of /proc/self/stat is the start in clock ticks since boot (proc(5)); the second field, the command's name,
// may hold spaces and parentheses, so fields are counted from the last parenthesis.
static double read_start_time(void) {
    char text[1024];
    int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    bool ok = read_start(fd, text, sizeof text);
    if (fd >= 0) close(fd);
    char *p = ok ? strrchr(text, ')') : NULL;
    for (int field = 2; p && field < 22; field++) p = strchr(p + 1, ' ');
    if (!p) return 0;
    double since_boot = (double)strtoull(p + 1, NULL, 10) / (double)sysconf(_SC_CLK_TCK);
    return clock_seconds(CLOCK_REALTIME) - clock_seconds(CLOCK_BOOTTIME) + since_boot;
}

struct procstat *procstat_new(void) {
    struct procstat *w = mem_new(struct procstat);
    w->statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    w->fds = opendir("/proc/self/fd");
    w->start_time_seconds = read_start_time();
    return w;
}

void procstat_free(struct procstat *w) {
    if (w->statm >= 0) close(w->statm);
    if (w->fds) closedir(w->fds);
    mem_free(w);
}

static uint64_t resident_bytes(int statm) {
    char text[256], *resident;
    if (!read_start(statm, text, sizeof text)) return 0;
    strtoull(text, &resident, 10); // the first field is the whole address space
    return strtoull(resident, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}

static int64_t count_fds(DIR *fds) {
    if (!fds) return 0;
    int64_t count = 0;
    rewinddir(fds);
    for (struct dirent *e = readdir(fds); e; e = readdir(fds)) count += e->d_name[0] != '.';
    return count;
}

struct procstat_sample procstat_sample(struct procstat *w) {
    struct rlimit limit = {0};
    bool limited = getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
    return (struct procstat_sample){
        .start_time_seconds = w->start_time_seconds,
        .cpu_us = (uint64_t)(clock_seconds(CLOCK_PROCESS_CPUTIME_ID) * 1e6),
        .resident_bytes = resident_bytes(w->statm),
        .open_fds = count_fds(w->fds),
        .max_fds = limited ? (int64_t)limit.rlim_cur : -1,
    };
}
