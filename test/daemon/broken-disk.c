// Loaded before libc into a server: a disk that fails to sync, or never comes back from it, as long as a file says so.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <sys/syscall.h>

static int is(const char *what) {
  char path[4096];
  const char *folder = getenv("BROKEN_DISK");
  snprintf(path, sizeof path, "%s/%s", folder ? folder : "", what);
  return folder && access(path, F_OK) == 0;
}

static int synced(long call, int file) {
  while (is("hangs")) usleep(20000);
  if (!is("fails")) return (int)syscall(call, file);
  errno = EIO;
  return -1;
}

int fsync(int file) { return synced(SYS_fsync, file); }
int fdatasync(int file) { return synced(SYS_fdatasync, file); }
