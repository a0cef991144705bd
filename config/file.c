// SPDX-License-Identifier: ISC
// config/file.c: see config/file.h.
#include "config/file.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "config/values.h"

// The descriptor of a regular file, or -1 and a fault.
static int open_regular(const char *path, struct stat *st, struct fault *fault) {
    // Without O_NONBLOCK, opening a FIFO would wait for a writer.
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    char why[200];
    if (fd < 0 || fstat(fd, st) < 0) {
        fault_set(fault, CONFIG_SQLSTATE, "%s", strerror_r(errno, why, sizeof why));
    } else if (!S_ISREG(st->st_mode)) {
        fault_set(fault, CONFIG_SQLSTATE, "is not a regular file");
    } else {
        return fd;
    }
    if (fd >= 0) close(fd);
    return -1;
}

// Reads until the end; false and a fault when it fails or does not fit.
static bool read_all(int fd, struct buf *out, struct fault *fault) {
    enum { CHUNK = 16384 };
    for (;;) {
        size_t room = out->cap - out->tail, want = MIN_OF(room ? room : CHUNK, out->limit - buf_len(out));
        uint8_t *to = buf_reserve(out, want);
        ssize_t n = to ? read(fd, to, want) : 0;
        char why[200];
        if (n < 0) return fault_set(fault, CONFIG_SQLSTATE, "%s", strerror_r(errno, why, sizeof why));
        if (n == 0) break;
        buf_commit(out, (size_t)n);
    }
    // The limit is one byte more than is allowed.
    if (!out->failed && buf_len(out) < out->limit) return true;
    return fault_set(fault, CONFIG_SQLSTATE, "is larger than %u bytes", out->limit - 1);
}

bool file_read(const char *path, size_t max, struct buf *out, struct stat *st, struct fault *fault) {
    struct stat own;
    *out = buf_make(max + 1);
    if (!st) st = &own;
    int fd = open_regular(path, st, fault);
    if (fd < 0) return false;
    // All the room at once: a buf that grows leaves copies behind, and the file may hold secrets.
    (void)!buf_reserve(out, (size_t)MIN_OF((uint64_t)st->st_size, (uint64_t)max) + 1);
    bool ok = read_all(fd, out, fault);
    close(fd);
    return ok;
}

bool file_is_private(const struct stat *st, uid_t uid, struct fault *fault) {
    if (st->st_mode & 0037)
        return fault_set(fault, CONFIG_SQLSTATE,
                         "may be read or written by others (its mode is %04o): set it to 0600 or 0640",
                         st->st_mode & 07777);
    if (uid != FILE_ANY_OWNER && st->st_uid != uid && st->st_uid != 0)
        return fault_set(fault, CONFIG_SQLSTATE, "belongs to user id %u: it must belong to root or to user id %u",
                         (unsigned)st->st_uid, (unsigned)uid);
    return true;
}

bool file_check(const char *path, bool secret, uid_t uid, struct fault *fault) {
    struct stat st;
    int fd = open_regular(path, &st, fault);
    if (fd < 0) return false;
    close(fd);
    return !secret || file_is_private(&st, uid, fault);
}
