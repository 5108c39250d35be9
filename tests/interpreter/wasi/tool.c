// A command with one small deed for each of its names, for the tests of WASI. `tool.wasm` beside it is this, built on Debian 12 with its packages clang,
// lld, wasi-libc and libclang-rt-dev-wasm32:
//
//   clang-14 --target=wasm32-wasi --sysroot=/usr -Os -Wall -Wextra -s -o tool.wasm tool.c
//
// What it links of wasi-libc and compiler-rt is under the licences Apache-2.0 WITH LLVM-exception, MIT and BSD-2-Clause. What the system refuses it says on its standard output, as `errno` and a number.

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

// `stdio.h` would be most of the module.
static void say(int to, const char *text) {
    size_t length = strlen(text);
    while (length > 0) {
        ssize_t written = write(to, text, length);
        if (written < 0)
            return;
        text += written;
        length -= (size_t)written;
    }
}

static void say_line(const char *text) {
    say(1, text);
    say(1, "\n");
}

static void say_number(const char *before, uint64_t number, const char *after) {
    char digits[21];
    char *first = digits + sizeof digits - 1;
    *first = 0;
    do
        *--first = (char)('0' + number % 10);
    while ((number /= 10) > 0);
    say(1, before);
    say(1, first);
    say(1, after);
}

static int refused(void) {
    say_number("errno ", (uint64_t)errno, "\n");
    return 1;
}

static int copy(int from) {
    char buffer[4096];
    ssize_t length;
    while ((length = read(from, buffer, sizeof buffer)) > 0)
        write(1, buffer, (size_t)length);
    return length < 0 ? refused() : 0;
}

static int count(void) {
    char buffer[4096];
    ssize_t length;
    uint64_t all = 0;
    while ((length = read(0, buffer, sizeof buffer)) > 0)
        all += (uint64_t)length;
    say_number("", all, "\n");
    return 0;
}

static int cat(const char *path) {
    int file = open(path, O_RDONLY);
    return file < 0 ? refused() : copy(file);
}

static int write_to(const char *path, const char *text) {
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (file < 0)
        return refused();
    say(file, text);
    return close(file) == 0 ? 0 : refused();
}

static int list(const char *path) {
    DIR *directory = opendir(path);
    if (directory == NULL)
        return refused();
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        say_line(entry->d_name);
    return 0;
}

static uint64_t now(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static int time_of_day(void) {
    say_number("", now(CLOCK_REALTIME), " ");
    say_number("", now(CLOCK_MONOTONIC), "\n");
    return 0;
}

// Says how long it thinks that it has slept.
static int sleep_for(long long nanos) {
    uint64_t begun = now(CLOCK_MONOTONIC);
    struct timespec span = {nanos / 1000000000, nanos % 1000000000};
    if (nanosleep(&span, NULL) != 0)
        return refused();
    say_number("", now(CLOCK_MONOTONIC) - begun, "\n");
    return 0;
}

static int random_bytes(void) {
    unsigned char bytes[32];
    if (getentropy(bytes, sizeof bytes) != 0)
        return refused();
    for (size_t i = 0; i < sizeof bytes; i++)
        say_number("", bytes[i], "\n");
    return 0;
}

static int flood(int to) {
    for (;;)
        say(to, "the river rises, whatever anybody says about it\n");
}

static int open_many(const char *path) {
    while (open(path, O_RDONLY) >= 0) {
    }
    return refused();
}

static int eat(void) {
    for (;;) {
        // Volatile, or the compiler sees that nobody uses it.
        volatile char *room = malloc(1 << 20);
        if (room == NULL)
            __builtin_trap();
        *room = 1;
    }
}

int main(int argc, char **argv) {
    const char *deed = argc > 1 ? argv[1] : "args";
    const char *what = argc > 2 ? argv[2] : "";
    if (!strcmp(deed, "echo"))
        return copy(0);
    if (!strcmp(deed, "count"))
        return count();
    if (!strcmp(deed, "args")) {
        for (int i = 0; i < argc; i++)
            say_line(argv[i]);
        return 0;
    }
    if (!strcmp(deed, "env")) {
        for (char **variable = environ; *variable; variable++)
            say_line(*variable);
        return 0;
    }
    if (!strcmp(deed, "exit"))
        exit(atoi(what));
    if (!strcmp(deed, "cat"))
        return cat(what);
    if (!strcmp(deed, "write"))
        return write_to(what, argc > 3 ? argv[3] : "");
    if (!strcmp(deed, "remove"))
        return unlink(what) == 0 ? 0 : refused();
    if (!strcmp(deed, "mkdir"))
        return mkdir(what, 0777) == 0 ? 0 : refused();
    if (!strcmp(deed, "list"))
        return list(what);
    if (!strcmp(deed, "time"))
        return time_of_day();
    if (!strcmp(deed, "sleep"))
        return sleep_for(atoll(what));
    if (!strcmp(deed, "random"))
        return random_bytes();
    if (!strcmp(deed, "spin"))
        for (;;)
            __asm__ volatile("");
    if (!strcmp(deed, "flood"))
        return flood(strcmp(what, "stderr") ? 1 : 2);
    if (!strcmp(deed, "open_many"))
        return open_many(what);
    if (!strcmp(deed, "eat"))
        return eat();
    if (!strcmp(deed, "panic")) {
        say(2, "it was all too much\n");
        __builtin_trap();
    }
    say(2, "it knows nothing of that\n");
    return 2;
}
