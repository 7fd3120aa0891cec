#ifndef SIP_SERIAL_DDCMP_SIM_H
#define SIP_SERIAL_DDCMP_SIM_H
/* ddcmp_sim.h - the machine's side of DDCMP: answers START, who are you, read data, finish. */
#include "serial/ddcmp_frame.h"
#include "serial/dex_machine.h"
#include "serial/misbehave.h"

struct sip_ddcmp_sim {
  struct sip_dex_machine *machine; /* borrowed */
  struct sip_misbehave *faults;    /* borrowed */
  struct sip_framer in;
  bool open, heard;
  bool refuses; /* who are you and read data */
  uint8_t tx, rx;
  uint8_t out[SIP_DDCMP_FRAME_MAX]; /* a data message that is to be acknowledged */
  size_t out_size;
  unsigned tries;
  int64_t due_us;
  bool reading;
  struct sip_buf text;
  size_t at, part;
  uint8_t block;
};

/** @return 0 or UV_ENOMEM */
int sip_ddcmp_sim_init(struct sip_ddcmp_sim *sim, struct sip_dex_machine *machine,
                       struct sip_misbehave *faults, size_t part);
void sip_ddcmp_sim_deinit(struct sip_ddcmp_sim *sim);
void sip_ddcmp_sim_reset(struct sip_ddcmp_sim *sim);
void sip_ddcmp_sim_bytes(struct sip_ddcmp_sim *sim, int64_t now_us, const uint8_t *bytes,
                         size_t size);
int64_t sip_ddcmp_sim_due_us(const struct sip_ddcmp_sim *sim);
void sip_ddcmp_sim_due(struct sip_ddcmp_sim *sim, int64_t now_us);

#endif
