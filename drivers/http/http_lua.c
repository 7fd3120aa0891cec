/* http_lua.c - provides this driver's modules, and keeps the engines that they open at first use.
 * Loop thread. */
#include "http/http_lua.h"

#include "core/list.h"
#include "http/bindings_lua.h"
#include "http/body_limits.h"
#include "http/multi.h"
#include "http/smtp.h"
#include "vm/vm.h"

#include <stdlib.h>

struct sip_http_state {
  struct sip_multi *multi; /* NULL until the first request */
  struct sip_smtp *smtp;   /* NULL until the first mail */
  struct sip_list servers; /* see httpd_lua.c */
  struct sip_body_limits *body_limits;
};

static const char STATE_KEY; /* its address is the service's key */

static struct sip_http_state *state_of(lua_State *L)
{
  return sip_vm_service(L, &STATE_KEY);
}

int sip_http_state_multi(lua_State *L, struct sip_multi **out, struct sip_err *err)
{
  struct sip_http_state *state = state_of(L);
  int rc = 0;

  if (state == NULL) {
    return sip_err_set(err, SIP_ECLOSED, "http: the program is shutting down");
  }
  if (state->multi == NULL) {
    rc = sip_multi_new(&state->multi, sip_vm_loop(L), err);
  }
  *out = state->multi;
  return rc;
}

int sip_http_state_smtp(lua_State *L, struct sip_smtp **out, struct sip_err *err)
{
  struct sip_http_state *state = state_of(L);
  int rc = 0;

  if (state == NULL) {
    return sip_err_set(err, SIP_ECLOSED, "mail: the program is shutting down");
  }
  if (state->smtp == NULL) {
    rc = sip_smtp_new(&state->smtp, sip_vm_loop(L), err);
  }
  *out = state->smtp;
  return rc;
}

struct sip_list *sip_http_state_servers(lua_State *L)
{
  struct sip_http_state *state = state_of(L);

  return state == NULL ? NULL : &state->servers;
}

struct sip_body_limits *sip_http_state_body_limits(lua_State *L)
{
  struct sip_http_state *state = state_of(L);

  return state == NULL ? NULL : state->body_limits;
}

int sip_http_lua_start(struct sip_vm *vm, struct sip_err *err)
{
  struct sip_http_state *state = calloc(1, sizeof *state);
  int rc;

  if (state == NULL || sip_body_limits_new(&state->body_limits) < 0) {
    free(state);
    return sip_err_set(err, UV_ENOMEM, "no memory for the HTTP modules");
  }
  sip_list_init(&state->servers);
  rc = sip_vm_set_service(vm, &STATE_KEY, state);
  if (rc < 0) {
    sip_body_limits_free(state->body_limits);
    free(state);
    return sip_err_set(err, rc, "no memory for the HTTP modules");
  }
  rc = sip_vm_provide(vm, "sipeat.core.http", sip_open_http, err);
  if (rc == 0) {
    rc = sip_vm_provide(vm, "sipeat.core.httpd", sip_open_httpd, err);
  }
  if (rc == 0) {
    rc = sip_vm_provide(vm, "sipeat.core.smtp", sip_open_smtp, err);
  }
  return rc;
}

void sip_http_lua_stop(struct sip_vm *vm)
{
  struct sip_http_state *state = state_of(sip_vm_state(vm));

  if (state == NULL) {
    return;
  }
  (void)sip_vm_set_service(vm, &STATE_KEY,
                           NULL); /* removing cannot fail; nothing opens from here on */
  sip_httpd_lua_stop_all(&state->servers);
  sip_multi_close(state->multi);
  sip_smtp_close(state->smtp);
  sip_body_limits_free(state->body_limits);
  free(state);
}
