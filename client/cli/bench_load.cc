#include "client/cli/bench_load.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/support/channel_arguments.h>
#include <sys/resource.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "client/mask_client.h"

namespace tsenor::cli {
namespace {

double Seconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

// Waits until then or until a stop of `stop`. Returns false if it was stopped.
bool SleepUntil(std::chrono::steady_clock::time_point until, const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock lock(mutex);
  wake.wait_until(lock, stop, until, [] { return false; });
  return !stop.stop_requested();
}

bool Sleep(double seconds, const std::stop_token& stop) {
  const auto duration = std::chrono::duration<double>(seconds);
  return SleepUntil(std::chrono::steady_clock::now() +
                        std::chrono::duration_cast<std::chrono::steady_clock::duration>(duration),
                    stop);
}

double ClientCpuSeconds() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// One connection: without a pool of its own, a channel would share that of its siblings.
std::unique_ptr<grpc::GenericStub> Connect(const LoadOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxReceiveMessageSize(client::ClientOptions().max_receive_bytes);
  if (const std::string& name = options.call.security.tls_server_name; !name.empty()) {
    arguments.SetSslTargetNameOverride(name);
  }
  return std::make_unique<grpc::GenericStub>(grpc::CreateCustomChannel(
      options.server,
      options.credentials != nullptr ? options.credentials : grpc::InsecureChannelCredentials(),
      arguments));
}

// Processor times at one moment.
struct CpuTimes {
  double client = 0;
  std::optional<double> server;
};

absl::StatusOr<CpuTimes> ReadCpuTimes(const ServerCpu& server_cpu) {
  const absl::StatusOr<std::optional<double>> server = server_cpu();
  if (!server.ok()) return server.status();
  return CpuTimes{.client = ClientCpuSeconds(), .server = *server};
}

}  // namespace

LoadGenerator::LoadGenerator(const LoadLevel& level, const LoadOptions& options,
                             const Workload& workload, const std::stop_token& stop)
    : level_(level),
      options_(options),
      workload_(workload),
      stop_(stop),
      draws_(options.seed),
      window_start_(Clock::now()) {
  for (int k = 0; k < options.connections; ++k) stubs_.push_back(Connect(options));
  // A thread starts some ten thousand calls a second; the other cores are for the server, and for
  // other loads.
  const unsigned queues = std::max(std::thread::hardware_concurrency() / 8, 1u);
  for (unsigned k = 0; k < queues; ++k) queues_.push_back(std::make_unique<BenchQueue>());
  if (level.concurrency == 0) {
    arrivals_ = std::jthread([this](const std::stop_token& ends) { Arrive(ends); });
  }
  for (int k = 0; k < level.concurrency; ++k) Begin(Clock::now());
}

LoadGenerator::~LoadGenerator() {
  arrivals_.request_stop();
  if (arrivals_.joinable()) arrivals_.join();
  std::unique_lock lock(mutex_);
  ending_ = true;
  changed_.wait(lock, [this] { return in_flight_ == 0; });
}

Window LoadGenerator::Take() {
  const std::lock_guard lock(mutex_);
  const Clock::time_point now = Clock::now();
  window_.seconds = Seconds(now - std::exchange(window_start_, now));
  return std::exchange(window_, Window());
}

absl::Status LoadGenerator::first_failure() const {
  const std::lock_guard lock(mutex_);
  return first_failure_;
}

void LoadGenerator::Begin(Clock::time_point due) {
  const BenchRequest* request = nullptr;
  grpc::GenericStub* stub = nullptr;
  BenchQueue* queue = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (ending_ || stop_.stop_requested()) return;
    ++in_flight_;
    request = &workload_.Draw(draws_);
    const size_t connection = begun_++ % stubs_.size();
    stub = stubs_[connection].get();
    queue = queues_[connection % queues_.size()].get();
    window_.late_seconds = std::max(window_.late_seconds, Seconds(Clock::now() - due));
  }
  StartBenchCall(
      *stub, *queue, *request, options_.call, stop_,
      [this, request, due](const BenchOutcome& outcome) { OnDone(*request, due, outcome); });
}

void LoadGenerator::OnDone(const BenchRequest& request, Clock::time_point due,
                           const BenchOutcome& outcome) {
  const Clock::time_point now = Clock::now();
  const bool closed = level_.concurrency > 0;
  if (closed) {
    // Before this call leaves the count: the destructor must not see none in between.
    Begin(now);
  }
  const std::lock_guard lock(mutex_);
  Record(request, now - due, outcome);
  --in_flight_;
  // Under the lock: afterwards this object may be gone.
  changed_.notify_all();
}

void LoadGenerator::Record(const BenchRequest& request, Clock::duration latency,
                           const BenchOutcome& outcome) {
  const auto latency_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(latency);
  if (!outcome.status.ok()) {
    if (stop_.stop_requested()) return;
    first_failure_.Update(outcome.status);
    ++window_.errors[absl::StatusCodeToString(outcome.status.code())];
    window_.failed_latency.Record(latency_ns);
    return;
  }
  ++window_.masks;
  window_.weights += request.weights;
  window_.sent_bytes += request.tensor_bytes;
  window_.received_bytes += outcome.received_bytes;
  window_.latency.Record(latency_ns);
  const v1::StageSeconds& stages = outcome.summary.seconds();
  window_.receive_seconds += stages.receive();
  window_.queue_seconds += stages.queue();
  window_.solve_seconds += stages.solve();
  window_.total_seconds += stages.total();
}

void LoadGenerator::Arrive(const std::stop_token& ends) {
  std::mt19937_64 random(options_.seed);
  std::exponential_distribution<double> seconds_to_next(level_.rate);
  Clock::time_point due = Clock::now();
  while (true) {
    due += std::chrono::duration_cast<Clock::duration>(
        std::chrono::duration<double>(seconds_to_next(random)));
    if (!SleepUntil(due, ends)) return;
    {
      std::unique_lock lock(mutex_);
      const auto has_room = [this] { return in_flight_ < options_.max_in_flight; };
      if (!changed_.wait(lock, ends, has_room)) return;
    }
    Begin(due);
  }
}

absl::StatusOr<LevelResult> MeasureLevel(const LoadLevel& level, const LoadOptions& load,
                                         const MeasureOptions& measure, const Workload& workload,
                                         const ServerCpu& server_cpu, const std::stop_token& stop) {
  const absl::Status interrupted = absl::CancelledError("interrupted");
  LoadGenerator generator(level, load, workload, stop);
  LevelResult result;
  result.level = level;
  if (!Sleep(measure.warm_up_seconds, stop)) return interrupted;
  absl::StatusOr<CpuTimes> before = ReadCpuTimes(server_cpu);
  if (!before.ok()) return before.status();
  generator.Take();
  std::vector<Window> last;
  for (double measured = 0; measured < measure.duration_seconds && !result.stable;) {
    if (!Sleep(measure.window_seconds, stop)) return interrupted;
    const absl::StatusOr<CpuTimes> after = ReadCpuTimes(server_cpu);
    if (!after.ok()) return after.status();
    if (last.size() == kStableWindows) last.erase(last.begin());
    Window& window = last.emplace_back(generator.Take());
    window.client_cpu_seconds = after->client - before->client;
    if (after->server && before->server)
      window.server_cpu_seconds = *after->server - *before->server;
    before = after;
    measured += window.seconds;
    ++result.windows;
    result.stable = Stable(last, measure.tolerance);
  }
  for (const Window& window : last) result.sum += window;
  result.first_failure = generator.first_failure();
  return result;
}

}  // namespace tsenor::cli
