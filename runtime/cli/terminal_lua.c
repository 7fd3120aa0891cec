/* terminal_lua.c - standard streams and line-wise input for the verbs that are written in Lua. Loop
 * thread.
 *
 * Regular files are read at once; pipes and terminals are waited for, so that acknowledgements come
 * in and Ctrl-C works meanwhile. A line is at most 16 MiB, and so is the memory of a reader. */
#include "cli/terminal_lua.h"

#include "core/buf.h"
#include "vm/task.h"
#include "vm/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

enum { CHUNK_BYTES = 64 * 1024, MAX_LINE_BYTES = 16 * 1024 * 1024, ANSWER_BYTES = 512 };

enum { CTRL_C = 3 };

static const char READER[] = "sipeat.reader";

struct reader {
  struct sip_wait wait;
  uv_poll_t poll;
  int fd;
  bool polled;     /* `poll` is initialised */
  bool owned, end; /* `owned`: close the descriptor */
  bool told;       /* that nothing is there yet: the next call waits */
  struct sip_buf text;
  size_t at; /* first byte not handed out */
  uint64_t done_bytes, size_bytes;
};

/* --- standard streams --- */

static int stream_result(lua_State *L, bool failed, int saved)
{
  struct sip_err err = { 0 };

  if (!failed) {
    lua_pushboolean(L, 1);
    return 1;
  }
  (void)sip_err_errno(&err, saved, "write to standard output");
  return sip_push_err(L, &err);
}

static int l_write(lua_State *L)
{
  size_t len;
  const char *text = luaL_checklstring(L, 1, &len);
  bool failed = fwrite(text, 1, len, stdout) != len;

  return stream_result(L, failed, errno);
}

static int l_flush(lua_State *L)
{
  bool failed = fflush(stdout) != 0;

  return stream_result(L, failed, errno);
}

static int l_note(lua_State *L)
{
  (void)fprintf(stderr, "%s\n", luaL_checkstring(L, 1)); /* nowhere left to complain to */
  return 0;
}

static int l_status(lua_State *L)
{
  const char *text = luaL_checkstring(L, 1);

  if (isatty(STDERR_FILENO) == 1) {
    (void)fprintf(stderr, "\r\033[K%s", text);
    (void)fflush(stderr);
  }
  return 0;
}

static int l_ring(lua_State *L)
{
  (void)L;
  (void)fputc('\a', stderr);
  return 0;
}

static int l_is_terminal(lua_State *L)
{
  static const char *const names[] = { "stdin", "stdout", "stderr", NULL };

  lua_pushboolean(L, isatty(luaL_checkoption(L, 1, NULL, names)) == 1);
  return 1;
}

/** Blocks: a question is asked before anything else goes on. */
static int l_ask(lua_State *L)
{
  char answer[ANSWER_BYTES];

  (void)fprintf(stderr, "%s", luaL_checkstring(L, 1));
  (void)fflush(stderr);
  if (fgets(answer, sizeof answer, stdin) == NULL) {
    lua_pushnil(L);
    return 1;
  }
  lua_pushlstring(L, answer, strcspn(answer, "\r\n"));
  return 1;
}

/** The line that was typed, with its length; -1 at the end of the input, or when Ctrl-C ended it.
 */
static ssize_t read_typed(char *answer, size_t size)
{
  ssize_t got;

  do {
    got = read(STDIN_FILENO, answer, size); /* a terminal gives whole lines */
  } while (got < 0 && errno == EINTR);
  if (got <= 0 || answer[got - 1] == CTRL_C) {
    return -1;
  }
  return got - (answer[got - 1] == '\n');
}

/** As l_ask, of a terminal and without showing what is typed. Keys send no signals meanwhile: one
 * that ends the process would leave the terminal as it is here. nil: there is no terminal, or no
 * answer. */
static int l_ask_secret(lua_State *L)
{
  const char *question = luaL_checkstring(L, 1);
  char answer[ANSWER_BYTES];
  struct termios before, silent;
  ssize_t len;

  if (tcgetattr(STDIN_FILENO, &before) != 0) {
    lua_pushnil(L);
    return 1;
  }
  silent = before;
  silent.c_lflag &= ~(tcflag_t)(ECHO | ISIG);
  silent.c_lflag |= ICANON;
  silent.c_cc[VEOL] = CTRL_C;
  if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent) != 0) {
    lua_pushnil(L);
    return 1;
  }
  (void)fprintf(stderr, "%s", question); /* now, when what is typed is not shown any more */
  (void)fflush(stderr);
  len = read_typed(answer, sizeof answer);
  (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before); /* nothing else can be done about it */
  (void)fputc('\n', stderr);
  if (len < 0) {
    lua_pushnil(L);
  } else {
    lua_pushlstring(L, answer, (size_t)len);
  }
  explicit_bzero(answer, sizeof answer);
  return 1;
}

/* --- readers --- */

static void reader_on_close(uv_handle_t *handle)
{
  struct reader *r = handle->data;

  if (r->owned) {
    (void)close(r->fd); /* read only */
  }
  sip_buf_deinit(&r->text);
  free(r);
}

static void reader_close(struct reader **box)
{
  struct reader *r = *box;

  *box = NULL;
  if (r == NULL) {
    return;
  }
  sip_wake(&r->wait, UV_ECANCELED);
  r->poll.data = r;
  if (r->polled) {
    uv_close((uv_handle_t *)&r->poll, reader_on_close);
  } else {
    reader_on_close((uv_handle_t *)&r->poll);
  }
}

static int reader_gc(lua_State *L)
{
  reader_close(luaL_checkudata(L, 1, READER));
  return 0;
}

static void reader_on_poll(uv_poll_t *poll, int status, int events)
{
  struct reader *r = SIP_CONTAINER(poll, struct reader, poll);

  (void)events;
  (void)uv_poll_stop(poll); /* always 0 */
  sip_wake(&r->wait, status);
}

static void reader_cancel(struct sip_wait *wait)
{
  (void)uv_poll_stop(&SIP_CONTAINER(wait, struct reader, wait)->poll); /* always 0 */
}

/** Reads one chunk. @return bytes, 0 at the end, or a negative code; UV_EAGAIN: wait first */
static int reader_fill(struct reader *r)
{
  ssize_t got;

  if (r->at > 0) {
    memmove(r->text.data, r->text.data + r->at, r->text.len - r->at);
    r->text.len -= r->at;
    r->at = 0;
  }
  if (r->text.len >= MAX_LINE_BYTES) {
    return SIP_ETOOBIG;
  }
  if (sip_buf_reserve(&r->text, CHUNK_BYTES) < 0) {
    return UV_ENOMEM;
  }
  do {
    got = read(r->fd, r->text.data + r->text.len, CHUNK_BYTES);
  } while (got < 0 && errno == EINTR);
  if (got < 0) {
    return -errno;
  }
  r->text.len += (size_t)got;
  r->text.data[r->text.len] = '\0';
  r->done_bytes += (uint64_t)got;
  r->end = got == 0;
  return (int)got;
}

/** Pushes the next complete line. @return whether there was one */
static bool reader_push_line(lua_State *L, struct reader *r)
{
  const char *start = r->text.data + r->at;
  size_t left = r->text.len - r->at, len;
  const char *newline = left > 0 ? memchr(start, '\n', left) : NULL;

  if (newline == NULL && !(r->end && left > 0)) {
    return false;
  }
  len = newline != NULL ? (size_t)(newline - start) : left;
  lua_pushlstring(L, start, len > 0 && start[len - 1] == '\r' ? len - 1 : len);
  r->at += newline != NULL ? len + 1 : len;
  return true;
}

static int reader_wait(lua_State *L, struct reader *r);

static int reader_step(lua_State *L, struct reader *r)
{
  for (;;) {
    int got;

    if (reader_push_line(L, r)) {
      return 1;
    }
    if (r->end) {
      lua_pushnil(L);
      return 1;
    }
    got = reader_fill(r);
    if (got == UV_EAGAIN && r->told) {
      return reader_wait(L, r);
    }
    r->told = got == UV_EAGAIN;
    if (r->told) {
      lua_pushboolean(L, 1);
      return 1;
    }
    if (got == SIP_ETOOBIG) {
      return sip_push_error(L, got, "a line is longer than 16 MiB");
    }
    if (got < 0) {
      return sip_push_error(L, got, "read");
    }
  }
}

static int reader_finish(lua_State *L, struct sip_wait *wait)
{
  if (wait->status < 0) {
    return sip_push_error(L, wait->status, "read");
  }
  lua_pushboolean(L, 1); /* try again */
  return 1;
}

static int reader_wait(lua_State *L, struct reader *r)
{
  int rc = 0;

  if (!r->polled) {
    rc = uv_poll_init(sip_vm_loop(L), &r->poll, r->fd);
    r->polled = rc == 0;
  }
  sip_wait_init(&r->wait, reader_cancel, reader_finish);
  if (rc == 0) {
    rc = uv_poll_start(&r->poll, UV_READABLE, reader_on_poll);
  }
  if (rc < 0) {
    return sip_push_error(L, rc, "wait for input");
  }
  return sip_await(L, &r->wait, SIP_FOREVER);
}

static struct reader *check_reader(lua_State *L)
{
  struct reader **box = luaL_checkudata(L, 1, READER);

  if (*box == NULL) {
    luaL_error(L, "the reader is closed");
  }
  return *box;
}

/** A line; nil at the end; true: nothing is there (the next call waits), or something has come. */
static int l_reader_poll(lua_State *L)
{
  struct reader *r = check_reader(L);

  if (r->wait.task != NULL) {
    return sip_push_error(L, SIP_EBUSY, "another task reads");
  }
  return reader_step(L, r);
}

static int l_reader_progress(lua_State *L)
{
  struct reader *r = check_reader(L);

  lua_pushinteger(L, (lua_Integer)(r->done_bytes - (r->text.len - r->at)));
  if (r->size_bytes > 0) {
    lua_pushinteger(L, (lua_Integer)r->size_bytes);
  } else {
    lua_pushnil(L);
  }
  return 2;
}

static int reader_open(struct reader *r, const char *path)
{
  struct stat st;
  int flags;

  r->owned = strcmp(path, "-") != 0;
  r->fd = r->owned ? open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY) : STDIN_FILENO;
  if (r->fd < 0 || fstat(r->fd, &st) != 0) {
    return errno;
  }
  if (S_ISDIR(st.st_mode)) {
    return EISDIR;
  }
  if (S_ISREG(st.st_mode)) {
    r->size_bytes = (uint64_t)st.st_size;
    return 0;
  }
  flags = fcntl(r->fd, F_GETFL);
  return flags < 0 || fcntl(r->fd, F_SETFL, flags | O_NONBLOCK) < 0 ? errno : 0;
}

static int l_open(lua_State *L)
{
  static const luaL_Reg methods[] = {
    { "poll", l_reader_poll },
    { "progress", l_reader_progress },
    { "close", reader_gc },
    { NULL, NULL },
  };
  const char *path = luaL_checkstring(L, 1);
  struct reader **box = sip_box_class(L, READER, reader_gc, methods);
  struct sip_err err = { 0 };
  struct reader *r = calloc(1, sizeof *r);
  int failed;

  if (r == NULL) {
    return luaL_error(L, "open %s: out of memory", path);
  }
  r->fd = -1;
  *box = r;
  sip_wait_init(&r->wait, NULL, reader_finish);
  failed = reader_open(r, path);
  if (failed != 0) {
    r->owned = r->owned && r->fd >= 0;
    reader_close(box);
    (void)sip_err_errno(&err, failed, "open %s", path);
    return sip_push_err(L, &err);
  }
  return 1;
}

int sip_open_terminal(lua_State *L)
{
  static const luaL_Reg functions[] = {
    { "write", l_write },
    { "flush", l_flush },
    { "note", l_note },
    { "status", l_status },
    { "ring", l_ring },
    { "is_terminal", l_is_terminal },
    { "ask", l_ask },
    { "open", l_open },
    { "create", sip_l_create_file },
    { "ask_secret", l_ask_secret },
    { NULL, NULL },
  };

  luaL_newlib(L, functions);
  return 1;
}
