#include "client/cli/table.h"

#include <algorithm>
#include <ostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace tsenor::cli {

void PrintAligned(const std::vector<TableRow>& rows, std::ostream& out) {
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
  return bound > value ? absl::StrFormat("%.1e", (bound - value) / bound) : "0";
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
