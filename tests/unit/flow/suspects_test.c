/* suspects_test.c - the list of suspects and its file; deaths that a file of a dead worker tells.
 */
#include "flow/deaths.h"
#include "flow/suspects.h"
#include "support/test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char directory[] = "/tmp/sipeat-suspects-XXXXXX";
static char path[64];

static struct sip_suspect event(int64_t offset)
{
  struct sip_suspect made = { .offset = offset, .partition = 3 };

  (void)snprintf(made.cluster, sizeof made.cluster, "a:9092,b:9092");
  (void)snprintf(made.group, sizeof made.group, "a group");
  (void)snprintf(made.topic, sizeof made.topic, "orders");
  return made;
}

static void a_list_survives_its_file(void)
{
  struct sip_suspects list = { 0 }, again = { 0 };
  struct sip_suspect one = event(1), two = event(2);

  CHECK(sip_suspects_add(&list, &one) == 0 && sip_suspects_add(&list, &two) == 0);
  CHECK(sip_suspects_add(&list, &one) == 0);
  CHECK(list.count == 2 && sip_suspects_find(&list, &one)->deaths == 2);
  CHECK(sip_suspects_write(&list, path, NULL) == 0);
  CHECK(sip_suspects_read(&again, path, NULL) == 0);
  CHECK(again.count == 2 && sip_suspects_find(&again, &one)->deaths == 2);
  CHECK(sip_suspects_find(&again, &two)->deaths == 1);
  two.partition = 4;
  CHECK(sip_suspects_find(&again, &two) == NULL);
  sip_suspects_remove(&again, sip_suspects_find(&again, &one));
  CHECK(again.count == 1 && sip_suspects_find(&again, &one) == NULL);
  sip_suspects_deinit(&list);
  sip_suspects_deinit(&again);
}

static void what_does_not_parse_or_is_old_is_left_out(void)
{
  struct sip_suspects list = { 0 };
  struct sip_suspect wanted = event(9);
  FILE *file = fopen(path, "w");

  CHECK(file != NULL);
  (void)fprintf(file, "nonsense\n\n1\t2\n0\t%lld\ta:9092,b:9092\ta group\torders\t3\t9\n",
                (long long)time(NULL));
  (void)fprintf(file, "1\t5\ta:9092,b:9092\ta group\torders\t3\t8\n");
  (void)fprintf(file, "2\t%lld\ta:9092,b:9092\ta group\torders\t3\t9\n", (long long)time(NULL));
  (void)fprintf(file, "2\t%lld\ta:9092,b:9092\ta group\torders\t3", (long long)time(NULL));
  CHECK(fclose(file) == 0);
  CHECK(sip_suspects_read(&list, path, NULL) == 0);
  CHECK(list.count == 1 && sip_suspects_find(&list, &wanted)->deaths == 2);
  CHECK(unlink(path) == 0);
  CHECK(sip_suspects_read(&list, path, NULL) == 0 && list.count == 0);
  sip_suspects_deinit(&list);
}

static void of_too_many_the_oldest_is_forgotten(void)
{
  struct sip_suspects list = { 0 };
  struct sip_suspect first = event(0), second = event(1), last = event(SIP_SUSPECTS_MAX);

  for (int64_t i = 0; i < SIP_SUSPECTS_MAX; i++) {
    struct sip_suspect one = event(i);

    CHECK(sip_suspects_add(&list, &one) == 0);
  }
  sip_suspects_find(&list, &second)->died_at_s -= 10;
  CHECK(sip_suspects_add(&list, &last) == 0);
  CHECK(list.count == SIP_SUSPECTS_MAX && sip_suspects_find(&list, &second) == NULL);
  CHECK(sip_suspects_find(&list, &first) != NULL && sip_suspects_find(&list, &last) != NULL);
  sip_suspects_deinit(&list);
}

/* A process that dies in the middle of an event, or after it. */
static void die(int64_t offset, bool in_the_middle)
{
  pid_t child = fork();
  int status;

  CHECK(child >= 0);
  if (child == 0) {
    struct sip_deaths *deaths = NULL;
    uint32_t slot;

    if (sip_deaths_open(&deaths, directory, "here", NULL) < 0) {
      _exit(1);
    }
    slot = sip_deaths_slot(deaths, "g", "t", 7);
    sip_deaths_mark(deaths)->offset = offset;
    sip_deaths_mark(deaths)->slot = in_the_middle ? slot : 0;
    _exit(slot == 0);
  }
  CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void deaths_are_counted_until_they_are_cleared(void)
{
  struct sip_deaths *deaths = NULL, *beside = NULL;
  uint32_t slot, other;

  die(5, true);
  die(5, true);
  die(6, false);
  CHECK(sip_deaths_open(&deaths, directory, "here", NULL) == 0);
  CHECK(sip_deaths_open(&beside, directory, "elsewhere", NULL) == 0); /* the first one lives */
  other = sip_deaths_slot(deaths, "g", "t", 6);
  slot = sip_deaths_slot(deaths, "g", "t", 7);
  CHECK(slot != 0 && other != 0 && slot != other);
  CHECK(sip_deaths_any(deaths, slot) && !sip_deaths_any(deaths, other));
  CHECK(sip_deaths_of(deaths, slot, 5) == 2 && sip_deaths_of(deaths, slot, 6) == 0);
  CHECK(sip_deaths_of(beside, sip_deaths_slot(beside, "g", "t", 7), 5) == 0);
  sip_deaths_clear(deaths, slot, 5);
  CHECK(sip_deaths_of(deaths, slot, 5) == 0);
  sip_deaths_release(deaths, slot);
  CHECK(sip_deaths_slot(deaths, "g", "t", 8) == slot);
  sip_deaths_close(deaths);
  sip_deaths_close(beside);
  CHECK(sip_deaths_open(&deaths, directory, "here", NULL) == 0);
  CHECK(sip_deaths_of(deaths, sip_deaths_slot(deaths, "g", "t", 7), 5) == 0);
  sip_deaths_close(deaths);
}

int main(void)
{
  CHECK(mkdtemp(directory) != NULL);
  (void)snprintf(path, sizeof path, "%s/suspects", directory);
  a_list_survives_its_file();
  what_does_not_parse_or_is_old_is_left_out();
  of_too_many_the_oldest_is_forgotten();
  deaths_are_counted_until_they_are_cleared();
  CHECK(chdir(directory) == 0 && unlink("suspects") == 0 && unlink("lock") == 0);
  CHECK(rmdir(directory) == 0); /* nothing else was left */
  return 0;
}
