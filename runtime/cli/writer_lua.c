/* writer_lua.c - files that a verb adds to, line by line. Loop thread; writes to a regular file do
 * not wait for anything outside. */
#include "cli/terminal_lua.h"

#include "core/err.h"
#include "vm/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdio.h>
#include <unistd.h>

static const char WRITER[] = "sipeat.writer";

static int writer_gc(lua_State *L)
{
  FILE **box = luaL_checkudata(L, 1, WRITER), *file = *box;

  *box = NULL;
  if (file != NULL) {
    (void)fclose(file); /* close() has said what could not be written */
  }
  return 0;
}

static FILE *check_writer(lua_State *L)
{
  FILE **box = luaL_checkudata(L, 1, WRITER);

  if (*box == NULL) {
    luaL_error(L, "the file is closed");
  }
  return *box;
}

static int writer_result(lua_State *L, bool failed, int saved)
{
  struct sip_err err = { 0 };

  if (failed) {
    (void)sip_err_errno(&err, saved, "write to the file");
    return sip_push_err(L, &err);
  }
  lua_pushboolean(L, 1);
  return 1;
}

/* What is written is in the file when this returns: a kill loses nothing of it. */
static int l_writer_write(lua_State *L)
{
  FILE *file = check_writer(L);
  size_t len;
  const char *text = luaL_checklstring(L, 2, &len);
  bool failed = fwrite(text, 1, len, file) != len || fflush(file) != 0;

  return writer_result(L, failed, errno);
}

static int l_writer_close(lua_State *L)
{
  FILE **box = luaL_checkudata(L, 1, WRITER), *file = *box;
  bool failed;

  *box = NULL;
  failed = file != NULL && fclose(file) != 0;
  return writer_result(L, failed, errno);
}

int sip_l_create_file(lua_State *L)
{
  static const luaL_Reg methods[] = { { "write", l_writer_write },
                                      { "close", l_writer_close },
                                      { NULL, NULL } };
  const char *path = luaL_checkstring(L, 1);
  bool append = lua_toboolean(L, 2);
  FILE **box = sip_box_class(L, WRITER, writer_gc, methods);
  struct sip_err err = { 0 };
  int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | (append ? O_APPEND : O_TRUNC), 0666);

  if (fd >= 0) {
    *box = fdopen(fd, append ? "a" : "w");
  }
  if (*box == NULL) {
    (void)sip_err_errno(&err, errno, "open %s for writing", path);
    if (fd >= 0) {
      (void)close(fd); /* nothing was written */
    }
    return sip_push_err(L, &err);
  }
  return 1;
}
