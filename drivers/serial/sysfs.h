#ifndef SIP_SERIAL_SYSFS_H
#define SIP_SERIAL_SYSFS_H
/* sysfs.h - what the kernel and udev say about a tty. Any thread; texts are "" when unknown. */
#include <stdbool.h>
#include <stddef.h>

/** Its driver: "ftdi_sio", "cdc_acm". */
void sip_sysfs_driver(const char *path, char *text, size_t size);

/** The link in `folder` ("/dev/serial/by-id") that leads to it. */
void sip_sysfs_link(const char *folder, const char *path, char *text, size_t size);

/** A name by which the same port is found again: by-id when its adapter has a serial number, else
 *  by-path, else the path itself. */
void sip_sysfs_stable_name(const char *path, char *text, size_t size);

/** The adapter's latency timer. @return whether that worked */
bool sip_sysfs_set_latency(const char *path, unsigned ms);

#endif
