/* script_files.c - finding and compiling the files of a script. Loop thread.
 *
 * Reading a script blocks the loop for the time of a small local file, at start and at a reload
 * only. */
#include "vm/script_files.h"

#include "core/file_mark.h"
#include "vm/script_generation.h"
#include "vm/script_state.h"
#include "vm/script_tree.h"
#include "vm/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SCRIPT_LIMIT_BYTES = 16 << 20, EXCERPT_LINES = 2, EXCERPT_COLUMNS = 160 };

/* A whole file of at most 16 MiB, and its mark from before it was read: a save meanwhile shows.
 * @return 0 or a negative code with `err` */
static int script_read(struct sip_buf *out, struct sip_file_mark *mark, const char *path,
                       struct sip_err *err)
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
  *mark = sip_file_mark_of(&info);
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

void sip_script_excerpt(struct sip_buf *out, const struct sip_buf *text, long line)
{
  long number = 1;

  if (text == NULL || text->data == NULL) {
    return;
  }
  for (const char *at = text->data; *at != '\0'; number++) {
    size_t length = strcspn(at, "\n");

    if (number >= line - EXCERPT_LINES && number <= line + EXCERPT_LINES) {
      int shown = length > EXCERPT_COLUMNS ? EXCERPT_COLUMNS : (int)length;

      (void)sip_buf_addf(out, "\n  %s %5ld | %.*s", number == line ? ">" : " ", number, shown, at);
    }
    at += length + (at[length] == '\n');
  }
}

int sip_script_load_text(lua_State *L, int generation, const struct sip_tree *tree,
                         const char *name)
{
  const struct sip_buf *text = sip_tree_find(tree, name);

  lua_getfield(L, generation, "directory");
  lua_pushfstring(L, "@%s%s", lua_tostring(L, -1), name);
  lua_remove(L, -2);
  if (luaL_loadbufferx(L, text->data == NULL ? "" : text->data, text->len, lua_tostring(L, -1),
                       "t") != LUA_OK) {
    lua_remove(L, -2);
    return SIP_ESCRIPT;
  }
  lua_remove(L, -2);
  lua_getfield(L, generation, "env");
  if (lua_setupvalue(L, -2, 1) == NULL) {
    lua_pop(L, 1); /* a chunk that uses no global has no environment */
  }
  return 0;
}

/* Pushes the chunk of the file at `path`, which is added to the tree, or leaves an error message.
 */
static int load_file(lua_State *L, int generation, const char *path, struct sip_script *script)
{
  struct sip_script_text *box = sip_script_text_new(L); /* collected when we raise */
  const char *name = path + sip_script_directory_len(script);
  struct sip_file_mark mark;
  struct sip_err err;
  int rc = script_read(&box->text, &mark, path, &err);

  if (rc == 0) {
    rc = sip_script_add_file(script, path, &mark, &box->text, &err);
  }
  sip_buf_deinit(&box->text);
  lua_pop(L, 1);
  if (rc < 0) {
    lua_pushstring(L, err.message);
    return rc;
  }
  return sip_script_load_text(L, generation, sip_script_tree(script), name);
}

int sip_script_load_main(lua_State *L, int generation, struct sip_script *script)
{
  return load_file(L, lua_absindex(L, generation), sip_script_path(script), script);
}

/* --- modules --- */

static const char *const endings[] = { ".lua", "/init.lua" };
enum { ENDINGS = sizeof endings / sizeof endings[0] };

static bool is_module_name(const char *name)
{
  return strstr(name, "..") == NULL && name[0] != '/' && name[0] != '.';
}

/* Pushes the chunk of a module that the tree holds; false, and nothing, when it holds none. */
static bool load_from_tree(lua_State *L, int generation, const char *relative)
{
  const struct sip_tree *tree;

  lua_getfield(L, generation, "tree");
  tree = sip_tree_check(L, -1);
  lua_pop(L, 1);
  for (size_t i = 0; i < ENDINGS; i++) {
    const char *file = lua_pushfstring(L, "%s%s", relative, endings[i]);

    if (sip_tree_find(tree, file) != NULL) {
      if (sip_script_load_text(L, generation, tree, file) < 0) {
        lua_error(L);
      }
      lua_remove(L, -2);
      return true;
    }
    lua_pop(L, 1);
  }
  return false;
}

/* As load_from_tree, from the script's folder. */
static bool load_from_disk(lua_State *L, int generation, struct sip_script *script,
                           const char *directory, const char *relative)
{
  for (size_t i = 0; i < ENDINGS; i++) {
    const char *path = lua_pushfstring(L, "%s%s%s", directory, relative, endings[i]);

    if (access(path, F_OK) == 0) {
      if (load_file(L, generation, path, script) < 0) {
        luaL_error(L, "%s", lua_tostring(L, -1));
      }
      lua_remove(L, -2);
      return true;
    }
    lua_pop(L, 1);
  }
  return false;
}

void sip_script_load_module(lua_State *L, int generation, const char *name)
{
  struct sip_script **box, *script;
  const char *directory, *relative;

  if (!is_module_name(name)) {
    luaL_error(L, "module '%s': a name is words with dots, as in \"flows.contact\"", name);
  }
  lua_getfield(L, generation, "script");
  box = lua_touserdata(L, -1);
  script = box == NULL ? NULL : *box;
  lua_getfield(L, generation, "directory");
  directory = lua_tostring(L, -1);
  relative = luaL_gsub(L, name, ".", "/");
  if (load_from_tree(L, generation, relative) ||
      (script != NULL && load_from_disk(L, generation, script, directory, relative))) {
    lua_replace(L, 3); /* stack of require: name, loaded table, chunk */
    lua_settop(L, 3);
    return;
  }
  if (box == NULL) {
    luaL_error(L,
               "module '%s' is neither compiled in nor in version %s of the script: a version is "
               "kept with the modules that it required while it loaded, and those that it names "
               "as in require \"%s\"",
               name, directory, name);
  }
  if (script == NULL) {
    luaL_error(L, "module '%s': this version of the script is gone", name);
  }
  luaL_error(L, "module '%s' not found: neither compiled in, nor at %s%s.lua, nor at %s%s/init.lua",
             name, directory, relative, directory, relative);
}

/* --- modules that are named --- */

enum { NAME_LIMIT = 200 };

/* The name in the next `require "name"` at or after *at, with or without parenthesis; false: there
 * is none. */
static bool next_named(const char **at, char name[NAME_LIMIT])
{
  static const char WORD[] = "require", SPACE[] = " \t\r\n";

  while ((*at = strstr(*at, WORD)) != NULL) {
    const char *from = *at += sizeof WORD - 1;
    size_t length;

    from += strspn(from, SPACE);
    from += *from == '(';
    from += strspn(from, SPACE);
    length = *from == '"' || *from == '\'' ? strcspn(from + 1, "\"'\\\n") : 0;
    if (length > 0 && length < NAME_LIMIT && from[1 + length] == from[0]) {
      memcpy(name, from + 1, length);
      name[length] = '\0';
      return true;
    }
  }
  return false;
}

/* Whatever cannot be read is left to the require itself, if it ever comes. */
static void add_named(struct sip_script *script, char *name)
{
  const char *main = sip_script_path(script);

  for (char *dot = name; (dot = strchr(dot, '.')) != NULL;) {
    *dot = '/';
  }
  for (size_t i = 0; i < ENDINGS; i++) {
    struct sip_buf path = SIP_BUF_INIT, text = SIP_BUF_INIT;
    struct sip_file_mark mark;

    if (sip_buf_add(&path, main, sip_script_directory_len(script)) == 0 &&
        sip_buf_addf(&path, "%s%s", name, endings[i]) == 0 &&
        sip_tree_find(sip_script_tree(script), path.data + sip_script_directory_len(script)) ==
          NULL &&
        access(path.data, F_OK) == 0 && script_read(&text, &mark, path.data, NULL) == 0) {
      (void)sip_script_add_file(script, path.data, &mark, &text, NULL);
    }
    sip_buf_deinit(&text);
    sip_buf_deinit(&path);
  }
}

void sip_script_add_named(struct sip_script *script)
{
  const char *const *files;
  char name[NAME_LIMIT];

  for (size_t i = 0; i < sip_script_files(script, &files); i++) {
    const char *file = files[i] + sip_script_directory_len(script);
    const struct sip_buf *text = sip_tree_find(sip_script_tree(script), file);
    const char *at = text->data == NULL ? "" : text->data;

    while (next_named(&at, name)) {
      if (is_module_name(name)) {
        add_named(script, name); /* may move the list of files, but not their texts */
      }
    }
  }
}
