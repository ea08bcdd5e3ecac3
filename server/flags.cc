#include "server/flags.h"

#include <CLI/CLI.hpp>
#include <cctype>
#include <chrono>

namespace tsenor::server {
namespace {

// A small tensor waits for two batches at most: short ones, for its sake. The CPU solver's threads
// go on from one to the next.
constexpr Duration kMaxBatchTime = std::chrono::milliseconds(2);

// --max-batch-elements is TSENOR_SERVER_MAX_BATCH_ELEMENTS.
std::string EnvironmentName(const std::string& flag) {
  std::string name = "TSENOR_SERVER_";
  for (char c : flag) {
    name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  }
  return name;
}

template <typename Value>
CLI::Option* Add(CLI::App& app, const std::string& flag, Value& value, const std::string& help) {
  return app.add_option("--" + flag, value, help)
      ->envname(EnvironmentName(flag))
      ->capture_default_str();
}

// A size in bytes: 4194304, 4096KiB, 4MiB.
void AddBytes(CLI::App& app, const std::string& flag, int64_t& value, const std::string& help) {
  Add(app, flag, value, help)->transform(CLI::AsSizeValue(/*kb_is_1000=*/true))->type_name("BYTES");
}

// A time in seconds, with fractions; at most a year, which a Duration holds with ease.
void AddSeconds(CLI::App& app, const std::string& flag, Duration& value, const std::string& help) {
  constexpr double kYear = 365.0 * 24 * 3600;
  app.add_option_function<double>(
         "--" + flag,
         [&value](double seconds) {
           value = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(seconds));
         },
         help)
      ->check([](const std::string& text) {
        double seconds = 0;
        // NaN is in no range.
        const bool good =
            CLI::detail::lexical_cast(text, seconds) && seconds >= 0 && seconds <= kYear;
        return good ? std::string() : text + " is not in [0, 31536000], the seconds of a year";
      })
      ->envname(EnvironmentName(flag))
      ->default_str(CLI::detail::to_string(Seconds(value)))
      ->type_name("SECONDS");
}

void AddSecurityFlags(CLI::App& app, Security& security) {
  Add(app, "tls-certificate", security.tls_certificate,
      "PEM file: the server's certificate and its chain. Turns TLS on for every host:port of "
      "--listen; Unix sockets stay without");
  Add(app, "tls-key", security.tls_key, "PEM file: the certificate's key, without a passphrase");
  Add(app, "tls-client-ca", security.tls_client_ca,
      "PEM file: who signs clients' certificates, which are then required; unset: none are");
  Add(app, "tls-reload-interval", security.tls_reload_seconds,
      "How often the files of TLS are looked at, in whole seconds")
      ->check(CLI::Range(1, 86400))
      ->type_name("SECONDS");
  Add(app, "token-file", security.token_file,
      "File with a bearer token a line, one of which every call must have; unset: none");
  app.add_flag("--allow-plaintext-token", security.allow_plaintext_token,
               "Take tokens on host:port without TLS, where others may read them")
      ->envname(EnvironmentName("allow-plaintext-token"));
}

void AddFlags(CLI::App& app, Flags& flags) {
  Limits& limits = flags.limits;
  Add(app, "listen", flags.listen, "host:port (port 0: any) or unix:PATH; may be repeated")
      ->delimiter(',');
  Add(app, "metrics-listen", flags.metrics_listen, "host:port of /metrics; unset: none");
  Add(app, "health-listen", flags.health_listen,
      "host:port, without TLS and tokens, of grpc.health.v1 alone; unset: none");
  AddSecurityFlags(app, flags.security);
  Add(app, "weights-directory", flags.weights_directory,
      "Directory whose files every client may name instead of sending weights; unset: none");
  Add(app, "backend", flags.backend,
      "Solver: auto (every GPU, or else the CPU), cpu, cuda, reference (slow, plain loops), or "
      "null "
      "(solves nothing: to measure the transport)")
      ->check(CLI::IsMember({"auto", "cpu", "cuda", "reference", "null"}));
  Add(app, "devices", flags.devices,
      "With --backend cuda: the GPUs that solve, as in 0,1; unset: all")
      ->delimiter(',')
      ->check(CLI::Range(0, 1024));
  Add(app, "threads", flags.threads, "Threads that solve (cpu); 0: one per core")
      ->check(CLI::Range(0, 1024));
  Add(app, "log-level", flags.log_level, "debug, info, warn, error or off")
      ->check(CLI::IsMember({"debug", "info", "warn", "error", "off"}));
  Add(app, "log-format", flags.log_format, "text, or json: an object a line")
      ->check(CLI::IsMember({"text", "json"}));
  AddSeconds(app, "canary-interval", flags.canary.interval,
             "How often each solver is asked for masks that are known, to see that it is alive; 0: "
             "never");
  AddSeconds(app, "canary-timeout", flags.canary.timeout,
             "How long a solver may leave that unanswered before it counts as lost");
  AddSeconds(app, "drain-timeout", flags.drain_timeout,
             "How long SIGTERM waits for RPCs in flight");
  AddSeconds(app, "drain-delay", flags.drain_delay,
             "How long after SIGTERM new RPCs are still taken, while health says NOT_SERVING");
  AddBytes(app, "memory-budget", limits.memory_budget_bytes, "Memory for tensors in flight");
  AddBytes(app, "max-tensor-bytes", limits.max_tensor_bytes, "Greatest tensor");
  AddBytes(app, "max-message-bytes", limits.max_message_bytes, "Greatest message, either way");
  AddBytes(app, "stream-window", limits.stream_window_bytes,
           "What a client may send on one stream before the server wants it");
  AddBytes(app, "piece-bytes", limits.piece_bytes, "Memory that one piece of a tensor aims at");
  Add(app, "stream-pieces", limits.stream_pieces, "Pieces of one stream in memory at once");
  Add(app, "max-streams", limits.max_streams, "Tensors in flight at once");
  AddSeconds(app, "idle-timeout", limits.idle_timeout,
             "Ends a stream whose client neither sends nor reads; 0: never");
  AddSeconds(
      app, "keepalive-time", limits.keepalive_time,
      "How long a connection is silent before its client is asked whether it is still there; "
      "0: never");
  AddBytes(app, "min-stream-rate", limits.min_stream_rate,
           "Bytes a second that a stream must send in the idle timeout; 0: any byte will do");
  Add(app, "max-batch-elements", flags.batch.max_batch_elements,
      "Weights of a full batch; 0: what the backend calls efficient")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40));
  AddSeconds(
      app, "max-batch-time", flags.batch.max_batch_time,
      "How long a batch may take, as its weights cost last; a single piece may take eight times "
      "that, or is one block row; 0: no bound");
  AddSeconds(app, "priority-ageing", flags.batch.priority_ageing,
             "How long a tensor waits until it counts as one priority higher; 0: priorities do not "
             "count");
  AddSeconds(app, "max-batch-delay", flags.batch.max_batch_delay,
             "How long an idle worker waits for a batch to fill");
}

}  // namespace

ParsedFlags ParseFlags(int argc, const char* const* argv, std::ostream& out, std::ostream& err) {
  Flags flags;
  flags.batch.max_batch_elements = 0;
  flags.batch.max_batch_time = kMaxBatchTime;
  CLI::App app("Serves transposable N:M masks: tsenor.v1.MaskService over gRPC.", "tsenor-server");
  app.set_version_flag("--version", "tsenor-server " TSENOR_VERSION);
  app.set_config("--config", "", "TOML file of flags, without their dashes");
  app.allow_config_extras(CLI::config_extras_mode::error);  // a misspelt flag must not be ignored
  AddFlags(app, flags);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return {std::nullopt, app.exit(error, out, err)};
  }
  for (const absl::Status& status :
       {ValidateLimits(flags.limits), ValidateSecurity(flags.security, flags.listen)}) {
    if (status.ok()) continue;
    err << "--" << status.message() << "\n";
    return {std::nullopt, static_cast<int>(CLI::ExitCodes::ValidationError)};
  }
  if (!flags.devices.empty() && flags.backend != "cuda") {
    err << "--devices is set; --backend must then be cuda\n";
    return {std::nullopt, static_cast<int>(CLI::ExitCodes::RequiresError)};
  }
  return {std::move(flags), 0};
}

}  // namespace tsenor::server
