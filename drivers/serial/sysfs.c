/* sysfs.c - drivers, latency timers and stable names of ttys, from /sys and /dev/serial. */
#include "serial/sysfs.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libserialport.h>

static const char *base_of(const char *path)
{
  const char *slash = strrchr(path, '/');

  return slash == NULL ? path : slash + 1;
}

void sip_sysfs_driver(const char *path, char *text, size_t size)
{
  char node[PATH_MAX], target[PATH_MAX];
  ssize_t length;

  (void)snprintf(node, sizeof node, "/sys/class/tty/%s/device/driver", base_of(path));
  length = readlink(node, target, sizeof target - 1);
  target[length < 0 ? 0 : length] = '\0';
  (void)snprintf(text, size, "%s", base_of(target)); /* cutting a long one is fine */
}

void sip_sysfs_link(const char *folder, const char *path, char *text, size_t size)
{
  DIR *dir = opendir(folder);
  char name[PATH_MAX], target[PATH_MAX];
  struct dirent *entry;

  text[0] = '\0';
  if (dir == NULL) { /* no udev here, or no adapter */
    return;
  }
  while (text[0] == '\0' && (entry = readdir(dir)) != NULL) {
    (void)snprintf(name, sizeof name, "%s/%s", folder, entry->d_name);
    if (entry->d_name[0] != '.' && strlen(name) < size && realpath(name, target) != NULL &&
        strcmp(target, path) == 0) {
      (void)snprintf(text, size, "%s", name);
    }
  }
  (void)closedir(dir); /* read only */
}

static bool has_serial_number(const char *path)
{
  struct sp_port *port = NULL;
  const char *serial;
  bool has;

  if (sp_get_port_by_name(path, &port) != SP_OK) {
    return false;
  }
  serial = sp_get_port_usb_serial(port);
  has = serial != NULL && serial[0] != '\0';
  sp_free_port(port);
  return has;
}

void sip_sysfs_stable_name(const char *path, char *text, size_t size)
{
  text[0] = '\0';
  if (has_serial_number(path)) {
    sip_sysfs_link("/dev/serial/by-id", path, text, size);
  }
  if (text[0] == '\0') {
    sip_sysfs_link("/dev/serial/by-path", path, text, size);
  }
  if (text[0] == '\0') {
    (void)snprintf(text, size, "%s", path);
  }
}

bool sip_sysfs_set_latency(const char *path, unsigned ms)
{
  char node[PATH_MAX];
  FILE *file;
  bool written;

  (void)snprintf(node, sizeof node, "/sys/bus/usb-serial/devices/%s/latency_timer", base_of(path));
  file = fopen(node, "we");
  if (file == NULL) {
    return false;
  }
  written = fprintf(file, "%u", ms) > 0;
  return fclose(file) == 0 && written;
}
