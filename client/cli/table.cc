#include "client/cli/table.h"

#include <algorithm>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace tsenor::cli {
namespace {

// Widest name, in bytes: with the other columns about two thirds of a wide terminal. Names of real
// models stay below it.
constexpr size_t kMaxNameBytes = 64;

// The end of a long name, which tells tensors apart.
std::string ShortName(const std::string& name) {
  constexpr char kEllipsis[] = "...";
  if (name.size() <= kMaxNameBytes) return name;
  size_t start = name.size() - (kMaxNameBytes - (sizeof(kEllipsis) - 1));
  const auto continues = [&](size_t i) { return (static_cast<uint8_t>(name[i]) & 0xc0) == 0x80; };
  while (start < name.size() && continues(start)) ++start;  // whole UTF-8 characters
  return kEllipsis + name.substr(start);
}

}  // namespace

std::string Printable(const std::string& text) {
  std::string printable;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<uint8_t>(text[i]);
    // U+0080 to U+009F are control characters, too: C2 80 to C2 9F in UTF-8.
    const bool c1 = byte == 0xc2 && i + 1 < text.size() && static_cast<uint8_t>(text[i + 1]) < 0xa0;
    if (byte >= 0x20 && byte != 0x7f && !c1) {
      printable += text[i];
      continue;
    }
    absl::StrAppendFormat(&printable, "\\x%02x", byte);
    if (c1) absl::StrAppendFormat(&printable, "\\x%02x", static_cast<uint8_t>(text[++i]));
  }
  return printable;
}

void PrintAligned(const std::vector<TableRow>& raw, std::ostream& out) {
  std::vector<TableRow> rows = raw;
  for (TableRow& row : rows) {
    for (std::string& cell : row) cell = Printable(cell);
    if (!row.empty()) row.front() = ShortName(row.front());
  }
  std::vector<size_t> widths(rows.empty() ? 0 : rows.front().size());
  for (const TableRow& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const TableRow& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string padding(widths[i] - row[i].size(), ' ');
      out << (i == 0 ? row[i] + padding : "  " + padding + row[i]);
    }
    out << '\n';
  }
  out.flush();
}

std::string MatrixText(uint64_t rows, uint64_t columns) {
  return absl::StrCat(rows, " x ", columns);
}

std::string ShareText(double value, double score_sum) {
  return score_sum > 0 ? absl::StrFormat("%.3f %%", 100 * value / score_sum) : "-";
}

std::string GapText(double value, double bound) {
  if (bound > value) return absl::StrFormat("%.1e", (bound - value) / bound);
  return value <= bound * (1 + 1e-12) ? "0" : "-";  // float64 sums are off by far less
}

std::string DeviceText(const std::string& device, uint32_t threads) {
  return threads == 0 ? device : absl::StrCat(device, ", ", threads, " threads");
}

std::string TimeText(double seconds) { return absl::StrFormat("%.3f s", seconds); }

std::string SpeedText(double weights, double seconds) {
  if (seconds <= 0) return "-";
  const double speed = weights / seconds;
  if (speed >= 1e9) return absl::StrFormat("%.2f G", speed / 1e9);
  if (speed >= 1e6) return absl::StrFormat("%.2f M", speed / 1e6);
  return absl::StrFormat("%.2f k", speed / 1e3);
}

}  // namespace tsenor::cli
