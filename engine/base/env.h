// Files, behind a seam: the operating system's (posix_env), a map in memory (memory_env), and one that fails on
// command (faulty_env). Everything that reads or writes a file goes through an Env; nothing else calls open().
//
// Thread-safety: an Env and a RandomAccessFile may be used from any thread; a WritableFile from one at a time.
// Errors: NotFound (absent), PermissionDenied, ResourceExhausted (no space left), FailedPrecondition (a folder where a
// file should be, or the reverse; a name that is too long), OutOfRange (a read past the end), Unavailable (any other
// I/O error: may go away); every message names the path and the operating system's reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/base/status.h"

namespace gridquant::base {

class RandomAccessFile {
 public:
  virtual ~RandomAccessFile() = default;
  virtual uint64_t size() const = 0;  // when opened, in bytes
  virtual const std::string& path() const = 0;
  // Fills `to` completely from byte `offset`; OutOfRange if the file ends before.
  virtual Status read(uint64_t offset, std::span<std::byte> to) const = 0;
};

class WritableFile {
 public:
  virtual ~WritableFile() = default;  // closes without syncing
  virtual Status append(std::span<const std::byte> data) = 0;
  virtual Status sync() = 0;   // data and size are on disk when it returns
  virtual Status close() = 0;  // no call but the destructor may follow
};

class Env {
 public:
  virtual ~Env() = default;
  virtual StatusOr<std::unique_ptr<RandomAccessFile>> open(const std::string& path) = 0;
  virtual StatusOr<std::unique_ptr<WritableFile>> create(const std::string& path) = 0;  // truncates
  virtual StatusOr<std::unique_ptr<WritableFile>> extend(const std::string& path) = 0;  // made if absent
  virtual StatusOr<std::vector<std::string>> list(const std::string& folder) = 0;       // names, sorted, no . and ..
  virtual StatusOr<uint64_t> file_size(const std::string& path) = 0;
  virtual bool exists(const std::string& path) = 0;  // file or folder
  virtual bool is_folder(const std::string& path) = 0;
  virtual Status make_folders(const std::string& path) = 0;  // like mkdir -p
  virtual Status rename(const std::string& from, const std::string& to) = 0;
  virtual Status remove_file(const std::string& path) = 0;
  virtual Status remove_tree(const std::string& path) = 0;  // absent is OK
  virtual Status sync_folder(const std::string& path) = 0;
  // A second name for a file, replacing what `to` named before (not atomically); falls back to copying where the file
  // system cannot.
  virtual Status link_or_copy(const std::string& from, const std::string& to) = 0;
  // Of the file system that holds `path`, or would hold it once it is made.
  virtual StatusOr<uint64_t> free_bytes(const std::string& path) = 0;
};

Env& posix_env();  // stateless, lives for ever
std::unique_ptr<Env> make_memory_env();

// Wraps `base` (borrowed): before every mutating operation ("create", "extend", "append", "sync", "rename",
// "make_folders", "remove", "link", "sync_folder") and every "read" calls `fault(operation, path)`; a non-OK status is
// returned instead of doing it.
using FaultFn = std::function<Status(std::string_view operation, const std::string& path)>;
std::unique_ptr<Env> make_faulty_env(Env& base, FaultFn fault);

StatusOr<std::string> read_file(Env& env, const std::string& path);
// Writes `path` so that a reader sees the old or the new content, whole, also after a crash: "PATH.tmp" beside it,
// sync, rename, sync of the folder. One writer of a path at a time.
Status write_file_atomically(Env& env, const std::string& path, std::string_view content);
// The same without syncs, which cost milliseconds: whole for every reader, also after a crash of this process; after a
// power cut there may be anything. For what nobody asks for then.
Status write_file_unsynced(Env& env, const std::string& path, std::string_view content);

// "a/b" + "c" -> "a/b/c". An absolute `name` is returned as it is.
std::string join_path(std::string_view folder, std::string_view name);
std::string folder_of(std::string_view path);  // "" -> "."
std::string file_name_of(std::string_view path);

}  // namespace gridquant::base
