/* list.c - the machine's serial ports, from libserialport, sysfs and /proc. */
#include "serial/list.h"

#include "serial/lock.h"
#include "serial/sysfs.h"

#include <libserialport.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void copy_text(char *out, size_t size, const char *text)
{
  (void)snprintf(out, size, "%s", text == NULL ? "" : text); /* cutting a long one is fine */
}

static void fill(struct sip_port_info *info, const struct sp_port *port)
{
  info->vid = info->pid = -1;
  copy_text(info->path, sizeof info->path, sp_get_port_name(port));
  copy_text(info->description, sizeof info->description, sp_get_port_description(port));
  if (sp_get_port_transport(port) == SP_TRANSPORT_USB) {
    copy_text(info->serial, sizeof info->serial, sp_get_port_usb_serial(port));
    if (sp_get_port_usb_vid_pid(port, &info->vid, &info->pid) != SP_OK) {
      info->vid = info->pid = -1;
    }
  }
  sip_sysfs_driver(info->path, info->driver, sizeof info->driver);
  sip_sysfs_link("/dev/serial/by-id", info->path, info->by_id, sizeof info->by_id);
  sip_sysfs_link("/dev/serial/by-path", info->path, info->by_path, sizeof info->by_path);
  sip_lock_holder(info->path, info->holder, sizeof info->holder);
}

static int by_path(const void *a, const void *b)
{
  const struct sip_port_info *one = a, *other = b;

  return strverscmp(one->path, other->path); /* ttyUSB2 before ttyUSB10 */
}

int sip_port_list(struct sip_port_info **out, struct sip_err *err)
{
  struct sp_port **ports = NULL;
  struct sip_port_info *infos;
  size_t count = 0;

  if (sp_list_ports(&ports) != SP_OK) {
    return sip_err_set(err, UV_EIO, "list the serial ports: /sys/class/tty cannot be read");
  }
  while (ports[count] != NULL) {
    count++;
  }
  infos = calloc(count + 1, sizeof *infos);
  if (infos == NULL) {
    sp_free_port_list(ports);
    return sip_err_set(err, UV_ENOMEM, "list the serial ports: out of memory");
  }
  for (size_t i = 0; i < count; i++) {
    fill(&infos[i], ports[i]);
  }
  sp_free_port_list(ports);
  qsort(infos, count, sizeof *infos, by_path);
  *out = infos;
  return (int)count;
}
