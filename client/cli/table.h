// Tables on stdout: how columns are set and numbers written.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

namespace tsenor::cli {

using TableRow = std::vector<std::string>;

// The text with control characters, which a terminal would obey, as \xNN. Other bytes stay.
std::string Printable(const std::string& text);

// Prints rows of equal length, each column as wide as its widest cell: the first to the left, the
// others to the right. Cells are made Printable(); of a long one in the first column, a name, the
// end is shown.
void PrintAligned(const std::vector<TableRow>& rows, std::ostream& out);

// "384 x 1536".
std::string MatrixText(uint64_t rows, uint64_t columns);

// Share of the scores that is kept: "71.234 %", or "-" if all scores are zero.
std::string ShareText(double value, double score_sum);

// (bound - value) / bound: "3.1e-12", "0" if the value reaches the bound, "-" if it exceeds it,
// as masks with lines short of N may.
std::string GapText(double value, double bound);

// "AMD EPYC 9R14, 2 threads"; 0 threads are not told.
std::string DeviceText(const std::string& device, uint32_t threads);

// "0.123 s".
std::string TimeText(double seconds);

// Weights per second: "12.34 M".
std::string SpeedText(double weights, double seconds);

}  // namespace tsenor::cli
