#ifndef SIP_VM_SCRIPT_FILES_H
#define SIP_VM_SCRIPT_FILES_H
/* script_files.h - finding and compiling the files of a script. Loop thread. */
#include "core/buf.h"
#include "core/err.h"

#include <lua.h>

/** Pushes the chunk of module `name` beside the script of the generation whose table is at
 * `generation`, with the generation's environment. Raises with the paths that were tried. */
void sip_script_load_module(lua_State *L, int generation, const char *name);

/** Adds the lines around `line` of `path` to `out`, with a mark, when the file can be read. */
void sip_script_excerpt(struct sip_buf *out, const char *path, long line);

#endif
