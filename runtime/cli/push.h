#ifndef SIP_CLI_PUSH_H
#define SIP_CLI_PUSH_H
/* push.h - fields of the table of options that a verb hands to its Lua part. Inside of protected
 * calls: they may throw. The table is on top of the stack. */
#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

struct sip_option;
struct sip_tls_settings;

void sip_push_text(lua_State *L, const char *name, const char *value); /* NULL: not set */
void sip_push_number(lua_State *L, const char *name, int64_t value);
void sip_push_flag(lua_State *L, const char *name, bool value);
void sip_push_duration(lua_State *L, const char *name, uint64_t ms); /* as text, "200ms" */

/** "tls_cert" and "tls_key": the files of the flags, else those of the environment. */
void sip_push_tls(lua_State *L, const struct sip_tls_settings *tls);

/** The name of the user who runs this. */
void sip_push_login(lua_State *L, const char *name);

/** "directory": where the process is; not set when nobody knows. */
void sip_push_directory(lua_State *L);

/** A field for each option of the table but those of kind CALL, by its name with "_" for "-", as
 * sip_options_parse has left it in `target`. Numbers and durations of 0 were not given: not set. */
void sip_push_options(lua_State *L, const struct sip_option *options, const void *target);

#endif
