/* serial_port.c - facts about the file of a port. Main thread: these calls do not wait for a
 * device. */
#include "cli/serial_port.h"

#include "cli/push.h"

#include <errno.h>
#include <grp.h>
#include <lauxlib.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

enum { MAX_GROUPS = 256, NAME_BYTES = 2048, PTY_MAJOR_FIRST = 136, PTY_MAJOR_LAST = 143 };

static void push_user(lua_State *L, const char *field, uid_t uid)
{
  struct passwd entry, *found = NULL;
  char text[NAME_BYTES];

  if (getpwuid_r(uid, &entry, text, sizeof text, &found) == 0 && found != NULL) {
    sip_push_text(L, field, found->pw_name);
  } else {
    sip_push_number(L, field, (int64_t)uid);
  }
}

static void push_group(lua_State *L, gid_t gid)
{
  struct group entry, *found = NULL;
  char text[NAME_BYTES];

  if (getgrgid_r(gid, &entry, text, sizeof text, &found) == 0 && found != NULL) {
    sip_push_text(L, "group", found->gr_name);
  } else {
    sip_push_number(L, "group", (int64_t)gid);
  }
}

static bool is_member(gid_t gid)
{
  gid_t groups[MAX_GROUPS];
  int count = getgroups(MAX_GROUPS, groups);

  for (int i = 0; i < count; i++) {
    if (groups[i] == gid) {
      return true;
    }
  }
  return getegid() == gid;
}

static const char *kind_of(const struct stat *about)
{
  unsigned number = major(about->st_rdev);

  if (!S_ISCHR(about->st_mode)) {
    return "other";
  }
  return number >= PTY_MAJOR_FIRST && number <= PTY_MAJOR_LAST ? "terminal" : "device";
}

int sip_l_port_facts(lua_State *L)
{
  const char *path = luaL_checkstring(L, 1);
  char real[PATH_MAX];
  struct stat about;

  lua_newtable(L);
  push_user(L, "user", geteuid());
  if (stat(path, &about) != 0) {
    sip_push_text(L, "error", strerror(errno));
    return 1;
  }
  sip_push_flag(L, "exists", true);
  sip_push_text(L, "kind", kind_of(&about));
  sip_push_text(L, "path", realpath(path, real) != NULL ? real : path);
  sip_push_number(L, "mode", (int64_t)(about.st_mode & 07777));
  push_user(L, "owner", about.st_uid);
  push_group(L, about.st_gid);
  sip_push_flag(L, "member", is_member(about.st_gid));
  sip_push_flag(L, "readable", access(path, R_OK) == 0);
  sip_push_flag(L, "writable", access(path, W_OK) == 0);
  return 1;
}
