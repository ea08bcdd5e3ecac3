// `tsenor info`: what a server is and can do.
#include <google/protobuf/util/json_util.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "client/cli/command.h"
#include "client/cli/table.h"
#include "client/mask_client.h"
#include "proto/grpc_library.h"

namespace tsenor::cli {
namespace {

struct InfoFlags {
  std::string server = "127.0.0.1:50051";
  client::Security security;
  bool json = false;
};

void PrintJson(const v1::GetServerInfoResponse& info) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string text;
  // Cannot fail: the message holds no Any and no invalid duration.
  if (!google::protobuf::util::MessageToJsonString(info, &text, options).ok()) std::abort();
  std::cout << text << std::flush;
}

void PrintText(const std::string& address, const v1::GetServerInfoResponse& info) {
  std::cout << "server          " << address << ", version " << Printable(info.version()) << ", up "
            << static_cast<int64_t>(info.uptime_seconds()) << " s\n";
  for (const v1::Backend& backend : info.backends()) {
    std::cout << "backend         " << Printable(backend.name()) << ": "
              << Printable(DeviceText(backend.device(), backend.threads())) << '\n';
  }
  if (!info.fallback_reason().empty()) {
    std::cout << "why no GPU      " << Printable(info.fallback_reason()) << '\n';
  }
  std::cout << "dtypes         ";
  for (const int dtype : info.dtypes()) {
    std::cout << ' ' << v1::DataType_Name(static_cast<v1::DataType>(dtype));
  }
  std::cout << "\nmethods        ";
  for (const int method : info.methods()) {
    std::cout << ' ' << v1::Method_Name(static_cast<v1::Method>(method));
  }
  const v1::Limits& limits = info.limits();
  const std::string directory = Printable(info.weights_directory_id());
  std::cout << "\nlargest M       " << limits.max_m() << "\nlargest tensor  "
            << limits.max_tensor_bytes() << " bytes\nlargest message " << limits.max_message_bytes()
            << " bytes\nmemory budget   " << info.memory_budget_bytes()
            << " bytes\nreads files     " << (directory.empty() ? "no" : "below " + directory)
            << std::endl;
}

int RunInfo(const InfoFlags& flags) {
  client::ClientOptions options;
  options.security = flags.security;
  const GrpcLibrary grpc;
  const auto client = client::MaskClient::Connect(flags.server, options);
  if (!client.ok()) return Fail(client.status(), ExitCodeOfConnect(client.status()));
  const absl::StatusOr<v1::GetServerInfoResponse> info = (*client)->GetServerInfo();
  if (!info.ok()) return Fail(info.status());
  if (flags.json) {
    PrintJson(*info);
  } else {
    PrintText(flags.server, *info);
  }
  return kOk;
}

}  // namespace

void AddInfoCommand(CLI::App& app, int& exit_code) {
  CLI::App* command = app.add_subcommand("info", "Tell what a server is and can do");
  const auto flags = std::make_shared<InfoFlags>();
  AddServerOption(*command, flags->server);
  AddSecurityOptions(*command, flags->security);
  command->add_flag("--json", flags->json, "As JSON");
  command->callback([flags, &exit_code] { exit_code = RunInfo(*flags); });
}

}  // namespace tsenor::cli
