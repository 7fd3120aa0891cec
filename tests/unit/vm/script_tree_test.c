/* script_tree_test.c - what a version of a script is made of: blob, hash, bounds, damage. */
#include "vm/script_tree.h"

#include "support/test.h"

static int add(struct sip_tree *tree, const char *name, const char *text, struct sip_err *err)
{
  const struct sip_buf buf = { (char *)text, strlen(text), 0 };

  return sip_tree_add(tree, name, &buf, err);
}

static struct sip_tree *make(void)
{
  struct sip_tree *tree = sip_tree_new("main.lua");

  CHECK(tree != NULL);
  CHECK_INT(add(tree, "main.lua", "return 1", NULL), 0);
  CHECK_INT(add(tree, "flows/b.lua", "", NULL), 0);
  CHECK_INT(add(tree, "flows/a.lua", "local a = 'x'\n", NULL), 0);
  return tree;
}

static void the_order_of_loading_does_not_change_the_hash(void)
{
  struct sip_tree *one = make(), *two = sip_tree_new("main.lua");
  char hash[SIP_HASH_SIZE];

  CHECK(two != NULL);
  CHECK_INT(add(two, "flows/a.lua", "local a = 'x'\n", NULL), 0);
  CHECK_INT(add(two, "main.lua", "return 1", NULL), 0);
  (void)snprintf(hash, sizeof hash, "%s", sip_tree_hash(two));
  CHECK(strcmp(hash, sip_tree_hash(one)) != 0);
  CHECK_INT(add(two, "flows/b.lua", "", NULL), 0);
  CHECK_STR(sip_tree_hash(two), sip_tree_hash(one));
  CHECK_INT(add(two, "flows/b.lua", "another text", NULL), 0); /* what is there stays */
  CHECK_STR(sip_tree_hash(two), sip_tree_hash(one));
  sip_tree_unref(two);
  sip_tree_unref(one);
}

static void content_names_and_main_are_all_in_the_hash(void)
{
  static const char *const trees[][3] = { { "main.lua", "a.lua", "x" },
                                          { "main.lua", "a.lua", "y" },
                                          { "main.lua", "b.lua", "x" },
                                          { "main.lua", "a.luax", "" },
                                          { "a.lua", "a.lua", "x" } };
  enum { COUNT = sizeof trees / sizeof trees[0] };
  char hashes[COUNT][SIP_HASH_SIZE];

  for (size_t i = 0; i < COUNT; i++) {
    struct sip_tree *tree = sip_tree_new(trees[i][0]);

    CHECK(tree != NULL);
    CHECK_INT(add(tree, trees[i][1], trees[i][2], NULL), 0);
    (void)snprintf(hashes[i], sizeof hashes[i], "%s", sip_tree_hash(tree));
    CHECK_INT(strlen(hashes[i]), 64);
    for (size_t k = 0; k < i; k++) {
      CHECK(strcmp(hashes[i], hashes[k]) != 0);
    }
    sip_tree_unref(tree);
  }
}

/* The bytes themselves are a promise to journals that are there. */
static void a_blob_is_these_bytes_and_comes_back(void)
{
  static const char FIRST[] =
    "sipeat script 1\n\0\0\0\x05" SIP_VERSION "\0\0\0\x08main.lua\0\0\0\x03\0\0\0\x0b"
    "flows/a.lua\0\0\0\x0elocal a = 'x'\n\0\0\0\x0b"
    "flows/b.lua\0\0\0\0\0\0\0\x08main.lua\0\0\0\x08return 1";
  struct sip_tree *tree = make(), *again = NULL;
  struct sip_buf blob = SIP_BUF_INIT, twice = SIP_BUF_INIT;

  CHECK_INT(sip_tree_pack(tree, &blob), 0);
  CHECK_INT(blob.len, sizeof FIRST - 1);
  CHECK_INT(memcmp(blob.data, FIRST, blob.len), 0);
  CHECK_INT(sip_tree_unpack(&again, blob.data, blob.len, NULL), 0);
  CHECK_STR(sip_tree_hash(again), sip_tree_hash(tree));
  CHECK_STR(sip_tree_main(again), "main.lua");
  CHECK_STR(sip_tree_release(again), SIP_VERSION);
  CHECK(sip_tree_find(again, "flows/b.lua") != NULL);
  CHECK(sip_tree_find(again, "flows/c.lua") == NULL);
  CHECK_INT(sip_tree_pack(again, &twice), 0);
  CHECK_INT(twice.len, blob.len);
  CHECK_INT(memcmp(blob.data, twice.data, blob.len), 0);
  sip_buf_deinit(&blob);
  sip_buf_deinit(&twice);
  sip_tree_unref(again);
  sip_tree_unref(tree);
}

/* Cut at each byte and changed at each byte: refused, or a tree with another hash. */
static void damage_is_refused_and_never_read_beyond(void)
{
  struct sip_tree *tree = make(), *other;
  struct sip_buf blob = SIP_BUF_INIT;
  struct sip_err err;
  size_t refused = 0;

  CHECK_INT(sip_tree_pack(tree, &blob), 0);
  for (size_t len = 0; len < blob.len; len++) {
    char *exact = malloc(len + 1); /* so that a sanitizer sees one byte too many */

    CHECK(exact != NULL);
    memcpy(exact + 1, blob.data, len);
    other = NULL;
    CHECK_INT(sip_tree_unpack(&other, exact + 1, len, &err), SIP_EDATA);
    CHECK(other == NULL);
    CHECK_HAS(err.message, "damaged");
    free(exact);
  }
  for (size_t i = 0; i < blob.len; i++) {
    blob.data[i] ^= (char)0x81;
    other = NULL;
    if (sip_tree_unpack(&other, blob.data, blob.len, &err) < 0) {
      refused++;
    } else {
      CHECK(strcmp(sip_tree_hash(other), sip_tree_hash(tree)) != 0);
      sip_tree_unref(other);
    }
    blob.data[i] ^= (char)0x81;
  }
  CHECK(refused > 20);
  sip_buf_deinit(&blob);
  sip_tree_unref(tree);
}

static void it_is_bounded_in_bytes_and_in_files(void)
{
  struct sip_tree *tree = sip_tree_new("main.lua");
  struct sip_buf big = SIP_BUF_INIT;
  struct sip_err err;
  char name[32];

  CHECK(tree != NULL);
  CHECK_INT(sip_buf_reserve(&big, SIP_TREE_LIMIT_BYTES), 0);
  memset(big.data, ' ', SIP_TREE_LIMIT_BYTES - 10);
  big.len = SIP_TREE_LIMIT_BYTES - 10;
  CHECK_INT(sip_tree_add(tree, "main.lua", &big, &err), 0);
  CHECK_INT(add(tree, "more.lua", "-- 11 bytes", &err), SIP_ETOOBIG);
  CHECK_HAS(err.message, "more.lua: a script and the modules beside it have at most 16 MiB");
  for (int i = 1; i < SIP_TREE_LIMIT_FILES; i++) {
    (void)snprintf(name, sizeof name, "m%d.lua", i);
    CHECK_INT(add(tree, name, "", &err), 0);
  }
  CHECK_INT(add(tree, "z.lua", "", &err), SIP_ETOOBIG);
  sip_buf_deinit(&big);
  sip_tree_unref(tree);
}

int main(void)
{
  the_order_of_loading_does_not_change_the_hash();
  content_names_and_main_are_all_in_the_hash();
  a_blob_is_these_bytes_and_comes_back();
  damage_is_refused_and_never_read_beyond();
  it_is_bounded_in_bytes_and_in_files();
  return 0;
}
