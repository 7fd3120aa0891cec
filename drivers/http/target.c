/* target.c - where a transfer goes. Any thread; one owner. */
#include "http/target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Is `scheme` one of the comma-separated `schemes`? */
static bool scheme_allowed(const char *scheme, const char *schemes)
{
  size_t len = strlen(scheme);

  for (const char *at = schemes; at != NULL; at = strchr(at, ',')) {
    at += *at == ',';
    if (strncmp(at, scheme, len) == 0 && (at[len] == ',' || at[len] == '\0')) {
      return true;
    }
  }
  return false;
}

static bool host_is_loopback(const char *host)
{
  size_t digits = strspn(host, "0123456789.");

  return strcasecmp(host, "localhost") == 0 || strcmp(host, "[::1]") == 0 ||
         (strncmp(host, "127.", 4) == 0 && host[digits] == '\0');
}

static int target_refuse(struct sip_err *err, const char *schemes, const char *why)
{
  return sip_err_named(err, UV_EINVAL, "INVALID_URL", "the URL is not usable: %s (expected %s)",
                       why, schemes[0] == 'h' ? "https://host[:port]/path" : "smtp://host[:port]");
}

static int target_describe(struct sip_target *target, const char *schemes, struct sip_err *err)
{
  char *scheme = NULL, *host = NULL, *port = NULL;
  int rc = 0;

  if (curl_url_get(target->url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
      curl_url_get(target->url, CURLUPART_HOST, &host, 0) != CURLUE_OK) {
    rc = target_refuse(err, schemes, "it has no host");
    goto cleanup;
  }
  if (!scheme_allowed(scheme, schemes)) {
    rc = target_refuse(err, schemes, "its scheme is not supported here");
    goto cleanup;
  }
  if (strlen(host) >= sizeof target->host) {
    rc = target_refuse(err, schemes, "its host name is too long");
    goto cleanup;
  }
  (void)curl_url_get(target->url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
  (void)snprintf(target->host, sizeof target->host, "%s", host);
  (void)snprintf(target->text, sizeof target->text, "%s://%s:%s", scheme, host,
                 port == NULL ? "?" : port);
  target->loopback = host_is_loopback(host);
cleanup:
  curl_free(scheme);
  curl_free(host);
  curl_free(port);
  return rc;
}

int sip_target_init(struct sip_target *target, const struct sip_slice *url, const char *schemes,
                    struct sip_err *err)
{
  char *copy;
  CURLUcode code;
  int rc;

  memset(target, 0, sizeof *target);
  if (url->len == 0 || url->len > 8000) { /* libcurl's own limit is far above what servers take */
    return target_refuse(err, schemes, url->len == 0 ? "it is empty" : "it is over 8,000 bytes");
  }
  for (size_t i = 0; i < url->len; i++) {
    unsigned char c = (unsigned char)url->data[i];

    if (c <= ' ' || c == 127) {
      return target_refuse(err, schemes, "it has a blank, NUL or control character in it");
    }
  }
  copy = strndup(url->data, url->len);
  target->url = curl_url();
  if (copy == NULL || target->url == NULL) {
    free(copy);
    sip_target_deinit(target);
    return sip_err_set(err, UV_ENOMEM, "no memory for a URL");
  }
  code = curl_url_set(target->url, CURLUPART_URL, copy, 0);
  free(copy);
  if (code == CURLUE_OUT_OF_MEMORY) {
    rc = sip_err_set(err, UV_ENOMEM, "no memory for a URL");
  } else if (code != CURLUE_OK) {
    rc = target_refuse(err, schemes, curl_url_strerror(code));
  } else {
    rc = target_describe(target, schemes, err);
  }
  if (rc < 0) {
    sip_target_deinit(target);
  }
  return rc;
}

void sip_target_deinit(struct sip_target *target)
{
  if (target->url != NULL) {
    curl_url_cleanup(target->url);
    target->url = NULL;
  }
}

int sip_target_place(const struct sip_slice *url, const char *schemes, char *out, size_t size,
                     struct sip_err *err)
{
  struct sip_target target;
  int rc = sip_target_init(&target, url, schemes, err);

  if (rc == 0) {
    (void)snprintf(out, size, "%s", strstr(target.text, "://") + 3); /* as it describes them */
    for (char *at = out; *at != '\0'; at++) {
      *at = (char)(*at >= 'A' && *at <= 'Z' ? *at - 'A' + 'a' : *at);
    }
    sip_target_deinit(&target);
  }
  return rc;
}
