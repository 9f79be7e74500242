#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

int shim_map_anonymous(uint64_t length, void **out) {
  void *address = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (address == MAP_FAILED) return -errno;
  *out = address;
  return 0;
}

int shim_map_shared(int fd, uint64_t length, uint64_t offset, void **out) {
  struct stat status;
  if (fstat(fd, &status) < 0) return -errno;
  if (S_ISREG(status.st_mode) && (length > (uint64_t)status.st_size || offset > (uint64_t)status.st_size - length)) return -ERANGE;
  void *address = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, (off_t)offset);
  if (address == MAP_FAILED) return -errno;
  *out = address;
  return 0;
}

int shim_unmap(void *address, uint64_t length) { return munmap(address, length) < 0 ? -errno : 0; }

/*
 * SIGBUS containment. Guest memory may be truncated under us. The handler maps zeros over the rest of the range at
 * the first fault (page by page would run into vm.max_map_count), marks it poisoned and returns: the access that
 * faulted, compiled JavaScript included, goes on and reads zeros; the session is then closed by whoever asks.
 */
struct watch { _Atomic uintptr_t start, end; atomic_bool poisoned, used; };
static struct watch watches[SHIM_MAX_WATCHES];
static atomic_int watch_top;
static struct sigaction previous;
static pthread_once_t installed = PTHREAD_ONCE_INIT;

static void on_sigbus(int number, siginfo_t *info, void *context) {
  uintptr_t fault = (uintptr_t)info->si_addr;
  int top = atomic_load(&watch_top);
  for (int i = 0; i < top; i++) {
    uintptr_t start = atomic_load(&watches[i].start), end = atomic_load(&watches[i].end);
    if (fault < start || fault >= end) continue;
    uintptr_t page = fault & ~(uintptr_t)4095;
    long rc = syscall(SYS_mmap, page, end - page, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (rc != (long)page) break;
    atomic_store(&watches[i].poisoned, true);
    return;
  }
  if (previous.sa_flags & SA_SIGINFO && previous.sa_sigaction != NULL) { previous.sa_sigaction(number, info, context); return; }
  signal(SIGBUS, SIG_DFL);
}

static void install(void) {
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_sigaction = on_sigbus;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGBUS, &action, &previous);
}

int shim_watch(void *address, uint64_t length) {
  pthread_once(&installed, install);
  for (int i = 0; i < SHIM_MAX_WATCHES; i++) {
    bool expected = false;
    if (!atomic_compare_exchange_strong(&watches[i].used, &expected, true)) continue;
    atomic_store(&watches[i].poisoned, false);
    atomic_store(&watches[i].end, (uintptr_t)address + ((length + 4095) & ~(uint64_t)4095));
    atomic_store(&watches[i].start, (uintptr_t)address);
    int top = atomic_load(&watch_top);
    while (top < i + 1 && !atomic_compare_exchange_weak(&watch_top, &top, i + 1)) continue;
    return i;
  }
  return -ENOSPC;
}

void shim_unwatch(int id) {
  if (id < 0 || id >= SHIM_MAX_WATCHES) return;
  atomic_store(&watches[id].end, 0);
  atomic_store(&watches[id].start, 0);
  atomic_store(&watches[id].used, false);
}

bool shim_poisoned(int id) { return id >= 0 && id < SHIM_MAX_WATCHES && atomic_load(&watches[id].poisoned); }

void shim_or_bits(void *bitmap, uint64_t first, uint64_t count) {
  _Atomic uint8_t *bytes = bitmap;
  for (uint64_t bit = first; bit < first + count; bit++) atomic_fetch_or(&bytes[bit >> 3], (uint8_t)(1u << (bit & 7)));
}
