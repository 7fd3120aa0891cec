/* crypto_lua.c - module sipeat.core.crypto: what sipeat.sys does not have of libsodium.
 *
 * password_hash(password) -> text; password_verify(hash, password) -> boolean; both wait for the
 * work pool, or nil, message, code. password_stale(hash) -> boolean; ed25519_verify(key, signature,
 * message) -> boolean, of bytes. seal_keys() -> key that seals, key that opens; seal_key(key that
 * opens) -> key that seals; seal(key, text) -> bytes; unseal(key, bytes) -> text, or nil. A call
 * whose task was stopped runs to its end, and its result is dropped. Loop thread. */
#include "crypto/crypto_lua.h"

#include "crypto/crypto.h"
#include "vm/job.h"
#include "vm/vm.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

enum { PASSWORD_LIMIT_BYTES = 1024 };

struct job {
  struct sip_job base;
  bool verify; /* else: hash */
  bool matches;
  char hash[SIP_PASSWORD_HASH_SIZE];
  char password[PASSWORD_LIMIT_BYTES];
  size_t len;
  int rc;
  struct sip_err err;
};

static void job_free(struct sip_job *base)
{
  struct job *job = (struct job *)base;

  sip_crypto_wipe(job->password, sizeof job->password);
  free(job);
}

/* Pool thread. */
static void job_run(struct sip_job *base)
{
  struct job *job = (struct job *)base;

  if (job->verify) {
    job->matches = sip_password_verify(job->hash, job->password, job->len);
  } else {
    job->rc = sip_password_hash(job->hash, job->password, job->len, &job->err);
  }
}

static int job_finish(lua_State *L, struct sip_job *base)
{
  const struct job *job = (const struct job *)base;

  if (job->rc < 0) {
    return sip_push_err(L, &job->err);
  }
  if (job->verify) {
    lua_pushboolean(L, job->matches);
  } else {
    lua_pushstring(L, job->hash);
  }
  return 1;
}

static const struct sip_job_kind password_job = { "password", sizeof(struct job), job_run,
                                                  job_finish, job_free };

/* The password is argument `arg`; stack: arguments. */
static int job_start(lua_State *L, const char *hash, int arg)
{
  size_t len;
  const char *password = luaL_checklstring(L, arg, &len);
  struct job *job;

  luaL_argcheck(L, len <= PASSWORD_LIMIT_BYTES, arg, "a password of more than 1,024 bytes");
  lua_settop(L, arg);
  job = sip_job_new(L, &password_job);
  job->verify = hash != NULL;
  if (hash != NULL) {
    (void)memcpy(job->hash, hash, strlen(hash) + 1); /* l_password_verify checked its length */
  }
  (void)memcpy(job->password, password, len);
  job->len = len;
  return sip_job_await(L, &job->base);
}

static int l_password_hash(lua_State *L)
{
  return job_start(L, NULL, 1);
}

static const char *check_hash(lua_State *L)
{
  size_t len;
  const char *hash = luaL_checklstring(L, 1, &len);

  luaL_argcheck(L, len < SIP_PASSWORD_HASH_SIZE && strlen(hash) == len, 1, "no hash of a password");
  return hash;
}

static int l_password_verify(lua_State *L)
{
  return job_start(L, check_hash(L), 2);
}

static int l_password_stale(lua_State *L)
{
  lua_pushboolean(L, sip_password_stale(check_hash(L)));
  return 1;
}

static int l_ed25519_verify(lua_State *L)
{
  size_t key_len, signature_len, len;
  const char *key = luaL_checklstring(L, 1, &key_len);
  const char *signature = luaL_checklstring(L, 2, &signature_len);
  const char *message = luaL_checklstring(L, 3, &len);

  lua_pushboolean(L, key_len == SIP_ED25519_KEY_BYTES &&
                       signature_len == SIP_ED25519_SIGNATURE_BYTES &&
                       sip_ed25519_verify((const unsigned char *)key,
                                          (const unsigned char *)signature, message, len));
  return 1;
}

/* --- sealed texts --- */

static const unsigned char *check_key(lua_State *L)
{
  size_t len;
  const char *key = luaL_checklstring(L, 1, &len);

  luaL_argcheck(L, len == SIP_SEAL_KEY_BYTES, 1, "a key has 32 bytes");
  return (const unsigned char *)key;
}

static int l_seal_keys(lua_State *L)
{
  unsigned char seal[SIP_SEAL_KEY_BYTES], open[SIP_SEAL_KEY_BYTES];

  sip_seal_keys(seal, open);
  lua_pushlstring(L, (const char *)seal, sizeof seal);
  lua_pushlstring(L, (const char *)open, sizeof open);
  sip_crypto_wipe(open, sizeof open);
  return 2;
}

static int l_seal_key(lua_State *L)
{
  unsigned char seal[SIP_SEAL_KEY_BYTES];

  if (!sip_seal_key_of(seal, check_key(L))) {
    return 0;
  }
  lua_pushlstring(L, (const char *)seal, sizeof seal);
  return 1;
}

static int l_seal(lua_State *L)
{
  const unsigned char *key = check_key(L);
  size_t len;
  const char *text = luaL_checklstring(L, 2, &len);
  luaL_Buffer buffer;

  luaL_argcheck(L, len < SIZE_MAX / 2, 2, "too long");
  if (!sip_seal((unsigned char *)luaL_buffinitsize(L, &buffer, len + SIP_SEAL_BYTES), key, text,
                len)) {
    return luaL_error(L, "seal: this is no key that seals");
  }
  luaL_pushresultsize(&buffer, len + SIP_SEAL_BYTES);
  return 1;
}

static int l_unseal(lua_State *L)
{
  const unsigned char *key = check_key(L);
  size_t len;
  const char *sealed = luaL_checklstring(L, 2, &len);
  luaL_Buffer buffer;

  if (len < SIP_SEAL_BYTES ||
      !sip_unseal((unsigned char *)luaL_buffinitsize(L, &buffer, len), key, sealed, len)) {
    lua_pushnil(L);
    return 1;
  }
  luaL_pushresultsize(&buffer, len - SIP_SEAL_BYTES);
  return 1;
}

static int open_crypto(lua_State *L)
{
  static const luaL_Reg functions[] = {
    { "password_hash", l_password_hash },
    { "password_verify", l_password_verify },
    { "password_stale", l_password_stale },
    { "ed25519_verify", l_ed25519_verify },
    { "seal_keys", l_seal_keys },
    { "seal_key", l_seal_key },
    { "seal", l_seal },
    { "unseal", l_unseal },
    { NULL, NULL },
  };

  luaL_newlib(L, functions);
  return 1;
}

int sip_crypto_lua_start(struct sip_vm *vm, struct sip_err *err)
{
  int rc = sip_crypto_start(err);

  return rc < 0 ? rc : sip_vm_provide(vm, "sipeat.core.crypto", open_crypto, err);
}
