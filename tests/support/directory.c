/* directory.c - see directory.h */
#include "support/directory.h"

#include "support/test.h"

#include <ftw.h>
#include <unistd.h>

static char directory[64];
static pid_t owner; /* its forks remove nothing */

static int remove_entry(const char *path, const struct stat *about, int type, struct FTW *where)
{
  (void)about;
  (void)type;
  (void)where;
  return remove(path);
}

static void remove_directory(void)
{
  if (getpid() == owner) {
    (void)nftw(directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
  }
}

const char *test_directory(void)
{
  if (directory[0] == '\0') {
    (void)snprintf(directory, sizeof directory, "/tmp/sipeat-test-XXXXXX");
    CHECK(mkdtemp(directory) != NULL);
    owner = getpid();
    CHECK_INT(atexit(remove_directory), 0);
  }
  return directory;
}

void test_new_path(char *out, size_t size, const char *name)
{
  static int count;

  (void)snprintf(out, size, "%s/%d-%s", test_directory(), ++count, name);
}
