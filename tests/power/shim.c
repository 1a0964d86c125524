/* What a server does to its files, and when it is safe on the disk: a library to be preloaded.
 *
 *   cc -shared -fPIC -O1 -o shim.so tests/power/shim.c -ldl -pthread
 *   LD_PRELOAD=shim.so STONECHAT_POWER_DIR=/data STONECHAT_POWER_RECORD=/tmp/record stonechat ...
 *
 * Every effect on a file below STONECHAT_POWER_DIR (an absolute path without links) is appended to
 * the record, in the order of the effects: a lock is held over the real call. SQLite's -shm files
 * are left out, they are rebuilt at every start. With STONECHAT_POWER_SYNC_US each sync takes that
 * many microseconds longer, so that an acknowledgement before its sync has time to get out.
 *
 * An event is `struct head`, its names (each ended by NUL, relative to the folder), its bytes.
 * tests/features/power_cut/record.rs reads it. What the shim cannot follow ends the process; what
 * goes round libc (a rename by tempfile's rustix) is seen in the listing at the folder's next sync.
 */
#define _GNU_SOURCE
#include <dirent.h>
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
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum kind { CREATE = 1, WRITE, TRUNCATE, SYNC, SYNC_FOLDER, RENAME, LINK, UNLINK, MKDIR, RMDIR };
struct head { uint32_t kind, names; uint64_t at, inode, offset, bytes; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int record = -1;
static char root[PATH_MAX];
static dev_t device;
static useconds_t sync_us;
/* Files are known by their inode: descriptors may be duplicated, inherited and passed at will. */
static ino_t followed[4096];
static int followed_count;

#define REAL(name) ({ static __typeof__(&name) real_; \
	real_ ? real_ : (real_ = (__typeof__(&name))dlsym(RTLD_NEXT, #name)); })
#define HIDDEN_MODE(flags, last) mode_t mode = 0; \
	if ((flags) & (O_CREAT | __O_TMPFILE)) { va_list l; va_start(l, last); mode = va_arg(l, mode_t); va_end(l); }

static void fail(const char *why) {
	fprintf(stderr, "power shim: %s\n", why);
	abort();
}

__attribute__((constructor)) static void begin(void) {
	const char *dir = getenv("STONECHAT_POWER_DIR"), *to = getenv("STONECHAT_POWER_RECORD");
	const char *us = getenv("STONECHAT_POWER_SYNC_US");
	struct stat st;
	if (!dir || !to) return;
	if (strlen(dir) >= sizeof root || stat(dir, &st)) fail("no such STONECHAT_POWER_DIR");
	strcpy(root, dir);
	device = st.st_dev;
	sync_us = us ? atoi(us) : 0;
	record = REAL(open)(to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (record < 0) fail("STONECHAT_POWER_RECORD cannot be written");
}

static void put(enum kind kind, ino_t inode, off_t offset, const char *a, const char *b,
		const void *bytes, size_t n) {
	struct timespec now;
	int saved = errno;
	size_t la = a ? strlen(a) + 1 : 0, lb = b ? strlen(b) + 1 : 0;
	clock_gettime(CLOCK_MONOTONIC, &now);
	struct head head = { kind, la + lb, now.tv_sec * 1000000000ull + now.tv_nsec, inode, offset, n };
	struct iovec all[] = { { &head, sizeof head }, { (void *)a, la }, { (void *)b, lb }, { (void *)bytes, n } };
	if (REAL(writev)(record, all, 4) != (ssize_t)(sizeof head + la + lb + n)) fail("the record is cut");
	errno = saved;
}

/* The part of a path below the folder; "" for the folder itself; NULL for what is not followed. */
static const char *inside(const char *path) {
	size_t n = strlen(root), len = strlen(path);
	if (record < 0 || strncmp(path, root, n) || (path[n] && path[n] != '/')) return NULL;
	if (len > 4 && !strcmp(path + len - 4, "-shm")) return NULL;
	return path[n] ? path + n + 1 : path + n;
}

static const char *path_of(int fd, char *out) {
	char name[40];
	snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
	ssize_t n = readlink(name, out, PATH_MAX - 1);
	out[n < 0 ? 0 : n] = 0;
	return inside(out);
}

/* The same of a name that need not exist: its folder made absolute, and its last part. */
static const char *resolve(int at, const char *path, char *out) {
	char folder[PATH_MAX];
	int saved = errno;
	const char *slash = strrchr(path, '/'), *found = NULL;
	size_t n = slash ? (slash == path ? 1 : slash - path) : 1, len;
	if (record < 0 || n >= sizeof folder) return NULL;
	memcpy(folder, slash ? path : ".", n);
	folder[n] = 0;
	int fd = REAL(openat)(at, folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		path_of(fd, out);
		len = strlen(out);
		const char *last = slash ? slash + 1 : path;
		if (len + strlen(last) + 2 < PATH_MAX) {
			sprintf(out + len, "/%s", last);
			found = inside(out);
		}
		close(fd);
	}
	errno = saved;
	return found;
}

static int index_of(ino_t inode) {
	for (int i = 0; i < followed_count; i++) if (followed[i] == inode) return i;
	return -1;
}

static void follow(ino_t inode) {
	if (index_of(inode) >= 0) return;
	if (followed_count == 4096) fail("too many files");
	followed[followed_count++] = inode;
}

/* Of a name that is about to go: its inode may become another file's. */
static void forget(int at, const char *path) {
	struct stat st;
	int i, saved = errno;
	if (!fstatat(at, path, &st, AT_SYMLINK_NOFOLLOW) && st.st_nlink == 1 && (i = index_of(st.st_ino)) >= 0)
		followed[i] = followed[--followed_count];
	errno = saved;
}

/* True, and the lock is held, if this is a file that is followed. */
static int enter(int fd, struct stat *st) {
	int saved = errno, found = 0;
	if (record >= 0 && !fstat(fd, st) && S_ISREG(st->st_mode) && st->st_dev == device) {
		pthread_mutex_lock(&lock);
		found = index_of(st->st_ino) >= 0;
		if (!found) pthread_mutex_unlock(&lock);
	}
	errno = saved;
	return found;
}

#define LEAVE(result) do { int e_ = errno; pthread_mutex_unlock(&lock); errno = e_; return result; } while (0)

static int open_at(int at, const char *path, int flags, mode_t mode) {
	char full[PATH_MAX];
	struct stat st;
	if ((flags & __O_TMPFILE) || !resolve(at, path, full)) return REAL(openat)(at, path, flags, mode);
	pthread_mutex_lock(&lock);
	int saved = errno, there = !fstatat(at, path, &st, 0);
	errno = saved;
	int fd = REAL(openat)(at, path, flags, mode);
	const char *name;
	if (fd >= 0 && (name = path_of(fd, full)) && !fstat(fd, &st) && S_ISREG(st.st_mode)) {
		follow(st.st_ino);
		if (!there) put(CREATE, st.st_ino, 0, name, NULL, NULL, 0);
		else if (flags & O_TRUNC) put(TRUNCATE, st.st_ino, 0, NULL, NULL, NULL, 0);
	}
	LEAVE(fd);
}

int open(const char *p, int flags, ...) { HIDDEN_MODE(flags, flags) return open_at(AT_FDCWD, p, flags, mode); }
int open64(const char *p, int flags, ...) { HIDDEN_MODE(flags, flags) return open_at(AT_FDCWD, p, flags, mode); }
int openat(int at, const char *p, int flags, ...) { HIDDEN_MODE(flags, flags) return open_at(at, p, flags, mode); }
int openat64(int at, const char *p, int flags, ...) { HIDDEN_MODE(flags, flags) return open_at(at, p, flags, mode); }
int __open_2(const char *p, int flags) { return open_at(AT_FDCWD, p, flags, 0); }
int __open64_2(const char *p, int flags) { return open_at(AT_FDCWD, p, flags, 0); }
int __openat_2(int at, const char *p, int flags) { return open_at(at, p, flags, 0); }
int __openat64_2(int at, const char *p, int flags) { return open_at(at, p, flags, 0); }
int creat(const char *p, mode_t mode) { return open_at(AT_FDCWD, p, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *p, mode_t mode) { return creat(p, mode); }

/* Where a write without an offset went is known best behind it: so it is right for O_APPEND too. */
static void wrote(int fd, struct stat *st, off_t offset, const struct iovec *v, int count, ssize_t n) {
	if (n <= 0) return;
	int saved = errno;
	if (offset < 0) offset = lseek(fd, 0, SEEK_CUR) - n;
	for (int i = 0; i < count && n > 0; i++) {
		ssize_t part = (ssize_t)v[i].iov_len < n ? (ssize_t)v[i].iov_len : n;
		put(WRITE, st->st_ino, offset, NULL, NULL, v[i].iov_base, part);
		offset += part, n -= part;
	}
	errno = saved;
}

#define WRITES(call, fd, offset, v, count) struct stat st; \
	if (!enter(fd, &st)) return call; \
	ssize_t done = call; wrote(fd, &st, offset, v, count, done); LEAVE(done)
#define ONE struct iovec v = { (void *)b, n };

ssize_t write(int fd, const void *b, size_t n) { ONE WRITES(REAL(write)(fd, b, n), fd, -1, &v, 1); }
ssize_t pwrite(int fd, const void *b, size_t n, off_t o) { ONE WRITES(REAL(pwrite)(fd, b, n, o), fd, o, &v, 1); }
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t o) { ONE WRITES(REAL(pwrite64)(fd, b, n, o), fd, o, &v, 1); }
ssize_t writev(int fd, const struct iovec *v, int c) { WRITES(REAL(writev)(fd, v, c), fd, -1, v, c); }
ssize_t pwritev(int fd, const struct iovec *v, int c, off_t o) { WRITES(REAL(pwritev)(fd, v, c, o), fd, o, v, c); }
ssize_t pwritev64(int fd, const struct iovec *v, int c, off64_t o) { WRITES(REAL(pwritev64)(fd, v, c, o), fd, o, v, c); }

/* What the kernel copied is read back from the file. */
static void copied(int fd, struct stat *st, off_t offset, ssize_t n) {
	char name[40], bytes[65536];
	int saved = errno;
	if (n <= 0) return;
	snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
	int from = REAL(open)(name, O_RDONLY | O_CLOEXEC);
	while (n > 0) {
		ssize_t got = pread(from, bytes, n < 65536 ? n : 65536, offset);
		if (got <= 0) fail("a copy cannot be read back");
		put(WRITE, st->st_ino, offset, NULL, NULL, bytes, got);
		offset += got, n -= got;
	}
	close(from);
	errno = saved;
}

ssize_t copy_file_range(int in, off64_t *io, int out, off64_t *oo, size_t n, unsigned flags) {
	struct stat st;
	if (!enter(out, &st)) return REAL(copy_file_range)(in, io, out, oo, n, flags);
	ssize_t done = REAL(copy_file_range)(in, io, out, oo, n, flags);
	copied(out, &st, (oo ? *oo : lseek(out, 0, SEEK_CUR)) - done, done);
	LEAVE(done);
}

#define SENDS(name, off) ssize_t name(int out, int in, off *o, size_t n) { \
	struct stat st; \
	if (!enter(out, &st)) return REAL(name)(out, in, o, n); \
	ssize_t done = REAL(name)(out, in, o, n); \
	copied(out, &st, lseek(out, 0, SEEK_CUR) - done, done); LEAVE(done); }
SENDS(sendfile, off_t)
SENDS(sendfile64, off64_t)

#define SIZES(call, fd, size) struct stat st; \
	if (!enter(fd, &st)) return call; \
	int done = call; if (!done) put(TRUNCATE, st.st_ino, size, NULL, NULL, NULL, 0); LEAVE(done)
#define GROWS(call, fd, mode, end) SIZES(call, fd, \
	(mode) ? (fail("fallocate with a mode"), 0) : (end) > st.st_size ? (end) : st.st_size)

int ftruncate(int fd, off_t n) { SIZES(REAL(ftruncate)(fd, n), fd, n); }
int ftruncate64(int fd, off64_t n) { SIZES(REAL(ftruncate64)(fd, n), fd, n); }
int fallocate(int fd, int mode, off_t o, off_t n) { GROWS(REAL(fallocate)(fd, mode, o, n), fd, mode, o + n); }
int fallocate64(int fd, int mode, off64_t o, off64_t n) { GROWS(REAL(fallocate64)(fd, mode, o, n), fd, mode, o + n); }
int posix_fallocate(int fd, off_t o, off_t n) { GROWS(REAL(posix_fallocate)(fd, o, n), fd, 0, o + n); }
int posix_fallocate64(int fd, off64_t o, off64_t n) { GROWS(REAL(posix_fallocate64)(fd, o, n), fd, 0, o + n); }

/* The names in a folder, each as "inode name", a folder's with a slash behind it. */
static void put_listing(const char *path, const char *name) {
	static char list[1 << 18];
	size_t used = 0;
	struct stat st;
	struct dirent *entry;
	DIR *dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		size_t n = strlen(entry->d_name);
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
		if (n > 4 && !strcmp(entry->d_name + n - 4, "-shm")) continue;
		if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW)) continue;
		if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) continue;
		if (used + n + 32 > sizeof list) fail("a folder has too many names");
		used += sprintf(list + used, "%llu %s%s", (unsigned long long)st.st_ino, entry->d_name, S_ISDIR(st.st_mode) ? "/" : "") + 1;
	}
	if (!dir) fail("a folder cannot be listed");
	closedir(dir);
	put(SYNC_FOLDER, 0, 0, name, NULL, list, used);
}

static int sync_of(int fd, int (*real)(int)) {
	char full[PATH_MAX];
	const char *name;
	struct stat st;
	if (enter(fd, &st)) {
		if (sync_us) usleep(sync_us);
		int done = real(fd);
		if (!done) put(SYNC, st.st_ino, 0, NULL, NULL, NULL, 0);
		LEAVE(done);
	}
	if (record < 0 || fstat(fd, &st) || !S_ISDIR(st.st_mode) || !(name = path_of(fd, full))) return real(fd);
	pthread_mutex_lock(&lock);
	int done = real(fd), saved = errno;
	if (!done) put_listing(full, name);
	errno = saved;
	LEAVE(done);
}

/* sync_file_range promises nothing after a power cut, so it is not followed. */
int fsync(int fd) { return sync_of(fd, REAL(fsync)); }
int fdatasync(int fd) { return sync_of(fd, REAL(fdatasync)); }

#define NAMES(call, kind, from_at, from, to_at, to) \
	char a[PATH_MAX], b[PATH_MAX]; struct stat st; \
	const char *na = resolve(from_at, from, a), *nb = resolve(to_at, to, b); \
	if (!na && !nb) return call; \
	if (!na || !nb) fail("a name crosses the folder's border"); \
	pthread_mutex_lock(&lock); \
	if (kind == RENAME) forget(to_at, to); \
	int done = call; \
	if (!done && !fstatat(to_at, to, &st, AT_SYMLINK_NOFOLLOW)) put(kind, st.st_ino, 0, na, nb, NULL, 0); \
	LEAVE(done)

int rename(const char *x, const char *y) { NAMES(REAL(rename)(x, y), RENAME, AT_FDCWD, x, AT_FDCWD, y); }
int renameat(int i, const char *x, int j, const char *y) { NAMES(REAL(renameat)(i, x, j, y), RENAME, i, x, j, y); }
int renameat2(int i, const char *x, int j, const char *y, unsigned f) {
	if (f & ~RENAME_NOREPLACE) fail("a rename that exchanges");
	NAMES(REAL(renameat2)(i, x, j, y, f), RENAME, i, x, j, y);
}
int link(const char *x, const char *y) { NAMES(REAL(link)(x, y), LINK, AT_FDCWD, x, AT_FDCWD, y); }
int linkat(int i, const char *x, int j, const char *y, int f) { NAMES(REAL(linkat)(i, x, j, y, f), LINK, i, x, j, y); }

#define NAME(call, kind, at, path) char full[PATH_MAX]; \
	const char *name = resolve(at, path, full); \
	if (!name) return call; \
	pthread_mutex_lock(&lock); \
	if (kind == UNLINK) forget(at, path); \
	int done = call; if (!done) put(kind, 0, 0, name, NULL, NULL, 0); LEAVE(done)

int unlink(const char *p) { NAME(REAL(unlink)(p), UNLINK, AT_FDCWD, p); }
int rmdir(const char *p) { NAME(REAL(rmdir)(p), RMDIR, AT_FDCWD, p); }
int mkdir(const char *p, mode_t m) { NAME(REAL(mkdir)(p, m), MKDIR, AT_FDCWD, p); }
int mkdirat(int at, const char *p, mode_t m) { NAME(REAL(mkdirat)(at, p, m), MKDIR, at, p); }
int unlinkat(int at, const char *p, int f) {
	if (f & AT_REMOVEDIR) { NAME(REAL(unlinkat)(at, p, f), RMDIR, at, p); }
	NAME(REAL(unlinkat)(at, p, f), UNLINK, at, p);
}

/* What is written through memory is not seen: only -shm may be, and is not followed. */
static void refuse_shared(int prot, int flags, int fd) {
	struct stat st;
	if ((prot & PROT_WRITE) && (flags & MAP_SHARED) && fd >= 0 && enter(fd, &st)) fail("a file is mapped to be written");
}
void *mmap(void *a, size_t n, int prot, int flags, int fd, off_t o) { refuse_shared(prot, flags, fd); return REAL(mmap)(a, n, prot, flags, fd, o); }
void *mmap64(void *a, size_t n, int prot, int flags, int fd, off64_t o) { refuse_shared(prot, flags, fd); return REAL(mmap64)(a, n, prot, flags, fd, o); }
