/*
 * The shim's core: plain C, no JavaScript headers. Every function that can fail returns a negative errno.
 */
#ifndef HOLDFAST_SHIM_H
#define HOLDFAST_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SHIM_MAX_FDS 8
#define SHIM_MAX_WATCHES 4096

/* socket.c */
int shim_listen(const char *path, int backlog);
int shim_connect(const char *path);
int shim_socketpair(int out[2]);
int shim_accept(int fd);
int shim_is_listening(int fd);
/* fds: room for SHIM_MAX_FDS; *count is set also when an error is returned (to 0). */
ssize_t shim_recv(int fd, void *buffer, size_t length, int *fds, int *count);
ssize_t shim_send(int fd, const void *buffer, size_t length, const int *fds, int count);
int shim_nonblock(int fd);
int shim_eventfd(unsigned initial);
int shim_eventfd_signal(int fd);
int64_t shim_eventfd_drain(int fd);
int shim_memfd(const char *name, uint64_t length, bool seal);

/* memory.c */
int shim_map_anonymous(uint64_t length, void **out);
int shim_map_shared(int fd, uint64_t length, uint64_t offset, void **out);
int shim_unmap(void *address, uint64_t length);
/* SIGBUS containment: returns an id or -ENOSPC. */
int shim_watch(void *address, uint64_t length);
void shim_unwatch(int id);
bool shim_poisoned(int id);
void shim_or_bits(void *bitmap, uint64_t first, uint64_t count);

/* checksum.c */
uint32_t shim_crc32c(uint32_t seed, const void *data, size_t length);
uint32_t shim_crc32c_table(uint32_t seed, const void *data, size_t length);
/* Copies, then sums the destination: what is summed is what was copied, whatever the source does meanwhile. */
uint32_t shim_copy_crc32c(void *target, const void *source, size_t length);

/* uring.c */
struct shim_uring {
  int fd;
  void *sq_ring, *cq_ring, *sqes;
  size_t sq_bytes, cq_bytes, sqe_bytes;
  bool single_map;
  unsigned sq_entries, cq_entries;
  unsigned sq_head, sq_tail, sq_mask, sq_flags, sq_array;
  unsigned cq_head, cq_tail, cq_mask, cqes;
};
int shim_uring_setup(unsigned entries, struct shim_uring *out);
int shim_uring_enter(int fd, unsigned submit, unsigned complete, unsigned flags);
void shim_uring_close(struct shim_uring *ring);

#endif
