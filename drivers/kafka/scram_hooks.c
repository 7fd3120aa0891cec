/* scram_hooks.c - lets librdkafka sign and send what scram.c makes of it. Linked into each program,
 * where these three take the place of OpenSSL's and libc's, and hand everything else on to them.
 *
 * A message of SASL is small and the first of its connection: it leaves whole or not at all. */
#include "kafka/scram.h"

#include <dlfcn.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/ssl.h>
#include <string.h>
#include <sys/socket.h>

/* The function behind ours, which a library that calls it has brought along. */
static void *hooks_next(const char *name)
{
  return dlsym(RTLD_NEXT, name);
}

unsigned char *HMAC(const EVP_MD *digest, const void *key, int key_len, const unsigned char *data,
                    size_t len, unsigned char *out, unsigned int *out_len)
{
  static _Thread_local __typeof__(&HMAC) next;
  unsigned char fixed[SIP_SCRAM_LIMIT_BYTES];
  size_t fixed_len = data == NULL ? 0 : sip_scram_signed(fixed, data, len);

  if (next == NULL) {
    next = (__typeof__(next))hooks_next("HMAC");
  }
  if (fixed_len > 0) {
    return next(digest, key, key_len, fixed, fixed_len, out, out_len);
  }
  return next(digest, key, key_len, data, len, out, out_len);
}

int SSL_write(SSL *ssl, const void *data, int len)
{
  static _Thread_local __typeof__(&SSL_write) next;
  static _Thread_local unsigned char fixed[SIP_SCRAM_LIMIT_BYTES]; /* a repeated call must show it
                                                                      at the same place */
  size_t fixed_len = len <= 0 ? 0 : sip_scram_request(fixed, data, (size_t)len);
  int rc;

  if (next == NULL) {
    next = (__typeof__(next))hooks_next("SSL_write");
  }
  if (fixed_len == 0) {
    return next(ssl, data, len);
  }
  rc = next(ssl, fixed, (int)fixed_len);
  return rc == (int)fixed_len ? len : rc;
}

/* The parts of a message as one; 0 when it is none of SASL's. */
static size_t hooks_gather(unsigned char out[SIP_SCRAM_LIMIT_BYTES], const struct msghdr *message)
{
  size_t len = 0;

  if (message->msg_iovlen == 0 ||
      !sip_scram_maybe(message->msg_iov[0].iov_base, message->msg_iov[0].iov_len)) {
    return 0;
  }
  for (size_t i = 0; i < message->msg_iovlen; i++) {
    const struct iovec *part = &message->msg_iov[i];

    if (part->iov_len > SIP_SCRAM_LIMIT_BYTES - len) {
      return 0;
    }
    if (part->iov_len > 0) {
      memcpy(out + len, part->iov_base, part->iov_len);
    }
    len += part->iov_len;
  }
  return len;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
  static _Thread_local __typeof__(&sendmsg) next;
  unsigned char whole[SIP_SCRAM_LIMIT_BYTES], fixed[SIP_SCRAM_LIMIT_BYTES];
  size_t len = hooks_gather(whole, message);
  size_t fixed_len = len == 0 ? 0 : sip_scram_request(fixed, whole, len);
  struct iovec part = { fixed, fixed_len };
  struct msghdr other = *message;
  ssize_t rc;

  if (next == NULL) {
    next = (__typeof__(next))hooks_next("sendmsg");
  }
  if (fixed_len == 0) {
    return next(fd, message, flags);
  }
  other.msg_iov = &part;
  other.msg_iovlen = 1;
  rc = next(fd, &other, flags);
  return rc == (ssize_t)fixed_len ? (ssize_t)len : rc;
}
