/* smtp_lua.c - module sipeat.core.smtp: messages, written and sent. stdlib/mail.lua checks what it
 * is given.
 *
 * A mail is {from, to = {…}, cc = {…}?, bcc = {…}?, subject, message_id, date_ms, text?, html?,
 * headers = {{name, value}…}?, attachments = {{name, type, data, content_id?}…}?}, its addresses
 * "ada@example.com" or "Ada <ada@example.com>". address(text) -> email, name
 * render(mail) -> the message as it is sent
 * send(mail, {url, timeout_ms, connect_timeout_ms, ca_file?, ca_dir?}) -> list of {address, status,
 * text} that the server refused while it took the mail for others    each | nil, message, code.
 * Loop thread. */
#include "http/bindings_lua.h"
#include "http/mime.h"
#include "http/smtp.h"
#include "http/target.h"
#include "vm/permissions.h"
#include "vm/task.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

static const char JOB[] = "sipeat.mail.job";
enum {
  MAX_ADDRESSES = 100,
  MAX_ATTACHMENTS = 100,
  QUEUE_GRACE_MS = 500 /* so that a transfer which runs says by itself where it stands */
};

/* --- reading a mail; everything is borrowed from the table at index 1 --- */

struct mail {
  struct sip_message message;
  struct sip_address to[MAX_ADDRESSES]; /* to, cc and bcc one after the other */
  size_t count;
};

static struct sip_slice field_text(lua_State *L, int table, const char *key)
{
  struct sip_slice text = { NULL, 0 };

  lua_getfield(L, table, key);
  if (!lua_isnil(L, -1)) {
    text.data = luaL_checklstring(L, -1, &text.len);
  }
  lua_pop(L, 1);
  return text;
}

static int read_address(struct sip_address *out, const struct sip_slice *text, const char *what,
                        struct sip_err *err)
{
  int rc = sip_address_parse(out, text, err);

  if (rc < 0) {
    sip_err_context(err, "mail: %s", what);
  }
  return rc;
}

/* Appends the addresses of one list. @return how many, or a negative code */
static long read_addresses(lua_State *L, struct mail *mail, const char *key, struct sip_err *err)
{
  size_t before = mail->count;
  long rc = 0;

  lua_getfield(L, 1, key);
  for (lua_Integer i = 1; !lua_isnil(L, -1) && rc == 0; i++) {
    struct sip_slice text;

    luaL_checktype(L, -1, LUA_TTABLE);
    if (lua_geti(L, -1, i) == LUA_TNIL) {
      lua_pop(L, 1);
      break;
    }
    text.data = luaL_checklstring(L, -1, &text.len);
    lua_pop(L, 1); /* the list keeps it */
    if (mail->count == MAX_ADDRESSES) {
      rc = sip_err_set(err, UV_EINVAL, "mail: more than %d recipients", MAX_ADDRESSES);
    } else {
      rc = read_address(&mail->to[mail->count], &text, key, err);
      mail->count += rc == 0;
    }
  }
  lua_pop(L, 1);
  return rc < 0 ? rc : (long)(mail->count - before);
}

/* Leaves a userdata on the stack. */
static void read_attachments(lua_State *L, struct sip_message *message)
{
  struct sip_attachment *attachments;
  lua_Integer count = 0;

  lua_getfield(L, 1, "attachments");
  if (!lua_isnil(L, -1)) {
    luaL_checktype(L, -1, LUA_TTABLE);
    count = luaL_len(L, -1);
  }
  luaL_argcheck(L, count <= MAX_ATTACHMENTS, 1, "more than 100 attachments");
  attachments = lua_newuserdatauv(L, (size_t)count * sizeof *attachments + 1, 0);
  for (lua_Integer i = 0; i < count; i++) {
    int table;

    lua_geti(L, -2, i + 1);
    luaL_checktype(L, -1, LUA_TTABLE);
    table = lua_gettop(L);
    attachments[i] = (struct sip_attachment){
      .name = field_text(L, table, "name"),
      .type = field_text(L, table, "type"),
      .data = field_text(L, table, "data"),
      .content_id = field_text(L, table, "content_id"),
    };
    lua_pop(L, 1);
  }
  message->attachments = attachments;
  message->attachment_count = (size_t)count;
}

/* Leaves userdata of the headers and attachments on the stack. */
static int read_mail(lua_State *L, struct mail *mail, struct sip_err *err)
{
  struct sip_slice from;
  long to, cc = 0, bcc = 0;

  luaL_checktype(L, 1, LUA_TTABLE);
  memset(mail, 0, sizeof *mail);
  from = field_text(L, 1, "from");
  mail->message.subject = field_text(L, 1, "subject");
  mail->message.message_id = field_text(L, 1, "message_id");
  mail->message.text = field_text(L, 1, "text");
  mail->message.html = field_text(L, 1, "html");
  lua_getfield(L, 1, "date_ms");
  mail->message.date_ms = luaL_checkinteger(L, -1);
  lua_getfield(L, 1, "headers");
  mail->message.header_count = sip_check_headers(L, lua_gettop(L), &mail->message.headers);
  read_attachments(L, &mail->message);
  to = read_address(&mail->message.from, &from, "from", err);
  if (to == 0) {
    to = read_addresses(L, mail, "to", err);
  }
  if (to >= 0) {
    cc = read_addresses(L, mail, "cc", err);
  }
  if (to >= 0 && cc >= 0) {
    bcc = read_addresses(L, mail, "bcc", err);
  }
  if (to < 0 || cc < 0 || bcc < 0) {
    return err->code;
  }
  mail->message.to = mail->to;
  mail->message.to_count = (size_t)to;
  mail->message.cc = mail->to + to;
  mail->message.cc_count = (size_t)cc;
  return 0;
}

/* --- sending --- */

struct job {
  struct sip_wait wait;
  struct sip_smtp_job *smtp; /* NULL before the start and after the end */
  struct sip_err err;
};

static int job_gc(lua_State *L)
{
  struct job **box = luaL_checkudata(L, 1, JOB), *job = *box;

  *box = NULL;
  if (job != NULL) {
    sip_smtp_job_free(job->smtp);
    free(job);
  }
  return 0;
}

static void job_on_done(struct sip_smtp_job *smtp, const struct sip_err *err, void *arg)
{
  struct job *job = arg;

  (void)smtp;
  job->err = *err;
  sip_wake(&job->wait, 0);
}

static void job_cancel(struct sip_wait *wait)
{
  struct job *job = SIP_CONTAINER(wait, struct job, wait);
  struct sip_smtp_job *smtp = job->smtp;

  job->smtp = NULL;
  sip_smtp_job_free(smtp);
}

static int job_finish(lua_State *L, struct sip_wait *wait)
{
  struct job *job = SIP_CONTAINER(wait, struct job, wait);
  const struct sip_smtp_refusal *refusals;
  size_t count;

  if (wait->status < 0) {
    return sip_push_error(L, wait->status, "mail");
  }
  if (job->err.code < 0) {
    return sip_push_err(L, &job->err);
  }
  count = sip_smtp_job_refusals(job->smtp, &refusals);
  lua_createtable(L, (int)count, 0);
  for (size_t i = 0; i < count; i++) {
    lua_createtable(L, 0, 3);
    lua_pushstring(L, refusals[i].address);
    lua_setfield(L, -2, "address");
    lua_pushinteger(L, refusals[i].status);
    lua_setfield(L, -2, "status");
    lua_pushstring(L, refusals[i].text == NULL ? "" : refusals[i].text);
    lua_setfield(L, -2, "text");
    lua_seti(L, -2, (lua_Integer)i + 1);
  }
  return 1;
}

static uint64_t field_ms(lua_State *L, int table, const char *key, lua_Integer fallback)
{
  lua_Integer ms;

  lua_getfield(L, table, key);
  ms = luaL_optinteger(L, -1, fallback);
  luaL_argcheck(L, ms > 0, table, "a timeout above 0");
  lua_pop(L, 1);
  return (uint64_t)ms;
}

/* Starts what was rendered; nothing of Lua is called, so nothing throws past the message. */
static int job_start(lua_State *L, struct job *job, struct sip_smtp_request *request,
                     const struct mail *mail, struct sip_err *err)
{
  struct sip_slice to[MAX_ADDRESSES];
  struct sip_buf message = SIP_BUF_INIT;
  struct sip_smtp *smtp = NULL;
  int rc = sip_message_render(&message, &mail->message, err);

  for (size_t i = 0; i < mail->count; i++) {
    to[i] = mail->to[i].email;
  }
  request->from = mail->message.from.email;
  request->to = to;
  request->to_count = mail->count;
  request->message = &message;
  if (rc == 0) {
    rc = sip_http_state_smtp(L, &smtp, err);
  }
  if (rc == 0) {
    rc = sip_smtp_send(&job->smtp, smtp, request, job_on_done, job, err);
  }
  sip_buf_deinit(&message); /* empty when it was taken over */
  return rc;
}

static int l_send(lua_State *L)
{
  struct sip_smtp_request request = { 0 };
  struct sip_err err = { 0 };
  struct job **box, *job;
  struct mail mail;
  char place[300];

  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  request.url = field_text(L, 2, "url");
  request.transfer.timeout_ms = field_ms(L, 2, "timeout_ms", 30000);
  request.transfer.connect_timeout_ms = field_ms(L, 2, "connect_timeout_ms", 10000);
  request.transfer.ca_file = field_text(L, 2, "ca_file").data;
  request.transfer.ca_dir = field_text(L, 2, "ca_dir").data;
  if (sip_target_place(&request.url, "smtp,smtps", place, sizeof place, NULL) == 0) {
    sip_permit(L, SIP_PERMIT_HOST, place);
  }
  if (read_mail(L, &mail, &err) < 0) {
    return sip_push_err(L, &err);
  }
  box = sip_box_new(L, JOB, job_gc);
  job = calloc(1, sizeof *job);
  if (job == NULL) {
    return luaL_error(L, "mail: out of memory");
  }
  *box = job; /* stays on the suspended stack */
  sip_wait_init(&job->wait, job_cancel, job_finish);
  if (job_start(L, job, &request, &mail, &err) < 0) {
    return sip_push_err(L, &err);
  }
  return sip_await(L, &job->wait, request.transfer.timeout_ms + QUEUE_GRACE_MS);
}

/* --- without a server --- */

static int l_address(lua_State *L)
{
  struct sip_address address;
  struct sip_err err = { 0 };
  struct sip_slice text;

  text.data = luaL_checklstring(L, 1, &text.len);
  if (sip_address_parse(&address, &text, &err) < 0) {
    return sip_push_err(L, &err);
  }
  lua_pushlstring(L, address.email.data, address.email.len);
  lua_pushlstring(L, address.name.data, address.name.len);
  return 2;
}

static int rendered_gc(lua_State *L)
{
  struct sip_buf **box = lua_touserdata(L, 1), *buf = *box;

  *box = NULL;
  if (buf != NULL) {
    sip_buf_deinit(buf);
    free(buf);
  }
  return 0;
}

static int l_render(lua_State *L)
{
  struct sip_err err = { 0 };
  struct sip_buf **box;
  struct mail mail;

  lua_settop(L, 1);
  if (read_mail(L, &mail, &err) < 0) {
    return sip_push_err(L, &err);
  }
  box = sip_box_new(L, "sipeat.mail.rendered", rendered_gc);
  *box = calloc(1, sizeof **box);
  if (*box == NULL) {
    return luaL_error(L, "mail: out of memory");
  }
  if (sip_message_render(*box, &mail.message, &err) < 0) {
    return sip_push_err(L, &err);
  }
  lua_pushlstring(L, (*box)->data, (*box)->len);
  return 1;
}

int sip_open_smtp(lua_State *L)
{
  static const luaL_Reg functions[] = {
    { "address", l_address }, { "render", l_render }, { "send", l_send }, { NULL, NULL }
  };

  luaL_newlib(L, functions);
  return 1;
}
