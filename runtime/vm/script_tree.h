#ifndef SIP_VM_SCRIPT_TREE_H
#define SIP_VM_SCRIPT_TREE_H
/* script_tree.h - what a version of a script is made of: its files, as bytes and as a hash.
 *
 * Names are relative to the script's folder, with "/". The blob of a tree is
 *
 *   "sipeat script 1\n" release main count { name text }…     in the order of the names' bytes
 *
 * where text is a length and bytes and numbers have four bytes, the highest first; release is that
 * of the program that loaded it. The hash is the SHA-256 of the blob: the same files under the same
 * release have the same hash on every machine. Counted references, loop thread only. */
#include "core/buf.h"
#include "core/err.h"

#include <stddef.h>

enum { SIP_TREE_LIMIT_BYTES = 16 << 20, SIP_TREE_LIMIT_FILES = 10000, SIP_HASH_SIZE = 65 };

struct sip_tree;

/** An empty tree of this release with one reference, or NULL. `main` names the script's file. */
struct sip_tree *sip_tree_new(const char *main);

struct sip_tree *sip_tree_ref(struct sip_tree *tree);
void sip_tree_unref(struct sip_tree *tree); /* accepts NULL */

/** Copies a file into the tree; one of that name stays as it is. @return 0; SIP_ETOOBIG or
 * UV_ENOMEM, with `err` */
int sip_tree_add(struct sip_tree *tree, const char *name, const struct sip_buf *text,
                 struct sip_err *err);

/** The content of a file, or NULL. Borrowed until the next add. */
const struct sip_buf *sip_tree_find(const struct sip_tree *tree, const char *name);

/** The script's own file, and the release of the program that loaded it first. */
const char *sip_tree_main(const struct sip_tree *tree);
const char *sip_tree_release(const struct sip_tree *tree);

/** 64 hex digits, of what the tree holds now. Borrowed until the next add. */
const char *sip_tree_hash(struct sip_tree *tree);

/** Appends the blob. @return 0 or UV_ENOMEM */
int sip_tree_pack(const struct sip_tree *tree, struct sip_buf *out);

/** A tree from a blob. @return 0; SIP_EDATA when it is none, UV_ENOMEM; with `err` */
int sip_tree_unpack(struct sip_tree **out, const char *data, size_t len, struct sip_err *err);

#endif
