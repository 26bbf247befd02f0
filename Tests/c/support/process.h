/**
 * @file process.h
 * Child processes: the broker, the cloud, and firmware that a scenario kills. None outlives the scenario.
 */
#ifndef PROCESS_H
#define PROCESS_H

#ifndef _XOPEN_SOURCE
#define _XOPEN_SOURCE 700
#endif

#include "ports.h"

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

/** Most arguments of a child. */
#define CHILD_ARGUMENTS_MAX 30

typedef struct Child {
    /** 0: not running. */
    pid_t pid;
    /** Its standard output, when asked for; else NULL. */
    FILE *output;
} Child;

/**
 * Start a program. `arguments` ends with NULL; the first is the program, found by PATH.
 *
 * @param logFile  Its standard error, and standard output when it is not read here, are appended to this file; NULL: shared.
 * @param isRead   Give its standard output in `output`.
 */
Child childStart(const char *const *arguments, const char *logFile, bool isRead);
/** Start this very program in a role: `argv` is {"scenario", role, scratch folder, ...}; its output is read. */
Child childStartSelf(const char *role, const char *const *arguments);
/** Read one line of the output, without its newline; false at the end. */
bool childLine(Child *child, char *out_line, size_t size);
/** Read lines until one equals `line`; false when the output ends before. Other lines are printed as comments. */
bool childAwaitLine(Child *child, const char *line);
/** SIGKILL and wait. The output stays open, so that what was written before can be read. */
void childKill(Child *child);
/** SIGTERM and wait; returns the exit code, or -1 when it had to be killed after ten seconds. */
int childStop(Child *child);
/** Wait for the end; returns the exit code, or 128 + signal. */
int childWait(Child *child);
/** Send a signal. */
void childSignal(const Child *child, int signal);
/** Close the output. */
void childCloseOutput(Child *child);

/** Run a program to its end with its standard output in `out_text` (freed by the caller; may be NULL: dropped). */
int childRun(const char *const *arguments, const char *logFile, char **out_text);

/** SIGKILL every child that still runs; safe in a signal handler. */
void childrenKill(void);

#endif /* PROCESS_H */
