#include "engine/formats/json.h"

#include <set>
#include <utility>
#include <vector>

namespace gridquant::formats {
namespace {

// Looks at every token and keeps only the keys of the objects that are open. Each callback says whether to go on.
class Checker final : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit Checker(const JsonLimits& limits) : limits_(limits) {}

  const std::string& problem() const { return problem_; }

  bool null() override { return count_value(); }
  bool boolean(bool) override { return count_value(); }
  bool number_integer(number_integer_t) override { return count_value(); }
  bool number_unsigned(number_unsigned_t) override { return count_value(); }
  bool number_float(number_float_t, const string_t&) override { return count_value(); }
  bool string(string_t&) override { return count_value(); }
  bool binary(binary_t&) override { return count_value(); }
  bool start_object(size_t) override { return open(false); }
  bool end_object() override { return close(); }
  bool start_array(size_t) override { return open(true); }
  bool end_array() override { return close(); }

  bool key(string_t& name) override {
    if (open_.back().keys.insert(name).second) return true;
    return fail("the key \"" + name + "\" appears twice in one object");
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception&) override {
    return fail("not valid JSON (byte " + std::to_string(position) + ")");
  }

 private:
  struct Level {
    bool is_array = false;
    size_t count = 0;
    std::set<std::string> keys;
  };

  bool fail(std::string problem) {
    problem_ = std::move(problem);
    return false;
  }

  bool count_value() {
    if (open_.empty() || !open_.back().is_array || ++open_.back().count <= limits_.array_length) return true;
    return fail("an array has more than " + std::to_string(limits_.array_length) + " entries");
  }

  bool open(bool is_array) {
    if (!count_value()) return false;
    if (open_.size() == limits_.depth) {
      return fail("nested deeper than " + std::to_string(limits_.depth) + " levels");
    }
    open_.push_back({is_array, 0, {}});
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  JsonLimits limits_;
  std::vector<Level> open_;
  std::string problem_;
};

}  // namespace

Status check_json(std::string_view text, const std::string& path, const JsonLimits& limits) {
  Checker checker(limits);
  bool valid = false;
  try {
    valid = nlohmann::json::sax_parse(text, &checker);
  } catch (const nlohmann::json::exception& error) {  // a number out of range
    return absl::FailedPreconditionError(path + ": not valid JSON: " + error.what());
  }
  if (valid) return absl::OkStatus();
  return absl::FailedPreconditionError(path + ": " + checker.problem());
}

}  // namespace gridquant::formats
