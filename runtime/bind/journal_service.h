#ifndef SIP_BIND_JOURNAL_SERVICE_H
#define SIP_BIND_JOURNAL_SERVICE_H
/* journal_service.h - what the files of sipeat.core.journal share. Loop thread. */
#include "bind/journal_lua.h"
#include "journal/journal.h"
#include "journal/shared.h"

/* The journal of a worker. */
struct sip_journal_service {
  struct sip_journal_shared *shared; /* borrowed */
  struct sip_journal *journal;       /* NULL: not open */
  sip_journal_failed_fn on_failed;
  void *arg;
  bool wanted, failed;
};

/** NULL in a verb or a test that has none. */
struct sip_journal_service *sip_journal_service(lua_State *L);

/** NULL unless it is open. */
struct sip_journal *sip_journal_lua_journal(lua_State *L);

/** How something ended that was written: the first failure is the host's to hear of. */
void sip_journal_service_look(struct sip_journal_service *service, int status,
                              const struct sip_err *err);

/** Adds write and blob, or what is of records, to the module on the top of the stack. */
void sip_journal_write_functions(lua_State *L);  /* journal_write_lua.c */
void sip_journal_record_functions(lua_State *L); /* journal_record_lua.c */

#endif
