#include "client/cli/server_cpu.h"

#include <curl/curl.h>
#include <re2/re2.h>

#include <memory>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace tsenor::cli {
namespace {

// A page of metrics is some 100 kB; more than this is something else.
constexpr size_t kMaxPageBytes = size_t{16} << 20;
constexpr long kTimeoutMs = 2'000;  // NOLINT(google-runtime-int): libcurl's type

// libcurl's callback: takes `count` bytes, or refuses them by returning another number.
size_t TakeBytes(const char* data, size_t /*one*/, size_t count, std::string* page) {
  if (page->size() + count > kMaxPageBytes) return 0;
  page->append(data, count);
  return count;
}

}  // namespace

absl::StatusOr<double> ParseCpuSeconds(const std::string& metrics) {
  std::string text;
  double seconds = 0;
  if (RE2::PartialMatch(metrics, R"((?m)^process_cpu_seconds_total ([^ \n]+))", &text) &&
      absl::SimpleAtod(text, &seconds)) {
    return seconds;
  }
  return absl::NotFoundError("no process_cpu_seconds_total");
}

absl::StatusOr<double> ScrapeCpuSeconds(const std::string& url) {
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> request(curl_easy_init(),
                                                                    curl_easy_cleanup);
  if (request == nullptr) return absl::InternalError("libcurl does not start");
  std::string page;
  curl_easy_setopt(request.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(request.get(), CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(request.get(), CURLOPT_TIMEOUT_MS, kTimeoutMs);
  curl_easy_setopt(request.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(request.get(), CURLOPT_FAILONERROR, 1L);
  curl_easy_setopt(request.get(), CURLOPT_WRITEFUNCTION, &TakeBytes);
  curl_easy_setopt(request.get(), CURLOPT_WRITEDATA, &page);
  const CURLcode code = curl_easy_perform(request.get());
  if (code != CURLE_OK) {
    return absl::UnavailableError(absl::StrCat("metrics: ", url, ": ", curl_easy_strerror(code)));
  }
  absl::StatusOr<double> seconds = ParseCpuSeconds(page);
  if (seconds.ok()) return seconds;
  return absl::NotFoundError(absl::StrCat("metrics: ", url, ": ", seconds.status().message()));
}

}  // namespace tsenor::cli
