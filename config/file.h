// SPDX-License-Identifier: ISC
//
// config/file.h: whole files, and who else may read them.
#ifndef PGSTEER_CONFIG_FILE_H
#define PGSTEER_CONFIG_FILE_H

#include <sys/stat.h>

#include "base/buf.h"
#include "base/fault.h"

// Reads a regular file into `out` (made here; the caller releases it, also on failure). False and a fault without the
// path: "No such file or directory", "is not a regular file", "is larger than ... bytes". Never waits, also not on a
// FIFO. `st` may be NULL.
NODISCARD bool file_read(const char *path, size_t max, struct buf *out, struct stat *st, struct fault *fault);

// May the file hold a secret? Not if others may read it, if its group may write it, or if it belongs to somebody who is
// neither root nor `uid`; FILE_ANY_OWNER leaves the last out. The fault says what to do.
#define FILE_ANY_OWNER ((uid_t)-1)
NODISCARD bool file_is_private(const struct stat *st, uid_t uid, struct fault *fault);

// A regular file that can be opened, and, if `secret`, is private. False and a fault without the path.
NODISCARD bool file_check(const char *path, bool secret, uid_t uid, struct fault *fault);

#endif
