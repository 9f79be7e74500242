/*
 * The Node-API side: arguments in, core function, result or a thrown Error with `code`, `errno` and `syscall`.
 * One environment's polls are closed when it ends; there is no other state.
 */
#define NAPI_VERSION 8
#include <node_api.h>
#include <uv.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "core/shim.h"

#define ABI 2
#define MAX_PATH_BYTES 4096
#define GATHER_CELLS 4

#define CHECK(call) do { if ((call) != napi_ok) { failed(env, #call); return NULL; } } while (0)
#define ARGS(n) \
  napi_value argv[n]; size_t argc = n; \
  CHECK(napi_get_cb_info(env, info, &argc, argv, NULL, NULL)); \
  if (argc < n) { napi_throw_type_error(env, NULL, "too few arguments"); return NULL; }
#define ARG_I64(name, i) int64_t name; CHECK(napi_get_value_int64(env, argv[i], &name))
#define ARG_I32(name, i) int32_t name; CHECK(napi_get_value_int32(env, argv[i], &name))
#define ARG_U32(name, i) uint32_t name; CHECK(napi_get_value_uint32(env, argv[i], &name))
#define ARG_BOOL(name, i) bool name; CHECK(napi_get_value_bool(env, argv[i], &name))
#define ARG_TEXT(name, i) char name[MAX_PATH_BYTES]; size_t name##_length; \
  CHECK(napi_get_value_string_utf8(env, argv[i], name, sizeof name, &name##_length))
#define ARG_BYTES(name, i) void *name; size_t name##_length; \
  CHECK(napi_get_typedarray_info(env, argv[i], NULL, &name##_length, &name, NULL, NULL))

static void failed(napi_env env, const char *what) {
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  if (!pending) napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", what);
}

static const char *errno_name(int number) {
  const char *name = uv_err_name(-number);
  return name == NULL ? "UNKNOWN" : name;
}

/* Throws like Node's own system errors. `rc` is a negative errno. */
static napi_value throw_errno(napi_env env, int rc, const char *syscall_name) {
  char text[256];
  napi_value code, message, error, number, name;
  snprintf(text, sizeof text, "%s: %s", syscall_name, strerror(-rc));
  if (napi_create_string_utf8(env, errno_name(-rc), NAPI_AUTO_LENGTH, &code) != napi_ok ||
      napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &message) != napi_ok ||
      napi_create_error(env, code, message, &error) != napi_ok ||
      napi_create_int32(env, rc, &number) != napi_ok ||
      napi_set_named_property(env, error, "errno", number) != napi_ok ||
      napi_create_string_utf8(env, syscall_name, NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_set_named_property(env, error, "syscall", name) != napi_ok) return NULL;
  napi_throw(env, error);
  return NULL;
}

static napi_value number(napi_env env, double value) {
  napi_value out;
  CHECK(napi_create_double(env, value, &out));
  return out;
}

static napi_value integer(napi_env env, int64_t value) {
  napi_value out;
  CHECK(napi_create_int64(env, value, &out));
  return out;
}

static napi_value boolean(napi_env env, bool value) {
  napi_value out;
  CHECK(napi_get_boolean(env, value, &out));
  return out;
}

static napi_value fd_or_throw(napi_env env, int rc, const char *what) {
  return rc < 0 ? throw_errno(env, rc, what) : integer(env, rc);
}

/* --- sockets and descriptors ------------------------------------------------------------------------------------ */

static napi_value listen_unix(napi_env env, napi_callback_info info) {
  ARGS(2) ARG_TEXT(path, 0); ARG_I32(backlog, 1);
  return fd_or_throw(env, shim_listen(path, backlog), "listen");
}

static napi_value connect_unix(napi_env env, napi_callback_info info) {
  ARGS(1) ARG_TEXT(path, 0);
  return fd_or_throw(env, shim_connect(path), "connect");
}

static napi_value socket_pair(napi_env env, napi_callback_info info) {
  (void)info;
  int pair[2];
  int rc = shim_socketpair(pair);
  if (rc < 0) return throw_errno(env, rc, "socketpair");
  napi_value out;
  CHECK(napi_create_array_with_length(env, 2, &out));
  for (uint32_t i = 0; i < 2; i++) CHECK(napi_set_element(env, out, i, integer(env, pair[i])));
  return out;
}

static napi_value accept_unix(napi_env env, napi_callback_info info) {
  ARGS(1) ARG_I32(fd, 0);
  return integer(env, shim_accept(fd));
}

static napi_value is_listening(napi_env env, napi_callback_info info) {
  ARGS(1) ARG_I32(fd, 0);
  int rc = shim_is_listening(fd);
  return rc < 0 ? throw_errno(env, rc, "getsockopt") : boolean(env, rc != 0);
}

static napi_value recv_message(napi_env env, napi_callback_info info) {
  ARGS(5) ARG_I32(fd, 0); ARG_BYTES(buffer, 1); ARG_U32(offset, 2); ARG_U32(length, 3); ARG_BYTES(cells, 4);
  if ((uint64_t)offset + length > buffer_length || cells_length < 1 + SHIM_MAX_FDS) return integer(env, -EINVAL);
  int fds[SHIM_MAX_FDS], count;
  ssize_t received = shim_recv(fd, (char *)buffer + offset, length, fds, &count);
  int32_t *out = cells;
  out[0] = count;
  for (int i = 0; i < count; i++) out[1 + i] = fds[i];
  return integer(env, received);
}

static napi_value send_message(napi_env env, napi_callback_info info) {
  ARGS(6) ARG_I32(fd, 0); ARG_BYTES(buffer, 1); ARG_U32(offset, 2); ARG_U32(length, 3); ARG_BYTES(fds, 4); ARG_I32(count, 5);
  if ((uint64_t)offset + length > buffer_length || count < 0 || (size_t)count > fds_length) return integer(env, -EINVAL);
  return integer(env, shim_send(fd, (char *)buffer + offset, length, fds, count));
}

static napi_value set_non_blocking(napi_env env, napi_callback_info info) {
  ARGS(1) ARG_I32(fd, 0);
  int rc = shim_nonblock(fd);
  return rc < 0 ? throw_errno(env, rc, "fcntl") : NULL;
}

static napi_value close_fd(napi_env env, napi_callback_info info) {
  ARGS(1) ARG_I32(fd, 0);
  return close(fd) < 0 ? throw_errno(env, -errno, "close") : NULL;
}

static napi_value dup_fd(napi_env env, napi_callback_info info) {
  ARGS(1) ARG_I32(fd, 0);
  int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  return fd_or_throw(env, copy < 0 ? -errno : copy, "dup");
}

static napi_value new_eventfd(napi_env env, napi_callback_info info) {
  ARGS(1) ARG_U32(initial, 0);
  return fd_or_throw(env, shim_eventfd(initial), "eventfd");
}

static napi_value eventfd_signal(napi_env env, napi_callback_info info) {
  ARGS(1) ARG_I32(fd, 0);
  return integer(env, shim_eventfd_signal(fd));
}

static napi_value eventfd_drain(napi_env env, napi_callback_info info) {
  ARGS(1) ARG_I32(fd, 0);
  return integer(env, shim_eventfd_drain(fd));
}

static napi_value new_memfd(napi_env env, napi_callback_info info) {
  ARGS(3) ARG_TEXT(name, 0); ARG_I64(length, 1); ARG_BOOL(seal, 2);
  return fd_or_throw(env, shim_memfd(name, (uint64_t)length, seal), "memfd_create");
}

static napi_value file_size(napi_env env, napi_callback_info info) {
  ARGS(1) ARG_I32(fd, 0);
  struct stat status;
  return fstat(fd, &status) < 0 ? throw_errno(env, -errno, "fstat") : number(env, (double)status.st_size);
}

static napi_value boot_time_ms(napi_env env, napi_callback_info info) {
  (void)info;
  struct timespec time;
  return clock_gettime(CLOCK_BOOTTIME, &time) < 0 ? throw_errno(env, -errno, "clock_gettime") : number(env, (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6);
}

/* --- event loop --------------------------------------------------------------------------------------------------- */

struct poll {
  uv_poll_t handle;
  napi_env env;
  napi_ref callback;
  napi_async_context context;
  bool closing;
  struct poll *next, **link;
};

struct instance { struct poll *polls; };

static void poll_closed(uv_handle_t *handle) { free(handle->data); }

static void poll_close(struct poll *poll) {
  if (poll->closing) return;
  poll->closing = true;
  *poll->link = poll->next;
  if (poll->next != NULL) poll->next->link = poll->link;
  uv_poll_stop(&poll->handle);
  napi_delete_reference(poll->env, poll->callback);
  napi_async_destroy(poll->env, poll->context);
  uv_close((uv_handle_t *)&poll->handle, poll_closed);
}

static void poll_fired(uv_poll_t *handle, int status, int events) {
  struct poll *poll = handle->data;
  napi_env env = poll->env;
  napi_handle_scope scope;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  napi_value callback, global, arguments[2];
  if (napi_get_reference_value(env, poll->callback, &callback) == napi_ok && napi_get_global(env, &global) == napi_ok &&
      napi_create_int32(env, status, &arguments[0]) == napi_ok && napi_create_int32(env, events, &arguments[1]) == napi_ok &&
      napi_make_callback(env, poll->context, global, callback, 2, arguments, NULL) == napi_pending_exception) {
    napi_value error;
    if (napi_get_and_clear_last_exception(env, &error) == napi_ok) napi_fatal_exception(env, error);
  }
  napi_close_handle_scope(env, scope);
}

static napi_value poll_start(napi_env env, napi_callback_info info) {
  ARGS(3) ARG_I32(fd, 0); ARG_I32(events, 1);
  struct instance *instance;
  uv_loop_t *loop;
  CHECK(napi_get_instance_data(env, (void **)&instance));
  CHECK(napi_get_uv_event_loop(env, &loop));
  struct poll *poll = calloc(1, sizeof *poll);
  if (poll == NULL) return throw_errno(env, -ENOMEM, "uv_poll");
  int rc = uv_poll_init(loop, &poll->handle, fd);
  if (rc < 0) { free(poll); return throw_errno(env, rc, "uv_poll_init"); }
  poll->handle.data = poll;
  poll->env = env;
  napi_value name, handle;
  if (napi_create_string_utf8(env, "holdfast:poll", NAPI_AUTO_LENGTH, &name) != napi_ok ||
      napi_create_reference(env, argv[2], 1, &poll->callback) != napi_ok ||
      napi_async_init(env, NULL, name, &poll->context) != napi_ok ||
      napi_create_external(env, poll, NULL, NULL, &handle) != napi_ok) {
    uv_close((uv_handle_t *)&poll->handle, poll_closed);
    failed(env, "poll");
    return NULL;
  }
  poll->next = instance->polls;
  poll->link = &instance->polls;
  if (poll->next != NULL) poll->next->link = &poll->next;
  instance->polls = poll;
  rc = uv_poll_start(&poll->handle, (events & 1 ? UV_READABLE : 0) | (events & 2 ? UV_WRITABLE : 0), poll_fired);
  if (rc < 0) { poll_close(poll); return throw_errno(env, rc, "uv_poll_start"); }
  return handle;
}

static napi_value poll_stop(napi_env env, napi_callback_info info) {
  ARGS(1)
  struct poll *poll;
  CHECK(napi_get_value_external(env, argv[0], (void **)&poll));
  poll_close(poll);
  return NULL;
}

/* Whether the loop stays alive for this poll: the ring's does only while something is in flight. */
static napi_value poll_ref(napi_env env, napi_callback_info info) {
  ARGS(2) ARG_BOOL(referenced, 1);
  struct poll *poll;
  CHECK(napi_get_value_external(env, argv[0], (void **)&poll));
  if (referenced) uv_ref((uv_handle_t *)&poll->handle);
  else uv_unref((uv_handle_t *)&poll->handle);
  return NULL;
}

static void environment_ends(void *data) {
  struct instance *instance = data;
  while (instance->polls != NULL) poll_close(instance->polls);
}

/* --- memory --------------------------------------------------------------------------------------------------------- */

static void *pointer(int64_t address) { return (void *)(uintptr_t)address; }

static napi_value map_anonymous(napi_env env, napi_callback_info info) {
  ARGS(1) ARG_I64(length, 0);
  void *address;
  int rc = shim_map_anonymous((uint64_t)length, &address);
  return rc < 0 ? throw_errno(env, rc, "mmap") : number(env, (double)(uintptr_t)address);
}

static napi_value map_shared(napi_env env, napi_callback_info info) {
  ARGS(3) ARG_I32(fd, 0); ARG_I64(length, 1); ARG_I64(offset, 2);
  void *address;
  int rc = shim_map_shared(fd, (uint64_t)length, (uint64_t)offset, &address);
  return rc < 0 ? throw_errno(env, rc, "mmap") : number(env, (double)(uintptr_t)address);
}

static napi_value unmap(napi_env env, napi_callback_info info) {
  ARGS(2) ARG_I64(address, 0); ARG_I64(length, 1);
  int rc = shim_unmap(pointer(address), (uint64_t)length);
  return rc < 0 ? throw_errno(env, rc, "munmap") : NULL;
}

static napi_value view_of(napi_env env, napi_callback_info info) {
  ARGS(2) ARG_I64(address, 0); ARG_I64(length, 1);
  napi_value buffer;
  CHECK(napi_create_external_arraybuffer(env, pointer(address), (size_t)length, NULL, NULL, &buffer));
  return buffer;
}

static napi_value detach(napi_env env, napi_callback_info info) {
  ARGS(1)
  CHECK(napi_detach_arraybuffer(env, argv[0]));
  return NULL;
}

static napi_value address_of(napi_env env, napi_callback_info info) {
  ARGS(1) ARG_BYTES(data, 0);
  return number(env, (double)(uintptr_t)data);
}

static napi_value watch_range(napi_env env, napi_callback_info info) {
  ARGS(2) ARG_I64(address, 0); ARG_I64(length, 1);
  return fd_or_throw(env, shim_watch(pointer(address), (uint64_t)length), "watch");
}

static napi_value unwatch_range(napi_env env, napi_callback_info info) {
  ARGS(1) ARG_I32(id, 0);
  shim_unwatch(id);
  return NULL;
}

static napi_value is_poisoned(napi_env env, napi_callback_info info) {
  ARGS(1) ARG_I32(id, 0);
  return boolean(env, shim_poisoned(id));
}

/* --- bulk bytes ------------------------------------------------------------------------------------------------------- */

static napi_value bulk(napi_env env, napi_callback_info info, bool sum) {
  ARGS(2) ARG_BYTES(cells, 0); ARG_U32(count, 1);
  double *table = cells;
  if ((uint64_t)count * GATHER_CELLS > cells_length) { napi_throw_range_error(env, NULL, "table shorter than its count"); return NULL; }
  for (uint32_t i = 0; i < count; i++, table += GATHER_CELLS) {
    const void *source = (const void *)(uintptr_t)table[0];
    void *target = (void *)(uintptr_t)table[1];
    if (sum) table[3] = shim_copy_crc32c(target, source, (size_t)table[2]);
    else memcpy(target, source, (size_t)table[2]);
  }
  return NULL;
}

static napi_value gather(napi_env env, napi_callback_info info) { return bulk(env, info, true); }
static napi_value copy(napi_env env, napi_callback_info info) { return bulk(env, info, false); }

static napi_value crc32c(napi_env env, napi_callback_info info) {
  ARGS(2) ARG_BYTES(bytes, 0); ARG_U32(seed, 1);
  return number(env, shim_crc32c(seed, bytes, bytes_length));
}

static napi_value crc32c_table(napi_env env, napi_callback_info info) {
  ARGS(2) ARG_BYTES(bytes, 0); ARG_U32(seed, 1);
  return number(env, shim_crc32c_table(seed, bytes, bytes_length));
}

static napi_value crc32c_at(napi_env env, napi_callback_info info) {
  ARGS(3) ARG_I64(address, 0); ARG_I64(length, 1); ARG_U32(seed, 2);
  return number(env, shim_crc32c(seed, pointer(address), (size_t)length));
}

static napi_value zero(napi_env env, napi_callback_info info) {
  ARGS(2) ARG_I64(address, 0); ARG_I64(length, 1);
  memset(pointer(address), 0, (size_t)length);
  return NULL;
}

static napi_value or_bits(napi_env env, napi_callback_info info) {
  ARGS(3) ARG_I64(address, 0); ARG_I64(first, 1); ARG_I64(count, 2);
  shim_or_bits(pointer(address), (uint64_t)first, (uint64_t)count);
  return NULL;
}

/* --- io_uring ------------------------------------------------------------------------------------------------------------ */

static void free_ring(napi_env env, void *data, void *hint) {
  (void)env; (void)hint;
  free(data);
}

static napi_value uring_setup(napi_env env, napi_callback_info info) {
  ARGS(1) ARG_U32(entries, 0);
  struct shim_uring *ring = calloc(1, sizeof *ring);
  if (ring == NULL) return throw_errno(env, -ENOMEM, "io_uring_setup");
  int rc = shim_uring_setup(entries, ring);
  if (rc < 0) { free(ring); return throw_errno(env, rc, "io_uring_setup"); }
  napi_value out, value;
  CHECK(napi_create_object(env, &out));
  const struct { const char *name; double value; } numbers[] = {
    { "fd", ring->fd }, { "sqEntries", ring->sq_entries }, { "cqEntries", ring->cq_entries }, { "sqHead", ring->sq_head },
    { "sqTail", ring->sq_tail }, { "sqMask", ring->sq_mask }, { "sqFlags", ring->sq_flags }, { "sqArray", ring->sq_array },
    { "cqHead", ring->cq_head }, { "cqTail", ring->cq_tail }, { "cqMask", ring->cq_mask }, { "cqes", ring->cqes },
  };
  for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
    CHECK(napi_set_named_property(env, out, numbers[i].name, number(env, numbers[i].value)));
  CHECK(napi_create_external_arraybuffer(env, ring->sq_ring, ring->sq_bytes, NULL, NULL, &value));
  CHECK(napi_set_named_property(env, out, "sqRing", value));
  /* V8 keeps one backing store an address: where the kernel maps both rings as one, both names are one buffer. */
  if (!ring->single_map) CHECK(napi_create_external_arraybuffer(env, ring->cq_ring, ring->cq_bytes, NULL, NULL, &value));
  CHECK(napi_set_named_property(env, out, "cqRing", value));
  CHECK(napi_create_external_arraybuffer(env, ring->sqes, ring->sqe_bytes, NULL, NULL, &value));
  CHECK(napi_set_named_property(env, out, "sqes", value));
  CHECK(napi_wrap(env, out, ring, free_ring, NULL, NULL));
  return out;
}

static napi_value uring_enter(napi_env env, napi_callback_info info) {
  ARGS(4) ARG_I32(fd, 0); ARG_U32(submit, 1); ARG_U32(complete, 2); ARG_U32(flags, 3);
  return integer(env, shim_uring_enter(fd, submit, complete, flags));
}

static napi_value uring_close(napi_env env, napi_callback_info info) {
  ARGS(1)
  struct shim_uring *ring;
  CHECK(napi_unwrap(env, argv[0], (void **)&ring));
  const char *views[] = { "sqRing", "cqRing", "sqes" };
  for (size_t i = 0; i < 3; i++) {
    napi_value buffer;
    bool gone;
    CHECK(napi_get_named_property(env, argv[0], views[i], &buffer));
    CHECK(napi_is_detached_arraybuffer(env, buffer, &gone));
    if (!gone) CHECK(napi_detach_arraybuffer(env, buffer));
  }
  if (ring->sq_ring != NULL) shim_uring_close(ring);
  ring->sq_ring = NULL;
  return NULL;
}

/* --- registration ---------------------------------------------------------------------------------------------------------- */

NAPI_MODULE_INIT() {
  static const struct { const char *name; napi_callback function; } functions[] = {
    { "listenUnix", listen_unix }, { "connectUnix", connect_unix }, { "socketPair", socket_pair }, { "acceptUnix", accept_unix },
    { "isListening", is_listening }, { "recvMessage", recv_message }, { "sendMessage", send_message },
    { "setNonBlocking", set_non_blocking }, { "closeFd", close_fd }, { "dupFd", dup_fd }, { "eventfd", new_eventfd },
    { "eventfdSignal", eventfd_signal }, { "eventfdDrain", eventfd_drain }, { "memfd", new_memfd }, { "fileSize", file_size },
    { "bootTimeMs", boot_time_ms },
    { "pollStart", poll_start }, { "pollStop", poll_stop }, { "pollRef", poll_ref },
    { "mapAnonymous", map_anonymous }, { "mapShared", map_shared }, { "unmap", unmap }, { "viewOf", view_of }, { "detach", detach },
    { "addressOf", address_of }, { "watchRange", watch_range }, { "unwatchRange", unwatch_range }, { "isPoisoned", is_poisoned },
    { "gather", gather }, { "copy", copy }, { "crc32c", crc32c }, { "crc32cTable", crc32c_table }, { "crc32cAt", crc32c_at },
    { "zero", zero }, { "orBits", or_bits },
    { "uringSetup", uring_setup }, { "uringEnter", uring_enter }, { "uringClose", uring_close },
  };
  struct instance *instance = calloc(1, sizeof *instance);
  if (instance == NULL) return throw_errno(env, -ENOMEM, "init");
  CHECK(napi_set_instance_data(env, instance, free_ring, NULL));
  CHECK(napi_add_env_cleanup_hook(env, environment_ends, instance));
  for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
    napi_value function;
    CHECK(napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].function, NULL, &function));
    CHECK(napi_set_named_property(env, exports, functions[i].name, function));
  }
  CHECK(napi_set_named_property(env, exports, "abi", integer(env, ABI)));
  return exports;
}
