/* client_text_test.c - question marks of statements and texts of arrays, also broken ones. */
#include "postgres/client.h"

#include "support/test.h"

#include <stdlib.h>
#include <string.h>

/* The statement that is sent for this one; the name of the error when it is refused. */
static const char *sql_of(const char *text)
{
  static char result[300];
  struct sip_pg_job *job = sip_pg_job_new(SIP_PG_STATEMENT);
  struct sip_err err = { 0 };
  size_t len = strlen(text);
  char *exact = malloc(len + 1); /* so that a sanitizer sees a look beyond the end */

  CHECK(job != NULL && exact != NULL);
  memcpy(exact, text, len);
  if (sip_pg_job_set_sql(job, exact, len, &err) < 0) {
    (void)snprintf(result, sizeof result, "%s", err.name);
  } else {
    (void)snprintf(result, sizeof result, "%s", job->sql.data);
  }
  sip_pg_job_free(job);
  free(exact);
  return result;
}

static void question_marks_are_numbered(void)
{
  CHECK_STR(sql_of("SELECT ?, ?"), "SELECT $1, $2");
  CHECK_STR(sql_of("SELECT ?2, ?1"), "SELECT $2, $1");
  CHECK_STR(sql_of("SELECT a ?? 'x', ?"), "SELECT a ? 'x', $1");
  CHECK_STR(sql_of("SELECT $1, a ? 'x'"), "SELECT $1, a ? 'x'");
  CHECK_STR(sql_of(""), " ");
}

static void what_is_no_code_is_left_alone(void)
{
  CHECK_STR(sql_of("SELECT '?', 'it''s ?', \"?\", ?"), "SELECT '?', 'it''s ?', \"?\", $1");
  CHECK_STR(sql_of("SELECT E'\\'?', ? -- ?\n, ?"), "SELECT E'\\'?', $1 -- ?\n, $2");
  CHECK_STR(sql_of("/* ? /* ? */ ? */ SELECT ?"), "/* ? /* ? */ ? */ SELECT $1");
  CHECK_STR(sql_of("SELECT $$?$$, $a$?$$?$a$, ?"), "SELECT $$?$$, $a$?$$?$a$, $1");
  CHECK_STR(sql_of("SELECT a$b ? c"), "SELECT a$b $1 c");
}

static void what_does_not_end_ends_with_the_statement(void)
{
  static const char *const texts[] = { "SELECT '?",   "SELECT \"?", "/* ?",  "-- ?",
                                       "SELECT $a$?", "SELECT $",   "E'?\\", "/* /* */ ?" };

  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    CHECK_STR(sql_of(texts[i]), texts[i]);
  }
  CHECK_STR(sql_of("?"), "$1");
}

static void transactions_are_not_begun_by_hand(void)
{
  static const char *const refused[] = { "BEGIN",
                                         " begin;",
                                         "/* x */ -- y\n Start Transaction",
                                         "COMMIT",
                                         "END",
                                         "ABORT",
                                         "rollback",
                                         "ROLLBACK WORK",
                                         "-- a\nEND;",
                                         "COMMIT\tWORK",
                                         "PREPARE /* x */ TRANSACTION 'mine'" };
  static const char *const taken[] = { "ROLLBACK TO s",  "rollback to savepoint s",
                                       "SAVEPOINT s",    "RELEASE s",
                                       "SELECT 'BEGIN'", "PREPARE p AS SELECT 1",
                                       "ENDED",          "-- BEGIN" };

  for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
    CHECK_STR(sql_of(refused[i]), "SQL_ERROR");
  }
  for (size_t i = 0; i < sizeof taken / sizeof taken[0]; i++) {
    CHECK_STR(sql_of(taken[i]), taken[i]);
  }
}

/* The parts of an array's text: { } for brackets, N for NULL, ! for wrong, else the item and a |.
 */
static const char *parts_of(const char *text)
{
  static char result[300];
  struct sip_slice slice = { NULL, strlen(text) };
  struct sip_buf item = SIP_BUF_INIT;
  enum sip_pg_token token;
  char *exact = malloc(slice.len + 1);
  size_t at = 0;

  CHECK(exact != NULL);
  memcpy(exact, text, slice.len);
  slice.data = exact;
  result[0] = '\0';
  while ((token = sip_pg_array_next(slice, &at, &item)) != SIP_PG_END) {
    size_t used = strlen(result);
    const char *shown = token == SIP_PG_OPEN    ? "{"
                        : token == SIP_PG_CLOSE ? "}"
                        : token == SIP_PG_NULL  ? "N"
                        : token == SIP_PG_WRONG ? "!"
                        : item.data == NULL     ? ""
                                                : item.data;

    (void)snprintf(result + used, sizeof result - used, "%s%s", shown,
                   token == SIP_PG_ITEM ? "|" : "");
    if (token == SIP_PG_WRONG) {
      break;
    }
  }
  sip_buf_deinit(&item);
  free(exact);
  return result;
}

static void arrays_come_apart(void)
{
  CHECK_STR(parts_of("{1,2,NULL}"), "{1|2|N}");
  CHECK_STR(parts_of("{}"), "{}");
  CHECK_STR(parts_of("{{a,b},{c,d}}"), "{{a|b|}{c|d|}}");
  CHECK_STR(parts_of("{\"a,\\\"b\\\\{}\",\"NULL\",\"\"}"), "{a,\"b\\{}|NULL||}");
  CHECK_STR(parts_of("[0:1]={5,6}"), "{5|6|}");
}

static void broken_arrays_are_found_out(void)
{
  CHECK_STR(parts_of("{\"a"), "{!");
  CHECK_STR(parts_of("{\"a\\"), "{!");
  CHECK_STR(parts_of("[0:1]"), "");
  CHECK_STR(parts_of(""), "");
  CHECK_STR(parts_of("{1"), "{1|");
}

int main(void)
{
  question_marks_are_numbered();
  what_is_no_code_is_left_alone();
  what_does_not_end_ends_with_the_statement();
  transactions_are_not_begun_by_hand();
  arrays_come_apart();
  broken_arrays_are_found_out();
  return 0;
}
