/* crypto.c - hashes of passwords, signatures with a public key, and sealed texts, by libsodium. */
#include "crypto/crypto.h"

#include <sodium.h>
#include <stdint.h>

/* The second choice of RFC 9106 section 4: 64 MiB, three passes. */
static const unsigned long long PASSES = 3;
static const size_t MEMORY_BYTES = (size_t)64 << 20;

_Static_assert(SIP_PASSWORD_HASH_SIZE == crypto_pwhash_argon2id_STRBYTES, "room for a hash");
_Static_assert(SIP_ED25519_KEY_BYTES == crypto_sign_PUBLICKEYBYTES, "room for a key");
_Static_assert(SIP_SEAL_KEY_BYTES == crypto_box_PUBLICKEYBYTES, "room for a key");
_Static_assert(SIP_SEAL_KEY_BYTES == crypto_box_SECRETKEYBYTES, "room for a key");
_Static_assert(SIP_SEAL_BYTES == crypto_box_SEALBYTES, "room for a seal");
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

void sip_seal_keys(unsigned char seal[SIP_SEAL_KEY_BYTES], unsigned char open[SIP_SEAL_KEY_BYTES])
{
  (void)crypto_box_keypair(seal, open); /* always 0 */
}

bool sip_seal_key_of(unsigned char seal[SIP_SEAL_KEY_BYTES],
                     const unsigned char open[SIP_SEAL_KEY_BYTES])
{
  return crypto_scalarmult_base(seal, open) == 0;
}

bool sip_seal(unsigned char *out, const unsigned char key[SIP_SEAL_KEY_BYTES], const char *text,
              size_t len)
{
  return crypto_box_seal(out, (const unsigned char *)text, len, key) == 0;
}

bool sip_unseal(unsigned char *out, const unsigned char key[SIP_SEAL_KEY_BYTES], const char *sealed,
                size_t len)
{
  unsigned char seal[SIP_SEAL_KEY_BYTES];

  return len >= SIP_SEAL_BYTES && sip_seal_key_of(seal, key) &&
         crypto_box_seal_open(out, (const unsigned char *)sealed, len, seal, key) == 0;
}

void sip_crypto_wipe(void *bytes, size_t len)
{
  sodium_memzero(bytes, len);
}
