/* push.c - options of a verb as fields of a Lua table. */
#include "cli/push.h"

#include "cli/settings.h"

#include <lauxlib.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <unistd.h>

void sip_push_text(lua_State *L, const char *name, const char *value)
{
  lua_pushstring(L, value);
  lua_setfield(L, -2, name);
}

void sip_push_number(lua_State *L, const char *name, int64_t value)
{
  lua_pushinteger(L, (lua_Integer)value);
  lua_setfield(L, -2, name);
}

void sip_push_flag(lua_State *L, const char *name, bool value)
{
  lua_pushboolean(L, value);
  lua_setfield(L, -2, name);
}

void sip_push_duration(lua_State *L, const char *name, uint64_t ms)
{
  lua_pushfstring(L, "%Ims", (LUAI_UACINT)ms);
  lua_setfield(L, -2, name);
}

void sip_push_tls(lua_State *L, const struct sip_tls_settings *tls)
{
  sip_push_text(L, "tls_cert", sip_settings_text(tls->cert, "SIPEAT_HTTP_TLS_CERT", NULL));
  sip_push_text(L, "tls_key", sip_settings_text(tls->key, "SIPEAT_HTTP_TLS_KEY", NULL));
}

void sip_push_login(lua_State *L, const char *name)
{
  struct passwd entry, *found = NULL;
  char text[1024], number[32];

  (void)snprintf(number, sizeof number, "user %ld", (long)geteuid());
  if (getpwuid_r(geteuid(), &entry, text, sizeof text, &found) == 0 && found != NULL) {
    sip_push_text(L, name, found->pw_name);
  } else {
    sip_push_text(L, name, number);
  }
}

void sip_push_directory(lua_State *L)
{
  char path[PATH_MAX];

  sip_push_text(L, "directory", getcwd(path, sizeof path));
}

/* Pushes what was given for the option. @return false: nothing was */
static bool push_option(lua_State *L, const struct sip_option *o, const void *target)
{
  const void *field = (const char *)target + o->offset;

  switch (o->kind) {
  case SIP_OPTION_ON:
  case SIP_OPTION_OFF:
    lua_pushboolean(L, *(const bool *)field);
    return true;
  case SIP_OPTION_TEXT:
    lua_pushstring(L, *(const char *const *)field);
    return true;
  case SIP_OPTION_NUMBER:
    lua_pushinteger(L, (lua_Integer) * (const int64_t *)field);
    return *(const int64_t *)field != 0;
  case SIP_OPTION_DURATION:
    lua_pushfstring(L, "%Ims", (LUAI_UACINT) * (const uint64_t *)field);
    return *(const uint64_t *)field != 0;
  case SIP_OPTION_CALL:
    lua_pushnil(L);
    return false;
  }
  lua_pushnil(L);
  return false;
}

void sip_push_options(lua_State *L, const struct sip_option *options, const void *target)
{
  for (const struct sip_option *o = options; o->name != NULL; o++) {
    (void)luaL_gsub(L, o->name, "-", "_");
    if (push_option(L, o, target)) {
      lua_rawset(L, -3);
    } else {
      lua_pop(L, 2);
    }
  }
}
