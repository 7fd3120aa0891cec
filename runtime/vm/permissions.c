/* permissions.c - lists of patterns, and who asks. In a pattern "*" stands for any text. */
#include "vm/permissions.h"

#include "core/base.h"
#include "core/list.h"
#include "vm/state.h"

#include <errno.h>
#include <lauxlib.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { USES_LIMIT = 512 }; /* that are remembered of one load */

struct entry {
  struct sip_list link;
  enum sip_permission kind;
  char name[];
};

struct set {
  bool declared;
  struct sip_list entries; /* of struct entry */
};

struct sip_permissions {
  struct set active, pending; /* of the version that runs, and of the one that loads */
  bool loading;
  char *exempt;         /* a path, or NULL */
  struct sip_list uses; /* of struct entry: what was asked for in this load, each once */
  size_t use_count;
};

static const struct {
  const char *key, *what;
} kinds[SIP_PERMISSIONS] = {
  { "hosts", "the host" },   { "topics", "the topic" }, { "groups", "the group" },
  { "reads", "reading" },    { "paths", "writing" },    { "ports", "the port" },
  { "env", "the variable" },
};

/* The program's own parts that act for people who have signed in, or for the program: what they
 * reach is the operator's to say. */
static const char *const own[] = { "@stdlib/console", "@stdlib/access", "@stdlib/service.",
                                   "@stdlib/metrics", "@stdlib/seal.",  "@stdlib/trac",
                                   "@stdlib/otlp",    "@stdlib/sentry", "@stdlib/deadletter_park.",
                                   "@stdlib/command_" };

/* --- lists --- */

static int entries_add(struct sip_list *list, enum sip_permission kind, const char *name)
{
  size_t len = strlen(name);
  struct entry *entry = malloc(sizeof *entry + len + 1);

  if (entry == NULL) {
    return UV_ENOMEM;
  }
  sip_list_init(&entry->link);
  entry->kind = kind;
  memcpy(entry->name, name, len + 1);
  sip_list_push(list, &entry->link);
  return 0;
}

static void entries_clear(struct sip_list *list)
{
  struct sip_list *node;

  while ((node = sip_list_shift(list)) != NULL) {
    free(SIP_CONTAINER(node, struct entry, link));
  }
}

static void set_clear(struct set *set)
{
  entries_clear(&set->entries);
  set->declared = false;
}

struct sip_permissions *sip_permissions_new(void)
{
  struct sip_permissions *permissions = calloc(1, sizeof *permissions);

  if (permissions != NULL) {
    sip_list_init(&permissions->active.entries);
    sip_list_init(&permissions->pending.entries);
    sip_list_init(&permissions->uses);
  }
  return permissions;
}

void sip_permissions_free(struct sip_permissions *permissions)
{
  if (permissions != NULL) {
    set_clear(&permissions->active);
    set_clear(&permissions->pending);
    entries_clear(&permissions->uses);
    free(permissions->exempt);
    free(permissions);
  }
}

/* --- patterns --- */

static bool matches(const char *pattern, size_t pattern_len, const char *text, size_t len)
{
  size_t p = 0, t = 0, star = SIZE_MAX, mark = 0;

  while (t < len) {
    if (p < pattern_len && pattern[p] == '*') {
      star = p++;
      mark = t;
    } else if (p < pattern_len && pattern[p] == text[t]) {
      p++;
      t++;
    } else if (star != SIZE_MAX) {
      p = star + 1;
      t = ++mark;
    } else {
      return false;
    }
  }
  while (p < pattern_len && pattern[p] == '*') {
    p++;
  }
  return p == pattern_len;
}

static bool matches_text(const char *pattern, const char *text)
{
  return matches(pattern, strlen(pattern), text, strlen(text));
}

/* A pattern without a port is for all ports. */
static bool matches_host(const char *pattern, const char *place)
{
  const char *colon = strrchr(place, ':'), *bracket = strrchr(pattern, ']');
  const char *port = strrchr(pattern, ':');
  bool has_port = port != NULL && (bracket == NULL || port > bracket);

  return has_port || colon == NULL
           ? matches_text(pattern, place)
           : matches(pattern, strlen(pattern), place, (size_t)(colon - place));
}

/* A folder is with everything below it. */
static bool matches_path(const char *pattern, const char *path)
{
  size_t len = strlen(pattern);

  return matches_text(pattern, path) ||
         (strncmp(pattern, path, len) == 0 && (path[len] == '/' || strcmp(pattern, "/") == 0));
}

/* "orders" of "orders-dlt" and "orders-retry-1000". */
static size_t topic_stem(const char *topic)
{
  size_t len = strlen(topic), digits = len;

  while (digits > 0 && topic[digits - 1] >= '0' && topic[digits - 1] <= '9') {
    digits--;
  }
  if (digits < len && digits > 7 && memcmp(topic + digits - 7, "-retry-", 7) == 0) {
    return digits - 7;
  }
  return len > 4 && strcmp(topic + len - 4, "-dlt") == 0 ? len - 4 : len;
}

static bool entry_permits(const struct entry *entry, enum sip_permission what, const char *name)
{
  switch (what) {
  case SIP_PERMIT_HOST:
    return entry->kind == what && matches_host(entry->name, name);
  case SIP_PERMIT_TOPIC:
    return entry->kind == what &&
           (matches_text(entry->name, name) ||
            matches(entry->name, strlen(entry->name), name, topic_stem(name)));
  case SIP_PERMIT_READ:
    return (entry->kind == SIP_PERMIT_READ || entry->kind == SIP_PERMIT_WRITE) &&
           matches_path(entry->name, name);
  case SIP_PERMIT_WRITE:
    return entry->kind == what && matches_path(entry->name, name);
  default:
    return entry->kind == what && matches_text(entry->name, name);
  }
}

static bool set_permits(const struct set *set, enum sip_permission what, const char *name)
{
  for (const struct sip_list *at = set->entries.next; at != &set->entries; at = at->next) {
    if (entry_permits(SIP_CONTAINER(at, struct entry, link), what, name)) {
      return true;
    }
  }
  return false;
}

/* --- paths --- */

/* What `path` is once links are followed, as far as it exists. @return 0, or -1: nobody can say */
static int path_resolve(const char *path, char out[PATH_MAX])
{
  char start[PATH_MAX] = "", full[PATH_MAX], head[PATH_MAX];
  size_t len, size = sizeof full;
  const char *tail;

  if ((path[0] != '/' && getcwd(start, sizeof start) == NULL) ||
      (size_t)snprintf(full, size, "%s/%s", start, path) >= size) {
    return -1;
  }
  len = strlen(full);
  memcpy(head, full, len + 1);
  while (realpath(head, out) == NULL) {
    const char *slash = strrchr(head, '/');

    if (errno != ENOENT || slash == NULL || strcmp(slash, "/..") == 0) {
      return -1;
    }
    len = (size_t)(slash - head);
    head[len] = '\0';
    if (len == 0) {
      out[0] = '\0';
      break;
    }
  }
  tail = full + len;
  len = strcmp(out, "/") == 0 && tail[0] != '\0' ? 0 : strlen(out);
  return (size_t)snprintf(out + len, PATH_MAX - len, "%s", tail) >= PATH_MAX - len ? -1 : 0;
}

static bool is_path(enum sip_permission what)
{
  return what == SIP_PERMIT_READ || what == SIP_PERMIT_WRITE;
}

/* --- who asks --- */

/* The line that asks, in `ar`. @return false: the program asks for itself */
static bool find_asking(lua_State *L, lua_Debug *ar, bool *found)
{
  const char *exempt = sip_vm_of(L)->permissions->exempt;

  *found = false;
  for (int level = 0; lua_getstack(L, level, ar) != 0; level++) {
    (void)lua_getinfo(L, "Sl", ar); /* the options are right */
    if (strcmp(ar->what, "C") == 0) {
      continue;
    }
    if (strncmp(ar->source, "@stdlib/", 8) != 0) {
      *found = exempt == NULL || strcmp(ar->source + 1, exempt) != 0;
      return *found;
    }
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
      if (strncmp(ar->source, own[i], strlen(own[i])) == 0) {
        return false;
      }
    }
  }
  return true;
}

static bool permitted(const struct sip_permissions *all, enum sip_permission what, const char *name)
{
  if (all->loading && all->pending.declared) {
    return set_permits(&all->pending, what, name) ||
           (all->active.declared && set_permits(&all->active, what, name));
  }
  return !all->active.declared || set_permits(&all->active, what, name);
}

/* What is used while a script loads is remembered; what does not fit is not shown. */
static void remember(struct sip_permissions *all, enum sip_permission what, const char *name)
{
  for (const struct sip_list *at = all->uses.next; at != &all->uses; at = at->next) {
    const struct entry *entry = SIP_CONTAINER(at, struct entry, link);

    if (entry->kind == what && strcmp(entry->name, name) == 0) {
      return;
    }
  }
  if (all->use_count < USES_LIMIT && entries_add(&all->uses, what, name) == 0) {
    all->use_count++;
  }
}

/* The program's own settings hold nothing that a script may not know. */
static bool is_free(enum sip_permission what, const char *name)
{
  return what == SIP_PERMIT_ENV && strncmp(name, "SIPEAT_", 7) == 0;
}

bool sip_permitted(struct sip_vm *vm, enum sip_permission what, const char *name)
{
  return permitted(vm->permissions, what, name);
}

void sip_permit(lua_State *L, enum sip_permission what, const char *name)
{
  struct sip_permissions *all = sip_vm_of(L)->permissions;
  char path[PATH_MAX];
  lua_Debug ar;
  bool found, known = true;

  if ((!all->active.declared && !all->loading) || is_free(what, name)) {
    return;
  }
  if (is_path(what) && path_resolve(name, path) == 0) {
    name = path;
  } else {
    known = !is_path(what);
  }
  if (all->loading && known && find_asking(L, &ar, &found)) {
    remember(all, what, name);
  }
  if ((known && permitted(all, what, name)) || !find_asking(L, &ar, &found)) {
    return;
  }
  if (found) {
    lua_pushfstring(L, "%s:%d: ", ar.source + (ar.source[0] == '@'), ar.currentline);
  } else {
    lua_pushliteral(L, "");
  }
  lua_pushfstring(L, "%s%s %s is not permitted (sipeat.permissions has no %s = { \"%s\" })",
                  lua_tostring(L, -1), kinds[what].what, name, kinds[what].key, name);
  (void)lua_error(L); /* does not come back */
}

int sip_permissions_exempt(struct sip_vm *vm, const char *file)
{
  char *path = realpath(file, NULL); /* scripts are named so */

  free(vm->permissions->exempt);
  vm->permissions->exempt = path;
  return path == NULL && errno == ENOMEM ? UV_ENOMEM : 0;
}

/* --- versions of the script --- */

void sip_permissions_begin(struct sip_vm *vm)
{
  set_clear(&vm->permissions->pending);
  entries_clear(&vm->permissions->uses);
  vm->permissions->use_count = 0;
  vm->permissions->loading = true;
}

void sip_permissions_commit(struct sip_vm *vm)
{
  struct sip_permissions *all = vm->permissions;

  set_clear(&all->active);
  sip_list_move(&all->active.entries, &all->pending.entries);
  all->active.declared = all->pending.declared;
  all->pending.declared = false;
  all->loading = false;
}

void sip_permissions_rollback(struct sip_vm *vm)
{
  set_clear(&vm->permissions->pending);
  vm->permissions->loading = false;
}

/* --- the module --- */

static enum sip_permission check_kind(lua_State *L, int index)
{
  const char *name = lua_tostring(L, index);

  for (int i = 0; name != NULL && i < SIP_PERMISSIONS; i++) {
    if (strcmp(kinds[i].key, name) == 0) {
      return (enum sip_permission)i;
    }
  }
  luaL_error(L, "permissions: no such kind");
  return SIP_PERMISSIONS; /* not reached */
}

static void add_pattern(lua_State *L, struct set *set, enum sip_permission kind,
                        const char *pattern)
{
  char path[PATH_MAX];
  size_t len = strlen(pattern);

  if (is_path(kind)) {
    char folder[PATH_MAX];

    while (len > 1 && (pattern[len - 1] == '/' ||
                       (pattern[len - 1] == '*' && len > 2 && pattern[len - 2] == '/'))) {
      len--; /* "data/" and "data/ *" are what is below data */
    }
    (void)snprintf(folder, sizeof folder, "%.*s", (int)len, pattern); /* too long: not resolved */
    if (path_resolve(folder, path) < 0) {
      luaL_error(L, "permissions: cannot find the way to %s", pattern);
    }
    pattern = path;
  }
  if (entries_add(&set->entries, kind, pattern) < 0) {
    luaL_error(L, "permissions: out of memory");
  }
}

/* What the load has asked for before it said what it needs. */
static void check_uses(lua_State *L, const struct sip_permissions *all)
{
  for (const struct sip_list *at = all->uses.next; at != &all->uses; at = at->next) {
    const struct entry *use = SIP_CONTAINER(at, struct entry, link);

    if (!set_permits(&all->pending, use->kind, use->name)) {
      luaL_error(L,
                 "sipeat.permissions: %s %s is in use already and not permitted (no %s = { "
                 "\"%s\" })",
                 kinds[use->kind].what, use->name, kinds[use->kind].key, use->name);
    }
  }
}

static int l_declare(lua_State *L)
{
  struct sip_permissions *all = sip_vm_of(L)->permissions;
  struct set *set = all->loading ? &all->pending : &all->active; /* a verb only loads */

  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  if (set->declared) {
    return luaL_error(L, "sipeat.permissions: once for each script, at its top");
  }
  set->declared = true;
  for (lua_Integer i = 1; lua_rawgeti(L, 1, i) == LUA_TTABLE; i++) {
    (void)lua_rawgeti(L, 2, 1);
    (void)lua_rawgeti(L, 2, 2);
    add_pattern(L, set, check_kind(L, 3), luaL_checkstring(L, 4));
    lua_settop(L, 1);
  }
  if (all->loading) {
    check_uses(L, all);
  }
  return 0;
}

static int l_permit(lua_State *L)
{
  sip_permit(L, check_kind(L, 1), luaL_checkstring(L, 2));
  return 0;
}

static int l_uses(lua_State *L)
{
  const struct sip_permissions *all = sip_vm_of(L)->permissions;
  lua_Integer count = 0;

  lua_newtable(L);
  for (const struct sip_list *at = all->uses.next; at != &all->uses; at = at->next) {
    const struct entry *use = SIP_CONTAINER(at, struct entry, link);

    lua_createtable(L, 2, 0);
    lua_pushstring(L, kinds[use->kind].key);
    lua_rawseti(L, -2, 1);
    lua_pushstring(L, use->name);
    lua_rawseti(L, -2, 2);
    lua_rawseti(L, -2, ++count);
  }
  return 1;
}

static int l_declared(lua_State *L)
{
  const struct sip_permissions *all = sip_vm_of(L)->permissions;

  lua_pushboolean(L, all->loading ? all->pending.declared : all->active.declared);
  return 1;
}

int sip_open_permissions(lua_State *L)
{
  static const luaL_Reg functions[] = { { "declare", l_declare },
                                        { "permit", l_permit },
                                        { "uses", l_uses },
                                        { "declared", l_declared },
                                        { NULL, NULL } };

  luaL_newlib(L, functions);
  return 1;
}
