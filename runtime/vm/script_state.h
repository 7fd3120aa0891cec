#ifndef SIP_VM_SCRIPT_STATE_H
#define SIP_VM_SCRIPT_STATE_H
/* script_state.h - what script.c and script_files.c share about a generation. Nobody else includes
 * it. */
#include "core/buf.h"
#include "vm/script.h"

#include <lua.h>

/* Text of a file, in a userdata so that a raise frees it. */
struct sip_script_text {
  struct sip_buf text;
};

/** Pushes an empty text. Throws. */
struct sip_script_text *sip_script_text_new(lua_State *L);

/** Remembers a file, and what it looked like before it was read, and takes its content into the
 * tree. @return 0; UV_ENOMEM or SIP_ETOOBIG, with `err` */
int sip_script_add_file(struct sip_script *script, const char *path,
                        const struct sip_file_mark *mark, const struct sip_buf *text,
                        struct sip_err *err);

const char *sip_script_path(const struct sip_script *script);

/** Length of the path up to and with its last "/". */
size_t sip_script_directory_len(const struct sip_script *script);

/** Adds the files of modules that are named in `require "name"` and were not required: what a
 * handler requires later is of the same version. */
void sip_script_add_named(struct sip_script *script);

/** Pushes the script's own chunk, or a message and returns a negative code. */
int sip_script_load_main(lua_State *L, int generation, struct sip_script *script);

#endif
