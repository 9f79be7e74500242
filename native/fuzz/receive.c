/* Messages with descriptors, cut and joined in any way: every descriptor arrives, or is closed; no byte beyond the buffer. */
#define _GNU_SOURCE
#include "core/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FDS_MAX 20

/* Those low numbers are taken first, so whatever is left open is among them. */
static int open_fds(void) {
  int count = 0;
  for (int fd = 0; fd < 64; fd++) count += fcntl(fd, F_GETFD) >= 0;
  return count;
}

static void send_some(int socket, const uint8_t *bytes, size_t length, int fds) {
  union { char bytes[CMSG_SPACE(sizeof(int) * FDS_MAX)]; struct cmsghdr align; } control;
  struct iovec vector = { .iov_base = (void *)bytes, .iov_len = length };
  struct msghdr message = { .msg_iov = &vector, .msg_iovlen = 1 };
  if (fds > 0) {
    memset(&control, 0, sizeof control);
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)fds);
    struct cmsghdr *c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)fds);
    memset(CMSG_DATA(c), 0, sizeof(int) * (size_t)fds);
  }
  (void)!sendmsg(socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  int pair[2], before = open_fds();
  if (shim_socketpair(pair) < 0) abort();
  int on = size > 0 && data[0] & 1;
  /* Credentials are a control message too, and not one that was asked for. */
  setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
  for (size_t at = 1; at + 3 <= size;) {
    size_t length = 1 + data[at] % 64, wanted = 1 + data[at + 1] % 64;
    int fds = data[at + 2] % FDS_MAX;
    at += 3;
    if (length > size - at) length = size - at;
    if (length == 0) break;
    send_some(pair[1], data + at, length, fds);
    at += length;
    uint8_t *buffer = malloc(wanted);
    int received[SHIM_MAX_FDS], count = -1;
    if (buffer == NULL) abort();
    ssize_t got = shim_recv(pair[0], buffer, wanted, received, &count);
    if (got > (ssize_t)wanted || count < 0 || count > SHIM_MAX_FDS || (got < 0 && count != 0)) abort();
    if (got < 0 && got != -EAGAIN && got != -EPROTO) abort();
    for (int i = 0; i < count; i++) {
      int flags = fcntl(received[i], F_GETFD);
      if (flags < 0 || (flags & FD_CLOEXEC) == 0) abort();
      close(received[i]);
    }
    free(buffer);
  }
  close(pair[0]);
  close(pair[1]);
  if (open_fds() != before) abort();
  return 0;
}
