// What can be done with any Env: whole files, and path arithmetic.
#include "engine/base/env.h"

namespace gridquant::base {
namespace {

std::string_view without_trailing_slashes(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  return path;
}

Status write_whole(Env& env, const std::string& path, std::string_view content, bool synced) {
  GQ_ASSIGN_OR_RETURN(auto file, env.create(path));
  GQ_RETURN_IF_ERROR(file->append(std::as_bytes(std::span(content))));
  if (synced) GQ_RETURN_IF_ERROR(file->sync());
  return file->close();
}

Status replace(Env& env, const std::string& path, std::string_view content, bool synced) {
  const std::string temporary = path + ".tmp";
  Status status = write_whole(env, temporary, content, synced);
  if (status.ok()) status = env.rename(temporary, path);
  if (!status.ok()) env.remove_file(temporary).IgnoreError();  // a full disk should get its bytes back
  return status;
}

}  // namespace

StatusOr<std::string> read_file(Env& env, const std::string& path) {
  GQ_ASSIGN_OR_RETURN(auto file, env.open(path));
  std::string content(file->size(), '\0');
  GQ_RETURN_IF_ERROR(file->read(0, std::as_writable_bytes(std::span(content))));
  return content;
}

Status write_file_atomically(Env& env, const std::string& path, std::string_view content) {
  GQ_RETURN_IF_ERROR(replace(env, path, content, /*synced=*/true));
  return env.sync_folder(folder_of(path));
}

Status write_file_unsynced(Env& env, const std::string& path, std::string_view content) {
  return replace(env, path, content, /*synced=*/false);
}

std::string join_path(std::string_view folder, std::string_view name) {
  if (folder.empty() || (!name.empty() && name.front() == '/')) return std::string(name);
  if (name.empty()) return std::string(folder);
  std::string path(folder);
  if (path.back() != '/') path += '/';
  return path.append(name);
}

std::string folder_of(std::string_view path) {
  path = without_trailing_slashes(path);
  const size_t slash = path.rfind('/');
  if (slash == std::string_view::npos) return ".";
  return std::string(without_trailing_slashes(path.substr(0, slash + 1)));
}

std::string file_name_of(std::string_view path) {
  path = without_trailing_slashes(path);
  const size_t slash = path.rfind('/');
  return std::string(slash == std::string_view::npos ? path : path.substr(slash + 1));
}

}  // namespace gridquant::base
