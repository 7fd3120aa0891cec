/* crypto_test.c - hashes of passwords and Ed25519 signatures. */
#include "crypto/crypto.h"

#include "support/test.h"

#include <string.h>

/* RFC 8032 section 7.1, test 2: a message of one byte. */
static const unsigned char KEY[SIP_ED25519_KEY_BYTES] = {
  0x3d, 0x40, 0x17, 0xc3, 0xe8, 0x43, 0x89, 0x5a, 0x92, 0xb7, 0x0a, 0xa7, 0x4d, 0x1b, 0x7e, 0xbc,
  0x9c, 0x98, 0x2c, 0xcf, 0x2e, 0xc4, 0x96, 0x8c, 0xc0, 0xcd, 0x55, 0xf1, 0x2a, 0xf4, 0x66, 0x0c
};
static const unsigned char SIGNATURE[SIP_ED25519_SIGNATURE_BYTES] = {
  0x92, 0xa0, 0x09, 0xa9, 0xf0, 0xd4, 0xca, 0xb8, 0x72, 0x0e, 0x82, 0x0b, 0x5f, 0x64, 0x25, 0x40,
  0xa2, 0xb2, 0x7b, 0x54, 0x16, 0x50, 0x3f, 0x8f, 0xb3, 0x76, 0x22, 0x23, 0xeb, 0xdb, 0x69, 0xda,
  0x08, 0x5a, 0xc1, 0xe4, 0x3e, 0x15, 0x99, 0x6e, 0x45, 0x8f, 0x36, 0x13, 0xd0, 0xf1, 0x1d, 0x8c,
  0x38, 0x7b, 0x2e, 0xae, 0xb4, 0x30, 0x2a, 0xee, 0xb0, 0x0d, 0x29, 0x16, 0x12, 0xbb, 0x0c, 0x00
};

static const char PASSWORD[] = "correct horse";

static void a_hash_is_of_its_password_only(void)
{
  char one[SIP_PASSWORD_HASH_SIZE], two[SIP_PASSWORD_HASH_SIZE];
  struct sip_err err;

  CHECK_INT(sip_password_hash(one, PASSWORD, strlen(PASSWORD), &err), 0);
  CHECK_INT(sip_password_hash(two, PASSWORD, strlen(PASSWORD), &err), 0);
  CHECK_HAS(one, "$argon2id$v=19$m=65536,t=3,p=1$");
  CHECK(strcmp(one, two) != 0); /* each has its salt */
  CHECK(sip_password_verify(one, PASSWORD, strlen(PASSWORD)));
  CHECK(sip_password_verify(two, PASSWORD, strlen(PASSWORD)));
  CHECK(!sip_password_verify(one, PASSWORD, strlen(PASSWORD) - 1));
  CHECK(!sip_password_verify(one, "", 0));
  one[strlen(one) - 1] = one[strlen(one) - 1] == 'A' ? 'B' : 'A';
  CHECK(!sip_password_verify(one, PASSWORD, strlen(PASSWORD)));
}

static void what_is_no_hash_is_of_nobody(void)
{
  CHECK(!sip_password_verify("", PASSWORD, strlen(PASSWORD)));
  CHECK(!sip_password_verify("$argon2id$", PASSWORD, strlen(PASSWORD)));
  CHECK(!sip_password_verify(PASSWORD, PASSWORD, strlen(PASSWORD)));
}

static void weaker_hashes_are_told(void)
{
  char hash[SIP_PASSWORD_HASH_SIZE];

  CHECK_INT(sip_password_hash(hash, PASSWORD, strlen(PASSWORD), NULL), 0);
  CHECK(!sip_password_stale(hash));
  CHECK(sip_password_stale("$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA$"
                           "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
}

static void a_signature_is_of_its_key_and_message_only(void)
{
  unsigned char other[SIP_ED25519_SIGNATURE_BYTES];

  CHECK(sip_ed25519_verify(KEY, SIGNATURE, "\x72", 1));
  CHECK(!sip_ed25519_verify(KEY, SIGNATURE, "\x73", 1));
  CHECK(!sip_ed25519_verify(KEY, SIGNATURE, "\x72", 0));
  CHECK(!sip_ed25519_verify(SIGNATURE, SIGNATURE, "\x72", 1));
  for (size_t i = 0; i < sizeof other; i++) {
    memcpy(other, SIGNATURE, sizeof other);
    other[i] ^= 1;
    CHECK(!sip_ed25519_verify(KEY, other, "\x72", 1));
  }
}

static void what_was_secret_is_gone(void)
{
  char bytes[] = "secret";

  sip_crypto_wipe(bytes, sizeof bytes);
  for (size_t i = 0; i < sizeof bytes; i++) {
    CHECK_INT(bytes[i], 0);
  }
}

int main(void)
{
  struct sip_err err;

  CHECK_INT(sip_crypto_start(&err), 0);
  a_hash_is_of_its_password_only();
  what_is_no_hash_is_of_nobody();
  weaker_hashes_are_told();
  a_signature_is_of_its_key_and_message_only();
  what_was_secret_is_gone();
  return 0;
}
