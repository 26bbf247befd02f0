/**
 * @file tool.h
 * An engineer at the console: runs iotodb, the installed program, and looks at what it printed.
 */
#ifndef TOOL_H
#define TOOL_H

#include "check.h"
#include "process.h"

/** Standard output of the last run, and its standard error. */
extern char *toolOutput, *toolErrors;

/** The program; without one the scenario ends as skipped. */
const char *toolProgram(void);
/** Run a command with these arguments, up to a NULL, under the schema of the scenarios and as device d1; returns the exit code. */
int tool(const char *command, ...);
/** Run it with nothing but these arguments, up to a NULL. */
int toolBare(const char *command, ...);
/** Whether the last run printed this, or complained so. */
bool toolPrinted(const char *part);
bool toolComplained(const char *part);
/** How many lines it printed. */
int toolLines(void);
/** Forget what the last run printed. */
void toolFree(void);

/** Path of a database in the scratch folder. Unlike scratch() it stays: it is used again after many others. */
#define PATH(name) keepPath((char[256]){0}, (name))
const char *keepPath(char buffer[256], const char *name);
/** Change a database file behind the library's back. */
void damage(const char *path, const char *sql);

#endif /* TOOL_H */
