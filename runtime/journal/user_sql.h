#ifndef SIP_JOURNAL_USER_SQL_H
#define SIP_JOURNAL_USER_SQL_H
/* user_sql.h - statements of scripts that ride in the journal's transaction: which ones may, and
 * one way of writing their parameters for every database. */
#include "core/buf.h"
#include "core/err.h"

/** Whether the statement may share a transaction: it reads or changes tables, and neither begins
 *  nor ends anything. @return 0 or SIP_ESCRIPT */
int sip_user_sql_check(struct sip_slice sql, struct sip_err *err);

/** Appends the statement with $1, $2, … for each ? outside of texts, names and comments (?2 becomes
 *  $2), and a NUL. @return 0 or UV_ENOMEM */
int sip_user_sql_number(struct sip_buf *out, struct sip_slice sql);

#endif
