#ifndef SIP_CRYPTO_CRYPTO_H
#define SIP_CRYPTO_CRYPTO_H
/* crypto.h - hashes of passwords, signatures with a public key, and sealed texts, by libsodium.
 *
 * Hashing a password takes a tenth of a second and 64 MiB, which is its purpose: call it on the
 * work pool. Any thread, after sip_crypto_start. What is compared is compared in constant time. */
#include "core/err.h"

#include <stdbool.h>
#include <stddef.h>

enum {
  SIP_PASSWORD_HASH_SIZE = 128, /* of the text of a hash, with its NUL */
  SIP_ED25519_KEY_BYTES = 32,
  SIP_ED25519_SIGNATURE_BYTES = 64,
  SIP_SEAL_KEY_BYTES = 32,
  SIP_SEAL_BYTES = 48, /* that a sealed text is longer */
};

/** Before anything else; harmless when it was done before. @return 0 or a negative code */
int sip_crypto_start(struct sip_err *err);

/** Writes the Argon2id hash of a password, with its salt and parameters, as text.
 *  @return 0, or UV_ENOMEM */
int sip_password_hash(char out[SIP_PASSWORD_HASH_SIZE], const char *password, size_t len,
                      struct sip_err *err);

/** Whether `hash` was made of this password. A text that is no hash is of no password. */
bool sip_password_verify(const char *hash, const char *password, size_t len);

/** Whether `hash` was made with other parameters than sip_password_hash uses now. */
bool sip_password_stale(const char *hash);

/** Whether the owner of `key` has signed the message. */
bool sip_ed25519_verify(const unsigned char key[SIP_ED25519_KEY_BYTES],
                        const unsigned char signature[SIP_ED25519_SIGNATURE_BYTES],
                        const char *message, size_t len);

/** A new pair of keys: with `open` one key seals, only the other opens. */
void sip_seal_keys(unsigned char seal[SIP_SEAL_KEY_BYTES], unsigned char open[SIP_SEAL_KEY_BYTES]);

/** The key that seals what `open` opens. @return false: it is no such key */
bool sip_seal_key_of(unsigned char seal[SIP_SEAL_KEY_BYTES],
                     const unsigned char open[SIP_SEAL_KEY_BYTES]);

/** Seals a text into `len` + SIP_SEAL_BYTES bytes. @return false: `key` is no key that seals */
bool sip_seal(unsigned char *out, const unsigned char key[SIP_SEAL_KEY_BYTES], const char *text,
              size_t len);

/** The other way round, into `len` - SIP_SEAL_BYTES bytes. @return false: it was not sealed for
 * this key, or is not what was sealed */
bool sip_unseal(unsigned char *out, const unsigned char key[SIP_SEAL_KEY_BYTES], const char *sealed,
                size_t len);

/** Overwrites what is secret, before it is freed. */
void sip_crypto_wipe(void *bytes, size_t len);

#endif
