#ifndef SIP_SERIAL_DEX_MACHINE_H
#define SIP_SERIAL_DEX_MACHINE_H
/* dex_machine.h - the books of a simulated vending machine, and its audit data. */
#include "core/buf.h"
#include "serial/party.h"

enum { SIP_DEX_PRODUCTS = 100 };

struct sip_dex_product {
  int64_t price, vends, value, vends_reset, value_reset;
};

struct sip_dex_machine {
  char id[11], revision[7];
  unsigned count;
  struct sip_dex_product products[SIP_DEX_PRODUCTS];
  int64_t cash, cash_count, cashless, cashless_count, reads, outages;
  bool clears;                        /* totals since reset, when a read is completed */
  int64_t swapped, wrong, miscounted; /* audits with G85's bytes swapped, a wrong G85, a wrong SE */
  struct sip_buf other;               /* a text that is sent instead; empty: none */
};

/** Takes vend {slot, count, cashless}, price {slot, amount_minor}, text {text}, clears {on},
 * g85_swapped, g85_wrong, se_wrong {times}. 0, 1 when it is none of these, or negative. */
int sip_dex_machine_command(struct sip_dex_machine *machine, const struct sip_note *command,
                            struct sip_err *err);

/** The audit data as it is now. @return 0 or UV_ENOMEM */
int sip_dex_machine_text(struct sip_dex_machine *machine, struct sip_buf *out);

/** A read was completed. */
void sip_dex_machine_read(struct sip_dex_machine *machine);

void sip_dex_machine_state(const struct sip_dex_machine *machine, struct sip_note *note);

#endif
