/* script_files.c - finding and compiling the files of a script. Loop thread.
 *
 * Reading a script blocks the loop for the time of a small local file, at start and at a reload
 * only. */
#include "vm/script_files.h"

#include "vm/script_state.h"
#include "vm/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SCRIPT_LIMIT_BYTES = 16 << 20, EXCERPT_LINES = 2, EXCERPT_COLUMNS = 160 };

/* A whole file of at most 16 MiB. @return 0 or a negative code with `err` */
static int script_read(struct sip_buf *out, const char *path, struct sip_err *err)
{
  struct stat info;
  int fd, rc;

  fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not hang us */
  if (fd < 0) {
    return sip_err_errno(err, errno, "open %s", path);
  }
  if (fstat(fd, &info) < 0) {
    rc = sip_err_errno(err, errno, "stat %s", path);
    goto cleanup;
  }
  if (!S_ISREG(info.st_mode)) {
    rc = sip_err_set(err, UV_EINVAL, "%s is not a regular file", path);
    goto cleanup;
  }
  if (info.st_size > SCRIPT_LIMIT_BYTES) {
    rc = sip_err_set(err, SIP_ETOOBIG, "%s has more than 16 MiB", path);
    goto cleanup;
  }
  rc = sip_buf_reserve(out, (size_t)info.st_size + 1);
  while (rc == 0 && out->len <= SCRIPT_LIMIT_BYTES) {
    ssize_t n;

    rc = sip_buf_reserve(out, 4096);
    if (rc < 0) {
      break;
    }
    n = read(fd, out->data + out->len, out->cap - out->len - 1);
    if (n < 0 && errno == EINTR) {
      continue;
    }
    if (n < 0) {
      rc = sip_err_errno(err, errno, "read %s", path);
      goto cleanup;
    }
    if (n == 0) {
      break;
    }
    out->len += (size_t)n;
    out->data[out->len] = '\0';
  }
  if (rc < 0) {
    rc = sip_err_set(err, rc, "no memory for %s", path);
  }
cleanup:
  (void)close(fd); /* nothing was written */
  return rc;
}

void sip_script_excerpt(struct sip_buf *out, const char *path, long line)
{
  struct sip_buf text = SIP_BUF_INIT;
  long number = 1;

  if (script_read(&text, path, NULL) < 0 || text.data == NULL) {
    sip_buf_deinit(&text);
    return;
  }
  for (const char *at = text.data; *at != '\0'; number++) {
    size_t length = strcspn(at, "\n");

    if (number >= line - EXCERPT_LINES && number <= line + EXCERPT_LINES) {
      int shown = length > EXCERPT_COLUMNS ? EXCERPT_COLUMNS : (int)length;

      (void)sip_buf_addf(out, "\n  %s %5ld | %.*s", number == line ? ">" : " ", number, shown, at);
    }
    at += length + (at[length] == '\n');
  }
  sip_buf_deinit(&text);
}

/* Pushes the chunk of `path` with the environment of the generation, or leaves an error message. */
static int load_file(lua_State *L, int generation, const char *path, struct sip_script *script)
{
  struct sip_script_text *box = sip_script_text_new(L); /* collected when we raise */
  struct sip_err err;
  int rc;

  rc = script_read(&box->text, path, &err);
  if (rc < 0) {
    lua_pop(L, 1);
    lua_pushstring(L, err.message);
    return rc;
  }
  rc = sip_script_add_file(script, path, &box->text);
  if (rc < 0) {
    lua_pop(L, 1);
    lua_pushstring(L, "not enough memory");
    return rc;
  }
  lua_pushfstring(L, "@%s", path);
  if (luaL_loadbufferx(L, box->text.data == NULL ? "" : box->text.data, box->text.len,
                       lua_tostring(L, -1), "t") != LUA_OK) {
    lua_replace(L, -3);
    lua_pop(L, 1);
    return SIP_ESCRIPT;
  }
  sip_buf_deinit(&box->text);
  lua_getfield(L, generation, "env");
  if (lua_setupvalue(L, -2, 1) == NULL) {
    lua_pop(L, 1); /* a chunk that uses no global has no environment */
  }
  lua_replace(L, -3);
  lua_pop(L, 1);
  return 0;
}

int sip_script_load_main(lua_State *L, int generation, struct sip_script *script)
{
  return load_file(L, lua_absindex(L, generation), sip_script_path(script), script);
}

void sip_script_load_module(lua_State *L, int generation, const char *name)
{
  static const char *const endings[] = { ".lua", "/init.lua" };
  struct sip_script *script;
  const char *directory, *relative;

  if (strstr(name, "..") != NULL || name[0] == '/' || name[0] == '.') {
    luaL_error(L, "module '%s': a name is words with dots, as in \"flows.contact\"", name);
  }
  lua_getfield(L, generation, "script");
  script = *(struct sip_script **)lua_touserdata(L, -1);
  if (script == NULL) {
    luaL_error(L, "module '%s': this version of the script is gone", name);
    return;
  }
  lua_getfield(L, generation, "directory");
  directory = lua_tostring(L, -1);
  relative = luaL_gsub(L, name, ".", "/");
  for (size_t i = 0; i < sizeof endings / sizeof endings[0]; i++) {
    const char *path = lua_pushfstring(L, "%s%s%s", directory, relative, endings[i]);

    if (access(path, F_OK) == 0) {
      if (load_file(L, generation, path, script) < 0) {
        luaL_error(L, "%s", lua_tostring(L, -1));
      }
      lua_replace(L, 3); /* stack of require: name, loaded table, chunk */
      lua_settop(L, 3);
      return;
    }
    lua_pop(L, 1);
  }
  luaL_error(L, "module '%s' not found: neither compiled in, nor at %s%s.lua, nor at %s%s/init.lua",
             name, directory, relative, directory, relative);
}
