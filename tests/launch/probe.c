/* What tests of launches look at from inside: a program that needs nothing of the host.
   The first argument says what to do; output is a line each, errors are named by number. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int answer(const char *what, int failed) {
    int error = errno;
    if (failed) printf("%s: %s\n", what, strerrorname_np(error) ? strerrorname_np(error) : "?");
    else printf("%s: done\n", what);
    return 0;
}

static int copy(const char *path) {
    char buffer[4096];
    ssize_t length;
    int file = open(path, O_RDONLY);
    if (file < 0) return answer("read", 1);
    while ((length = read(file, buffer, sizeof buffer)) > 0)
        if (write(1, buffer, (size_t)length) != length) return 1;
    if (length < 0) return answer("read", 1);
    return 0;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int list(const char *path) {
    DIR *folder = opendir(path);
    struct dirent *entry;
    char *names[4096];
    size_t count = 0;
    if (!folder) return answer("list", 1);
    while (count < 4096 && (entry = readdir(folder)))
        if (entry->d_name[0] != '.') names[count++] = strdup(entry->d_name);
    qsort(names, count, sizeof *names, by_name);
    for (size_t i = 0; i < count; i++) puts(names[i]);
    return 0;
}

static volatile sig_atomic_t counts[65];

static void count(int number) { counts[number]++; }

/* Reads lines and says what came, until the end of input. `count N` says how often N came. */
static int converse(void) {
    char line[256];
    puts("ready");
    for (;;) {
        if (!fgets(line, sizeof line, stdin)) {
            if (errno == EINTR && !feof(stdin)) { clearerr(stdin); errno = 0; continue; }
            return 0;
        }
        line[strcspn(line, "\r\n")] = 0;
        if (!strncmp(line, "count ", 6)) printf("counted %d\n", (int)counts[atoi(line + 6) & 63]);
        else if (!strncmp(line, "exit ", 5)) return atoi(line + 5);
        else printf("got %s\n", line);
    }
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "exit";
    const char *one = argc > 2 ? argv[2] : "0";
    const char *two = argc > 3 ? argv[3] : "";
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!strcmp(what, "exit")) return atoi(one);
    if (!strcmp(what, "read")) return copy(one);
    if (!strcmp(what, "list")) return list(one);
    if (!strcmp(what, "converse")) return converse();
    if (!strcmp(what, "write")) {
        int file = open(one, O_WRONLY | O_CREAT | O_APPEND, 0644);
        int failed = file < 0 || write(file, two, strlen(two)) != (ssize_t)strlen(two);
        return answer("write", failed);
    }
    if (!strcmp(what, "environment")) {
        for (char **entry = environ; *entry; entry++) puts(*entry);
        return 0;
    }
    if (!strcmp(what, "ids")) {
        printf("%d %d %d %d\n", (int)getpid(), (int)getppid(), (int)getuid(), (int)getgid());
        return 0;
    }
    if (!strcmp(what, "privileges")) {
        printf("%d\n", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
        return 0;
    }
    if (!strcmp(what, "user-namespace")) return answer("unshare", unshare(CLONE_NEWUSER));
    if (!strcmp(what, "remove")) return answer("remove", remove(one));
    if (!strcmp(what, "chmod")) return answer("chmod", chmod(one, 0777));
    if (!strcmp(what, "raise")) {
        kill(getpid(), atoi(one));
        pause();
        return 1;
    }
    if (!strcmp(what, "type")) {
        char byte = 'x', paste[2] = {3, 0};
        answer("TIOCSTI", ioctl(0, TIOCSTI, &byte));
        answer("TIOCLINUX", ioctl(0, TIOCLINUX, paste));
        /* The kernel looks at the low half only. */
        return answer("high TIOCSTI", ioctl(0, 0x100000000ul | TIOCSTI, &byte));
    }
    if (!strcmp(what, "connect")) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(one))};
        int descriptor = socket(AF_INET, SOCK_STREAM, 0);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        return answer("connect", connect(descriptor, (void *)&address, sizeof address));
    }
    if (!strcmp(what, "count")) {
        for (int number = 1; number < 65; number++)
            if (number != SIGTTIN && number != SIGTTOU && number != SIGTSTP && number != SIGCHLD)
                signal(number, count);
        return converse();
    }
    if (!strcmp(what, "orphans")) {
        /* Processes that nobody here waits for; the first ones end at once. */
        for (int i = 0; i < 20; i++) {
            if (fork() == 0) {
                if (fork() == 0) {
                    if (i >= 10) for (;;) pause();
                    _exit(0);
                }
                _exit(0);
            }
            wait(NULL);
        }
        return converse();
    }
    if (!strcmp(what, "detach")) {
        /* Lets go of standard output and goes on. */
        puts("detached");
        close(1);
        while (fgetc(stdin) != EOF) {}
        return 0;
    }
    fprintf(stderr, "what is %s?\n", what);
    return 99;
}
