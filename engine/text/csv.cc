// Rows of separated values. Not here: which column is wanted (documents.cc).
#include "engine/text/csv.h"

namespace gridquant::text {
namespace {

class CsvReader {
 public:
  CsvReader(std::string_view text, char separator) : text_(text), separator_(separator) {}

  StatusOr<std::vector<CsvRow>> run() {
    std::vector<CsvRow> rows;
    while (at_ < text_.size()) {
      if (ends_line()) {
        take_line_end();
        continue;
      }
      CsvRow row{line_, {}};
      while (true) {
        GQ_RETURN_IF_ERROR(field(row));
        if (at_ >= text_.size() || ends_line()) break;
        ++at_;  // the separator
      }
      take_line_end();
      rows.push_back(std::move(row));
    }
    return rows;
  }

 private:
  bool ends_line() const { return text_[at_] == '\n' || text_.substr(at_, 2) == "\r\n"; }

  void take_line_end() {
    if (at_ >= text_.size()) return;
    at_ += text_[at_] == '\r' ? 2 : 1;
    ++line_;
  }

  Status fail(int64_t line, const std::string& why) const {
    return absl::InvalidArgumentError(std::to_string(line) + ": " + why);
  }

  Status field(CsvRow& row) {
    row.fields.emplace_back();
    std::string& value = row.fields.back();
    if (at_ < text_.size() && text_[at_] == '"') return quoted(value);
    while (at_ < text_.size() && text_[at_] != separator_ && !ends_line()) value += text_[at_++];
    return absl::OkStatus();
  }

  Status quoted(std::string& value) {
    const int64_t begin = line_;
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\n') ++line_;
      if (text_[at_] != '"') {
        value += text_[at_];
      } else if (at_ + 1 < text_.size() && text_[at_ + 1] == '"') {
        value += text_[at_++];
      } else {
        ++at_;
        if (at_ >= text_.size() || text_[at_] == separator_ || ends_line()) return absl::OkStatus();
        return fail(line_, "text follows a field's closing quote (a quote inside of quotes is written twice)");
      }
    }
    return fail(begin, "a quoted field is not closed");
  }

  std::string_view text_;
  char separator_;
  size_t at_ = 0;
  int64_t line_ = 1;
};

}  // namespace

StatusOr<std::vector<CsvRow>> parse_csv(std::string_view text, char separator) {
  return CsvReader(text, separator).run();
}

}  // namespace gridquant::text
