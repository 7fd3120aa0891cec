/* sys_lua.c - module sipeat.core.sys: clocks, random ids, hashes, text checks, files, what is
 * compiled in.
 *
 * uuid() random(n) now_ms() monotonic_ms() iso_time(ms?) parse_time(text) sha256(text)
 * hmac_sha256(key, text) base64(bytes) from_base64(text) equal(a, b) valid_utf8(text)
 * utf8_clean(text) utf8_length(text) getenv(name) secret(name) asset(name) read_file write_file
 * list_files version, pid, worker, workers. Hashes are lower-case hex. Loop thread. */
#include "bind/bind.h"
#include "bind/file_lua.h"
#include "core/base64.h"
#include "core/clock.h"
#include "core/random.h"
#include "core/secret.h"
#include "core/utf8.h"
#include "vm/embed.h"
#include "vm/permissions.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { RANDOM_LIMIT_BYTES = 65536 };

static int random_bytes(lua_State *L, void *out, size_t len)
{
  int rc = sip_random_bytes(sip_vm_random(sip_vm_of(L)), out, len);

  return rc < 0 ? luaL_error(L, "no random numbers: %s", sip_err_name(rc)) : 0;
}

static int l_uuid(lua_State *L)
{
  unsigned char b[16];
  char text[40];

  random_bytes(L, b, sizeof b);
  b[6] = (unsigned char)((b[6] & 0x0f) | 0x40); /* RFC 9562: version 4 */
  b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
  (void)snprintf(
    text, sizeof text, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
    b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
  lua_pushstring(L, text);
  return 1;
}

static int l_random(lua_State *L)
{
  lua_Integer n = luaL_checkinteger(L, 1);
  luaL_Buffer buffer;

  luaL_argcheck(L, n >= 0 && n <= RANDOM_LIMIT_BYTES, 1, "0 to 65536 bytes");
  random_bytes(L, luaL_buffinitsize(L, &buffer, (size_t)n), (size_t)n);
  luaL_pushresultsize(&buffer, (size_t)n);
  return 1;
}

static int64_t wall_ms(lua_State *L)
{
  return sip_clock_wall_ms(sip_vm_clock(sip_vm_of(L)));
}

static int l_now_ms(lua_State *L)
{
  lua_pushinteger(L, wall_ms(L));
  return 1;
}

static int l_monotonic_ms(lua_State *L)
{
  lua_pushnumber(L, (lua_Number)sip_clock_precise_ns(sip_vm_clock(sip_vm_of(L))) / 1e6);
  return 1;
}

static int l_iso_time(lua_State *L)
{
  int64_t ms = luaL_optinteger(L, 1, wall_ms(L));
  time_t seconds = (time_t)(ms / 1000 - (ms % 1000 < 0));
  int fraction = (int)(ms - (int64_t)seconds * 1000);
  struct tm parts;
  char text[64], all[80];

  if (gmtime_r(&seconds, &parts) == NULL ||
      strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts) == 0) {
    return luaL_argerror(L, 1, "milliseconds since 1970");
  }
  (void)snprintf(all, sizeof all, "%s.%03dZ", text, fraction);
  lua_pushstring(L, all);
  return 1;
}

/* parse_time("2024-01-01T12:00:00.5+01:00") -> ms since 1970, or nothing (RFC 3339) */
static int l_parse_time(lua_State *L)
{
  const char *text = luaL_checkstring(L, 1);
  struct tm parts = { 0 };
  int year, month, read = 0, sign = 0, hours = 0, minutes = 0;
  double fraction = 0;
  char *end;

  if (sscanf(text, "%4d-%2d-%2d%*1[Tt ]%2d:%2d:%2d%n", &year, &month, &parts.tm_mday,
             &parts.tm_hour, &parts.tm_min, &parts.tm_sec, &read) != 6 ||
      read != 19) {
    return 0;
  }
  text += read;
  if (*text == '.') {
    fraction = strtod(text, &end);
    text = end;
  }
  if (*text == '+' || *text == '-') {
    sign = *text == '+' ? 1 : -1;
    read = 0;
    if (sscanf(text + 1, "%2d:%2d%n", &hours, &minutes, &read) != 2 || read != 5) {
      return 0;
    }
    text += 6;
  } else if (*text == 'Z' || *text == 'z') {
    text++;
  } else {
    return 0;
  }
  if (*text != '\0' || month < 1 || month > 12 || parts.tm_mday < 1 || parts.tm_mday > 31 ||
      parts.tm_hour > 23 || parts.tm_min > 59 || parts.tm_sec > 60 || hours > 23 || minutes > 59) {
    return 0;
  }
  parts.tm_year = year - 1900;
  parts.tm_mon = month - 1;
  lua_pushinteger(
    L, ((lua_Integer)timegm(&parts) - (lua_Integer)sign * (hours * 3600 + minutes * 60)) * 1000 +
         (lua_Integer)(fraction * 1000 + 0.5));
  return 1;
}

static int push_hex(lua_State *L, const unsigned char *bytes, size_t len)
{
  char hex[2 * crypto_hash_sha256_BYTES + 1];

  sodium_bin2hex(hex, sizeof hex, bytes, len);
  lua_pushstring(L, hex);
  return 1;
}

static int l_sha256(lua_State *L)
{
  unsigned char hash[crypto_hash_sha256_BYTES];
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len);

  (void)crypto_hash_sha256(hash, (const unsigned char *)text, len); /* always 0 */
  return push_hex(L, hash, sizeof hash);
}

static int l_hmac_sha256(lua_State *L)
{
  crypto_auth_hmacsha256_state state;
  unsigned char hash[crypto_auth_hmacsha256_BYTES];
  size_t key_len, len;
  const char *key = luaL_checklstring(L, 1, &key_len), *text = luaL_checklstring(L, 2, &len);

  (void)crypto_auth_hmacsha256_init(&state, (const unsigned char *)key,
                                    key_len); /* always 0, all three */
  (void)crypto_auth_hmacsha256_update(&state, (const unsigned char *)text, len);
  (void)crypto_auth_hmacsha256_final(&state, hash);
  return push_hex(L, hash, sizeof hash);
}

static int l_base64(lua_State *L)
{
  size_t len;
  const char *bytes = luaL_checklstring(L, 1, &len);
  luaL_Buffer buffer;

  sip_base64_encode(luaL_buffinitsize(L, &buffer, SIP_BASE64_LEN(len)), bytes, len);
  luaL_pushresultsize(&buffer, SIP_BASE64_LEN(len));
  return 1;
}

/* nil when it is none. */
static int l_from_base64(lua_State *L)
{
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len);
  luaL_Buffer buffer;
  long got =
    sip_base64_decode((unsigned char *)luaL_buffinitsize(L, &buffer, len / 4 * 3 + 1), text, len);

  luaL_pushresultsize(&buffer, got < 0 ? 0 : (size_t)got);
  if (got < 0) {
    lua_pushnil(L);
  }
  return 1;
}

static int l_equal(lua_State *L)
{
  size_t a_len, b_len;
  const char *a = luaL_checklstring(L, 1, &a_len), *b = luaL_checklstring(L, 2, &b_len);

  lua_pushboolean(L, a_len == b_len && sodium_memcmp(a, b, a_len) == 0);
  return 1;
}

static int l_valid_utf8(lua_State *L)
{
  size_t left;
  const char *s = luaL_checklstring(L, 1, &left);

  while (left > 0) {
    size_t n = sip_utf8_length(s, left);

    if (n == 0) {
      break;
    }
    s += n;
    left -= n;
  }
  lua_pushboolean(L, left == 0);
  return 1;
}

/* utf8_clean(text) -> text with U+FFFD for each broken byte, and the number of code points */
static int l_utf8_clean(lua_State *L)
{
  size_t left;
  const char *s = luaL_checklstring(L, 1, &left);
  lua_Integer points = 0;
  luaL_Buffer buffer;

  luaL_buffinit(L, &buffer);
  while (left > 0) {
    size_t n = sip_utf8_length(s, left);

    if (n == 0) {
      luaL_addlstring(&buffer, "\xef\xbf\xbd", 3);
      n = 1;
    } else {
      luaL_addlstring(&buffer, s, n);
    }
    points++;
    s += n;
    left -= n;
  }
  luaL_pushresult(&buffer);
  lua_pushinteger(L, points);
  return 2;
}

static int l_getenv(lua_State *L)
{
  const char *name = luaL_checkstring(L, 1);

  sip_permit(L, SIP_PERMIT_ENV, name);
  lua_pushstring(L, getenv(name));
  return 1;
}

/* secret(name) -> text, or nil; nil, message, code when its file cannot be read */
static int l_secret(lua_State *L)
{
  const char *name = luaL_checkstring(L, 1);
  struct sip_err err = { 0 };
  char *text = NULL;
  int rc;

  sip_permit(L, SIP_PERMIT_ENV, name);
  rc = sip_secret_find(name, &text, &err);
  if (rc < 0) {
    return sip_push_err(L, &err);
  }
  lua_pushstring(L, text); /* out of memory: the copy stays until the end */
  sip_secret_free(text);
  return 1;
}

static int l_asset(lua_State *L)
{
  const struct sip_embedded *file;

  lua_pushfstring(L, "assets/%s", luaL_checkstring(L, 1));
  file = sip_embedded_find(lua_tostring(L, -1));
  if (file == NULL) {
    return 0;
  }
  lua_pushlstring(L, file->data, file->len);
  return 1;
}

/* Names of the modules that are compiled in. */
static int l_modules(lua_State *L)
{
  lua_Integer count = 0;

  lua_newtable(L);
  for (const struct sip_embedded *file = sip_embedded_files; file->name != NULL; file++) {
    if (strncmp(file->name, "sipeat", 6) == 0) {
      lua_pushstring(L, file->name);
      lua_rawseti(L, -2, ++count);
    }
  }
  return 1;
}

static int l_memory_bytes(lua_State *L)
{
  lua_pushinteger(L, (lua_Integer)sip_vm_memory_bytes(sip_vm_of(L)));
  return 1;
}

int sip_open_sys(lua_State *L)
{
  static const luaL_Reg functions[] = {
    { "uuid", l_uuid },
    { "random", l_random },
    { "now_ms", l_now_ms },
    { "monotonic_ms", l_monotonic_ms },
    { "iso_time", l_iso_time },
    { "parse_time", l_parse_time },
    { "sha256", l_sha256 },
    { "hmac_sha256", l_hmac_sha256 },
    { "base64", l_base64 },
    { "from_base64", l_from_base64 },
    { "equal", l_equal },
    { "valid_utf8", l_valid_utf8 },
    { "utf8_clean", l_utf8_clean },
    { "getenv", l_getenv },
    { "secret", l_secret },
    { "asset", l_asset },
    { "modules", l_modules },
    { "memory_bytes", l_memory_bytes },
    { "read_file", sip_l_read_file },
    { "write_file", sip_l_write_file },
    { "list_files", sip_l_list_files },
    { NULL, NULL },
  };

  int workers, worker = sip_vm_worker(L, &workers);

  if (sodium_init() < 0) { /* 1 when it was done before */
    return luaL_error(L, "libsodium does not start");
  }
  luaL_newlib(L, functions);
  lua_pushliteral(L, SIP_VERSION);
  lua_setfield(L, -2, "version");
  lua_pushinteger(L, (lua_Integer)getpid());
  lua_setfield(L, -2, "pid");
  lua_pushinteger(L, worker);
  lua_setfield(L, -2, "worker");
  lua_pushinteger(L, workers);
  lua_setfield(L, -2, "workers");
  return 1;
}
