// Between the API's messages and the core's types. Here and in mask_service.cc alone generated
// headers are seen.
#pragma once

#include <grpcpp/support/status.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/session.h"
#include "server/tensor_spec.h"
#include "tsenor/v1/mask_service.pb.h"

namespace tsenor::server {

// Checks what the core's types cannot hold: unknown enums, the number of lengths, options of
// another method, integers that do not fit. ValidateTensor() checks the rest. Errors:
// InvalidArgument naming field, value and bound.
absl::StatusOr<TensorSpec> FromProto(const v1::TensorHeader& header);

// A view: valid for as long as `chunk`.
Chunk FromProto(const v1::DataChunk& chunk);

// Copies the mask.
void ToProto(const MaskRows& rows, v1::MaskChunk* chunk);

void ToProto(const Summary& summary, v1::SolveSummary* message);

void ToProto(const SolverInfo& info, v1::Backend* backend);

void ToProto(const Limits& limits, v1::Limits* message);

// Every data type and method that FromProto() accepts, for GetServerInfo.
void ListSupported(v1::GetServerInfoResponse* response);

// The code of the same name, and the message.
grpc::Status ToGrpc(const absl::Status& status);

}  // namespace tsenor::server
