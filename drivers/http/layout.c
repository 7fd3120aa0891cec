/* layout.c - was the head of a request written as RFC 9112 wants it? Any thread. */
#include "http/layout.h"

#include "http/header.h"

#include <microhttpd.h>
#include <string.h>

static const char ends[2]; /* what libmicrohttpd leaves of CR LF */

bool sip_layout_known(void)
{
  return strcmp(MHD_get_version(), "0.9.75") == 0;
}

void sip_layout_begin(struct sip_layout *layout, const char *method, const char *target,
                      size_t target_len, const char *version)
{
  size_t version_len = strlen(version);

  layout->sound = method + strlen(method) + 1 == target && target + target_len + 1 == version &&
                  memcmp(version + version_len, ends, sizeof ends) == 0;
  layout->next = version + version_len + sizeof ends;
}

void sip_layout_field(struct sip_layout *layout, const struct sip_slice *name,
                      const struct sip_slice *value)
{
  const char *blank = name->data + name->len + 1; /* behind the colon */

  if (!layout->sound) {
    return;
  }
  layout->sound = false;
  if (name->data != layout->next || value->data == NULL || value->data < blank ||
      !sip_header_is_name(name) || !sip_header_is_value(value)) {
    return;
  }
  while (blank < value->data && (*blank == ' ' || *blank == '\t')) {
    blank++;
  }
  layout->sound = blank == value->data && memcmp(value->data + value->len, ends, sizeof ends) == 0;
  layout->next = value->data + value->len + sizeof ends;
}

bool sip_layout_end(const struct sip_layout *layout)
{
  return layout->sound && memcmp(layout->next, ends, sizeof ends) == 0; /* the empty line */
}
