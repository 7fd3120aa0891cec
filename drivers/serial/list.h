#ifndef SIP_SERIAL_LIST_H
#define SIP_SERIAL_LIST_H
/* list.h - which serial ports this machine has. Blocks a little: for the work pool. */
#include "core/err.h"

#include <stddef.h>

struct sip_port_info {
  char path[256], by_id[256], by_path[256];
  char description[128], driver[32], serial[64], holder[96];
  int vid, pid; /* of USB; -1: none */
};

/** All ports, in the order of their paths, in a block for free(). @return how many, or a negative
 *  code */
int sip_port_list(struct sip_port_info **out, struct sip_err *err);

#endif
