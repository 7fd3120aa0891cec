#ifndef SIP_HTTP_BINDINGS_LUA_H
#define SIP_HTTP_BINDINGS_LUA_H
/* bindings_lua.h - what the bindings of this driver share: the worker's engines, made at first use.
 * Loop thread. */
#include "core/err.h"

#include <lua.h>

struct sip_vm;
struct sip_multi;
struct sip_smtp;
struct sip_header_list;
struct sip_list;

/* What a worker has opened; hangs on its vm until sip_http_lua_stop. */
struct sip_http_state;

/** The engine, made at first use. @return 0; SIP_ECLOSED after sip_http_lua_stop; UV_ENOMEM */
int sip_http_state_multi(lua_State *L, struct sip_multi **out, struct sip_err *err);
int sip_http_state_smtp(lua_State *L, struct sip_smtp **out, struct sip_err *err);

/** Running servers (struct sip_list of the server's binding), or NULL after sip_http_lua_stop. */
struct sip_list *sip_http_state_servers(lua_State *L);

/** What routes say of the size of bodies, or NULL after sip_http_lua_stop. */
struct sip_body_limits *sip_http_state_body_limits(lua_State *L);

int sip_open_http(lua_State *L);  /* client_lua.c */
int sip_open_httpd(lua_State *L); /* httpd_lua.c */
int sip_open_smtp(lua_State *L);  /* smtp_lua.c */

/** Ends every server of the list at once; their handles close in the loop's next turns. */
void sip_httpd_lua_stop_all(struct sip_list *servers);

/** Starts the task of a request: the function at that registry reference gets it. */
struct sip_exchange;
void sip_exchange_lua_start(struct sip_vm *vm, int handler_ref, struct sip_exchange *exchange);

/** The exchange of what such a function was given: at that index there is certainly nothing else,
 * and the task has not ended. */
struct sip_exchange *sip_exchange_of(lua_State *L, int index);

/** serve{…} and request_index(methods, makers) of serve_lua.c. */
int sip_l_serve(lua_State *L);
int sip_l_request_index(lua_State *L);

/* A box of a struct sip_limiter. */
#define SIP_LIMITER_CLASS "sipeat.http.limiter"

/** The list of {name, value} pairs at `arg` (nil: none), at most 256, as an array in a userdata
 * that is pushed. The texts are borrowed from the list. Throws for anything else. */
struct sip_header;
size_t sip_check_headers(lua_State *L, int arg, const struct sip_header **out);

/** Pushes a table of fields by their lower-case names. Several of one name are joined as RFC 9110
 * section 5.3 says; cookies, which must not be, with "; " (cookie) and a line feed (set-cookie). */
void sip_push_headers(lua_State *L, const struct sip_header_list *list);

#endif
