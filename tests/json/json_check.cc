// json_check [FILE...]: says for each input whether the server's JSON reader takes it.
//
// Without arguments the inputs come on standard input, each as 4 bytes of length (big-endian) and that many bytes, and
// the answers go out in that order. One line an input: "accepted", or "refused" and why. Exit status 2 if it cannot
// read.
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>
#include <string>

#include "protocol/json_reader.h"

namespace {

constexpr uint32_t input_bytes_max = 16 << 20;

class Ignore final : public tertulia::JsonVisitor {
 public:
  void on_value(uint32_t, std::string_view, tertulia::JsonKind, std::string_view) override {}
};

void judge(const std::string& input) {
  Ignore ignore;
  if (const std::optional<std::string_view> fault = tertulia::read_json(input, ignore)) {
    std::cout << "refused " << *fault << '\n';
  } else {
    std::cout << "accepted\n";
  }
}

bool judge_file(const char* path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    std::cerr << "json_check: cannot open " << path << '\n';
    return false;
  }
  judge(std::string(std::istreambuf_iterator<char>(file), {}));
  return true;
}

bool judge_standard_input() {
  uint8_t length[4];
  while (std::cin.read(reinterpret_cast<char*>(length), sizeof length)) {
    const uint32_t bytes =
        uint32_t{length[0]} << 24 | uint32_t{length[1]} << 16 | uint32_t{length[2]} << 8 | uint32_t{length[3]};
    if (bytes > input_bytes_max) {
      std::cerr << "json_check: an input of more than 16 MiB\n";
      return false;
    }
    std::string input(bytes, '\0');
    if (!std::cin.read(input.data(), static_cast<std::streamsize>(bytes))) {
      std::cerr << "json_check: an input ends early\n";
      return false;
    }
    judge(input);
  }
  return std::cin.gcount() == 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return judge_standard_input() ? 0 : 2;
  for (int i = 1; i < argc; ++i)
    if (!judge_file(argv[i])) return 2;
  return 0;
}
