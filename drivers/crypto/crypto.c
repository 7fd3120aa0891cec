/* crypto.c - hashes of passwords, and signatures with a public key, by libsodium. */
#include "crypto/crypto.h"

#include <sodium.h>
#include <stdint.h>

/* The second choice of RFC 9106 section 4: 64 MiB, three passes. */
static const unsigned long long PASSES = 3;
static const size_t MEMORY_BYTES = (size_t)64 << 20;

_Static_assert(SIP_PASSWORD_HASH_SIZE == crypto_pwhash_argon2id_STRBYTES, "room for a hash");
_Static_assert(SIP_ED25519_KEY_BYTES == crypto_sign_PUBLICKEYBYTES, "room for a key");
_Static_assert(SIP_ED25519_SIGNATURE_BYTES == crypto_sign_BYTES, "room for a signature");

int sip_crypto_start(struct sip_err *err)
{
  return sodium_init() < 0 ? sip_err_set(err, UV_ENOSYS, "libsodium does not start") : 0;
}

int sip_password_hash(char out[SIP_PASSWORD_HASH_SIZE], const char *password, size_t len,
                      struct sip_err *err)
{
  if (crypto_pwhash_argon2id_str(out, password, len, PASSES, MEMORY_BYTES) != 0) {
    return sip_err_set(err, UV_ENOMEM, "hash a password: not enough memory (64 MiB are needed)");
  }
  return 0;
}

bool sip_password_verify(const char *hash, const char *password, size_t len)
{
  return crypto_pwhash_argon2id_str_verify(hash, password, len) == 0;
}

bool sip_password_stale(const char *hash)
{
  return crypto_pwhash_argon2id_str_needs_rehash(hash, PASSES, MEMORY_BYTES) != 0;
}

bool sip_ed25519_verify(const unsigned char key[SIP_ED25519_KEY_BYTES],
                        const unsigned char signature[SIP_ED25519_SIGNATURE_BYTES],
                        const char *message, size_t len)
{
  return crypto_sign_verify_detached(signature, (const unsigned char *)message, len, key) == 0;
}

void sip_crypto_wipe(void *bytes, size_t len)
{
  sodium_memzero(bytes, len);
}
