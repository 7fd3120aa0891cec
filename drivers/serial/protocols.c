/* protocols.c - which protocols this program speaks. */
#include "serial/cctalk.h"
#include "serial/dex.h"
#include "serial/modbus.h"
#include "serial/party.h"
#include "serial/qibixx.h"
#include "serial/vtk.h"
#include "serial/xy.h"

#include <string.h>

const struct sip_protocol *const sip_protocols[] = {
  &sip_protocol_qibixx,
  &sip_protocol_xy,
  &sip_protocol_modbus,
  &sip_protocol_cctalk,
  &sip_protocol_vtk,
  &sip_protocol_dex,
  NULL,
};

const struct sip_protocol *sip_protocol_find(const char *name)
{
  for (size_t i = 0; sip_protocols[i] != NULL; i++) {
    if (name == NULL || strcmp(sip_protocols[i]->name, name) == 0) {
      return sip_protocols[i];
    }
  }
  return NULL;
}
