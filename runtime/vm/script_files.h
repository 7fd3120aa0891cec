#ifndef SIP_VM_SCRIPT_FILES_H
#define SIP_VM_SCRIPT_FILES_H
/* script_files.h - finding and compiling the files of a script. Loop thread. */
#include "core/buf.h"
#include "core/err.h"

#include <lua.h>

struct sip_tree;

/** Pushes the chunk of module `name` beside the script of the generation whose table is at
 * `generation`, with the generation's environment. Raises with the paths that were tried. */
void sip_script_load_module(lua_State *L, int generation, const char *name);

/** Pushes the chunk of a file that the tree holds, with the generation's environment, or a message
 * and returns SIP_ESCRIPT. */
int sip_script_load_text(lua_State *L, int generation, const struct sip_tree *tree,
                         const char *name);

/** Adds the lines around `line` of a text (NULL: nothing) to `out`, with a mark. */
void sip_script_excerpt(struct sip_buf *out, const struct sip_buf *text, long line);

#endif
