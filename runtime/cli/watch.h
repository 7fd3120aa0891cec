#ifndef SIP_CLI_WATCH_H
#define SIP_CLI_WATCH_H
/* watch.h - tells when one of a few files was saved. Loop thread.
 *
 * Directories are watched (editors write a new file and rename it), quiet for 100 ms counts as
 * saved, and every file is also looked at once a second, for file systems that do not tell. A file
 * that is missing or empty is being written: it counts once it has content. */
#include "core/err.h"

#include <stdbool.h>
#include <stddef.h>

struct sip_file_mark;
struct sip_watch;

typedef void (*sip_watch_fn)(void *arg);

/** Watches nothing yet. `on_saved` is called on the loop thread, never from inside of a function of
 * this header. */
int sip_watch_new(struct sip_watch **out, uv_loop_t *loop, sip_watch_fn on_saved, void *arg,
                  struct sip_err *err);

/** From now on these files (absolute paths, copied). What a file looked like when on_saved was last
 * called is kept, so a save in the meantime is not missed; `marks` has what new ones looked like
 * when they were read, for the same reason. @return 0 or UV_ENOMEM: the old list stays */
int sip_watch_files(struct sip_watch *watch, const char *const *files,
                    const struct sip_file_mark *marks, size_t count, struct sip_err *err);

/** While true, any saved .lua file in the watched directories counts: after a load failed, its
 * missing piece may be one that no version has loaded yet. */
void sip_watch_any_script(struct sip_watch *watch, bool any);

/** Looks now. */
void sip_watch_look(struct sip_watch *watch);

/** No call follows; the memory goes in the loop's next turns. Accepts NULL. */
void sip_watch_close(struct sip_watch *watch);

#endif
