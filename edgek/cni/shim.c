/* What containerd runs for every pod: hands the request to the agent's socket and its answer back, in under a millisecond.
 *
 * To the agent: every CNI_* variable as NAME=VALUE and a NUL, one more NUL, then standard input; half-close.
 * From the agent: one byte of exit code, then what goes to standard output.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

extern char **environ;

static int fail(const char *what) {
    printf("{\"cniVersion\":\"0.4.0\",\"code\":11,\"msg\":\"the edgek agent does not answer (%s); the pod is tried again\"}\n", what);
    return 1;
}

static int send_all(int fd, const char *from, size_t size) {
    while (size) {
        ssize_t sent = send(fd, from, size, MSG_NOSIGNAL);
        if (sent <= 0) return -1;
        from += sent;
        size -= sent;
    }
    return 0;
}

int main(void) {
    static char buffer[65536];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = getenv("EDGEK_CNI_SOCK");
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), code = -1;
    ssize_t got;

    if (!path || strlen(path) >= sizeof address.sun_path) return fail("EDGEK_CNI_SOCK");
    strcpy(address.sun_path, path);
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) return fail("connect");
    for (char **one = environ; *one; one++)
        if (!strncmp(*one, "CNI_", 4) && send_all(fd, *one, strlen(*one) + 1)) return fail("send");
    if (send_all(fd, "", 1)) return fail("send");
    while ((got = read(0, buffer, sizeof buffer)) > 0)
        if (send_all(fd, buffer, got)) return fail("send");
    shutdown(fd, SHUT_WR);
    while ((got = read(fd, buffer, sizeof buffer)) > 0) {
        int skip = code < 0;
        if (skip) code = (unsigned char)buffer[0];
        fwrite(buffer + skip, 1, got - skip, stdout);
    }
    return code < 0 ? fail("no answer") : code;
}
