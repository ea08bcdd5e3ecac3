// Certificates for tests of TLS, made by the program openssl.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/support/program.h"
#include "tests/support/temporary_directory.h"

namespace tsenor::testing {

// Signs certificates. Everything lies in one directory, which outlives it: NAME.pem is a
// certificate, NAME.key its key. Not thread-safe.
class CertificateAuthority {
 public:
  CertificateAuthority(const TemporaryDirectory& directory, const std::string& name)
      : directory_(directory), name_(name) {
    OpenSsl({"req", "-x509", "-days", "1", "-out", directory_ / (name_ + ".pem"), "-newkey", "ec",
             "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
             directory_ / (name_ + ".key"), "-subj", "/CN=" + name_});
  }

  // Makes NAME.pem and NAME.key, for 127.0.0.1 and localhost; expired ones if `days` is negative.
  void Issue(const std::string& name, int days = 1) const {
    const std::string request = directory_ / (name + ".csr");
    OpenSsl({"req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-keyout", directory_ / (name + ".key"), "-out", request, "-subj", "/CN=" + name,
             "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"});
    OpenSsl({"x509", "-req", "-in", request, "-CA", certificate(), "-CAkey",
             directory_ / (name_ + ".key"), "-CAcreateserial", "-copy_extensions", "copyall",
             "-days", std::to_string(days), "-out", directory_ / (name + ".pem")});
  }

  // Its own, which those trust who trust it.
  std::string certificate() const { return directory_ / (name_ + ".pem"); }

 private:
  static void OpenSsl(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "/usr/bin/openssl");
    const ProgramOutcome outcome = RunProgram(arguments);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  }

  const TemporaryDirectory& directory_;
  const std::string name_;
};

}  // namespace tsenor::testing
