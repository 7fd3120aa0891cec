/* statements.c - the journal's SQL, the same for every database. */
#include "journal/statements.h"

#include <string.h>

#define LIGHT_COLUMNS                                                                              \
  "id, epoch, state, due, at, flow, cluster, topic, part, pos, event_id, type, key, script, "      \
  "NULL, changed, why"

#define PURGED "SELECT id FROM run WHERE id > $2 AND id <= $3 AND state >= 10 AND changed < $1"

const char *const sip_statements[SIP_STATEMENT_COUNT] = {
  [SIP_STATEMENT_RUN_ADD] =
    "INSERT INTO run (id, epoch, state, due, at, flow, cluster, topic, part, pos, event_id, type,"
    " key, script, record, changed) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,"
    " $13, $14, $15, $5) ON CONFLICT DO NOTHING",
  [SIP_STATEMENT_RUN_STATE] = "UPDATE run SET state = $3, due = $4, changed = $5, why = $6"
                              " WHERE id = $1 AND epoch = $2",
  [SIP_STATEMENT_RECORD_ADD] =
    "INSERT INTO record (run, seq, at, phase, scope, body) SELECT id, CAST($3 AS BIGINT),"
    " CAST($4 AS BIGINT), CAST($5 AS BIGINT), CAST($6 AS TEXT), CAST($7 AS TEXT) FROM run"
    " WHERE id = $1 AND epoch = $2",
  [SIP_STATEMENT_RUN_TAKE] = "UPDATE run SET epoch = $3 WHERE id = $1 AND epoch = $2",
  [SIP_STATEMENT_RUN_SEIZE] =
    "UPDATE run SET epoch = 0 WHERE id = $1 AND epoch = $2 AND state = $3",
  [SIP_STATEMENT_SCRIPT_ADD] = "INSERT INTO script (hash, at, files) VALUES ($1, $2, $3)"
                               " ON CONFLICT (hash) DO UPDATE SET at = excluded.at",
  [SIP_STATEMENT_WAIT_ADD] = "INSERT INTO wait (name, key, run, scope) VALUES ($1, $2, $3, $4)"
                             " ON CONFLICT DO NOTHING",
  [SIP_STATEMENT_WAIT_DROP] = "DELETE FROM wait WHERE run = $1 AND scope = $2",
  [SIP_STATEMENT_WAITS_END] =
    "DELETE FROM wait WHERE run IN (SELECT id FROM run WHERE id = $1 AND epoch = $2)",
  [SIP_STATEMENT_SIGNAL_ADD] = "INSERT INTO signal (name, key, id, at, body) VALUES ($1, $2, $3,"
                               " $4, $5) ON CONFLICT DO NOTHING",
  [SIP_STATEMENT_SIGNAL_TAKE] = "UPDATE signal SET taken = $4 WHERE name = $1 AND key = $2"
                                " AND id = $3 AND (taken IS NULL OR taken = $4)",
  [SIP_STATEMENT_AUDIT_ADD] =
    "INSERT INTO audit (run, at, who, verb, why) SELECT id, CAST($3 AS BIGINT),"
    " CAST($4 AS TEXT), CAST($5 AS TEXT), CAST($6 AS TEXT) FROM run WHERE id = $1 AND epoch = $2",
  [SIP_STATEMENT_META_SET] = "INSERT INTO meta (key, value) VALUES ($1, $2)"
                             " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
  [SIP_STATEMENT_PURGE_RECORDS] = "DELETE FROM record WHERE run IN (" PURGED ")",
  [SIP_STATEMENT_PURGE_AUDIT] = "DELETE FROM audit WHERE run IN (" PURGED ")",
  [SIP_STATEMENT_PURGE_RUNS] = "DELETE FROM run WHERE id IN (" PURGED ")",
  [SIP_STATEMENT_PURGE_SCRIPTS] =
    "DELETE FROM script WHERE at < $1 AND NOT EXISTS (SELECT 1 FROM run WHERE script = hash)",
  [SIP_STATEMENT_PURGE_SIGNALS] = "DELETE FROM signal WHERE at < $1",
  [SIP_STATEMENT_META_GET] = "SELECT value FROM meta WHERE key = $1",
  [SIP_STATEMENT_RUN_GET] = "SELECT " SIP_RUN_COLUMNS " FROM run WHERE id = $1",
  [SIP_STATEMENT_RUN_AT] = "SELECT " SIP_RUN_COLUMNS " FROM run WHERE flow = $1 AND cluster = $2"
                           " AND topic = $3 AND part = $4 AND pos = $5",
  [SIP_STATEMENT_RUN_OF_EVENT] =
    "SELECT id, state FROM run WHERE flow = $1 AND event_id = $2 AND at >= $3",
  /* One look into the index of (flow, event) for each flow. */
  [SIP_STATEMENT_RUNS_OF_EVENT] =
    "WITH RECURSIVE f(flow) AS (SELECT min(flow) FROM run UNION ALL SELECT (SELECT min(flow) FROM"
    " run WHERE flow > f.flow) FROM f WHERE f.flow IS NOT NULL) SELECT id, state FROM f, run"
    " WHERE run.flow = f.flow AND event_id = $1 ORDER BY id",
  [SIP_STATEMENT_OPEN_BEFORE] = "SELECT " LIGHT_COLUMNS " FROM run WHERE state < 10 AND id < $1"
                                " ORDER BY id DESC LIMIT $2",
  [SIP_STATEMENT_ENDED_BEFORE] = "SELECT " LIGHT_COLUMNS " FROM run WHERE state >= 10 AND id < $1"
                                 " ORDER BY id DESC LIMIT $2",
  [SIP_STATEMENT_PAGE_END] =
    "SELECT max(id) FROM (SELECT id FROM run WHERE id > $1 ORDER BY id LIMIT $2) AS page",
  [SIP_STATEMENT_RUNS_OPEN] = "SELECT " SIP_RUN_COLUMNS " FROM run WHERE state < 10 AND id > $1"
                              " ORDER BY id LIMIT $2",
  [SIP_STATEMENT_RUNS_READY] =
    "SELECT " SIP_RUN_COLUMNS " FROM run WHERE state < 10 AND state IN (1, 4) AND epoch = $1"
    " AND id > $2 ORDER BY id LIMIT $3",
  [SIP_STATEMENT_RUNS_ORPHANED] =
    "SELECT id, epoch FROM run WHERE state < 10 AND id > $1 AND epoch NOT IN"
    " (SELECT epoch FROM host WHERE until > $2) ORDER BY id LIMIT $3",
  [SIP_STATEMENT_HOSTS] = "SELECT epoch, name, until FROM host ORDER BY epoch",
  [SIP_STATEMENT_RUNS_DUE] =
    "SELECT id FROM run WHERE state < 10 AND state IN (2, 3) AND epoch = $1"
    " AND due > 0 AND due <= $2 ORDER BY due LIMIT $3",
  [SIP_STATEMENT_RECORDS] =
    "SELECT seq, at, phase, scope, body FROM record WHERE run = $1 ORDER BY seq",
  [SIP_STATEMENT_SCRIPT_GET] = "SELECT files FROM script WHERE hash = $1",
  [SIP_STATEMENT_SCRIPTS_USED] =
    "SELECT hash, at, (SELECT count(*) FROM run WHERE run.script = script.hash AND state < 10)"
    " FROM script ORDER BY at",
  [SIP_STATEMENT_WAITS_FOR] =
    "SELECT run, scope FROM wait WHERE name = $1 AND key = $2 ORDER BY run",
  [SIP_STATEMENT_SIGNALS_FOR] = "SELECT id, at, body FROM signal WHERE name = $1 AND key = $2"
                                " AND (taken IS NULL OR taken = $3) ORDER BY at, id",
  [SIP_STATEMENT_AUDIT] = "SELECT at, who, verb, why FROM audit WHERE run = $1 ORDER BY at",
  [SIP_STATEMENT_COUNTS] = "SELECT state, count(*), min(at) FROM run GROUP BY state",
  [SIP_STATEMENT_COUNTS_OPEN] =
    "SELECT state, count(*), min(at) FROM run WHERE state < 10 GROUP BY state",
};

static const char *const names[SIP_STATEMENT_COUNT] = {
  [SIP_STATEMENT_RUN_ADD] = "run_add",
  [SIP_STATEMENT_RUN_STATE] = "run_state",
  [SIP_STATEMENT_RECORD_ADD] = "record_add",
  [SIP_STATEMENT_RUN_TAKE] = "run_take",
  [SIP_STATEMENT_RUN_SEIZE] = "run_seize",
  [SIP_STATEMENT_SCRIPT_ADD] = "script_add",
  [SIP_STATEMENT_WAIT_ADD] = "wait_add",
  [SIP_STATEMENT_WAIT_DROP] = "wait_drop",
  [SIP_STATEMENT_WAITS_END] = "waits_end",
  [SIP_STATEMENT_SIGNAL_ADD] = "signal_add",
  [SIP_STATEMENT_SIGNAL_TAKE] = "signal_take",
  [SIP_STATEMENT_AUDIT_ADD] = "audit_add",
  [SIP_STATEMENT_META_SET] = "meta_set",
  [SIP_STATEMENT_PURGE_RECORDS] = "purge_records",
  [SIP_STATEMENT_PURGE_AUDIT] = "purge_audit",
  [SIP_STATEMENT_PURGE_RUNS] = "purge_runs",
  [SIP_STATEMENT_PURGE_SCRIPTS] = "purge_scripts",
  [SIP_STATEMENT_PURGE_SIGNALS] = "purge_signals",
  [SIP_STATEMENT_META_GET] = "meta_get",
  [SIP_STATEMENT_RUN_GET] = "run_get",
  [SIP_STATEMENT_RUN_AT] = "run_at",
  [SIP_STATEMENT_RUN_OF_EVENT] = "run_of_event",
  [SIP_STATEMENT_RUNS_OF_EVENT] = "runs_of_event",
  [SIP_STATEMENT_RUNS_OPEN] = "runs_open",
  [SIP_STATEMENT_OPEN_BEFORE] = "open_before",
  [SIP_STATEMENT_ENDED_BEFORE] = "ended_before",
  [SIP_STATEMENT_PAGE_END] = "page_end",
  [SIP_STATEMENT_RUNS_READY] = "runs_ready",
  [SIP_STATEMENT_RUNS_ORPHANED] = "runs_orphaned",
  [SIP_STATEMENT_HOSTS] = "hosts",
  [SIP_STATEMENT_RUNS_DUE] = "runs_due",
  [SIP_STATEMENT_RECORDS] = "records",
  [SIP_STATEMENT_SCRIPT_GET] = "script_get",
  [SIP_STATEMENT_SCRIPTS_USED] = "scripts_used",
  [SIP_STATEMENT_WAITS_FOR] = "waits_for",
  [SIP_STATEMENT_SIGNALS_FOR] = "signals_for",
  [SIP_STATEMENT_AUDIT] = "audit",
  [SIP_STATEMENT_COUNTS] = "counts",
  [SIP_STATEMENT_COUNTS_OPEN] = "counts_open",
};

int sip_statement_number(const char *name)
{
  for (int i = 0; i < SIP_STATEMENT_COUNT; i++) {
    if (strcmp(names[i], name) == 0) {
      return i;
    }
  }
  return -1;
}
