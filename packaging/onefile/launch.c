/* What a packed file begins with: unpacks what is behind it, once, and becomes it.
 *
 * The file is this program, an archive (ustar, in zstd), and a trailer that says where the archive lies and what its SHA-256 is. It is unpacked to
 * dist/<the hash's first 12 digits> below $EDGEK_DATA_DIR or /var/lib/edgek, where that can be written, else below the user's cache; under another
 * name first, so that a power cut leaves either all of it or nothing; where it cannot be, nothing of it stays. Trees of former versions that no process
 * runs from are removed then. A tree that lacks something, or that somebody else owns than root or the user, is not run from: it is made anew.
 *
 * Called by the name of one of the programs inside (ctr, runc, kubectl), it becomes that one. Exit code 126: it could not be unpacked or started.
 *
 * edgek itself is linked to glibc, as the machine has it. Where that is older than the one it was built with, or where there is none (Alpine), it is
 * started by a loader and a glibc that came along in lib-c; _EDGEK_LOADER tells it so, for it starts others like itself. EDGEK_OWN_LIBC=1 wants that
 * everywhere.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "zstd.h"

#define NAME_LENGTH 12
#define BLOCK 512
#define BLOCK_ON_DISK 4096 /* bytes that a small file takes */
#define DEFAULT_DATA_DIR "/var/lib/edgek"
#define CONTAINERD_SOCKET "/run/edgek/containerd.sock"
#define KUBECONFIG "/etc/edgek/edgek.yaml"
#define OWN_LIBRARIES "lib-c"
#define OWN_LOADER "_EDGEK_LOADER"
#define STARTS_MOST 5 /* two versions that are started again and again might tidy each other up each time */
#define GLIBC_MINOR 36 /* 2.36, of the Debian 12 on which it is built */
#define GLIBC_WORDS "stable release version 2."
#define LOADER_MOST (1 << 20) /* bytes; it has a quarter of that */
#if defined __x86_64__
#define LOADER_DIR "/lib64"
#define LOADER "ld-linux-x86-64.so.2"
#else
#define LOADER_DIR "/lib"
#define LOADER "ld-linux-aarch64.so.1"
#endif

struct trailer {
    uint64_t offset; /* of the archive in this file, in bytes, little-endian as every machine we serve */
    uint64_t size;
    uint64_t entries, bytes; /* files, links and folders in it, and how much the files are */
    char sha256[64];
    char magic[16];
};

static const char MAGIC[16] = "edgek-packed-2\n";
static const char NOEXEC[] = "its file system allows no programs (noexec): set EDGEK_DATA_DIR to a folder elsewhere;";
static const char DAMAGED[] = "this file is cut off or damaged. Fetch it again";

static char unpacking[PATH_MAX]; /* what is not whole yet */

static int remove_one(const char *path, const struct stat *what, int kind, struct FTW *place) {
    (void)what, (void)kind, (void)place;
    return remove(path);
}

static void remove_tree(const char *path) { nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

static void give_up(void) {
    if (unpacking[0])
        remove_tree(unpacking);
    exit(126);
}

static void fail(const char *what, const char *path) {
    const char *way_out = errno == ENOSPC || errno == EDQUOT ? ": make room, or set EDGEK_DATA_DIR to a folder elsewhere" : "";
    fprintf(stderr, "edgek: %s %s: %s%s\n", what, path, strerror(errno), way_out);
    give_up();
}

static void refuse(const char *what) {
    fprintf(stderr, "edgek: %s\n", what);
    give_up();
}

/* A path, into PATH_MAX bytes. */
static void compose(char *path, const char *format, ...) {
    va_list parts;
    va_start(parts, format);
    if (vsnprintf(path, PATH_MAX, format, parts) >= PATH_MAX) {
        errno = ENAMETOOLONG;
        fail("cannot unpack to", path);
    }
    va_end(parts);
}

/* --- the archive ---------------------------------------------------------------------------------------------------------------------- */

struct source {
    int file;
    uint64_t left; /* of the archive, still compressed */
    ZSTD_DStream *stream;
    ZSTD_inBuffer in;
    ZSTD_outBuffer out;
    size_t taken;  /* of out */
    size_t expect; /* 0 when the archive is at its end, and its checksum is right */
};

static void open_source(struct source *source, int file, const struct trailer *trailer) {
    memset(source, 0, sizeof *source);
    source->file = file;
    source->left = trailer->size;
    source->expect = 1;
    source->stream = ZSTD_createDStream();
    source->in.src = malloc(ZSTD_DStreamInSize());
    source->out.dst = malloc(source->out.size = ZSTD_DStreamOutSize());
    if (!source->stream || !source->in.src || !source->out.dst)
        refuse("not enough memory to unpack");
    if (lseek(file, (off_t)trailer->offset, SEEK_SET) < 0)
        fail("cannot read", "itself");
}

/* 0 when there is no more. */
static int fill(struct source *source) {
    source->out.pos = source->taken = 0;
    while (source->expect && source->out.pos == 0) {
        if (source->in.pos == source->in.size) {
            size_t want = ZSTD_DStreamInSize();
            ssize_t got = read(source->file, (void *)source->in.src, want < source->left ? want : source->left);
            if (got <= 0)
                refuse(DAMAGED);
            source->left -= (uint64_t)got;
            source->in.size = (size_t)got;
            source->in.pos = 0;
        }
        source->expect = ZSTD_decompressStream(source->stream, &source->out, &source->in);
        if (ZSTD_isError(source->expect))
            refuse(DAMAGED);
    }
    return source->out.pos != 0;
}

/* Some of what is next, at most `most` bytes, at `*from`. */
static size_t next(struct source *source, const char **from, size_t most) {
    if (source->taken == source->out.pos && !fill(source))
        refuse(DAMAGED);
    size_t part = source->out.pos - source->taken;
    *from = (const char *)source->out.dst + source->taken;
    if (part > most)
        part = most;
    source->taken += part;
    return part;
}

/* Exactly `size` bytes, at most BLOCK of them. */
static void take(struct source *source, char *to, size_t size) {
    while (size) {
        const char *from;
        size_t part = next(source, &from, size);
        memcpy(to, from, part);
        to += part;
        size -= part;
    }
}

static void write_file(struct source *source, const char *path, uint64_t size, mode_t mode) {
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (file < 0)
        fail("cannot unpack", path);
    for (uint64_t left = size; left;) {
        const char *from;
        size_t part = next(source, &from, left);
        left -= part;
        while (part) {
            ssize_t written = write(file, from, part);
            if (written < 0)
                fail("cannot unpack", path);
            from += written;
            part -= (size_t)written;
        }
    }
    char padding[BLOCK];
    take(source, padding, (BLOCK - size % BLOCK) % BLOCK);
    if (fchmod(file, mode) || close(file))
        fail("cannot unpack", path);
}

/* One ustar entry below `folder`; 0 at the archive's end. */
static int unpack_entry(struct source *source, const char *folder) {
    char header[BLOCK], name[101] = "", prefix[156] = "", target[101] = "", path[PATH_MAX];
    take(source, header, BLOCK);
    if (!header[0])
        return 0;
    memcpy(name, header, 100);
    memcpy(target, header + 157, 100);
    memcpy(prefix, header + 345, 155);
    compose(path, "%s/%s%s%s", folder, prefix, prefix[0] ? "/" : "", name);
    mode_t mode = (mode_t)strtoul(header + 100, NULL, 8);
    switch (header[156]) {
    case '5':
        if (mkdir(path, mode) && errno != EEXIST)
            fail("cannot unpack", path);
        break;
    case '2':
        if (symlink(target, path))
            fail("cannot unpack", path);
        break;
    case '0':
        write_file(source, path, strtoull(header + 124, NULL, 8), mode);
        break;
    default:
        refuse(DAMAGED);
    }
    return 1;
}

static void unpack(int file, const struct trailer *trailer, const char *folder) {
    struct source source;
    open_source(&source, file, trailer);
    while (unpack_entry(&source, folder))
        ;
    while (fill(&source)) /* so that the checksum at the end is looked at */
        ;
}

/* --- where it goes -------------------------------------------------------------------------------------------------------------------- */

/* Does a process run from below this folder? Those that we may not look at belong to others, and so would the folder. */
static int in_use(const char *folder) {
    DIR *processes = opendir("/proc");
    struct dirent *each;
    size_t length = strlen(folder);
    int found = processes == NULL; /* without /proc nobody can say */
    while (!found && (each = readdir(processes))) {
        char link[PATH_MAX], program[PATH_MAX];
        if (each->d_name[0] < '0' || each->d_name[0] > '9')
            continue;
        compose(link, "/proc/%s/exe", each->d_name);
        ssize_t got = readlink(link, program, sizeof program - 1);
        if (got < 0)
            continue;
        program[got] = 0;
        found = !strncmp(program, folder, length) && program[length] == '/';
    }
    if (processes)
        closedir(processes);
    return found;
}

/* Who is about to start from it holds a lock on it until his program is one that runs from it: see `hold`. */
static void remove_if_idle(const char *path) {
    char real[PATH_MAX];
    int held = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (held >= 0 && flock(held, LOCK_EX | LOCK_NB) == 0 && realpath(path, real) && !in_use(real))
        remove_tree(path);
    if (held >= 0)
        close(held);
}

static void remove_former(const char *base) {
    DIR *folder = opendir(base);
    struct dirent *each;
    if (!folder)
        return;
    while ((each = readdir(folder))) {
        char path[PATH_MAX];
        compose(path, "%s/%s", base, each->d_name);
        if (!strncmp(each->d_name, ".new-", 5))
            remove_tree(path);
        else if (strlen(each->d_name) == NAME_LENGTH)
            remove_if_idle(path);
    }
    closedir(folder);
}

/* mkdir -p; 0 when it is a folder that we may write to, else errno says why it is none. */
static int make_folder(const char *path) {
    char part[PATH_MAX];
    int why = 0;
    compose(part, "%s", path);
    for (char *at = part + 1;; at++) {
        char here = *at;
        if (here && here != '/')
            continue;
        *at = 0;
        if (mkdir(part, 0755) && errno != EEXIST && !why)
            why = errno;
        *at = here;
        if (!here)
            break;
    }
    if (access(part, W_OK | X_OK) == 0)
        return 0;
    errno = why ? why : errno;
    return -1;
}

static uint64_t found_entries, found_bytes; /* nftw passes nothing on */

static int count_one(const char *path, const struct stat *what, int kind, struct FTW *place) {
    (void)path;
    found_entries += place->level > 0;
    found_bytes += kind == FTW_F ? (uint64_t)what->st_size : 0;
    return 0;
}

/* All of it: cards lose files, and what tidies caches up takes some. And nobody else could have put it there. */
static int is_unpacked(const char *tree, const struct trailer *trailer) {
    char program[PATH_MAX];
    struct stat folder;
    compose(program, "%s/edgek", tree);
    if (access(program, X_OK) || lstat(tree, &folder) || !S_ISDIR(folder.st_mode) || (folder.st_uid && folder.st_uid != geteuid()))
        return 0;
    found_entries = found_bytes = 0;
    return nftw(tree, count_one, 16, FTW_PHYS) == 0 && found_entries >= trailer->entries && found_bytes >= trailer->bytes;
}

/* Keep it from removal until the next program is started, if it is whole. */
static int hold(const char *tree, const struct trailer *trailer) {
    int held = open(tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (held >= 0)
        flock(held, LOCK_SH); /* where it cannot be locked (NFS), nobody can remove it either */
    if (is_unpacked(tree, trailer))
        return 1;
    if (held >= 0)
        close(held);
    return 0;
}

/* Before anything is written: it would be for nothing. */
static void look_for_room(const char *base, const struct trailer *trailer) {
    struct statvfs disk;
    if (statvfs(base, &disk))
        return;
    if (disk.f_flag & ST_NOEXEC) {
        errno = EACCES;
        fail(NOEXEC, base);
    }
    uint64_t room = (uint64_t)(geteuid() ? disk.f_bavail : disk.f_bfree) * disk.f_frsize;
    uint64_t wanted = trailer->bytes + trailer->entries * BLOCK_ON_DISK;
    if (room < wanted) {
        char what[128];
        snprintf(what, sizeof what, "it takes %u MB to unpack, and there are %u in", (unsigned)(wanted >> 20) + 1, (unsigned)(room >> 20));
        errno = ENOSPC;
        fail(what, base);
    }
}

/* Make `tree` = base/name. One process at a time: a small board has no memory for two. */
static void install(int self, const struct trailer *trailer, const char *base, const char *name, const char *tree) {
    char lock[PATH_MAX], fresh[PATH_MAX];
    compose(lock, "%s/.lock", base);
    int held = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (held < 0)
        fail("cannot unpack to", base);
    flock(held, LOCK_EX);
    if (!hold(tree, trailer)) {
        remove_former(base);
        look_for_room(base, trailer);
        compose(fresh, "%s/.new-%s", base, name);
        if (mkdir(fresh, 0755))
            fail("cannot unpack to", fresh);
        strcpy(unpacking, fresh);
        unpack(self, trailer, fresh);
        int folder = open(base, O_RDONLY | O_CLOEXEC);
        if (folder < 0 || syncfs(folder))
            fail("cannot write down", fresh);
        remove_tree(tree); /* one that is damaged, and that somebody runs from */
        if (rename(fresh, tree) || fsync(folder))
            fail("cannot unpack to", tree);
        unpacking[0] = 0;
        close(folder);
        hold(tree, trailer);
    }
    close(held);
}

static int candidates(char bases[][PATH_MAX]) {
    const char *data = getenv("EDGEK_DATA_DIR"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int count = 0;
    compose(bases[count++], "%s/dist", data && *data ? data : DEFAULT_DATA_DIR);
    if (cache && *cache)
        compose(bases[count++], "%s/edgek/dist", cache);
    else if (home && *home)
        compose(bases[count++], "%s/.cache/edgek/dist", home);
    return count;
}

/* The folder to hold the unpacked tree: the first that can be written. */
static const char *choose(char bases[][PATH_MAX], int count) {
    int why[count];
    for (int i = 0; i < count; i++) {
        if (make_folder(bases[i]) == 0)
            return bases[i];
        why[i] = errno;
    }
    for (int i = 0; i < count; i++)
        fprintf(stderr, "edgek: cannot unpack to %s: %s\n", bases[i], strerror(why[i]));
    refuse("set EDGEK_DATA_DIR to a folder that can be written");
    return NULL;
}

/* Where the tree is, one that is there already or a new one: whole, and kept from removal. */
static void find_tree(int self, const struct trailer *trailer, char *tree) {
    static char bases[2][PATH_MAX];
    char name[NAME_LENGTH + 1] = "";
    int count = candidates(bases);
    memcpy(name, trailer->sha256, NAME_LENGTH);
    for (int i = 0; i < count; i++) {
        compose(tree, "%s/%s", bases[i], name);
        if (hold(tree, trailer))
            return;
    }
    const char *base = choose(bases, count);
    compose(tree, "%s/%s", base, name);
    install(self, trailer, base, name, tree);
}

/* --- this file ------------------------------------------------------------------------------------------------------------------------ */

static int open_self(struct trailer *trailer) {
    int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (self < 0)
        fail("cannot read itself by way of", "/proc/self/exe");
    off_t end = lseek(self, 0, SEEK_END);
    if (end < (off_t)sizeof *trailer || pread(self, trailer, sizeof *trailer, end - (off_t)sizeof *trailer) != sizeof *trailer)
        refuse(DAMAGED);
    if (memcmp(trailer->magic, MAGIC, sizeof MAGIC) || trailer->offset + trailer->size + sizeof *trailer != (uint64_t)end)
        refuse(DAMAGED);
    return self;
}

/* --- the C library -------------------------------------------------------------------------------------------------------------------- */

/* The machine's glibc 2.x, by what its loader says of itself (as all do since 2.33); 0 for an older one and for none. */
static int glibc_minor(void) {
    static char content[LOADER_MOST];
    int file = open(LOADER_DIR "/" LOADER, O_RDONLY | O_CLOEXEC);
    ssize_t size = file < 0 ? 0 : read(file, content, sizeof content);
    if (file >= 0)
        close(file);
    char *words = size > 0 ? memmem(content, (size_t)size, GLIBC_WORDS, sizeof GLIBC_WORDS - 1) : NULL;
    return words ? atoi(words + sizeof GLIBC_WORDS - 1) : 0;
}

/* Start it by the loader that came along. Returns where there is no need, or none came (any more). */
static void start_by_own_loader(const char *tree, char *program, char **arguments) {
    char loader[PATH_MAX], libraries[PATH_MAX];
    int count = 0;
    unsetenv(OWN_LOADER);
    compose(loader, "%s/" OWN_LIBRARIES "/" LOADER, tree);
    const char *wanted = getenv("EDGEK_OWN_LIBC");
    if (access(loader, X_OK) || (!(wanted && *wanted) && glibc_minor() >= GLIBC_MINOR))
        return;
    compose(libraries, "%s/" OWN_LIBRARIES ":%s/_internal", tree, tree);
    while (arguments[count])
        count++;
    char **words = calloc((size_t)count + 3, sizeof *words);
    if (!words)
        refuse("not enough memory to start");
    words[0] = loader;
    words[1] = program;
    memcpy(words + 2, count ? arguments + 1 : arguments, (size_t)count * sizeof *words);
    setenv(OWN_LOADER, loader, 1);
    setenv("LD_LIBRARY_PATH", libraries, 1); /* PyInstaller's loader starts itself once more, and keeps no flags of this one */
    execv(loader, words);
    free(words);
}

/* Returns when the tree is gone: another version that was unpacked just now has tidied it up. */
static void become(const char *tree, const char *face, char **arguments) {
    char program[PATH_MAX];
    compose(program, "%s/bin/%s", tree, face);
    if (strcmp(face, "edgek") && access(program, X_OK) == 0) {
        setenv("CONTAINERD_ADDRESS", CONTAINERD_SOCKET, 0);
        setenv("CONTAINERD_NAMESPACE", "k8s.io", 0);
        if (!strcmp(face, "kubectl"))
            setenv("KUBECONFIG", KUBECONFIG, 0);
    } else {
        compose(program, "%s/edgek", tree);
        start_by_own_loader(tree, program, arguments);
    }
    execv(program, arguments);
    if (errno == EACCES)
        fail(NOEXEC, program);
    if (errno != ENOENT || access(tree, F_OK) == 0)
        fail("cannot start", program);
}

int main(int count, char **arguments) {
    static char tree[PATH_MAX];
    struct trailer trailer;
    int self = open_self(&trailer);
    const char *slash = count ? strrchr(arguments[0], '/') : NULL, *face = slash ? slash + 1 : count ? arguments[0] : "edgek";
    umask(022);
    for (int tries = 0; tries < STARTS_MOST; tries++) {
        find_tree(self, &trailer, tree);
        become(tree, face, arguments);
    }
    fail("cannot start", tree);
}
