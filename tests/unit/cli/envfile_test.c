/* envfile_test.c - what a .env file may look like, and what a broken one is answered. */
#include "cli/envfile.h"
#include "core/buf.h"
#include "support/test.h"

#include <sys/stat.h>
#include <unistd.h>

static int collect(void *arg, const char *name, const char *value, struct sip_err *err)
{
  (void)err;
  return sip_buf_addf(arg, "%s=[%s]", name, value);
}

static void parses(const char *text, const char *expected)
{
  struct sip_buf out = SIP_BUF_INIT;
  struct sip_err err = { 0 };

  CHECK_INT(sip_envfile_parse(".env", text, strlen(text), collect, &out, &err), 0);
  CHECK_STR(out.data != NULL ? out.data : "", expected);
  sip_buf_deinit(&out);
}

static void refuses(const char *text, size_t len, const char *message)
{
  struct sip_buf out = SIP_BUF_INIT;
  struct sip_err err = { 0 };

  CHECK_INT(sip_envfile_parse(".env", text, len, collect, &out, &err), SIP_EDATA);
  CHECK_HAS(err.message, message);
  CHECK(strstr(err.message, "hunter2") == NULL);
  sip_buf_deinit(&out);
}

static void lines(void)
{
  parses("", "");
  parses("\n\n# nothing\n   # here\n", "");
  parses("A=1", "A=[1]");
  parses("A=1\nB=two words \n", "A=[1]B=[two words]");
  parses("export A=1\n  export\tB = 2\r\n", "A=[1]B=[2]");
  parses("exported=1\nexport=2\n", "exported=[1]export=[2]");
  parses("A=\nB=\"\"\n", "A=[]B=[]");
  parses("A=x # comment\nB=x#y\nC=#all\n", "A=[x]B=[x#y]C=[]");
  parses("URL=https://a/b?c=d&e=f\n", "URL=[https://a/b?c=d&e=f]");
  parses("\xef\xbb\xbf"
         "A=1\n",
         "A=[1]");
}

static void quotes(void)
{
  parses("A='a # \"b\" \\n'\n", "A=[a # \"b\" \\n]");
  parses("A=\"a\\n\\t\\\"b\\\" \\\\ \\$X \\q\" # c\n", "A=[a\n\t\"b\" \\ $X \\q]");
  parses("KEY=\"-----BEGIN\nabc\n\"\nB=2\n", "KEY=[-----BEGIN\nabc\n]B=[2]");
}

static void broken(void)
{
  static const char nul[] = "A=1\nB=hunter2\0\n";

  refuses("A=1\nhunter2 is it\n", 18, ".env:2: ");
  refuses("=hunter2\n", 9, ".env:1: a line is NAME=value");
  refuses("1A=hunter2\n", 11, ".env:1: ");
  refuses("A=1\n\nB=\"hunter2\nmore\n", 21, ".env:3: the quote \" that begins B is never closed");
  refuses("A='hunter2' x\n", 14, ".env:1: unexpected text after the closing quote of A");
  refuses(nul, sizeof nul - 1, ".env:2: a NUL byte");
  refuses("A-B=hunter2\n", 12, ".env:1: \"=\" is missing after the name");
}

static void merging(void)
{
  char directory[] = "/tmp/sipeat-envfile-XXXXXX";
  struct sip_err err = { 0 };
  FILE *file;

  CHECK(mkdtemp(directory) != NULL);
  CHECK_INT(chdir(directory), 0);
  CHECK_INT(sip_envfile_merge(".env", &err), 0); /* not there */
  file = fopen(".env", "w");
  CHECK(file != NULL);
  CHECK(fputs("SIP_T_GIVEN=file\nSIP_T_NEW=file\n", file) >= 0);
  CHECK_INT(fclose(file), 0);
  CHECK_INT(setenv("SIP_T_GIVEN", "environment", 1), 0);
  CHECK_INT(unsetenv("SIP_T_NEW"), 0);
  CHECK_INT(sip_envfile_merge(".env", &err), 1);
  CHECK_STR(getenv("SIP_T_GIVEN"), "environment");
  CHECK_STR(getenv("SIP_T_NEW"), "file");
  CHECK_INT(truncate(".env", 2 * 1024 * 1024), 0);
  CHECK_INT(sip_envfile_merge(".env", &err), SIP_ETOOBIG);
  CHECK_HAS(err.message, "larger than 1 MiB");
  CHECK_INT(unlink(".env"), 0);
  CHECK_INT(mkdir(".env", 0700), 0);
  CHECK_INT(sip_envfile_merge(".env", &err), UV_EINVAL);
  CHECK_INT(rmdir(".env"), 0);
  CHECK_INT(chdir("/"), 0);
  CHECK_INT(rmdir(directory), 0);
}

int main(void)
{
  lines();
  quotes();
  broken();
  merging();
  (void)printf("ok\n");
  return 0;
}
