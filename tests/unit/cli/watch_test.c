/* watch_test.c - saved files are noticed, however they are saved; half-written and foreign ones are
 * not. */
#include "cli/watch.h"
#include "core/file_mark.h"
#include "support/test.h"

#include <limits.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <unistd.h>

static uv_loop_t loop;
static uv_timer_t deadline;
static struct sip_watch *watch;
static int saves;
static char directory[] = "/tmp/sipeat-watch-XXXXXX";
static char script[PATH_MAX], module[PATH_MAX];

static void on_saved(void *arg)
{
  CHECK(arg == &saves);
  saves++;
}

static void on_deadline(uv_timer_t *timer)
{
  (void)timer;
  SIP_TEST_FAIL("nothing noticed within 10 s; saves: %d", saves);
}

static void wait_for(int count)
{
  CHECK_INT(uv_timer_start(&deadline, on_deadline, 10000, 0), 0);
  while (saves < count) {
    CHECK(uv_run(&loop, UV_RUN_ONCE) != 0);
  }
  CHECK_INT(saves, count);
  CHECK_INT(uv_timer_stop(&deadline), 0);
}

static void on_pause(uv_timer_t *timer)
{
  *(bool *)timer->data = true;
}

/** Lets the watch look at least once more: it polls every second. */
static void let_poll(void)
{
  bool over = false;
  uv_timer_t pause;

  CHECK_INT(uv_timer_init(&loop, &pause), 0);
  pause.data = &over;
  CHECK_INT(uv_timer_start(&pause, on_pause, 1300, 0), 0);
  while (!over) {
    CHECK(uv_run(&loop, UV_RUN_ONCE) != 0);
  }
  uv_close((uv_handle_t *)&pause, NULL);
  (void)uv_run(&loop, UV_RUN_NOWAIT);
}

static void put(const char *path, const char *text)
{
  FILE *file = fopen(path, "w");

  CHECK(file != NULL);
  CHECK(fputs(text, file) >= 0);
  CHECK_INT(fclose(file), 0);
}

static const char *in(const char *name)
{
  static char path[PATH_MAX];

  (void)snprintf(path, sizeof path, "%s/%s", directory, name);
  return path;
}

static void saved_files_are_noticed(void)
{
  put(script, "return 2 -- in place");
  wait_for(1);
  put(in("script.lua.tmp"), "return 3");
  CHECK_INT(rename(in("script.lua.tmp"), script), 0);
  wait_for(2);
  put(module, "return 22");
  wait_for(3);
  CHECK_INT(unlink(script), 0); /* removed and written anew */
  put(script, "return 44444");
  wait_for(4);
}

static void unfinished_and_foreign_files_are_not(void)
{
  put(in("events.db"), "1");
  put(script, "");
  let_poll();
  CHECK_INT(saves, 4);
  put(script, "return 5 -- complete now");
  wait_for(5);
}

static void missing_piece_counts_after_a_failed_load(void)
{
  put(in("other.lua"), "return 1");
  let_poll();
  CHECK_INT(saves, 5);
  sip_watch_any_script(watch, true);
  put(in("other.lua"), "return 1, 2");
  wait_for(6);
  sip_watch_any_script(watch, false);
}

static void new_list_keeps_what_was_seen(void)
{
  const char *files[] = { module };
  const struct sip_file_mark none = { 0 };
  struct sip_err err = { 0 };

  put(module, "return 333333"); /* unseen: the list changes before anyone looks */
  CHECK_INT(sip_watch_files(watch, files, &none, 1, &err), 0);
  wait_for(7);
  put(script, "return 6 -- not watched any more");
  let_poll();
  CHECK_INT(saves, 7);
}

static struct sip_file_mark mark_of(const char *path)
{
  struct stat info;

  CHECK_INT(stat(path, &info), 0);
  return sip_file_mark_of(&info);
}

static void save_before_the_first_look_counts(void)
{
  const char *files[] = { script, module };
  const struct sip_file_mark marks[] = { mark_of(script), mark_of(module) };
  struct sip_err err = { 0 };

  put(script, "return 77 -- after it was read");
  CHECK_INT(sip_watch_files(watch, files, marks, 2, &err), 0);
  wait_for(8);
  let_poll();
  CHECK_INT(saves, 8);
}

static void empty_as_it_was_read_counts_when_written(void)
{
  const char *files[] = { in("other.lua") };
  struct sip_file_mark mark;
  struct sip_err err = { 0 };

  put(files[0], "");
  mark = mark_of(files[0]);
  CHECK_INT(sip_watch_files(watch, files, &mark, 1, &err), 0);
  let_poll();
  CHECK_INT(saves, 8);
  put(in("other.lua"), "return 3");
  wait_for(9);
}

int main(void)
{
  const struct sip_file_mark none[2] = { { 0 } };
  const char *files[2];
  struct sip_err err = { 0 };

  CHECK(mkdtemp(directory) != NULL);
  (void)snprintf(script, sizeof script, "%s", in("script.lua"));
  (void)snprintf(module, sizeof module, "%s", in("module.lua"));
  files[0] = script;
  files[1] = module;
  put(script, "return 1");
  put(module, "return 1");
  CHECK_INT(uv_loop_init(&loop), 0);
  CHECK_INT(uv_timer_init(&loop, &deadline), 0);
  CHECK_INT(sip_watch_new(&watch, &loop, on_saved, &saves, &err), 0);
  CHECK_INT(sip_watch_files(watch, files, none, 2, &err), 0);
  let_poll(); /* the first look is done */
  CHECK_INT(saves, 0);
  saved_files_are_noticed();
  unfinished_and_foreign_files_are_not();
  missing_piece_counts_after_a_failed_load();
  new_list_keeps_what_was_seen();
  save_before_the_first_look_counts();
  empty_as_it_was_read_counts_when_written();
  sip_watch_look(watch); /* closed while a scan runs */
  sip_watch_close(watch);
  sip_watch_close(NULL);
  uv_close((uv_handle_t *)&deadline, NULL);
  SIP_TEST_END(&loop);
  CHECK_INT(unlink(in("events.db")) | unlink(in("other.lua")) | unlink(script) | unlink(module), 0);
  CHECK_INT(rmdir(directory), 0);
  return 0;
}
