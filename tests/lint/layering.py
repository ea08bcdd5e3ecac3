"""Who may include what: the layers of the project, read off the #include lines.

Linking one library exposes every header of the repository, so CMake cannot tell; this check does. It
follows includes inside the repository: what a header brings along counts as included.
"""

import re

import repository

STANDARD = ["std", "system"]
STATUS = ["absl/status/", "absl/strings/"]
WIRE = ["tsenor/v1/", "google/protobuf/", "grpc/", "grpcpp/", "proto/grpc_library.h"]
SOLVER_INTERFACE = [r"solver/[a-z_]+\.h$"]
SERVER_CORE = STANDARD + SOLVER_INTERFACE + ["absl/", "server/", "proto/wire/", "spdlog/"]
CLIENT = STANDARD + ["absl/", "re2/", "nlohmann/", "CLI/", "curl/", "client/", "proto/wire/"] + WIRE
ANYTHING = [""]

# (files, what they may include): both are patterns that match from the start of a path; the first
# row that matches a file decides. "std" stands for the C++ library, "system" for <unistd.h> and its kin.
LAYERS = [
    # Device code: plain structs only, absl costs nvcc minutes.
    (
        r"solver/cuda/(kernels|primitives)/",
        STANDARD + ["cuda", r"solver/cuda/(kernels|primitives)/", r"solver/(limits|options|problem|result)\.h$"],
    ),
    (r"solver/cuda/", STANDARD + STATUS + ["cuda", "solver/"]),
    # Vectors of whatever width the machine has.
    (r"solver/cpu/", STANDARD + STATUS + ["solver/", "hwy/"]),
    # The solver knows nothing of gRPC, protobuf, server or client.
    (r"solver/", STANDARD + STATUS + ["solver/"]),
    (r"proto/wire/", STANDARD + ["proto/wire/", "isa-l/"]),
    (r"proto/grpc_library\.", WIRE + ["absl/synchronization/", "openssl/"]),
    # The only file that names backends.
    (r"server/backends\.", SERVER_CORE + ["solver/"]),
    (r"server/main\.cc", SERVER_CORE + WIRE + ["prometheus/", "CLI/"]),
    # The only files that see gRPC and generated headers: the service, its conversions, and what
    # registers it with a gRPC server.
    (r"server/(convert|mask_service|rpc|solve_calls)\.", SERVER_CORE + WIRE),
    (r"server/server\.", SERVER_CORE + WIRE + ["prometheus/"]),
    (r"server/tls_credentials\.", SERVER_CORE + WIRE + ["openssl/"]),
    (r"server/token_file\.", SERVER_CORE + ["openssl/"]),
    (r"server/(process_)?metrics\.", SERVER_CORE + ["prometheus/"]),
    (r"server/flags\.", SERVER_CORE + ["CLI/"]),
    (r"server/log_format\.", SERVER_CORE + ["nlohmann/"]),
    (r"server/free_memory\.", SERVER_CORE + ["gperftools/"]),
    (r"server/", SERVER_CORE),
    # Verification works offline: a bound needs potentials, and the solver finds them.
    (r"client/cli/verify_command\.cc", CLIENT + ["solver/"]),
    (r"client/", CLIENT),
    (r"tests/", ANYTHING),
]

_INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)


def includes(root, path):
    """What the file includes, as named there; "std" and "system" for the two kinds of plain headers."""
    named = []
    for _, name in _INCLUDE.findall((root / path).read_text()):
        if re.fullmatch(r"[a-z_0-9]+", name):  # <vector>, <cstdint>
            named.append("std")
        elif re.fullmatch(r"((sys|linux|netinet|arpa)/)?[a-z0-9_]+\.h", name):  # <sys/mman.h>
            named.append("cuda" if name.startswith("cuda") else "system")
        else:
            named.append(name)
    return named


def allowed_in(path):
    """The patterns of the layer of `path`, None if there is none."""
    return next((allowed for files, allowed in LAYERS if re.match(files, path)), None)


def permits(path, name):
    return any(re.match(pattern, name) for pattern in allowed_in(path) or [])


def reached(root, path):
    """Yields (name, header) for all that `path` includes, directly (header is `path` itself) or through a
    header of the repository."""
    visited, waiting = {path}, [path]
    while waiting:
        header = waiting.pop()
        for name in includes(root, header):
            yield name, header
            if name not in visited and (root / name).is_file():
                visited.add(name)
                waiting.append(name)


def check(root):
    violations = set()
    for path in repository.cpp_files(root):
        if allowed_in(path) is None:
            violations.add(f"{path}: belongs to no layer of tests/lint/layering.py")
            continue
        for name, header in reached(root, path):
            if permits(path, name):
                continue
            if header == path:
                violations.add(f"{path}: may not include {name}")
            elif permits(header, name):  # else the header is to blame, and named for it
                violations.add(f"{path}: may not include {name}, as it does through {header}")
    return sorted(violations)


if __name__ == "__main__":
    repository.run(check)
