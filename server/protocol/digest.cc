#include "protocol/digest.h"

#include <openssl/evp.h>

#include <memory>

#include "base/check.h"

namespace tertulia {
namespace {

struct FreeContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

const EVP_MD* fetched_sha256() {
  // Never freed: threads may still hash while the process ends.
  static const EVP_MD* const digest = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  CHECK(digest != nullptr, "OpenSSL has SHA-256");
  return digest;
}

}  // namespace

Sha256 sha256(std::initializer_list<std::string_view> pieces) {
  thread_local const std::unique_ptr<EVP_MD_CTX, FreeContext> context(EVP_MD_CTX_new());
  CHECK(context && EVP_DigestInit_ex2(context.get(), fetched_sha256(), nullptr) == 1, "a digest can be begun");
  for (std::string_view piece : pieces)
    CHECK(EVP_DigestUpdate(context.get(), piece.data(), piece.size()) == 1, "a digest takes bytes");
  Sha256 result;
  unsigned bytes = 0;
  CHECK(EVP_DigestFinal_ex(context.get(), result.data(), &bytes) == 1 && bytes == result.size(),
        "a digest ends with 32 bytes");
  return result;
}

}  // namespace tertulia
