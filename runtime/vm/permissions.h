#ifndef SIP_VM_PERMISSIONS_H
#define SIP_VM_PERMISSIONS_H
/* permissions.h - what a script may reach: hosts, topics, groups, files, ports, variables.
 *
 * Everything, until the script says what it needs (sipeat.permissions); then only that. Each
 * version of a script has its own list: while one loads, what either of both may is allowed.
 * Bindings ask where they do the I/O. What the program does on its own account, as its console
 * does, is not asked for. Loop thread. */
#include "core/err.h"

#include <lua.h>
#include <stdbool.h>
#include <stddef.h>

struct sip_vm;
struct sip_permissions;

enum sip_permission {
  SIP_PERMIT_HOST,  /* "example.org:443", lower case */
  SIP_PERMIT_TOPIC, /* its dead letters and retries come with it */
  SIP_PERMIT_GROUP,
  SIP_PERMIT_READ,  /* a file or folder */
  SIP_PERMIT_WRITE, /* may be read, too */
  SIP_PERMIT_PORT,  /* a serial port, or an address to listen on */
  SIP_PERMIT_ENV,
  SIP_PERMISSIONS
};

/** @return NULL when memory is out */
struct sip_permissions *sip_permissions_new(void);
void sip_permissions_free(struct sip_permissions *permissions);

/** Goes on when the running code may; else raises an error with its file and line, and what to
 * declare. */
void sip_permit(lua_State *L, enum sip_permission what, const char *name);

/** The same as an answer, for code that runs for a script outside of Lua. */
bool sip_permitted(struct sip_vm *vm, enum sip_permission what, const char *name);

/** A version of the script begins to load, runs, or does not. */
void sip_permissions_begin(struct sip_vm *vm);
void sip_permissions_commit(struct sip_vm *vm);
void sip_permissions_rollback(struct sip_vm *vm);

/** What this file of Lua does itself, such as a test beside the script, is not asked for; none
 * when there is no such file.
 *  @return 0 or UV_ENOMEM */
int sip_permissions_exempt(struct sip_vm *vm, const char *file);

/** Module sipeat.core.permissions: permit(kind, name) as sip_permit, for stand-ins; declare(list of
 * {kind, pattern}), uses() -> list of {kind, name}, of what was asked for since the begin of the
 * load, declared() -> boolean. */
int sip_open_permissions(lua_State *L);

#endif
