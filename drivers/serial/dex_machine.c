/* dex_machine.c - see dex_machine.h. */
#include "serial/dex_machine.h"

#include "serial/evadts.h"
#include "serial/fields.h"

#include <inttypes.h>
#include <string.h>

static struct sip_dex_product *product_of(struct sip_dex_machine *machine,
                                          const struct sip_note *command)
{
  int64_t slot = sip_note_number(command, "slot", 1);

  return slot < 1 || slot > machine->count ? NULL : &machine->products[slot - 1];
}

static void vend(struct sip_dex_machine *machine, struct sip_dex_product *product,
                 const struct sip_note *command)
{
  int64_t count = sip_note_number(command, "count", 1);

  product->vends += count;
  product->vends_reset += count;
  product->value += count * product->price;
  product->value_reset += count * product->price;
  if (sip_note_number(command, "cashless", 0) != 0) {
    machine->cashless += count * product->price;
    machine->cashless_count += count;
  } else {
    machine->cash += count * product->price;
    machine->cash_count += count;
  }
}

int sip_dex_machine_command(struct sip_dex_machine *machine, const struct sip_note *command,
                            struct sip_err *err)
{
  const char *name = command->name;
  struct sip_dex_product *product = product_of(machine, command);
  const struct sip_value *text = sip_note_find(command, "text");
  int64_t times = sip_note_number(command, "times", 1);

  if ((strcmp(name, "vend") == 0 || strcmp(name, "price") == 0) && product == NULL) {
    return sip_err_set(err, UV_EINVAL, "dex simulator: there is no such slot");
  }
  if (strcmp(name, "vend") == 0) {
    vend(machine, product, command);
  } else if (strcmp(name, "price") == 0) {
    product->price = sip_note_number(command, "amount_minor", 0);
  } else if (strcmp(name, "text") == 0) {
    sip_buf_clear(&machine->other);
    return text == NULL ? 0 : sip_buf_add(&machine->other, text->text, text->size);
  } else if (strcmp(name, "clears") == 0) {
    machine->clears = sip_note_number(command, "on", 1) != 0;
  } else if (strcmp(name, "g85_swapped") == 0) {
    machine->swapped = times;
  } else if (strcmp(name, "g85_wrong") == 0) {
    machine->wrong = times;
  } else if (strcmp(name, "se_wrong") == 0) {
    machine->miscounted = times;
  } else {
    return 1;
  }
  return 0;
}

static int put_totals(const struct sip_dex_machine *machine, struct sip_buf *out)
{
  int64_t reset = 0, count = 0;

  for (unsigned i = 0; i < machine->count; i++) {
    reset += machine->products[i].value_reset;
    count += machine->products[i].vends_reset;
  }
  return sip_buf_addf(out,
                      "DXS*%s*VA*V1/6*1\r\nST*001*0001\r\nID1*%s*SIM-1*0100*a desk**\r\n"
                      "ID4*2*978*EUR\r\nVA1*%" PRId64 "*%" PRId64 "*%" PRId64 "*%" PRId64 "\r\n"
                      "CA2*%" PRId64 "*%" PRId64 "\r\nDA2*%" PRId64 "*%" PRId64 "\r\n",
                      machine->id, machine->id, machine->cash + machine->cashless,
                      machine->cash_count + machine->cashless_count, reset, count, machine->cash,
                      machine->cash_count, machine->cashless, machine->cashless_count);
}

static int put_products(const struct sip_dex_machine *machine, struct sip_buf *out)
{
  int rc = 0;

  for (unsigned i = 0; i < machine->count && rc == 0; i++) {
    const struct sip_dex_product *product = &machine->products[i];

    rc = sip_buf_addf(out,
                      "PA1*%u*%" PRId64 "*Product %u\r\nPA2*%" PRId64 "*%" PRId64 "*%" PRId64
                      "*%" PRId64 "\r\n",
                      i + 1, product->price, i + 1, product->vends, product->value,
                      product->vends_reset, product->value_reset);
  }
  return rc;
}

int sip_dex_machine_text(struct sip_dex_machine *machine, struct sip_buf *out)
{
  struct sip_evadts_verdict verdict;
  unsigned g85;
  int rc;

  sip_buf_clear(out);
  if (machine->other.len > 0) {
    return sip_buf_add(out, machine->other.data, machine->other.len);
  }
  rc = put_totals(machine, out);
  rc = rc < 0 ? rc : put_products(machine, out);
  rc = rc < 0 ? rc
              : sip_buf_addf(out, "EA3*%" PRId64 "\r\nEA7*0*%" PRId64 "\r\n", machine->reads,
                             machine->outages);
  if (rc < 0) {
    return rc;
  }
  verdict = sip_evadts_check(out->data, out->len);
  g85 = verdict.g85;
  if (machine->swapped > 0) {
    machine->swapped--;
    g85 = (g85 >> 8 | g85 << 8) & 0xFFFFu;
  } else if (machine->wrong > 0) {
    machine->wrong--;
    g85 ^= 0x1234u;
  }
  verdict.se += machine->miscounted > 0 ? 3 : 2; /* G85 and SE themselves */
  machine->miscounted -= machine->miscounted > 0;
  return sip_buf_addf(out, "G85*%04X\r\nSE*%u*0001\r\nDXE*1*1\r\n", g85, verdict.se);
}

void sip_dex_machine_read(struct sip_dex_machine *machine)
{
  machine->reads++;
  for (unsigned i = 0; i < machine->count && machine->clears; i++) {
    machine->products[i].vends_reset = 0;
    machine->products[i].value_reset = 0;
  }
}

void sip_dex_machine_state(const struct sip_dex_machine *machine, struct sip_note *note)
{
  (void)sip_note_int(note, "reads", machine->reads);
  (void)sip_note_int(note, "vends", machine->cash_count + machine->cashless_count);
  (void)sip_note_int(note, "value_minor", machine->cash + machine->cashless);
}
