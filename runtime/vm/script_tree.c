/* script_tree.c - the files of a version of a script: sorted by name, packed and hashed. */
#include "vm/script_tree.h"

#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char MAGIC[] = "sipeat script 1\n";

struct tree_file {
  char *name;
  struct sip_buf text;
};

struct sip_tree {
  size_t refs;
  char *main, *release;
  struct tree_file *files; /* by name */
  size_t count, bytes;
  char hash[SIP_HASH_SIZE]; /* "" when it is not known */
};

/* Makes a tree of these texts; NULL when memory is out. */
static struct sip_tree *tree_make(const char *main, size_t main_len, const char *release,
                                  size_t release_len)
{
  struct sip_tree *tree = calloc(1, sizeof *tree);

  if (tree == NULL) {
    return NULL;
  }
  tree->refs = 1;
  tree->main = strndup(main, main_len);
  tree->release = strndup(release, release_len);
  if (tree->main == NULL || tree->release == NULL) {
    sip_tree_unref(tree);
    return NULL;
  }
  return tree;
}

struct sip_tree *sip_tree_new(const char *main)
{
  return tree_make(main, strlen(main), SIP_VERSION, strlen(SIP_VERSION));
}

struct sip_tree *sip_tree_ref(struct sip_tree *tree)
{
  tree->refs++;
  return tree;
}

void sip_tree_unref(struct sip_tree *tree)
{
  if (tree == NULL || --tree->refs > 0) {
    return;
  }
  for (size_t i = 0; i < tree->count; i++) {
    free(tree->files[i].name);
    sip_buf_deinit(&tree->files[i].text);
  }
  free(tree->files);
  free(tree->main);
  free(tree->release);
  free(tree);
}

/* Where a name is, or would be. */
static size_t tree_place(const struct sip_tree *tree, const char *name, bool *found)
{
  size_t low = 0, high = tree->count;

  *found = false;
  while (low < high) {
    size_t middle = low + (high - low) / 2;
    int order = strcmp(tree->files[middle].name, name);

    if (order == 0) {
      *found = true;
      return middle;
    }
    if (order < 0) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

static int tree_insert(struct sip_tree *tree, size_t at, const char *name,
                       const struct sip_buf *text)
{
  struct tree_file file = { strdup(name), SIP_BUF_INIT };
  struct tree_file *files = realloc(tree->files, (tree->count + 1) * sizeof *files);

  if (files != NULL) {
    tree->files = files;
  }
  if (file.name == NULL || files == NULL || sip_buf_add(&file.text, text->data, text->len) < 0) {
    free(file.name);
    sip_buf_deinit(&file.text);
    return UV_ENOMEM;
  }
  memmove(files + at + 1, files + at, (tree->count - at) * sizeof *files);
  files[at] = file;
  tree->count++;
  tree->bytes += text->len;
  tree->hash[0] = '\0';
  return 0;
}

int sip_tree_add(struct sip_tree *tree, const char *name, const struct sip_buf *text,
                 struct sip_err *err)
{
  bool found;
  size_t at = tree_place(tree, name, &found);

  if (found) {
    return 0;
  }
  if (text->len > SIP_TREE_LIMIT_BYTES - tree->bytes || tree->count == SIP_TREE_LIMIT_FILES) {
    return sip_err_set(err, SIP_ETOOBIG,
                       "%s: a script and the modules beside it have at most %d MiB in %d files; "
                       "read large data when it is needed",
                       name, SIP_TREE_LIMIT_BYTES >> 20, SIP_TREE_LIMIT_FILES);
  }
  return tree_insert(tree, at, name, text) < 0
           ? sip_err_set(err, UV_ENOMEM, "no memory for %s", name)
           : 0;
}

const struct sip_buf *sip_tree_find(const struct sip_tree *tree, const char *name)
{
  bool found;
  size_t at = tree_place(tree, name, &found);

  return found ? &tree->files[at].text : NULL;
}

const char *sip_tree_main(const struct sip_tree *tree)
{
  return tree->main;
}

const char *sip_tree_release(const struct sip_tree *tree)
{
  return tree->release;
}

/* --- blob and hash: the same bytes go into a buffer and into SHA-256 --- */

typedef int (*tree_put_fn)(void *arg, const void *data, size_t len);

static int put_number(tree_put_fn put, void *arg, size_t number)
{
  const unsigned char bytes[] = { (unsigned char)(number >> 24), (unsigned char)(number >> 16),
                                  (unsigned char)(number >> 8), (unsigned char)number };

  return put(arg, bytes, sizeof bytes);
}

static int put_text(tree_put_fn put, void *arg, const char *text, size_t len)
{
  int rc = put_number(put, arg, len);

  return rc < 0 || len == 0 ? rc : put(arg, text, len);
}

static int tree_write(const struct sip_tree *tree, tree_put_fn put, void *arg)
{
  int rc = put(arg, MAGIC, sizeof MAGIC - 1);

  if (rc == 0) {
    rc = put_text(put, arg, tree->release, strlen(tree->release));
  }
  if (rc == 0) {
    rc = put_text(put, arg, tree->main, strlen(tree->main));
  }
  if (rc == 0) {
    rc = put_number(put, arg, tree->count);
  }
  for (size_t i = 0; rc == 0 && i < tree->count; i++) {
    const struct tree_file *file = &tree->files[i];

    rc = put_text(put, arg, file->name, strlen(file->name));
    if (rc == 0) {
      rc = put_text(put, arg, file->text.data, file->text.len);
    }
  }
  return rc;
}

static int put_buf(void *arg, const void *data, size_t len)
{
  return sip_buf_add(arg, data, len);
}

static int put_hash(void *arg, const void *data, size_t len)
{
  return crypto_hash_sha256_update(arg, data, len); /* always 0 */
}

const char *sip_tree_hash(struct sip_tree *tree)
{
  unsigned char digest[crypto_hash_sha256_BYTES];
  crypto_hash_sha256_state state;

  if (tree->hash[0] == '\0') {
    (void)crypto_hash_sha256_init(&state);
    (void)tree_write(tree, put_hash, &state);
    (void)crypto_hash_sha256_final(&state, digest);
    sodium_bin2hex(tree->hash, sizeof tree->hash, digest, sizeof digest);
  }
  return tree->hash;
}

int sip_tree_pack(const struct sip_tree *tree, struct sip_buf *out)
{
  return tree_write(tree, put_buf, out);
}

/* --- reading a blob --- */

struct reader {
  const char *at;
  size_t left;
};

static bool read_number(struct reader *reader, size_t *out)
{
  const unsigned char *bytes = (const unsigned char *)reader->at;

  if (reader->left < 4) {
    return false;
  }
  *out = (size_t)bytes[0] << 24 | (size_t)bytes[1] << 16 | (size_t)bytes[2] << 8 | bytes[3];
  reader->at += 4;
  reader->left -= 4;
  return true;
}

static bool read_text(struct reader *reader, struct sip_slice *out)
{
  if (!read_number(reader, &out->len) || out->len > reader->left) {
    return false;
  }
  out->data = reader->at;
  reader->at += out->len;
  reader->left -= out->len;
  return true;
}

static bool is_name(const struct sip_slice *text)
{
  return text->len > 0 && text->len < 4096 && memchr(text->data, '\0', text->len) == NULL;
}

/* One file more; names ascend, so it goes to the end. */
static int read_file(struct sip_tree *tree, struct reader *reader, struct sip_err *err)
{
  struct sip_slice name, text;
  struct sip_buf borrowed;
  char path[4096];

  if (!read_text(reader, &name) || !is_name(&name) || !read_text(reader, &text)) {
    return SIP_EDATA;
  }
  memcpy(path, name.data, name.len);
  path[name.len] = '\0';
  if (tree->count > 0 && strcmp(tree->files[tree->count - 1].name, path) >= 0) {
    return SIP_EDATA;
  }
  borrowed = (struct sip_buf){ (char *)text.data, text.len, 0 };
  return sip_tree_add(tree, path, &borrowed, err);
}

static int read_tree(struct sip_tree **out, struct reader *reader, struct sip_err *err)
{
  struct sip_slice release, main;
  size_t count;
  int rc = 0;

  if (!read_text(reader, &release) || !is_name(&release) || !read_text(reader, &main) ||
      !is_name(&main) || !read_number(reader, &count)) {
    return SIP_EDATA;
  }
  *out = tree_make(main.data, main.len, release.data, release.len);
  if (*out == NULL) {
    return sip_err_set(err, UV_ENOMEM, "no memory for a version of the script");
  }
  for (size_t i = 0; rc == 0 && i < count; i++) {
    rc = read_file(*out, reader, err);
  }
  if (rc == 0 && (reader->left > 0 || sip_tree_find(*out, (*out)->main) == NULL)) {
    rc = SIP_EDATA;
  }
  return rc;
}

int sip_tree_unpack(struct sip_tree **out, const char *data, size_t len, struct sip_err *err)
{
  struct reader reader = { data, len };
  struct sip_tree *tree = NULL;
  int rc = SIP_EDATA;

  if (len >= sizeof MAGIC - 1 && memcmp(data, MAGIC, sizeof MAGIC - 1) == 0) {
    reader.at += sizeof MAGIC - 1;
    reader.left -= sizeof MAGIC - 1;
    rc = read_tree(&tree, &reader, err);
  }
  if (rc < 0) {
    sip_tree_unref(tree);
    return rc == SIP_EDATA ? sip_err_set(err, rc,
                                         "what the journal keeps of a version of the script is "
                                         "damaged: %zu bytes that are no script",
                                         len)
                           : rc;
  }
  *out = tree;
  return 0;
}
