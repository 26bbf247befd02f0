#include "process.h"
#include "check.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILDREN_MAX 64
#define STOP_TIMEOUT_MS 10000

static volatile pid_t running[CHILDREN_MAX];

static void remember(pid_t pid)
{
    for (int index = 0; index < CHILDREN_MAX; index++) {
        if (running[index] == 0) {
            running[index] = pid;
            return;
        }
    }
}

static void forget(pid_t pid)
{
    for (int index = 0; index < CHILDREN_MAX; index++) {
        if (running[index] == pid) running[index] = 0;
    }
}

void childrenKill(void)
{
    for (int index = 0; index < CHILDREN_MAX; index++) {
        if (running[index] > 0) kill(running[index], SIGKILL);
    }
}

/** Between fork and exec: only calls that are safe after the fork of a program with threads. */
static void becomeChild(const char *const *arguments, int log, int output)
{
    // A scenario that is killed takes its children with it.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_DFL);
    if (output >= 0) {
        dup2(output, STDOUT_FILENO);
    } else if (log >= 0) {
        dup2(log, STDOUT_FILENO);
    }
    if (log >= 0) dup2(log, STDERR_FILENO);
    execvp(arguments[0], (char *const *) (uintptr_t) arguments);
    _exit(127);
}

Child childStart(const char *const *arguments, const char *logFile, bool isRead)
{
    Child child = {0, NULL};
    int log = -1;
    int output[2] = {-1, -1};
    if (logFile != NULL) log = open(logFile, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (isRead) {
        REQUIRE(pipe(output) == 0);
        fcntl(output[0], F_SETFD, FD_CLOEXEC);
        fcntl(output[1], F_SETFD, FD_CLOEXEC);
    }
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) becomeChild(arguments, log, output[1]);
    REQUIRE(pid > 0);
    remember(pid);
    child.pid = pid;
    if (isRead) {
        close(output[1]);
        child.output = fdopen(output[0], "r");
    }
    if (log >= 0) close(log);
    return child;
}

Child childStartSelf(const char *role, const char *const *arguments)
{
    const char *all[CHILD_ARGUMENTS_MAX + 1] = {"/proc/self/exe", role, scratchFolder()};
    int used = 3;
    for (; arguments != NULL && *arguments != NULL && used < CHILD_ARGUMENTS_MAX; arguments++) all[used++] = *arguments;
    all[used] = NULL;
    return childStart(all, NULL, true);
}

bool childLine(Child *child, char *out_line, size_t size)
{
    if (child->output == NULL || fgets(out_line, (int) size, child->output) == NULL) return false;
    out_line[strcspn(out_line, "\n")] = '\0';
    return true;
}

bool childAwaitLine(Child *child, const char *line)
{
    char read[1024];
    while (childLine(child, read, sizeof read)) {
        if (strcmp(read, line) == 0) return true;
        note("child: %s", read);
    }
    return false;
}

int childWait(Child *child)
{
    int status = 0;
    if (child->pid <= 0) return -1;
    while (waitpid(child->pid, &status, 0) < 0 && errno == EINTR) continue;
    forget(child->pid);
    child->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void childSignal(const Child *child, int signal)
{
    if (child->pid > 0) kill(child->pid, signal);
}

void childKill(Child *child)
{
    childSignal(child, SIGKILL);
    childWait(child);
}

int childStop(Child *child)
{
    if (child->pid <= 0) return -1;
    childSignal(child, SIGTERM);
    int64_t deadline_ms = clock_ms() + STOP_TIMEOUT_MS;
    while (clock_ms() < deadline_ms) {
        int status = 0;
        if (waitpid(child->pid, &status, WNOHANG) == child->pid) {
            forget(child->pid);
            child->pid = 0;
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
        pause_ms(10);
    }
    childKill(child);
    return -1;
}

void childCloseOutput(Child *child)
{
    if (child->output != NULL) fclose(child->output);
    child->output = NULL;
}

int childRun(const char *const *arguments, const char *logFile, char **out_text)
{
    Child child = childStart(arguments, logFile, true);
    size_t size = 0;
    size_t capacity = 65536;
    char *text = malloc(capacity);
    if (text == NULL) abort();
    size_t got;
    while ((got = fread(text + size, 1, capacity - size - 1, child.output)) > 0) {
        size += got;
        if (capacity - size < 2) {
            capacity *= 2;
            text = realloc(text, capacity);
            if (text == NULL) abort();
        }
    }
    text[size] = '\0';
    childCloseOutput(&child);
    if (out_text != NULL) {
        *out_text = text;
    } else {
        free(text);
    }
    return childWait(&child);
}
