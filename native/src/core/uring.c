/* io_uring by its system calls: set up and map; entries are written and read by the caller in the mapped rings. */
#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef IORING_SETUP_CLAMP
#define IORING_SETUP_CLAMP (1U << 4)
#endif

static int map(int fd, size_t length, off_t offset, void **out) {
  void *address = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, offset);
  if (address == MAP_FAILED) return -errno;
  *out = address;
  return 0;
}

int shim_uring_setup(unsigned entries, struct shim_uring *out) {
  struct io_uring_params p;
  memset(&p, 0, sizeof p);
  memset(out, 0, sizeof *out);
  p.flags = IORING_SETUP_CLAMP;
  int fd = (int)syscall(SYS_io_uring_setup, entries, &p);
  if (fd < 0) return -errno;
  out->fd = fd;
  out->sq_bytes = p.sq_off.array + p.sq_entries * sizeof(unsigned);
  out->cq_bytes = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
  out->sqe_bytes = p.sq_entries * sizeof(struct io_uring_sqe);
  out->single_map = (p.features & IORING_FEAT_SINGLE_MMAP) != 0;
  if (out->single_map && out->cq_bytes > out->sq_bytes) out->sq_bytes = out->cq_bytes;
  int rc = map(fd, out->sq_bytes, IORING_OFF_SQ_RING, &out->sq_ring);
  if (rc == 0) {
    if (out->single_map) { out->cq_ring = out->sq_ring; out->cq_bytes = out->sq_bytes; }
    else rc = map(fd, out->cq_bytes, IORING_OFF_CQ_RING, &out->cq_ring);
  }
  if (rc == 0) rc = map(fd, out->sqe_bytes, IORING_OFF_SQES, &out->sqes);
  if (rc < 0) { shim_uring_close(out); return rc; }
  out->sq_entries = p.sq_entries;
  out->cq_entries = p.cq_entries;
  out->sq_head = p.sq_off.head;
  out->sq_tail = p.sq_off.tail;
  out->sq_mask = p.sq_off.ring_mask;
  out->sq_flags = p.sq_off.flags;
  out->sq_array = p.sq_off.array;
  out->cq_head = p.cq_off.head;
  out->cq_tail = p.cq_off.tail;
  out->cq_mask = p.cq_off.ring_mask;
  out->cqes = p.cq_off.cqes;
  return 0;
}

int shim_uring_enter(int fd, unsigned submit, unsigned complete, unsigned flags) {
  int rc;
  do rc = (int)syscall(SYS_io_uring_enter, fd, submit, complete, flags, NULL, 0);
  while (rc < 0 && errno == EINTR);
  return rc < 0 ? -errno : rc;
}

void shim_uring_close(struct shim_uring *ring) {
  if (ring->sqes != NULL) munmap(ring->sqes, ring->sqe_bytes);
  if (ring->cq_ring != NULL && !ring->single_map) munmap(ring->cq_ring, ring->cq_bytes);
  if (ring->sq_ring != NULL) munmap(ring->sq_ring, ring->sq_bytes);
  close(ring->fd);
}
