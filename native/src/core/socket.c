#define _GNU_SOURCE
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int fill_address(struct sockaddr_un *address, const char *path) {
  size_t length = strlen(path);
  if (length == 0 || length >= sizeof address->sun_path) return -ENAMETOOLONG;
  memset(address, 0, sizeof *address);
  address->sun_family = AF_UNIX;
  memcpy(address->sun_path, path, length + 1);
  return 0;
}

static int new_socket(void) {
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  return fd < 0 ? -errno : fd;
}

/* A name that can be connected to must be served at once: an accepted and silent socket freezes a VM. */
int shim_listen(const char *path, int backlog) {
  char temporary[sizeof ((struct sockaddr_un *)0)->sun_path];
  struct sockaddr_un address;
  int written = snprintf(temporary, sizeof temporary, "%s.%x", path, (unsigned)getpid());
  if (written < 0 || (size_t)written >= sizeof temporary) return -ENAMETOOLONG;
  int rc = fill_address(&address, temporary);
  if (rc < 0) return rc;
  int fd = new_socket();
  if (fd < 0) return fd;
  unlink(temporary);
  if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, backlog) < 0 || rename(temporary, path) < 0) {
    rc = -errno;
    unlink(temporary);
    close(fd);
    return rc;
  }
  return fd;
}

int shim_connect(const char *path) {
  struct sockaddr_un address;
  int rc = fill_address(&address, path);
  if (rc < 0) return rc;
  int fd = new_socket();
  if (fd < 0) return fd;
  if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
    rc = -errno;
    close(fd);
    return rc;
  }
  return fd;
}

int shim_socketpair(int out[2]) {
  return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, out) < 0 ? -errno : 0;
}

int shim_accept(int fd) {
  int connection;
  do connection = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  while (connection < 0 && (errno == EINTR || errno == ECONNABORTED));
  return connection < 0 ? -errno : connection;
}

int shim_is_listening(int fd) {
  int value = 0;
  socklen_t length = sizeof value;
  return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &length) < 0 ? -errno : value != 0;
}

ssize_t shim_recv(int fd, void *buffer, size_t length, int *fds, int *count) {
  union { char bytes[CMSG_SPACE(sizeof(int) * SHIM_MAX_FDS)]; struct cmsghdr align; } control;
  struct iovec vector = { .iov_base = buffer, .iov_len = length };
  struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes };
  ssize_t received;
  *count = 0;
  do received = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
  while (received < 0 && errno == EINTR);
  if (received < 0) return -errno;
  for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c != NULL; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    int n = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    for (int i = 0; i < n; i++) {
      int received_fd;
      memcpy(&received_fd, CMSG_DATA(c) + (size_t)i * sizeof(int), sizeof(int));
      if (*count < SHIM_MAX_FDS) fds[(*count)++] = received_fd;
      else close(received_fd);
    }
  }
  if (message.msg_flags & MSG_CTRUNC) {
    while (*count > 0) close(fds[--(*count)]);
    return -EPROTO;
  }
  return received;
}

ssize_t shim_send(int fd, const void *buffer, size_t length, const int *fds, int count) {
  union { char bytes[CMSG_SPACE(sizeof(int) * SHIM_MAX_FDS)]; struct cmsghdr align; } control;
  struct iovec vector = { .iov_base = (void *)buffer, .iov_len = length };
  struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };
  if (count < 0 || count > SHIM_MAX_FDS) return -EINVAL;
  if (count > 0) {
    memset(&control, 0, sizeof control);
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)count);
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)count);
    memcpy(CMSG_DATA(c), fds, sizeof(int) * (size_t)count);
  }
  ssize_t sent;
  do sent = sendmsg(fd, &message, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  return sent < 0 ? -errno : sent;
}

int shim_nonblock(int fd) {
  int flags = fcntl(fd, F_GETFL);
  return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? -errno : 0;
}

int shim_eventfd(unsigned initial) {
  int fd = eventfd(initial, EFD_CLOEXEC | EFD_NONBLOCK);
  return fd < 0 ? -errno : fd;
}

int shim_eventfd_signal(int fd) {
  uint64_t one = 1;
  ssize_t rc;
  do rc = write(fd, &one, sizeof one);
  while (rc < 0 && errno == EINTR);
  /* EAGAIN: the counter is full, so the reader is told already. */
  return rc < 0 && errno != EAGAIN ? -errno : 0;
}

int64_t shim_eventfd_drain(int fd) {
  uint64_t value = 0;
  ssize_t rc;
  do rc = read(fd, &value, sizeof value);
  while (rc < 0 && errno == EINTR);
  if (rc < 0) return errno == EAGAIN ? 0 : -errno;
  return (int64_t)value;
}

int shim_memfd(const char *name, uint64_t length, bool seal) {
  int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return -errno;
  if (ftruncate(fd, (off_t)length) < 0 || (seal && fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)) {
    int rc = -errno;
    close(fd);
    return rc;
  }
  return fd;
}
