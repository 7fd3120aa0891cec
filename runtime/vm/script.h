#ifndef SIP_VM_SCRIPT_H
#define SIP_VM_SCRIPT_H
/* script.h - loading a user's script, and loading it again beside the one that runs.
 *
 * A generation is one loaded version: its globals, and the modules beside the script that it
 * required. What is in flight keeps its generation alive by holding its functions; the compiled-in
 * modules are shared by all generations. Loop thread only. */
#include "core/err.h"

#include <stddef.h>
#include <stdint.h>

struct sip_file_mark;
struct sip_vm;
struct sip_script;
struct sip_tree;

/** Loads and runs `path` in a new generation, at most `limit_ms` long (0: 5,000). `require` finds
 * compiled-in modules first, then NAME.lua and NAME/init.lua beside the script. While it runs,
 * sip_script_current(vm) is this generation. On failure `err` has file, line, an excerpt of the
 * source and the traceback. A script may await at load time: it runs as a task, and this function
 * turns the loop until it ends; so never call it from a callback of the loop. */
int sip_script_load(struct sip_script **out, struct sip_vm *vm, const char *path, uint64_t limit_ms,
                    struct sip_err *err);

/** How a load ended: `script` is owned by the receiver and NULL on failure, with `err` filled. */
typedef void (*sip_script_done_fn)(struct sip_script *script, const struct sip_err *err, void *arg);

/** As sip_script_load for use inside of callbacks (a reload): returns at once; `on_done` follows
 * from a later turn of the loop, exactly once. One load at a time. @return 0; SIP_EBUSY while
 * another load runs; UV_ENOMEM */
int sip_script_load_start(struct sip_vm *vm, const char *path, uint64_t limit_ms,
                          sip_script_done_fn on_done, void *arg, struct sip_err *err);

/** Forgets the generation; functions of it that are still referenced live on. Accepts NULL. */
void sip_script_free(struct sip_script *script);

/** Files that the script is made of, absolute paths, the script first. Borrowed until free. */
size_t sip_script_files(const struct sip_script *script, const char *const **out);

/** What each of these files looked like as it was read: one that looks otherwise now was saved
 * since. Borrowed until free. */
const struct sip_file_mark *sip_script_marks(const struct sip_script *script);

/** The first 16 hex digits of the hash of the script's tree. Borrowed until free. */
const char *sip_script_version(const struct sip_script *script);

/** What it is made of: also modules that it names in `require "name"` and has not required yet.
 * Borrowed until free. */
struct sip_tree *sip_script_tree(const struct sip_script *script);

/** The generation that is loading now, or NULL. */
struct sip_script *sip_script_current(struct sip_vm *vm);

/** 1, 2, 3 … in the order of loading. */
uint64_t sip_script_number(const struct sip_script *script);

#endif
