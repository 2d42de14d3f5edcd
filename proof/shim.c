/* Preloaded into the daemon: a disk that forgets, or fails, on demand.
 *
 * SHIM_DIR     the folder whose files are watched (realpath); files named *-shm and *.lock are not.
 * SHIM_SHADOW  what a power cut leaves: `data.NAME` is NAME as of its last successful fsync or
 *              fdatasync, `entry.NAME` exists when the folder was synced while NAME was in it.
 * SHIM_FAIL_AT    the operation (open, write, sync, truncate; from 1) that fails; 0 or unset: none.
 * SHIM_FAIL_FOR   how many fail from there on, 1 unless set.
 * SHIM_FAIL_HOW   EIO, ENOSPC, or SHORT (half of a write is done).
 * SHIM_READONLY   while this file is there the folder is on a read-only file system (EROFS).
 * SHIM_SPEED   bytes a second that the disk takes; 0 or unset: as many as it does.
 * SHIM_COUNT   a file that holds the number of operations so far.
 *
 * A failed sync forgets what was to be synced, as Linux does: the next one "succeeds" without it.
 * WAL-index files are left alone: they are rebuilt from the WAL.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct range { off_t from, to; };
struct file {
    dev_t dev;
    ino_t ino;
    char name[NAME_MAX + 1]; /* empty: not watched */
    int whole;               /* everything is new: the copy is begun anew */
    size_t count, room;
    struct range *dirty;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct file *files;
static size_t file_count, file_room;
static const char *dir, *shadow, *readonly;
static size_t dir_len;
static long fail_at, fail_for = 1, speed, *operations;
static int fail_errno, fail_short;

static int (*real_open)(const char *, int, ...);
static int (*real_open64)(const char *, int, ...);
static int (*real_openat)(int, const char *, int, ...);
static int (*real_openat64)(int, const char *, int, ...);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_ftruncate)(int, off_t);

__attribute__((constructor)) static void start(void)
{
    static long none;
    real_open = dlsym(RTLD_NEXT, "open");
    real_open64 = dlsym(RTLD_NEXT, "open64");
    real_openat = dlsym(RTLD_NEXT, "openat");
    real_openat64 = dlsym(RTLD_NEXT, "openat64");
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate");
    dir = getenv("SHIM_DIR");
    shadow = getenv("SHIM_SHADOW");
    const char *fast = getenv("SHIM_SPEED");
    speed = fast ? atol(fast) : 0;
    readonly = getenv("SHIM_READONLY");
    dir_len = dir ? strlen(dir) : 0;
    const char *text = getenv("SHIM_FAIL_AT");
    fail_at = text ? atol(text) : 0;
    if ((text = getenv("SHIM_FAIL_FOR"))) fail_for = atol(text);
    text = getenv("SHIM_FAIL_HOW");
    fail_errno = text && !strcmp(text, "ENOSPC") ? ENOSPC : EIO;
    fail_short = text && !strcmp(text, "SHORT");
    operations = &none;
    if ((text = getenv("SHIM_COUNT"))) {
        int fd = real_open(text, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd >= 0 && real_ftruncate(fd, sizeof(long)) == 0) {
            void *page = mmap(NULL, sizeof(long), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
            if (page != MAP_FAILED) operations = page;
        }
        if (fd >= 0) close(fd);
    }
}

/* The name within the folder, or NULL. */
static const char *watched(const char *path)
{
    if (!dir || strncmp(path, dir, dir_len) || path[dir_len] != '/') return NULL;
    const char *name = path + dir_len + 1;
    size_t len = strlen(name);
    if (!len || strchr(name, '/')) return NULL;
    if (len > 4 && !strcmp(name + len - 4, "-shm")) return NULL;
    if (len > 5 && !strcmp(name + len - 5, ".lock")) return NULL;
    return name;
}

static int fails(void)
{
    long at = __atomic_add_fetch(operations, 1, __ATOMIC_SEQ_CST);
    if (readonly && access(readonly, F_OK) == 0) {
        fail_errno = EROFS;
        return 1;
    }
    return fail_at && at >= fail_at && at < fail_at + fail_for;
}

/* With the lock held. */
static struct file *file_of(int fd)
{
    struct stat st;
    if (!dir || fstat(fd, &st) || !S_ISREG(st.st_mode)) return NULL;
    for (size_t i = 0; i < file_count; i++)
        if (files[i].ino == st.st_ino && files[i].dev == st.st_dev)
            return files[i].name[0] ? &files[i] : NULL;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    if (len < 0) return NULL;
    path[len] = 0;
    if (file_count == file_room) {
        file_room = file_room ? 2 * file_room : 64;
        files = realloc(files, file_room * sizeof *files);
        if (!files) abort();
    }
    struct file *file = &files[file_count++];
    memset(file, 0, sizeof *file);
    file->dev = st.st_dev;
    file->ino = st.st_ino;
    const char *name = watched(path);
    if (name) strncpy(file->name, name, NAME_MAX);
    return name ? file : NULL;
}

static void forget(const char *path)
{
    struct stat st;
    if (!dir || lstat(path, &st)) return;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < file_count; i++)
        if (files[i].ino == st.st_ino && files[i].dev == st.st_dev) {
            free(files[i].dirty);
            files[i] = files[--file_count];
            break;
        }
    pthread_mutex_unlock(&lock);
}

static void dirtied(struct file *file, off_t from, off_t to)
{
    if (file->count && file->dirty[file->count - 1].to == from) {
        file->dirty[file->count - 1].to = to;
        return;
    }
    if (file->count == file->room) {
        file->room = file->room ? 2 * file->room : 64;
        file->dirty = realloc(file->dirty, file->room * sizeof *file->dirty);
        if (!file->dirty) abort();
    }
    file->dirty[file->count++] = (struct range){from, to};
}

/* What was synced goes to the copy. A kill in the middle leaves a part of it, as a cut would. */
static void keep(struct file *file, int fd)
{
    char path[PATH_MAX], buffer[65536];
    struct stat st;
    snprintf(path, sizeof path, "%s/data.%s", shadow, file->name);
    int copy = real_open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (file->whole ? O_TRUNC : 0), 0600);
    /* SQLite's descriptors may be write-only elsewhere; read through another one. */
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int source = real_open(link, O_RDONLY | O_CLOEXEC);
    if (copy < 0 || source < 0 || fstat(fd, &st)) abort();
    for (size_t i = 0; i < file->count; i++) {
        off_t at = file->dirty[i].from;
        while (at < file->dirty[i].to) {
            size_t want = file->dirty[i].to - at;
            if (want > sizeof buffer) want = sizeof buffer;
            ssize_t got = pread(source, buffer, want, at);
            if (got <= 0) break; /* truncated since */
            if (real_pwrite(copy, buffer, got, at) != got) abort();
            at += got;
        }
    }
    if (real_ftruncate(copy, st.st_size)) abort();
    close(source);
    close(copy);
    file->count = 0;
    file->whole = 0;
}

#include <dirent.h>
static void keep_entries(void)
{
    char path[PATH_MAX];
    DIR *list = opendir(dir);
    for (struct dirent *e; list && (e = readdir(list));) {
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name);
        if (!watched(path)) continue;
        snprintf(path, sizeof path, "%s/entry.%s", shadow, e->d_name);
        int fd = real_open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        if (fd >= 0) close(fd);
    }
    if (list) closedir(list);
    list = opendir(shadow);
    for (struct dirent *e; list && (e = readdir(list));) {
        if (strncmp(e->d_name, "entry.", 6)) continue;
        snprintf(path, sizeof path, "%s/%s", dir, e->d_name + 6);
        if (access(path, F_OK) == 0) continue;
        snprintf(path, sizeof path, "%s/%s", shadow, e->d_name);
        unlink(path);
        snprintf(path, sizeof path, "%s/data.%s", shadow, e->d_name + 6);
        unlink(path);
    }
    if (list) closedir(list);
}

static int opened(const char *path, int flags, int fd, int existed)
{
    if (fd < 0 || !watched(path) || !(flags & (O_WRONLY | O_RDWR))) return fd;
    pthread_mutex_lock(&lock);
    struct file *file = file_of(fd);
    struct stat st;
    if (file && !existed) file->whole = 1;
    if (file && (flags & O_TRUNC) && !fstat(fd, &st)) file->whole = 1;
    pthread_mutex_unlock(&lock);
    return fd;
}

#define OPEN(call)                                                        \
    mode_t mode = 0;                                                      \
    if (flags & (O_CREAT | O_TMPFILE)) {                                  \
        va_list rest;                                                     \
        va_start(rest, flags);                                            \
        mode = va_arg(rest, mode_t);                                      \
        va_end(rest);                                                     \
    }                                                                     \
    if (watched(path) && (!readonly || (flags & (O_WRONLY | O_RDWR))) && fails()) { \
        errno = fail_errno;                                               \
        return -1;                                                        \
    }                                                                     \
    int existed = access(path, F_OK) == 0;                                \
    return opened(path, flags, call, existed)

int open(const char *path, int flags, ...) { OPEN(real_open(path, flags, mode)); }
int open64(const char *path, int flags, ...) { OPEN(real_open64(path, flags, mode)); }
int openat(int at, const char *path, int flags, ...) { OPEN(real_openat(at, path, flags, mode)); }
int openat64(int at, const char *path, int flags, ...) { OPEN(real_openat64(at, path, flags, mode)); }

static ssize_t written(int fd, const void *data, size_t len, off_t at, int positioned)
{
    pthread_mutex_lock(&lock);
    struct file *file = file_of(fd);
    ssize_t done;
    if (!file) {
        pthread_mutex_unlock(&lock);
        return positioned ? real_pwrite(fd, data, len, at) : real_write(fd, data, len);
    }
    if (!positioned) at = lseek(fd, 0, SEEK_CUR);
    if (fails()) {
        if (!fail_short || len < 2) {
            pthread_mutex_unlock(&lock);
            errno = fail_errno;
            return -1;
        }
        len /= 2;
    }
    done = positioned ? real_pwrite(fd, data, len, at) : real_write(fd, data, len);
    if (done > 0) dirtied(file, at, at + done);
    pthread_mutex_unlock(&lock);
    if (speed && done > 0) usleep(done * 1000000L / speed);
    return done;
}

ssize_t write(int fd, const void *data, size_t len) { return written(fd, data, len, 0, 0); }
ssize_t pwrite(int fd, const void *data, size_t len, off_t at) { return written(fd, data, len, at, 1); }
ssize_t pwrite64(int fd, const void *data, size_t len, off_t at) { return written(fd, data, len, at, 1); }

static int synced(int fd, int (*call)(int))
{
    char link[64], path[PATH_MAX];
    struct stat st;
    if (!dir || fstat(fd, &st)) return call(fd);
    pthread_mutex_lock(&lock);
    int outcome = 0;
    if (S_ISDIR(st.st_mode)) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t len = readlink(link, path, sizeof path - 1);
        if (len > 0 && (size_t)len == dir_len && !strncmp(path, dir, dir_len)) {
            if (fails()) outcome = -1;
            else if (shadow) keep_entries();
        }
    } else {
        struct file *file = file_of(fd);
        if (file && fails()) {
            file->count = 0;
            outcome = -1;
        } else if (file && shadow) keep(file, fd);
        else if (file) file->count = 0;
    }
    pthread_mutex_unlock(&lock);
    /* The copy stands for the disk; the real one need not be waited for. */
    if (outcome) errno = fail_errno;
    return outcome;
}

int fsync(int fd) { return synced(fd, real_fsync); }
int fdatasync(int fd) { return synced(fd, real_fdatasync); }

static int truncated(int fd, off_t len)
{
    pthread_mutex_lock(&lock);
    struct file *file = file_of(fd);
    if (file && fails()) {
        pthread_mutex_unlock(&lock);
        errno = fail_errno;
        return -1;
    }
    struct stat st;
    off_t before = file && !fstat(fd, &st) ? st.st_size : len;
    int outcome = real_ftruncate(fd, len);
    if (file && outcome == 0 && before < len) dirtied(file, before, len);
    pthread_mutex_unlock(&lock);
    return outcome;
}

int ftruncate(int fd, off_t len) { return truncated(fd, len); }
int ftruncate64(int fd, off_t len) { return truncated(fd, len); }

int unlink(const char *path)
{
    int (*call)(const char *) = dlsym(RTLD_NEXT, "unlink");
    if (watched(path)) forget(path);
    return call(path);
}
