/* port_test.c - opening ports: permissions, lock files, what is no port. No threads here. */
#include "lines.h"
#include "serial/list.h"
#include "serial/lock.h"
#include "serial/sysfs.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static int try_open(const char *name, struct sip_serial_port **port, struct sip_err *err)
{
  struct sip_port_settings settings = { .line = sip_protocol_raw.line };

  (void)snprintf(settings.name, sizeof settings.name, "%s", name);
  return sip_port_open(port, &settings, err);
}

static struct sip_serial_port *simulate(const char *link)
{
  struct sip_port_settings settings = { .name = "" };
  struct sip_serial_port *port = NULL;
  struct sip_err err = { 0 };

  (void)snprintf(settings.name, sizeof settings.name, "%s", link);
  if (sip_port_simulate(&port, &settings, &err) < 0) {
    SIP_TEST_FAIL("%s", err.message);
  }
  return port;
}

enum { DIALOUT = 20 }; /* any group but root's */

/* Root may open anything: another user tries. */
static int open_as_nobody(const char *path, const char *hint)
{
  struct sip_serial_port *port = NULL;
  struct sip_err err = { 0 };
  int status;
  pid_t child = fork();

  CHECK(child >= 0);
  if (child == 0) {
    int rc;

    if (geteuid() == 0 && seteuid(65534) < 0) {
      _exit(3);
    }
    rc = try_open(path, &port, &err);
    _exit(rc == UV_EACCES && strstr(err.message, hint) != NULL ? 0 : 1);
  }
  CHECK_INT(waitpid(child, &status, 0), child);
  return status;
}

static void permission_denied_names_the_group(void)
{
  struct sip_serial_port *board = simulate("");

  CHECK(chmod(board->path, 0) == 0);
  CHECK_INT(open_as_nobody(board->path, "no group may use it, its mode is 0000"), 0);
  CHECK(geteuid() != 0 || chown(board->path, (uid_t)-1, DIALOUT) == 0);
  CHECK(chmod(board->path, 060) == 0); /* its owner may not, but its group */
  CHECK_INT(open_as_nobody(board->path, "is this user in the group"), 0);
  sip_port_close(board);
}

static void what_is_no_port_says_so(void)
{
  struct sip_serial_port *port;
  struct sip_err err = { 0 };

  CHECK_INT(try_open("/dev/null", &port, &err), UV_ENOTTY);
  CHECK_INT(try_open("/tmp", &port, &err), UV_ENOTTY);
  CHECK_HAS(err.message, "no serial port");
  CHECK_INT(try_open("COM1", &port, &err), UV_EINVAL);
  CHECK_INT(try_open("/dev/ttySipeat0", &port, &err), UV_ENOENT);
}

/* Whatever mode it was in, bytes come as they are. */
static void a_port_is_raw_and_stale_bytes_are_dropped(void)
{
  struct sip_serial_port *board = simulate(""), *port;
  struct sip_err err = { 0 };
  struct termios mode;
  char bytes[16];
  int fd = open(board->path, O_RDWR | O_NOCTTY | O_CLOEXEC);

  CHECK(fd >= 0 && tcgetattr(fd, &mode) == 0);
  mode.c_lflag |= ECHO;
  mode.c_iflag |= ICRNL | IXON | ISTRIP;
  mode.c_cflag |= HUPCL;
  CHECK(tcsetattr(fd, TCSANOW, &mode) == 0);
  mode.c_lflag &= (tcflag_t)~ECHO;
  CHECK(tcsetattr(fd, TCSANOW, &mode) == 0);
  CHECK_INT(board->ops->write(board, "stale", 5, &err), 5);
  CHECK_INT(poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 20000), 1); /* it is there */
  CHECK_INT(try_open(board->path, &port, &err), 0);
  CHECK_INT(port->stale, 5);
  CHECK_INT(port->ops->read(port, bytes, sizeof bytes, &err), 0); /* silence is no hang-up */
  CHECK(tcgetattr(port->fd, &mode) == 0);
  CHECK_INT(mode.c_iflag & (ICRNL | IXON | IXOFF | ISTRIP | INLCR | BRKINT | PARMRK), 0);
  CHECK_INT(mode.c_lflag & (ICANON | ECHO | ISIG | IEXTEN), 0);
  CHECK_INT(mode.c_cflag & HUPCL, 0);
  CHECK(mode.c_cflag & CLOCAL && mode.c_cflag & CREAD);
  CHECK(close(fd) == 0);
  sip_port_close(board);
  CHECK(port->ops->read(port, bytes, sizeof bytes, &err) < 0); /* and this is one */
  CHECK(strcmp(err.name, "EIO") == 0 || strcmp(err.name, "EOF") == 0);
  sip_port_close(port);
}

static void a_link_takes_the_place_of_links_only(void)
{
  struct sip_port_settings settings = { .name = "" };
  char folder[] = "/tmp/sipeat-port-XXXXXX", link[64], target[64] = "";
  struct sip_serial_port *first, *second, *none = NULL;
  struct sip_err err = { 0 };
  int fd;

  CHECK(mkdtemp(folder) != NULL);
  (void)snprintf(link, sizeof link, "%s/board", folder);
  first = simulate(link);
  second = simulate(link);
  CHECK(readlink(link, target, sizeof target - 1) > 0);
  CHECK_STR(target, second->path);
  sip_port_close(first); /* whose link it is no more */
  CHECK(access(link, F_OK) == 0);
  sip_port_close(second);
  CHECK(access(link, F_OK) < 0);
  fd = open(link, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  CHECK(fd >= 0 && close(fd) == 0);
  (void)snprintf(settings.name, sizeof settings.name, "%s", link);
  CHECK_INT(sip_port_simulate(&none, &settings, &err), UV_EEXIST);
  CHECK(unlink(link) == 0 && rmdir(folder) == 0);
}

static void lock_files_are_those_of_other_programs(void)
{
  char folder[] = "/tmp/sipeat-lock-XXXXXX", path[64], text[64];
  struct sip_lock lock, second;
  struct sip_err err = { 0 };
  FILE *file;

  CHECK(mkdtemp(folder) != NULL);
  CHECK_INT(sip_lock_take(&lock, folder, "/dev/ttyUSB0", &err), 0);
  (void)snprintf(path, sizeof path, "%s/LCK..ttyUSB0", folder);
  CHECK_STR(lock.path, path);
  file = fopen(path, "r");
  CHECK(file != NULL && fgets(text, sizeof text, file) != NULL && fclose(file) == 0);
  CHECK_INT(strlen(text), 11); /* ten digits or spaces, and a line feed */
  CHECK_INT(strtol(text, NULL, 10), getpid());
  CHECK_INT(sip_lock_take(&second, folder, "/dev/ttyUSB0", &err), SIP_EBUSY);
  CHECK_HAS(err.message, "this process has it");
  sip_lock_release(&second); /* which has none */
  CHECK(access(path, F_OK) == 0);
  sip_lock_release(&lock);
  CHECK(access(path, F_OK) < 0);
  file = fopen(path, "w"); /* of init, which lives */
  CHECK(file != NULL && fputs("         1\n", file) >= 0 && fclose(file) == 0);
  CHECK_INT(sip_lock_take(&lock, folder, "/dev/ttyUSB0", &err), SIP_EBUSY);
  CHECK_HAS(err.message, "(process 1) has it");
  file = fopen(path, "w"); /* of one that is gone: no process has that number */
  CHECK(file != NULL && fputs("   9999999\n", file) >= 0 && fclose(file) == 0);
  CHECK_INT(sip_lock_take(&lock, folder, "/dev/ttyUSB0", &err), 0);
  sip_lock_release(&lock);
  file = fopen(path, "w"); /* our own number, of a run before this one */
  CHECK(file != NULL && fprintf(file, "%10ld\n", (long)getpid()) > 0 && fclose(file) == 0);
  CHECK_INT(sip_lock_take(&lock, folder, "/dev/ttyUSB0", &err), SIP_EBUSY); /* just now? */
  CHECK_INT(utimensat(AT_FDCWD, path, (struct timespec[2]){ { 0 }, { 0 } }, 0), 0);
  CHECK_INT(sip_lock_take(&lock, folder, "/dev/ttyUSB0", &err), 0);
  sip_lock_release(&lock);
  CHECK(rmdir(folder) == 0);
  CHECK_INT(sip_lock_take(&lock, folder, "/dev/ttyUSB0", &err), 0); /* nowhere to put it */
  CHECK_STR(lock.path, "");
}

static void ports_are_listed(void)
{
  struct sip_port_info *ports = NULL;
  struct sip_err err = { 0 };
  char text[64] = "x";
  int count = sip_port_list(&ports, &err);

  CHECK(count >= 0);
  for (int i = 0; i < count; i++) {
    CHECK_HAS(ports[i].path, "/dev/");
  }
  free(ports);
  sip_sysfs_driver("/dev/ttySipeat0", text, sizeof text);
  CHECK_STR(text, "");
  sip_sysfs_stable_name("/dev/ttySipeat0", text, sizeof text);
  CHECK_STR(text, "/dev/ttySipeat0"); /* nothing better is known */
}

int main(void)
{
  permission_denied_names_the_group();
  what_is_no_port_says_so();
  a_port_is_raw_and_stale_bytes_are_dropped();
  a_link_takes_the_place_of_links_only();
  lock_files_are_those_of_other_programs();
  ports_are_listed();
  (void)printf("ok\n");
  return 0;
}
